//! The daemon's own settings: how much disk and memory it takes, what it notes down, how it stops.

use std::path::PathBuf;
use std::time::Duration;

use super::rates::{RatesConfig, rates};
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{FilePath, Int, Size, Span};
use super::streams::{JOURNAL_LIMIT_MAX, JOURNAL_LIMIT_MIN};
use super::units::parse_size;

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskShare {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of the file system's size.
    Percent(u8),
}

impl DiskShare {
    /// The share in bytes of a file system of `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total / 100 * u64::from(percent),
        }
    }
}

/// How much disk the journals may take, and how they sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// The most that all journals take together.
    pub limit: DiskShare,
    /// Free space that is left alone; where absent, see [`JournalConfig::free_floor_of`].
    pub free_floor: Option<DiskShare>,
    /// Threads that wait for the disk.
    pub sync_threads: usize,
}

impl JournalConfig {
    /// The bytes to leave free on a file system of `total` bytes; without a setting the larger of 1 GiB and 5 %.
    pub fn free_floor_of(&self, total: u64) -> u64 {
        self.free_floor.map_or_else(|| DiskShare::Percent(5).of(total).max(1 << 30), |floor| floor.of(total))
    }
}

/// What the front end takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open connections.
    pub connections: usize,
    /// Bytes of request bodies held in memory.
    pub body_budget: u64,
    /// How long a request's headers may take.
    pub header_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

/// How the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopConfig {
    /// How long deliveries may go on after a stop was asked for; what is not delivered stays in the journal.
    pub drain: Duration,
}

/// Reads `journal`.
pub(super) fn journal(section: &mut Section<'_, '_>) -> Option<JournalConfig> {
    Some(JournalConfig {
        limit: section.or(
            "limit",
            Share { min: JOURNAL_LIMIT_MIN },
            "80%",
            "The most that all journals together take, as a size or as a part of the disk; puts are refused beyond it.",
        ),
        free_floor: section.optional(
            "free_floor",
            Share { min: 0 },
            "Free space that journals leave alone, whoever else fills the disk, as a size or as a part of the disk. The \
             larger of 1 GiB and 5 % where absent.",
        ),
        sync_threads: section.or(
            "sync_threads",
            Count(1..=64),
            "4",
            "Threads that wait for the disk; more help where many streams are busy at once.",
        ),
    })
}

/// Reads `limits`.
pub(super) fn limits(section: &mut Section<'_, '_>) -> Option<(LimitsConfig, RatesConfig)> {
    let limits = LimitsConfig {
        connections: section.or(
            "connections",
            Count(1..=1_000_000),
            "4096",
            "Open connections; further ones wait in the kernel's queue.",
        ),
        body_budget: section.or(
            "body_budget",
            Size(8 << 20..=64 << 30),
            "32MiB",
            "Bytes of request bodies held in memory at once; a request that finds no room is asked to come back.",
        ),
        header_timeout: section.or(
            "header_timeout",
            Span::secs(1..=600),
            "75s",
            "How long a request's headers may take, and a connection may idle between requests; SDKs keep idle \
             connections for about a minute.",
        ),
        body_timeout: section.or("body_timeout", Span::secs(1..=3600), "30s", "How long a request's body may take."),
    };
    Some((limits, rates(section)))
}

/// Reads `audit`: where to, if it is a file.
pub(super) fn audit(section: &mut Section<'_, '_>) -> Option<Option<PathBuf>> {
    Some(section.optional(
        "path",
        FilePath,
        "The file that a line is appended to for each call other than a put, and for each call that was denied. Where \
         absent, changes and denials are in the daemon's own log.",
    ))
}

/// Reads `stop`.
pub(super) fn stop(section: &mut Section<'_, '_>) -> Option<StopConfig> {
    Some(StopConfig {
        drain: section.or(
            "drain",
            Span::secs(0..=3600),
            "0s",
            "How long open batches are closed and delivered when a stop is asked for. What is not delivered is safe in \
             the journal, so 0 loses nothing.",
        ),
    })
}

/// A small whole number.
struct Count(std::ops::RangeInclusive<u64>);

impl Shape for Count {
    type Out = usize;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<usize> {
        let number = Int(self.0.clone()).read(at)?;
        usize::try_from(number)
            .map_or_else(|_| at.refuse(format!("{number} is too large for this machine")), Some)
    }

    fn schema(&self) -> Schema {
        Int(self.0.clone()).schema()
    }
}

/// A size, or a percentage of the disk.
struct Share {
    min: u64,
}

impl Shape for Share {
    type Out = DiskShare;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<DiskShare> {
        let text = at.text()?;
        let Some(percent) = text.strip_suffix('%') else {
            if parse_size(&text).is_err() {
                return at
                    .refuse(format!("\"{text}\" is neither a size as 10GiB nor a part of the disk as 80%"));
            }
            return Size(self.min..=JOURNAL_LIMIT_MAX).read(at).map(DiskShare::Bytes);
        };
        match percent.trim().parse::<u8>() {
            Ok(percent @ 1..=100) => Some(DiskShare::Percent(percent)),
            _ => at.refuse(format!("\"{text}\" is not a whole number of percent from 1% to 100%")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern {
            what: "size, or part of the disk as `80%`".to_owned(),
            pattern: r"^[0-9.]+ ?(%|[KMGTkmgt]?[Ii]?[Bb])?$",
        }
    }
}
