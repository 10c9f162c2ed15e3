//! Forgetting: which segments go, and when. What is settled goes at once, unless the stream has a *retention*: then it
//! is kept until its newest record is older than that, for whoever wants it again.
//!
//! What is kept takes room that nobody else needs. Before puts could be refused, batches be closed early or spools find
//! no room, it goes, oldest first: that of the stream where it nears its own limit, that of whatever stream has the oldest
//! where all journals near theirs or the disk its floor.
//!
//! # Invariants
//! - A segment goes only when everything in it is settled, at destinations and replays.
//! - Segments go in the order of the log, so that what is there has no gaps.
//! - Whenever segments go whose puts are carried on, records go with them: puts that do not fit one segment would else go
//!   round and round, each half of them making way for the other.
//! - Only one journal's writer is ever waited for; that of another is used when it is free, and makes way by itself when
//!   it is not.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use standpipe_model::{Position, Timestamp};
use tokio::sync::oneshot;

use super::rotate::SPARE_NAME;
use super::{Op, RotateError, Spare, Writer};
use crate::format::ENCRYPTED_EXTRA;
use crate::journal::{Journal, Shared};
use crate::segment::Segment;

/// How often it is told at the most that kept segments had to go, in milliseconds.
const CUT_TOLD_MS: u64 = 3_600_000;

/// How long settled segments are kept.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    retention_ms: AtomicU64,
    /// Segments that went before their time.
    cut: AtomicU64,
}

/// How far a writer has looked through the segments that are only kept.
#[derive(Debug, Default)]
pub(super) struct Trimmed {
    /// What was settled then.
    below: Position,
    /// The segment behind them.
    next: u64,
}

/// What a journal still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// The position of the first record that is there; that of the next one where there is none.
    pub first: Position,
    /// When the first record arrived.
    pub oldest: Option<Timestamp>,
    /// When the last one arrived.
    pub newest: Option<Timestamp>,
    /// Bytes on disk that are settled and kept.
    pub retained_bytes: u64,
    /// Segments that went before their time, since it was opened, as room was needed.
    pub cut_segments: u64,
}

impl Journal {
    /// Keeps settled segments from now on until their newest record is older than `retention`, or room is needed; zero
    /// keeps none. It says itself what is to go now only with the next commit, or when it is told to [`tidy`](Self::tidy).
    pub fn keep_settled(&self, retention: Duration) {
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        self.0.keeping.retention_ms.store(retention_ms, Ordering::Relaxed);
        self.0.shelf.budget.note_keeper(&self.0, retention_ms > 0);
    }

    /// What it still has.
    pub fn kept(&self) -> Kept {
        let view = self.0.view();
        let lowest = view.state.lowest_unsettled();
        let mut kept = Kept {
            first: view.state.next,
            cut_segments: self.0.keeping.cut.load(Ordering::Relaxed),
            ..Kept::default()
        };
        let newest = view.segments.keys().next_back();
        for (sequence, segment) in &view.segments {
            let extent = segment.extent();
            if extent.next <= lowest && Some(sequence) != newest {
                kept.retained_bytes += segment.capacity;
            }
            if extent.records > 0 {
                if kept.oldest.is_none() {
                    (kept.first, kept.oldest) = (segment.first, extent.min_arrived);
                }
                kept.newest = Some(extent.max_arrived);
            }
        }
        kept
    }

    /// Forgets what nobody needs any more, as each commit does; for a journal that has none. Waits for a commit that is
    /// under way; blocking.
    pub fn tidy(&self) {
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.0.queue().closed {
            self.0.reclaim(&mut writer);
            self.0.look_at_pressure();
        }
    }
}

impl Writer {
    /// About as many bytes as the next segment takes that are not allocated already, where it is to hold `bytes`.
    pub(super) fn will_allocate(&self, bytes: u64) -> u64 {
        match &self.prepared {
            Some(prepared) if prepared.capacity > 2 * bytes => 0,
            _ => self.size_class.max(2 * bytes),
        }
    }
}

impl Shared {
    /// Forgets the segments that nobody needs any more. The newest stays: it holds the state.
    pub(crate) fn reclaim(&self, writer: &mut Writer) {
        if writer.poisoned {
            return;
        }
        let retention_ms = self.keeping.retention_ms.load(Ordering::Relaxed);
        let now = self.shelf.clock.now();
        let is_old = |segment: &Segment| {
            let age = now.since(segment.extent().max_arrived);
            retention_ms == 0 || age > Duration::from_millis(retention_ms)
        };
        self.forget_settled(writer, self.settled(is_old));
        self.make_way(writer, 0);
        if retention_ms > 0 {
            self.trim(writer);
        }
    }

