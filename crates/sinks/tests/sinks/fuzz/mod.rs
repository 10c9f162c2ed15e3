//! What arbitrary prefixes must not do: the body of the fuzz target in `crates/fuzz`, and the inputs that fuzzing found
//! worth keeping.

pub(crate) mod prefix;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;

use standpipe_sinks::key;

#[test]
fn prefixes_that_fuzzing_found_are_refused_or_make_the_same_key_at_every_attempt() {
    replay::replay("prefix", prefix::run);
}
