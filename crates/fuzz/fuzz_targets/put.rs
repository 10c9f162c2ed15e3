//! See the module that it runs.

#![no_main]

#[path = "../../ingest/tests/wire/fuzz/put.rs"]
mod put;

libfuzzer_sys::fuzz_target!(|input: &[u8]| put::run(input));
