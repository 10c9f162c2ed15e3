//! What became of a batch's records, counted while its objects are made.

use std::collections::BTreeMap;

use standpipe_model::Tally;
use standpipe_transform::FailureKind;

/// What became of records. Of a record that was kept nothing is said: it is what is left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fates {
    /// Records that a processor dropped.
    pub(crate) dropped: u64,
    /// Records that failed, by the part of the error output that they belong to.
    pub(crate) failed: BTreeMap<FailureKind, u64>,
    /// Records that the journal could not read back.
    pub(crate) lost: u64,
    /// Every record of the batch was seen.
    pub(crate) complete: bool,
}

impl Fates {
    /// Adds those of a chunk.
    pub(crate) fn add(&mut self, chunk: &Self) {
        self.dropped += chunk.dropped;
        for (kind, records) in &chunk.failed {
            *self.failed.entry(*kind).or_default() += records;
        }
    }

    /// Where the records of a batch of `count` end once everything is sent.
    pub(crate) fn tally(&self, count: u64) -> Tally {
        let backed_up = self.failed.values().sum();
        let delivered = count - self.dropped - backed_up - self.lost;
        Tally { delivered, dropped: self.dropped, backed_up, lost: self.lost }
    }
}