    /// The settled segments from the oldest on, for as long as they are `wanted`. Those at the end that have no records
    /// but puts which may still come again are not among them.
    fn settled(&self, wanted: impl Fn(&Segment) -> bool) -> Vec<Arc<Segment>> {
        let mut settled: Vec<Arc<Segment>> = {
            let view = self.view();
            let lowest = view.state.lowest_unsettled();
            let newest = view.segments.keys().next_back().copied();
            let gone = |segment: &&Arc<Segment>| {
                Some(segment.sequence) != newest && segment.extent().next <= lowest && wanted(segment)
            };
            view.segments.values().take_while(gone).cloned().collect()
        };
        let is_needed = |segment: &Arc<Segment>| {
            let has_records = segment.extent().records > 0;
            !has_records && self.queue().puts.is_home(segment.sequence, self.steady_ms())
        };
        while settled.last().is_some_and(is_needed) {
            settled.pop();
        }
        settled
    }

    /// The oldest settled segment that has records, and those before it.
    fn oldest_settled(&self) -> Vec<Arc<Segment>> {
        let taken = Cell::new(false);
        self.settled(|segment| !taken.replace(taken.get() || segment.extent().records > 0))
    }

    /// Forgets settled segments, the oldest. Returns whether they are gone.
    fn forget_settled(&self, writer: &mut Writer, settled: Vec<Arc<Segment>>) -> bool {
        if settled.is_empty() || !self.carry_puts(writer, &settled) {
            return false;
        }
        for segment in settled {
            self.view().segments.remove(&segment.sequence);
            writer.lingering.push(segment);
        }
        let faded = self.fade(writer);
        if let Err(error) = &faded {
            tracing::warn!(dir = %self.dir.display(), %error, "settled segments cannot be removed for good yet");
        }
        self.look_at_shortage(&mut self.queue());
        faded.is_ok()
    }

    /// Whether what is only kept, here or in any journal, is in the way of `bytes` more.
    pub(crate) fn is_tight(&self, bytes: u64) -> bool {
        self.is_tight_here(bytes) || self.shelf.budget.is_tight(bytes)
    }

