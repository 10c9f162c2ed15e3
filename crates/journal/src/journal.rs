//! The journal of one stream, as the rest of the daemon sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standpipe_model::{Clock, DestinationId, Entropy, Position, PutDigest, RecordBlock, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::budget::{DiskBudget, Shortage};
use crate::control::{Control, Progress, State};
use crate::disk::Disk;
use crate::format::{BODY_MAX, SegmentId};
use crate::keys::{KeyTrouble, SegmentKeys};
use crate::pool::CommitPool;
use crate::puts::{Known, PutTable};
use crate::reader::BatchReader;
use crate::recover::{OpenError, RecoveryReport};
use crate::segment::Segment;
use crate::spool::Spools;
use crate::writer::{Change, Keeping, Op, Writer};

/// How often a refusal for want of space is looked at again, in milliseconds.
const SHORTAGE_LOOK_MS: u64 = 250;

/// Sizes and limits of one journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// The most bytes it may take on disk.
    pub limit_bytes: u64,
    /// The size of its first segment.
    pub segment_min: u64,
    /// The size that its segments grow to with the stream's rate.
    pub segment_max: u64,
}

impl JournalOptions {
    /// Options for a journal of at most `limit_bytes`. Its segments stay small beside the limit, so that the three that
    /// it may have allocated ahead or kept do not count for a full one.
    pub fn within(limit_bytes: u64) -> Self {
        let defaults = Self::default();
        let segment_max = (limit_bytes / 16).clamp(defaults.segment_min, defaults.segment_max);
        Self { limit_bytes, segment_max, ..defaults }
    }
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { limit_bytes: u64::MAX, segment_min: 256 << 10, segment_max: 64 << 20 }
    }
}

/// What all journals of a daemon share.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The share of the disk.
    pub budget: Arc<DiskBudget>,
    /// The commit threads.
    pub pool: Arc<CommitPool>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// Told of each sync.
    pub observer: Arc<dyn SyncObserver>,
}

/// Hears of each group commit, for metrics.
pub trait SyncObserver: Send + Sync + std::fmt::Debug {
    /// A group of `bytes` was written and synced in `elapsed`.
    fn synced(&self, bytes: u64, elapsed: Duration);
}

impl SyncObserver for () {
    fn synced(&self, _bytes: u64, _elapsed: Duration) {}
}

/// Records to be appended: one put.
#[derive(Debug, Clone)]
pub struct Append {
    /// The records; at least one.
    pub block: RecordBlock,
    /// What makes the put recognisable when it comes again.
    pub digest: Option<PutDigest>,
    /// Where its source stood behind it, for a stream that is pulled from one.
    pub source: Option<Vec<u8>>,
}

/// A durable put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendReceipt {
    /// The segment that holds it.
    pub segment: SegmentId,
    /// The first record's number within the segment.
    pub first_ordinal: u64,
    /// The first record's position.
    pub first: Position,
    /// How many records.
    pub count: u32,
    /// That segment is encrypted.
    pub encrypted: bool,
    /// The put was recognised as one that had been accepted before; nothing was written.
    pub repeated: bool,
}

/// A put or a control frame was not accepted. Nothing of it will be read, unless the process dies before a journal that
/// failed to write has been reopened: recovery then keeps what of it reached the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room; it may come again later.
    #[error("the journal is full: {0}")]
    Full(#[from] Shortage),
    /// The stream's key cannot be used; it may come again when it can.
    #[error(transparent)]
    Key(#[from] KeyTrouble),
    /// A control frame of so many bytes, or what the state comes to with it, is larger than a reader would believe.
    #[error("a control frame of {0} bytes is more than the {BODY_MAX} that the journal takes")]
    TooLarge(u64),
    /// A write or sync failed and the journal has not been reopened yet; it may come again later.
    #[error("the journal is closed after a failed write until it is reopened")]
    Poisoned,
    /// The journal was closed for good.
    #[error("the journal is closed")]
    Closed,
}

/// How far the journal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tip {
    /// The position behind the last durable record.
    pub next: Position,
    /// Data bytes before it, counted from when the journal was opened.
    pub bytes: u64,
}

