//! What a destination did not take: when it is given up, and its way to the error output.
//!
//! # Invariants
//! - Records are given up by DECIDE before anything is done about it. The object with them derives from these decisions
//!   alone.
//! - What a human has to mend ([`ErrorClass::Misconfigured`]) gives nothing up, unless the destination may only lag so far
//!   behind (`max_lag`).

use std::time::Duration;

use ring::digest::{self, SHA256};
use standpipe_encode::ChunkEncoder;
use standpipe_journal::control::{Close, Control, OpenBatch};
use standpipe_model::{BatchId, ErrorClass, SinkError};

use super::body::Make;
use super::decisions::Decided;
use super::deliver::AttemptError;
use super::requests::is_beyond;
use super::shape::{Part, Shape};
use super::{Line, make};
use crate::spec::{Patience, S3Destination};

impl Line {
    /// What is borne of a destination now, of whichever version a batch was closed under; `None` where it is waited for
    /// without end.
    pub(super) fn bears(&self, pinned: &S3Destination) -> Option<Patience> {
        let definition = self.definitions.current();
        let current = definition.spec.destination_of(&self.of).and_then(S3Destination::bears);
        pinned.bears().map(|pinned| current.unwrap_or(pinned))
    }

    /// Whether what failed so is given up, however far it lags.
    pub(super) fn is_over(
        &self,
        open: &OpenBatch,
        patience: Patience,
        progressed: bool,
        error: &SinkError,
    ) -> bool {
        if error.is_ours {
            return false;
        }
        match error.class {
            ErrorClass::Refused => true,
            ErrorClass::Misconfigured => false,
            ErrorClass::Transient | ErrorClass::Throttled => {
                let now = self.context.timer.now();
                let failing = now.since(open.failing_since.unwrap_or(now));
                // An attempt that brings the batch further begins the time anew.
                let endures = progressed && patience.retry_ms > 0;
                !endures && failing >= Duration::from_millis(patience.retry_ms)
            }
        }
    }

    /// Whether a batch that failed so lags further behind than it may.
    pub(super) fn lags(&self, open: &OpenBatch, patience: Patience, error: &SinkError) -> bool {
        let (since, now) = (self.lags_since(&open.close), self.context.timer.now());
        !error.is_ours && is_beyond(patience.max_lag_ms, since, now)
    }

    /// How the lines about what was given up are made.
    pub(super) fn undelivered(
        &self,
        close: &Close,
        shape: &Shape,
        encoder: ChunkEncoder,
    ) -> Result<Make, SinkError> {
        let (open, endpoint) = (self.still_open(close.batch)?, shape.destination.endpoint.as_ref());
        if endpoint.is_none() && !shape.destination.appends() {
            let message = "records were given up by a destination that is neither an endpoint nor a table";
            return Err(SinkError::new(ErrorClass::Misconfigured, message));
        }
        let (identity, target) = (identity(&open), endpoint.map(|endpoint| endpoint.target.clone()));
        Ok(make::undelivered(open.decided, target, identity, encoder))
    }

    /// What the key of the object with them derives from: of exactly these decisions.
    pub(super) fn undelivered_identity(&self, batch: BatchId) -> Result<BatchId, SinkError> {
        let decided = self.still_open(batch)?.decided;
        let mut hash = digest::Context::new(&SHA256);
        hash.update(b"standpipe undelivered");
        hash.update(&batch.0);
        for rows in decided.iter().flat_map(|decide| &decide.rows) {
            hash.update(&rows.first.0.to_le_bytes());
            hash.update(&rows.last.0.to_le_bytes());
        }
        let digest = hash.finish();
        Ok(BatchId(std::array::from_fn(|byte| digest.as_ref()[byte])))
    }

    fn still_open(&self, batch: BatchId) -> Result<OpenBatch, SinkError> {
        let gone = || SinkError::new(ErrorClass::Transient, "the batch is not open any more");
        self.open_batch(batch).ok_or_else(gone)
    }

    /// Writes the records that were given up to the error output; their number, and the bytes that were stored. What
    /// was done and is not noted yet is noted before, as this may fail for long.
    pub(super) async fn send_undelivered(
        &self,
        close: &Close,
        shape: &Shape,
        frames: &mut Vec<Control>,
        repeated: bool,
    ) -> Result<(u64, u64), AttemptError> {
        let open = self.open_batch(close.batch);
        let Some(OpenBatch { decided, .. }) = open.filter(|open| !open.decided.is_empty()) else {
            return Ok((0, 0));
        };
        let records = Decided::of(&decided).count();
        self.journal.control(std::mem::take(frames)).await?;
        let (receipt, _) = self.send(close, shape, Part::Undelivered, repeated).await?;
        Ok((records, receipt.bytes))
    }
}

/// What the identities of a batch's rows derive from.
pub(super) fn identity(open: &OpenBatch) -> BatchId {
    let batch = open.close.batch;
    open.plan.as_ref().map_or(batch, |plan| plan.spool.identity(batch))
}
