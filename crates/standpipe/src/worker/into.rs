//! A replay into another stream: the records of a batch are put there, in parts as a put may have them.
//!
//! Parts are cut by positions, and each put has a digest that derives from the batch and its records' positions: an
//! attempt that is repeated puts the same again, which that stream's journal recognises for ten minutes. A part that is
//! there is noted at once, and before anything else is put of its batch, so that nobody needs to remember for longer than
//! the part under way.
//!
//! # Invariants
//! - DONE has for its ordinal the place in the batch of the last record that is there. All before it is there too.
//! - What is put and could not be noted is known in this process, and noted before the batch goes on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use ring::digest::{SHA256, digest};
use standpipe_ingest::{Put, PutError, PutReceipt};
use standpipe_journal::control::{Close, Control, Done, OpenBatch};
use standpipe_journal::{BatchReader, Chunk};
use standpipe_model::{
    BatchId, BodyError, Position, PutDigest, RecordBlock, RecordBlockBuilder, StreamName, Tally,
};
use tokio::task::spawn_blocking;

use super::Line;
use super::deliver::{AttemptError, unreadable};
use super::replay::Replaying;
use crate::spec::Buffering;

/// The most records of a block, as of a put.
const BLOCK_RECORDS: u64 = 500;
/// The most bytes of a part of it, as of a put.
const PART_BYTES: usize = 4 << 20;
/// What is read at once.
const CHUNK_BYTES: u64 = 1 << 20;
/// Batches are small, as each is a piece of the way and no object.
pub(super) const BUFFERING: Buffering = Buffering { size_bytes: 4 << 20, interval_ms: 0 };

/// Where records can be put, whatever stream they are for.
#[async_trait]
pub(crate) trait Intake: Debug + Send + Sync {
    /// Stores a put; durable when it resolves.
    ///
    /// # Errors
    /// [`PutError`]; nothing of the put was accepted.
    async fn put(&self, put: Put) -> Result<PutReceipt, PutError>;
}

/// How far batches are put that could not note it, in this process: the place of the last record that is there.
#[derive(Debug, Default)]
pub(crate) struct PutThrough(Mutex<BTreeMap<BatchId, u32>>);

impl PutThrough {
    fn all(&self) -> MutexGuard<'_, BTreeMap<BatchId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, batch: BatchId) -> Option<u32> {
        self.all().get(&batch).copied()
    }

    /// Forgets a batch: it is noted.
    pub(super) fn forget(&self, batch: BatchId) {
        self.all().remove(&batch);
    }
}

/// What goes into one put: all of a block, or as much of it as a put may have.
#[derive(Debug, PartialEq)]
struct Part {
    positions: RangeInclusive<u64>,
    records: RecordBlock,
}

impl Part {
    /// What the put of it is recognised by.
    fn digest(&self, batch: BatchId, into: &StreamName) -> PutDigest {
        let mut text = b"replay".to_vec();
        text.extend(batch.0);
        text.extend(self.positions.start().to_le_bytes());
        text.extend(self.positions.end().to_le_bytes());
        text.extend(into.as_str().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&digest(&SHA256, &text).as_ref()[..16]);
        PutDigest(short)
    }
}

/// Cuts records into parts.
struct Parts {
    first: Position,
    /// The number of the block in the batch, and what it has so far.
    filling: Option<(u64, RangeInclusive<u64>)>,
    records: RecordBlockBuilder,
}

impl Parts {
    fn new(first: Position) -> Self {
        Self { first, filling: None, records: RecordBlockBuilder::with_capacity(0, 0) }
    }

    /// Adds a record; the part before it comes back where that ends here.
    fn push(&mut self, position: Position, record: &[u8]) -> Option<Part> {
        let block = (position.0 - self.first.0) / BLOCK_RECORDS;
        let is_full = self.records.record_bytes() + record.len() > PART_BYTES;
        let ended = self.filling.as_ref().is_some_and(|(filling, _)| *filling != block || is_full);
        let part = if ended { self.end() } else { None };
        let (_, positions) = self.filling.get_or_insert((block, position.0..=position.0));
        *positions = *positions.start()..=position.0;
        self.records.push(record);
        part
    }

    /// What has been begun.
    fn end(&mut self) -> Option<Part> {
        let (_, positions) = self.filling.take()?;
        let records = std::mem::replace(&mut self.records, RecordBlockBuilder::with_capacity(0, 0)).finish();
        Some(Part { positions, records })
    }
}

