//! The records of a batch that were given up, on their way to the error output.

use ring::digest::{self, SHA256};
use standpipe_encode::ChunkEncoder;
use standpipe_journal::control::{Close, Control, OpenBatch};
use standpipe_model::{BatchId, ErrorClass, SinkError};

use super::identity;
use crate::worker::body::Make;
use crate::worker::decisions::Decided;
use crate::worker::deliver::AttemptError;
use crate::worker::shape::{Part, Shape};
use crate::worker::{Line, make};

impl Line {
    /// How the lines about them are made.
    pub(in crate::worker) fn undelivered(
        &self,
        close: &Close,
        shape: &Shape,
        encoder: ChunkEncoder,
    ) -> Result<Make, SinkError> {
        let (open, endpoint) = (self.still_open(close.batch)?, shape.destination.endpoint.clone());
        let endpoint = endpoint.ok_or_else(|| {
            SinkError::new(
                ErrorClass::Misconfigured,
                "records were given up by a destination that has no endpoint",
            )
        })?;
        let identity = identity(&open);
        Ok(make::undelivered(open.decided, endpoint.target, identity, encoder))
    }

    /// What the key of the object with them derives from: of exactly these decisions.
    pub(in crate::worker) fn undelivered_identity(&self, batch: BatchId) -> Result<BatchId, SinkError> {
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
    pub(in crate::worker) async fn send_undelivered(
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
