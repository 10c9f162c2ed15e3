//! See the module that it runs.

#![no_main]
#![allow(dead_code, reason = "the tests that these modules belong to use more of them")]

mod fuzz {
    //! The modules where the tests have them.
    #[path = "../../../journal/tests/journal/fuzz/damaged.rs"]
    pub(crate) mod damaged;
    #[path = "../../../journal/tests/journal/fuzz/recovery.rs"]
    pub(crate) mod recovery;
}
#[path = "../../journal/tests/journal/sim.rs"]
mod sim;
#[path = "../../journal/tests/journal/support.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::recovery::run(input));