impl Line {
    /// Puts what is not noted yet of the batch.
    pub(super) async fn put_into(
        &self,
        open: &OpenBatch,
        replaying: &Replaying,
        into: &StreamName,
    ) -> Result<(), AttemptError> {
        let (close, put_through) = (&open.close, &replaying.put_through);
        let unnoted = put_through.of(close.batch);
        if let Some(last) = unnoted {
            self.note_put(close, put_through, last).await?;
        }
        let done = open.done.last().copied().max(unnoted);
        let (mut reader, mut parts) = (self.journal.read(close.range), Parts::new(close.range.first));
        let mut bytes = 0;
        loop {
            let (read, chunk) = self.read(reader).await?;
            reader = read;
            let mut ready = Vec::new();
            for (position, _, record) in chunk.iter().flat_map(Chunk::records) {
                if Some(place(close, position.0)) > done {
                    ready.extend(parts.push(position, &record));
                }
            }
            if chunk.is_none() {
                ready.extend(parts.end());
            }
            for part in ready {
                let last = place(close, *part.positions.end());
                bytes += part.records.record_bytes();
                self.put_part(close, part, into).await?;
                put_through.all().insert(close.batch, last);
                // The last one is noted as the whole batch is.
                if last < place(close, close.range.last.0) {
                    self.note_put(close, put_through, last).await?;
                }
            }
            if chunk.is_none() {
                break;
            }
        }
        let lost = reader.lost();
        let tally = Tally { delivered: close.range.count().saturating_sub(lost), lost, ..Tally::default() };
        self.settle(close, Vec::new(), tally, bytes).await?;
        put_through.forget(close.batch);
        Ok(())
    }

    async fn read(&self, mut reader: BatchReader) -> Result<(BatchReader, Option<Chunk>), AttemptError> {
        let read = spawn_blocking(move || reader.next_chunk(CHUNK_BYTES).map(|chunk| (reader, chunk))).await;
        Ok(read
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| unreadable(BodyError(error.into())))?)
    }

    async fn put_part(&self, close: &Close, part: Part, into: &StreamName) -> Result<(), AttemptError> {
        let digest = Some(part.digest(close.batch, into));
        let put = Put { stream: into.clone(), block: part.records, digest };
        // Until the streams are open, none takes anything.
        let taken = match self.context.intake.get().and_then(Weak::upgrade) {
            Some(intake) => intake.put(put).await,
            None => Err(PutError::Unavailable { retry_after: None }),
        };
        taken.map(drop).map_err(|source| AttemptError::Put { into: into.clone(), source })
    }

    /// Notes that the batch is put up to a place.
    async fn note_put(&self, close: &Close, put_through: &PutThrough, last: u32) -> Result<(), AttemptError> {
        let (batch, destination) = (close.batch, self.destination.clone());
        let done = Done { batch, destination, ordinal: last, further: 0, request: None };
        self.journal.control(vec![Control::Done(done)]).await?;
        put_through.forget(batch);
        Ok(())
    }
}

/// The place of a position in its batch.
fn place(close: &Close, position: u64) -> u32 {
    u32::try_from(position.saturating_sub(close.range.first.0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(records: impl IntoIterator<Item = (u64, usize)>) -> Vec<(RangeInclusive<u64>, u32)> {
        let mut parts = Parts::new(Position(100));
        let mut all = Vec::new();
        for (position, len) in records {
            all.extend(parts.push(Position(position), &vec![7; len]));
        }
        all.extend(parts.end());
        assert_eq!(parts.end(), None);
        all.into_iter().map(|part| (part.positions, part.records.count())).collect()
    }

    #[test]
    fn blocks_are_cut_by_positions_whatever_is_lost() {
        assert_eq!(cut([]), []);
        assert_eq!(
            cut((100..1_101).map(|at| (at, 1))),
            [(100..=599, 500), (600..=1_099, 500), (1_100..=1_100, 1)]
        );
        let with_gap = (100..1_101).filter(|at| !(300..700).contains(at)).map(|at| (at, 1));
        assert_eq!(cut(with_gap), [(100..=299, 200), (700..=1_099, 400), (1_100..=1_100, 1)]);
    }

    #[test]
    fn a_part_has_no_more_bytes_than_a_put() {
        let large = cut((100..110).map(|at| (at, 1_000_000)));
        assert_eq!(large, [(100..=103, 4), (104..=107, 4), (108..=109, 2)]);
    }

    #[test]
    fn each_part_of_each_batch_has_a_digest_of_its_own() {
        let [into, other] = ["into", "other"].map(|name| StreamName::parse(name).unwrap());
        let part = |positions| Part { positions, records: RecordBlockBuilder::with_capacity(0, 0).finish() };
        let batch = BatchId([1; 16]);
        let digests = [
            part(0..=9).digest(batch, &into),
            part(0..=8).digest(batch, &into),
            part(1..=9).digest(batch, &into),
            part(0..=9).digest(BatchId([2; 16]), &into),
            part(0..=9).digest(batch, &other),
        ];
        for (at, digest) in digests.iter().enumerate() {
            assert!(!digests[..at].contains(digest), "{at}");
        }
        assert_eq!(part(0..=9).digest(batch, &into), digests[0]);
    }
}
