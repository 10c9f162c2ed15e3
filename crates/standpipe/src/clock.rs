//! Waiting by the daemon's own clock, so that a test can move time.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use standpipe_model::{Clock, Entropy};

/// A [`Clock`] that can be waited for.
pub trait Timer: Clock {
    /// Resolves when [`Clock::steady`] reaches `steady`.
    fn sleep_until(&self, steady: Duration) -> BoxFuture<'static, ()>;
}

/// The operating system's clock and tokio's timer.
#[derive(Debug)]
pub struct OsTimer(standpipe_model::OsClock);

impl OsTimer {
    /// A clock whose steady time starts at zero now.
    pub fn start() -> Arc<Self> {
        Arc::new(Self(standpipe_model::OsClock::start()))
    }
}

impl Clock for OsTimer {
    fn now(&self) -> standpipe_model::Timestamp {
        self.0.now()
    }

    fn steady(&self) -> Duration {
        self.0.steady()
    }
}

impl Timer for OsTimer {
    fn sleep_until(&self, steady: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(steady.saturating_sub(self.steady())))
    }
}

/// The operating system's source of chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("a kernel without a working random source cannot run a daemon");
    }
}
