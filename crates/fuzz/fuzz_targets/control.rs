//! See the module that it runs.

#![no_main]

#[path = "../../ingest/tests/wire/fuzz/control.rs"]
mod control;

libfuzzer_sys::fuzz_target!(|input: &[u8]| control::run(input));
