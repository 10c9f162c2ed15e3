//! What arbitrary damage must not do: the body of the fuzz target in `crates/fuzz`, and the inputs that fuzzing found
//! worth keeping.

pub(crate) mod damaged;
pub(crate) mod recovery;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn damage_that_fuzzing_found_costs_nothing_before_it_and_never_keeps_a_journal_from_opening() {
    replay::replay("journal", recovery::run);
}
