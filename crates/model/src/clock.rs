//! Time and chance, passed in so that a seed replays a failure.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// How long `self` lies after `earlier`; zero when it does not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same instant as a calendar date and time in UTC.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(i64::try_from(self.0).unwrap_or(i64::MAX))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The instant as RFC 3339 has it, in UTC with milliseconds.
    pub fn to_rfc3339(self) -> String {
        self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock. It may step in either direction.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point in this process's life. It never runs backwards; ages are measured with it.
    fn steady(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct OsClock {
    started: Instant,
}

impl OsClock {
    /// A clock whose steady time starts at zero now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for OsClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn steady(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Where chance comes from: ids and retry jitter.
pub trait Entropy: Send + Sync + Debug {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);

    /// A random 64-bit number.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
