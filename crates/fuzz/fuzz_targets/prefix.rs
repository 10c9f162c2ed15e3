//! See the module that it runs.

#![no_main]
#![allow(dead_code, unused_imports, reason = "the crate that the first module belongs to uses more of it")]

// By itself, since the rest of that crate brings the SDK of AWS: minutes of building for nothing.
#[path = "../../sinks/src/key/mod.rs"]
mod key;
#[path = "../../sinks/tests/sinks/fuzz/prefix.rs"]
mod prefix;

libfuzzer_sys::fuzz_target!(|input: &[u8]| prefix::run(input));