    fn is_tight_here(&self, bytes: u64) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        self.keeping.retention_ms.load(Ordering::Relaxed) > 0
            && self.shelf.budget.is_tight_for(bytes, used, self.options.limit_bytes)
    }

    /// Forgets kept segments before their time, until it is tight no more or none is left.
    pub(crate) fn make_way(&self, writer: &mut Writer, bytes: u64) {
        while (self.is_tight_here(bytes) && self.cut(writer))
            || (self.shelf.budget.is_tight(bytes) && self.cut_oldest_of_all(writer))
        {}
    }

    /// Forgets the oldest kept segment of all journals; that of one which commits right now is passed over.
    fn cut_oldest_of_all(&self, writer: &mut Writer) -> bool {
        let keepers = self.shelf.budget.keepers().into_iter();
        let oldest = |keeper: &Arc<Shared>| Some(keeper.oldest_settled().last()?.extent().max_arrived);
        let mut keepers: Vec<_> = keepers.filter_map(|keeper| Some((oldest(&keeper)?, keeper))).collect();
        keepers.sort_by_key(|(arrived, _)| *arrived);
        keepers.into_iter().any(|(_, keeper)| {
            if std::ptr::eq(Arc::as_ptr(&keeper), self) {
                return self.cut(writer);
            }
            match keeper.writer.try_lock() {
                Ok(mut writer) => keeper.cut(&mut writer),
                Err(TryLockError::Poisoned(writer)) => keeper.cut(&mut writer.into_inner()),
                Err(TryLockError::WouldBlock) => false,
            }
        })
    }

    /// Forgets its oldest kept records. Returns whether something went.
    fn cut(&self, writer: &mut Writer) -> bool {
        // The folder of a closed journal may be on its way elsewhere.
        if writer.poisoned || self.queue().closed {
            return false;
        }
        let oldest = self.oldest_settled();
        let Some(up_to) = oldest.last().map(|last| last.extent().max_arrived) else { return false };
        let retention_ms = self.keeping.retention_ms.load(Ordering::Relaxed);
        let with_records = oldest.iter().filter(|segment| segment.extent().records > 0).count() as u64;
        if !self.forget_settled(writer, oldest) {
            return false;
        }
        self.keeping.cut.fetch_add(with_records, Ordering::Relaxed);
        let now = self.steady_ms();
        if with_records > 0 && writer.cut_told.is_none_or(|told| now >= told + CUT_TOLD_MS) {
            writer.cut_told = Some(now);
            tracing::warn!(dir = %self.dir.display(), up_to = up_to.to_rfc3339(), retention_ms,
                "room is needed: delivered records are forgotten before their retention is over");
        }
        true
    }

    /// Lets go of the indices of segments that are only kept; who reads one makes its anew.
    fn trim(&self, writer: &mut Writer) {
        let view = self.view();
        let lowest = view.state.lowest_unsettled();
        if lowest < writer.trimmed.below {
            // They are read again.
            writer.trimmed.next = 0;
        }
        writer.trimmed.below = lowest;
        let newest = view.segments.keys().next_back().copied();
        for (sequence, segment) in view.segments.range(writer.trimmed.next..) {
            if Some(*sequence) == newest || segment.extent().next > lowest {
                return;
            }
            segment.forget_index();
            writer.trimmed.next = sequence + 1;
        }
    }

    /// Writes the puts that may still come again, and that would be forgotten with `settled`, at the end of the log.
    /// Returns whether the segments may go: also when there is no room for that, as they are what makes room.
    fn carry_puts(&self, writer: &mut Writer, settled: &[Arc<Segment>]) -> bool {
        let leaving: Vec<u64> = settled.iter().map(|segment| segment.sequence).collect();
        let (frames, digests) = self.queue().puts.carry(&leaving, self.steady_ms());
        if digests.is_empty() {
            return true;
        }
        let (reply, _) = oneshot::channel();
        let op = Op::control(frames, self.shelf.clock.now(), reply);
        if !(self.may_go_on(writer) && writer.has_room(op.len(writer.extra()), false)) {
            match self.rotate(writer, op.len(ENCRYPTED_EXTRA), false) {
                Ok(()) => {}
                Err(RotateError::NoKey(trouble)) => {
                    tracing::debug!(dir = %self.dir.display(), %trouble, "settled segments stay until the key is back");
                    return false;
                }
                Err(RotateError::NoRoom(shortage)) => {
                    tracing::warn!(dir = %self.dir.display(), %shortage, puts = digests.len(),
                        "no room to remember puts of forgotten segments; after a restart they are new again");
                    return true;
                }
                Err(RotateError::TooLarge(error)) => {
                    tracing::warn!(dir = %self.dir.display(), %error, puts = digests.len(),
                        "puts of forgotten segments cannot be remembered; after a restart they are new again");
                    return true;
                }
                Err(RotateError::Io(error)) => {
                    self.poison(writer, &error);
                    return false;
                }
            }
        }
        match self.write_run(writer, VecDeque::from([op])) {
            Ok(false) => return false,
            Ok(true) => {}
            Err((error, _)) => {
                self.poison(writer, &error);
                return false;
            }
        }
        if let Some(active) = &writer.active {
            self.queue().puts.carried(&digests, active.segment.sequence);
        }
        true
    }

    /// Removes the files of settled segments, and makes sure that encrypted ones do not come back.
    ///
    /// # Errors
    /// Some are still there, or may come back; it is for another time.
    pub(crate) fn fade(&self, writer: &mut Writer) -> io::Result<()> {
        let mut failed = None;
        for segment in std::mem::take(&mut writer.lingering) {
            match self.forget(writer, &segment) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.give_back(segment.capacity),
                Err(error) => {
                    writer.lingering.push(segment);
                    failed = Some(error);
                }
            }
        }
        if writer.fading {
            self.disk().sync_dir(&self.dir)?;
            writer.fading = !writer.lingering.is_empty();
        }
        failed.map_or(Ok(()), Err)
    }

    fn forget(&self, writer: &mut Writer, segment: &Segment) -> io::Result<()> {
        writer.fading |= segment.keyed.is_some();
        // The file of an encrypted segment has never held anything else.
        let held_plain = segment.keyed.is_none();
        let encrypting = writer.begun().is_some_and(|begun| begun.keyed.is_some());
        if writer.spare.is_none()
            && segment.capacity == writer.size_class
            && !(held_plain && encrypting)
            && self.queue().shortage.is_none()
        {
            let path = self.dir.join(SPARE_NAME);
            self.disk().rename(&segment.path, &path)?;
            writer.spare = Some(Spare { path, capacity: segment.capacity, held_plain });
            return Ok(());
        }
        self.disk().remove(&segment.path)?;
        self.give_back(segment.capacity);
        Ok(())
    }
}