/// A place between two records, with the data bytes before it as in [`Tip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The position of the record behind the cursor.
    pub position: Position,
    /// Data bytes before it.
    pub bytes: u64,
}

/// When a record arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// By the wall clock.
    pub at: Timestamp,
    /// By steady time, in milliseconds; negative for one that arrived before the process started.
    pub steady_ms: i64,
}

/// Space used by a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub used: u64,
    /// The most it may take: its own limit or that of all journals together.
    pub limit: u64,
    /// Puts are being refused for this reason.
    pub shortage: Option<Shortage>,
    /// A write or sync failed, and it is too early to reopen the journal: a put would be refused.
    pub poisoned: bool,
}

/// The write-ahead log of one stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: JournalOptions,
    pub(crate) shelf: Shelf,
    pub(crate) keys: Arc<dyn SegmentKeys>,
    pub(crate) used: AtomicU64,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) view: Mutex<View>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) spools: Mutex<Spools>,
    pub(crate) keeping: Keeping,
    pub(crate) tip: watch::Sender<Tip>,
    /// Before where open ranges are to be closed early.
    pub(crate) pressure: watch::Sender<Position>,
}

/// What waits to be written, and what decides whether more may.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) ops: VecDeque<Op>,
    pub(crate) scheduled: bool,
    pub(crate) puts: PutTable,
    pub(crate) last_arrival: Timestamp,
    pub(crate) shortage: Option<Shortage>,
    pub(crate) shortage_looked: u64,
    /// Steady time until which a poisoned journal refuses without trying to heal.
    pub(crate) poisoned_until: Option<u64>,
    pub(crate) closed: bool,
}

/// What is durable.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) state: State,
}

enum Waiting {
    Answered(AppendReceipt),
    For(oneshot::Receiver<Result<AppendReceipt, AppendError>>),
}

impl Journal {
    /// Opens the journal in `dir`, making it when there is none, and recovers it. It has no keys: its segments are
    /// plain.
    ///
    /// # Errors
    /// As [`open_with_keys`](Journal::open_with_keys).
    pub fn open(
        dir: &Path,
        options: JournalOptions,
        shelf: Shelf,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_with_keys(dir, options, shelf, Arc::new(()))
    }

    /// Opens the journal in `dir`, making it when there is none, and recovers it. May wait for the keys of segments
    /// that are encrypted.
    ///
    /// # Errors
    /// [`OpenError`]: a newer format, the disk refused to read or write, or a key cannot be had.
    pub fn open_with_keys(
        dir: &Path,
        options: JournalOptions,
        shelf: Shelf,
        keys: Arc<dyn SegmentKeys>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        crate::recover::open(dir, options, shelf, keys)
    }

    /// Appends a put; resolves when it is durable.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of the put was kept.
    ///
    /// # Cancel safety
    /// A put whose future is dropped may still be written.
    pub async fn append(&self, put: Append) -> Result<AppendReceipt, AppendError> {
        match self.0.begin(put)? {
            Waiting::Answered(receipt) => Ok(receipt),
            Waiting::For(answer) => answer.await.unwrap_or(Err(AppendError::Poisoned)),
        }
    }

