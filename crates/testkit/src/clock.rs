//! A clock that moves only when the test says so.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use standpipe_model::{Clock, Timestamp};

/// A clock whose wall time and steady time are set by the test, together or apart.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// A clock that shows `wall` and whose steady time is zero.
    pub fn at(wall: Timestamp) -> Self {
        Self { state: Mutex::new((wall, Duration::ZERO)) }
    }

    /// Time passes: both clocks move on.
    pub fn advance(&self, by: Duration) {
        self.change(|wall, steady| (Timestamp(wall.0 + whole_millis(by)), steady + by));
    }

    /// Only the steady clock moves on, as if the wall clock were being held back.
    pub fn advance_steady(&self, by: Duration) {
        self.change(|wall, steady| (wall, steady + by));
    }

    /// Only the wall clock moves on, as if it had been stepped forward.
    pub fn advance_wall(&self, by: Duration) {
        self.change(|wall, steady| (Timestamp(wall.0 + whole_millis(by)), steady));
    }

    /// Steps the wall clock to `wall`, backwards too; the steady clock stays.
    pub fn set_wall(&self, wall: Timestamp) {
        self.change(|_, steady| (wall, steady));
    }

    fn change(&self, rule: impl FnOnce(Timestamp, Duration) -> (Timestamp, Duration)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = rule(state.0, state.1);
    }

    fn read(&self) -> (Timestamp, Duration) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.read().0
    }

    fn steady(&self) -> Duration {
        self.read().1
    }
}

fn whole_millis(by: Duration) -> u64 {
    u64::try_from(by.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_move_apart() {
        let clock = ManualClock::at(Timestamp(500));
        clock.advance_steady(Duration::from_millis(7));
        clock.advance_wall(Duration::from_secs(1));
        clock.advance(Duration::from_millis(3));
        assert_eq!((clock.now(), clock.steady()), (Timestamp(1_503), Duration::from_millis(10)));
        clock.set_wall(Timestamp(2));
        assert_eq!((clock.now(), clock.steady()), (Timestamp(2), Duration::from_millis(10)));
    }
}
