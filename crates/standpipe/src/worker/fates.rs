//! What became of a batch's records, counted while its objects are made.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use standpipe_model::{BodyError, Tally};
use standpipe_transform::{Failure, FailureKind};

use super::pieces::Pieces;

/// What became of records. Of a record that was kept nothing is said: it is what is left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fates {
    /// Records that a processor dropped.
    pub(crate) dropped: u64,
    /// Records that failed, by the part of the error output that they belong to and by code.
    pub(crate) failed: BTreeMap<FailureKind, BTreeMap<String, FailedRecords>>,
    /// Records that the journal could not read back.
    pub(crate) lost: u64,
    /// Every record of the batch was seen.
    pub(crate) complete: bool,
}

/// Records that failed with the same code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedRecords {
    pub(crate) records: u64,
    /// What was said of the first of them.
    pub(crate) message: String,
    /// The function that the first of them failed in, where it was one.
    pub(crate) function: Option<String>,
}

impl Fates {
    /// Adds those of a chunk.
    pub(crate) fn add(&mut self, chunk: Self) {
        self.dropped += chunk.dropped;
        for (kind, codes) in chunk.failed {
            let of_kind = self.failed.entry(kind).or_default();
            for (code, failed) in codes {
                match of_kind.entry(code) {
                    Entry::Occupied(mut known) => known.get_mut().records += failed.records,
                    Entry::Vacant(new) => drop(new.insert(failed)),
                }
            }
        }
    }

    /// Adds a record that failed.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        let of_kind = self.failed.entry(failure.kind).or_default();
        if let Some(known) = of_kind.get_mut(&failure.code) {
            known.records += 1;
            return;
        }
        let (message, function) = (failure.message.clone(), failure.function.clone());
        of_kind.insert(failure.code.clone(), FailedRecords { records: 1, message, function });
    }

    /// Where the records of a batch of `count` end once everything is sent.
    pub(crate) fn tally(&self, count: u64) -> Tally {
        let backed_up = self.failed.values().flat_map(BTreeMap::values).map(|failed| failed.records).sum();
        let delivered = count - self.dropped - backed_up - self.lost;
        Tally { delivered, dropped: self.dropped, backed_up, lost: self.lost }
    }
}

/// What is known of a batch's records, filled while something is made of them; whole once [`Fates::complete`].
pub(crate) type Seen = Arc<Mutex<Fates>>;

/// What a chunk comes to, and what became of its records.
pub(crate) struct Made<T> {
    pub(crate) made: T,
    pub(crate) fates: Fates,
}

/// What the chunks of a batch come to, in order, counted as they come.
pub(crate) struct Counted<T> {
    pieces: Pieces<Made<T>>,
    seen: Seen,
}

impl<T: Send + 'static> Counted<T> {
    pub(crate) fn new(pieces: Pieces<Made<T>>) -> Self {
        Self { pieces, seen: Seen::default() }
    }

    /// What is known so far.
    pub(crate) fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
    }

    /// The same, once all came.
    pub(crate) fn counted(&self) -> Fates {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next one; `None` behind the last.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub(crate) async fn next(&mut self) -> Result<Option<T>, BodyError> {
        let made = self.pieces.next().await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match made {
            Some(Made { made, fates }) => {
                seen.add(fates);
                Some(made)
            }
            None => {
                (seen.lost, seen.complete) = (self.pieces.lost(), true);
                None
            }
        })
    }
}
