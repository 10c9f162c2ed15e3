//! See the module that it runs.

#![no_main]

#[path = "../../sinks/tests/sinks/fuzz/prefix.rs"]
mod prefix;

libfuzzer_sys::fuzz_target!(|input: &[u8]| prefix::run(input));