    /// Writes control frames, all in one group; resolves when they are durable.
    ///
    /// # Errors
    /// [`AppendError`]: none of them counts.
    ///
    /// # Cancel safety
    /// Frames whose future is dropped may still be written.
    pub async fn control(&self, frames: Vec<Control>) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(|arrived_at| Op::control(frames, arrived_at, reply))?;
        answer.await.unwrap_or(Err(AppendError::Poisoned))
    }

    /// Registers the destinations that the stream has now. A new one starts at the journal's end. One that is gone is
    /// forgotten with its replays, unless it has something to deliver: then that is held until it is there again, or
    /// [forgotten](Self::forget_destination).
    ///
    /// # Errors
    /// [`AppendError`]: nothing was changed.
    pub async fn set_destinations(&self, wanted: &[DestinationId]) -> Result<(), AppendError> {
        let wanted: BTreeSet<DestinationId> = wanted.iter().cloned().collect();
        let stays =
            |wanted: &BTreeSet<DestinationId>, next: Position, id: &DestinationId, progress: &Progress| {
                match &progress.replay {
                    Some(replay) => replay.into.is_some() || wanted.contains(&replay.of),
                    None => wanted.contains(id) || progress.in_journal(next) > 0,
                }
            };
        let is_so = |state: &State| {
            state.unread_from.is_none()
                && wanted.iter().all(|id| state.destinations.contains_key(id))
                && state.destinations.iter().all(|(id, progress)| stays(&wanted, state.next, id, progress))
        };
        if self.with_state(is_so) {
            return Ok(());
        }
        self.change(Box::new(move |state: &mut State| {
            let next = state.unread_from.take().unwrap_or(state.next);
            state.destinations.retain(|id, progress| stays(&wanted, state.next, id, progress));
            for id in wanted {
                state.destinations.entry(id).or_insert_with(|| Progress::starting_at(next));
            }
        }))
        .await
    }

    /// Forgets a destination that the stream does not have any more, with what it had to deliver.
    ///
    /// # Errors
    /// [`AppendError`]: it is still held.
    pub async fn forget_destination(&self, id: &DestinationId) -> Result<(), AppendError> {
        let id = id.clone();
        self.change(Box::new(move |state: &mut State| drop(state.destinations.remove(&id)))).await
    }

    pub(crate) async fn change(&self, change: Change) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(|arrived_at| Op::change(change, arrived_at, reply))?;
        answer.await.unwrap_or(Err(AppendError::Poisoned))
    }

    fn enqueue(&self, op: impl FnOnce(Timestamp) -> Op) -> Result<(), AppendError> {
        let mut queue = self.0.queue();
        if queue.closed {
            return Err(AppendError::Closed);
        }
        let arrived_at = self.0.arrival(&mut queue);
        queue.ops.push_back(op(arrived_at));
        drop(queue);
        self.0.schedule();
        Ok(())
    }

    /// Everything that the durable control frames come to.
    pub fn state(&self) -> State {
        self.0.view().state.clone()
    }

    /// Looks at the state without copying it.
    pub fn with_state<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.0.view().state)
    }

    /// How far the journal reaches; changes are told through the receiver.
    pub fn watch(&self) -> watch::Receiver<Tip> {
        self.0.tip.subscribe()
    }

    /// The cursor at a position.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn cursor_at(&self, position: Position) -> io::Result<Cursor> {
        self.0.cursor_at(position)
    }

    /// The first record boundary that lies `size` or more data bytes behind `from`; `None` when the journal does not
    /// hold that much.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn boundary(&self, from: Cursor, size: u64) -> io::Result<Option<Cursor>> {
        self.0.boundary(from, size)
    }

    /// When the first readable record at or behind `position` arrived; `None` when there is none.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn arrival_at(&self, position: Position) -> io::Result<Option<Arrival>> {
        self.0.arrival_at(position)
    }

    /// Reads a batch's records, in order.
    pub fn read(&self, range: standpipe_model::BatchRange) -> BatchReader {
        BatchReader::new(Arc::clone(&self.0), range)
    }

    /// Writes its state once more, so that it goes on as its keys want it now and what is settled can go; resolves when
    /// that is durable.
    ///
    /// # Errors
    /// [`AppendError`]: it goes on so with the next frame.
    pub async fn restate(&self) -> Result<(), AppendError> {
        self.change(Box::new(|_| {})).await
    }

    /// Whether a put of the last ten minutes was accepted: of those before the start, where that is not longer ago.
    pub fn has_accepted(&self, digest: PutDigest) -> bool {
        self.0.queue().puts.is_accepted(digest, self.0.steady_ms())
    }

    /// The space it takes.
    pub fn usage(&self) -> Usage {
        let mut queue = self.0.queue();
        self.0.look_at_shortage(&mut queue);
        Usage {
            used: self.0.used.load(Ordering::Relaxed),
            limit: self.0.options.limit_bytes.min(self.0.shelf.budget.limit()),
            shortage: queue.shortage,
            poisoned: queue.poisoned_until.is_some_and(|until| self.0.steady_ms() < until),
        }
    }

    /// Gives its share of the disk back to the daemon's budget; for a closed journal whose folder is put away.
    pub fn release(&self) {
        let mut spools = self.0.spools();
        spools.clear();
        let used = self.0.used.swap(0, Ordering::Relaxed);
        self.0.shelf.budget.give_back(used);
    }

    /// Refuses everything from now on; resolves when what was waiting before is written and no thread works on the
    /// folder any more, so that it may be moved.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.0.queue();
            if std::mem::replace(&mut queue.closed, true) {
                // Nothing is behind the op of the first time, and nobody would answer for this one.
                drop(reply);
            } else {
                let arrived_at = self.0.arrival(&mut queue);
                queue.ops.push_back(Op::control(Vec::new(), arrived_at, reply));
            }
        }
        self.0.schedule();
        // Each op that waited is told of its own failure; this one has none of its own.
        drop(answer.await);
        let shared = Arc::clone(&self.0);
        // A commit holds the writer until it is done with the folder.
        let idle = tokio::task::spawn_blocking(move || shared.wait_until_idle()).await;
        if let Err(error) = idle {
            tracing::error!(dir = %self.0.dir.display(), %error, "a journal was closed badly");
        }
    }
}

