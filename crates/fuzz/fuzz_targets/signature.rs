//! See the module that it runs.

#![no_main]

#[path = "../../ingest/tests/wire/fuzz/signature.rs"]
mod signature;

libfuzzer_sys::fuzz_target!(|input: &[u8]| signature::run(input));
