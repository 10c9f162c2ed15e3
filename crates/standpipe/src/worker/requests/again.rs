//! What is left of requests that were answered in part, for their next attempt.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use standpipe_model::{BatchId, RequestId, RowOrigin};

/// Rows of a request that its endpoint wants to have again; known only to this process, as all that a repetition of the
/// others costs is a repetition.
#[derive(Debug, Default)]
pub(crate) struct Again(Mutex<HashMap<RequestId, (BatchId, BTreeSet<RowOrigin>)>>);

impl Again {
    pub(super) fn map(&self) -> MutexGuard<'_, HashMap<RequestId, (BatchId, BTreeSet<RowOrigin>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is known of a batch's requests.
    pub(crate) fn forget(&self, batch: BatchId) {
        self.map().retain(|_, (of, _)| *of != batch);
    }
}
