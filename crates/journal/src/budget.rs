//! How much disk the journals may take: a limit for the daemon, a floor of free space, and a limit per stream.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::disk::Disk;
use crate::journal::Shared;

/// Puts that were refused for want of space resume when usage is below this share of the limit.
const RESUME_PERCENT: u64 = 95;
/// Above this share of a limit workers close what is open and holds the oldest segment, so that it can be delivered and
/// forgotten.
const PRESSURE_PERCENT: u64 = 85;
/// Above this share of a limit, what is settled and only kept makes way: early enough for nobody else to notice it, as
/// a segment takes a sixteenth of the limit at the most.
const KEPT_PERCENT: u64 = 75;
/// The most bytes above the floor that are left free of what is only kept: a few of the largest segments.
const KEPT_FREE_BYTES: u64 = 256 << 20;

fn is_above(used: u64, limit: u64, percent: u64) -> bool {
    u128::from(used) * 100 >= u128::from(limit) * u128::from(percent)
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// The stream's own limit.
    #[error("the stream's journal holds {used} bytes, its limit is {limit}")]
    Stream {
        /// Bytes it takes on disk.
        used: u64,
        /// Its limit.
        limit: u64,
    },
    /// The limit of all journals together.
    #[error("all journals hold {used} bytes, their limit is {limit}")]
    Daemon {
        /// Bytes they take on disk.
        used: u64,
        /// Their limit.
        limit: u64,
    },
    /// The free-space floor.
    #[error("the disk has {free} bytes free, the floor is {floor}")]
    Floor {
        /// Free bytes.
        free: u64,
        /// The floor.
        floor: u64,
    },
    /// The disk itself said no.
    #[error("the disk is full")]
    Disk,
    /// The system gave no new segment for another reason, such as the limit of open files; nothing is damaged.
    #[error("the system gave no room for a new segment")]
    System,
}

/// The share of the disk that all journals of a daemon have together.
#[derive(Debug)]
pub struct DiskBudget {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    limit: u64,
    floor: u64,
    used: AtomicU64,
    /// The journals that keep what is settled.
    keepers: Mutex<Vec<Weak<Shared>>>,
}

impl DiskBudget {
    /// At most `limit` bytes for all journals, leaving `floor` bytes of the file system of `dir` free.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, limit: u64, floor: u64) -> Self {
        Self { disk, dir, limit, floor, used: AtomicU64::new(0), keepers: Mutex::default() }
    }

    /// Bytes that all journals take on disk.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most they may take.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Free bytes of the file system; as large as can be when it cannot be asked, as the write itself will tell then.
    pub fn free(&self) -> u64 {
        self.disk.space(&self.dir).map_or(u64::MAX, |space| space.free)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether `bytes` more may be taken by a stream that takes `stream_used` of its `stream_limit`.
    ///
    /// # Errors
    /// The limit that is in the way.
    pub(crate) fn admit(&self, bytes: u64, stream_used: u64, stream_limit: u64) -> Result<(), Shortage> {
        if stream_used + bytes > stream_limit {
            return Err(Shortage::Stream { used: stream_used, limit: stream_limit });
        }
        let used = self.used();
        if used + bytes > self.limit {
            return Err(Shortage::Daemon { used, limit: self.limit });
        }
        let free = self.free();
        if free < self.floor.saturating_add(bytes) {
            return Err(Shortage::Floor { free, floor: self.floor });
        }
        Ok(())
    }

    /// Whether `bytes` more may be taken, whatever the limits, for what makes room later on. Half of the floor is left
    /// alone.
    ///
    /// # Errors
    /// [`Shortage::Floor`].
    pub(crate) fn admit_urgent(&self, bytes: u64) -> Result<(), Shortage> {
        let (free, floor) = (self.free(), self.floor / 2);
        if free < floor.saturating_add(bytes) { Err(Shortage::Floor { free, floor }) } else { Ok(()) }
    }

    /// Whether puts that were refused may come again.
    pub(crate) fn may_resume(&self, bytes: u64, stream_used: u64, stream_limit: u64) -> bool {
        !is_above(stream_used, stream_limit, RESUME_PERCENT)
            && !is_above(self.used(), self.limit, RESUME_PERCENT)
            && self.admit(bytes, stream_used, stream_limit).is_ok()
    }

    /// Whether room is getting scarce.
    pub(crate) fn under_pressure(&self, stream_used: u64, stream_limit: u64) -> bool {
        is_above(stream_used, stream_limit, PRESSURE_PERCENT)
            || is_above(self.used(), self.limit, PRESSURE_PERCENT)
    }

    fn all_keepers(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a journal keeps what is settled.
    pub(crate) fn note_keeper(&self, journal: &Arc<Shared>, keeps: bool) {
        let mut keepers = self.all_keepers();
        keepers.retain(|keeper| {
            keeper.strong_count() > 0 && !std::ptr::eq(keeper.as_ptr(), Arc::as_ptr(journal))
        });
        if keeps {
            keepers.push(Arc::downgrade(journal));
        }
    }

    /// The journals that keep what is settled.
    pub(crate) fn keepers(&self) -> Vec<Arc<Shared>> {
        self.all_keepers().iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether what a stream only keeps is in the way of `bytes` more by its own limit.
    pub(crate) fn is_tight_for(&self, bytes: u64, stream_used: u64, stream_limit: u64) -> bool {
        is_above(stream_used.saturating_add(bytes), stream_limit, KEPT_PERCENT)
    }

    /// Whether what journals only keep is in the way of `bytes` more.
    pub(crate) fn is_tight(&self, bytes: u64) -> bool {
        let leaves = self.floor.saturating_add(KEPT_FREE_BYTES.min(self.floor / 2)).saturating_add(bytes);
        let is_full = || is_above(self.used().saturating_add(bytes), self.limit, KEPT_PERCENT);
        !self.all_keepers().is_empty() && (is_full() || self.free() < leaves)
    }
}
