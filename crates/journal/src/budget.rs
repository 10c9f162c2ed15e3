//! How much disk the journals may take: a limit for the daemon, a floor of free space, and a limit per stream.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::Disk;

/// Puts that were refused for want of space resume when usage is below this share of the limit.
const RESUME_PERCENT: u64 = 95;
/// Above this share of a limit the worker closes what is open, so that it can be delivered and forgotten.
const PRESSURE_PERCENT: u64 = 85;

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
}

impl DiskBudget {
    /// At most `limit` bytes for all journals, leaving `floor` bytes of the file system of `dir` free.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, limit: u64, floor: u64) -> Self {
        Self { disk, dir, limit, floor, used: AtomicU64::new(0) }
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
        let below =
            |used: u64, limit: u64| u128::from(used) * 100 < u128::from(limit) * u128::from(RESUME_PERCENT);
        below(stream_used, stream_limit)
            && below(self.used(), self.limit)
            && self.admit(bytes, stream_used, stream_limit).is_ok()
    }

    /// Whether open ranges should be closed early.
    pub(crate) fn under_pressure(&self, stream_used: u64, stream_limit: u64) -> bool {
        let above = |used: u64, limit: u64| {
            u128::from(used) * 100 >= u128::from(limit) * u128::from(PRESSURE_PERCENT)
        };
        above(stream_used, stream_limit) || above(self.used(), self.limit)
    }
}
