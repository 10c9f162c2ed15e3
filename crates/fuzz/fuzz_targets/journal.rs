//! See the module that it runs.

#![no_main]
#![allow(dead_code, reason = "the tests that these modules belong to use more of them")]

#[path = "../../journal/tests/journal/fuzz"]
mod fuzz {
    //! The modules where the tests have them.
    pub(crate) mod damaged;
    pub(crate) mod recovery;
}
#[path = "../../journal/tests/journal/keys.rs"]
mod keys;
#[path = "../../journal/tests/journal/sim.rs"]
mod sim;
#[path = "../../journal/tests/journal/support.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::recovery::run(input));