impl Shared {
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_idle(&self) {
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        self.shelf.budget.disk()
    }

    pub(crate) fn steady_ms(&self) -> u64 {
        u64::try_from(self.shelf.clock.steady().as_millis()).unwrap_or(u64::MAX)
    }

    /// The arrival time of what is queued now: the wall clock, but never before what was given out already.
    fn arrival(&self, queue: &mut Queue) -> Timestamp {
        queue.last_arrival = queue.last_arrival.max(self.shelf.clock.now());
        queue.last_arrival
    }

    fn begin(self: &Arc<Self>, put: Append) -> Result<Waiting, AppendError> {
        let body_crc = put.body_crc();
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.queue();
            let known = put.digest.and_then(|digest| queue.puts.known(digest, self.steady_ms()));
            match known {
                // A put that was accepted is answered so, even when there is no room for a new one.
                Some(Known::Answered(receipt)) => return Ok(Waiting::Answered(receipt)),
                Some(Known::Pending(answer)) => return Ok(Waiting::For(answer)),
                None => self.may_append(&mut queue)?,
            }
            if let Some(digest) = put.digest {
                queue.puts.begin(digest);
            }
            let arrived_at = self.arrival(&mut queue);
            queue.ops.push_back(Op::data(put, body_crc, arrived_at, reply));
        }
        self.schedule();
        Ok(Waiting::For(answer))
    }

    fn may_append(&self, queue: &mut Queue) -> Result<(), AppendError> {
        if queue.closed {
            return Err(AppendError::Closed);
        }
        self.keys.usable()?;
        let now = self.steady_ms();
        if queue.poisoned_until.is_some_and(|until| now < until) {
            return Err(AppendError::Poisoned);
        }
        if let Some(shortage) = queue.shortage {
            if now < queue.shortage_looked + SHORTAGE_LOOK_MS {
                return Err(shortage.into());
            }
            queue.shortage_looked = now;
            self.look_at_shortage(queue);
        }
        queue.shortage.map_or(Ok(()), |shortage| Err(shortage.into()))
    }

    /// Lets puts in again when there is room again.
    pub(crate) fn look_at_shortage(&self, queue: &mut Queue) {
        let used = self.used.load(Ordering::Relaxed);
        let limit = self.options.limit_bytes;
        if queue.shortage.is_some() && self.shelf.budget.may_resume(self.options.segment_min, used, limit) {
            queue.shortage = None;
            tracing::info!(dir = %self.dir.display(), used, "journal has room again");
        }
    }

    fn schedule(self: &Arc<Self>) {
        let mut queue = self.queue();
        if !queue.scheduled {
            queue.scheduled = true;
            drop(queue);
            self.shelf.pool.submit(Arc::clone(self));
        }
    }
}

impl Append {
    /// CRC-32C of the frame's body, computed by whoever appends so that the commit threads need not.
    fn body_crc(&self) -> u32 {
        let source = self.source.as_deref().unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c(source), self.block.payload())
    }
}
