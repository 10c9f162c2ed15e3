//! What the journal keeps from being done: a batch that cannot be closed, a replay that cannot be ended. It is tried again
//! every half second for as long as that takes; who follows a replay sees why, and after a while a human is told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Line;
use crate::alarm::AlarmKind;

/// How long it may last before a human is told.
const TOLD_AFTER: Duration = Duration::from_mins(1);

/// Since when it lasts, in this process.
#[derive(Debug, Default)]
pub(crate) struct Stuck(Mutex<Option<Duration>>);

impl Stuck {
    fn since(&self) -> MutexGuard<'_, Option<Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that it has failed once more; returns whether a human is to be told.
    fn note(&self, now: Duration) -> bool {
        now.saturating_sub(*self.since().get_or_insert(now)) >= TOLD_AFTER
    }

    /// It is over; returns whether it was there.
    fn end(&self) -> bool {
        self.since().take().is_some()
    }
}

impl Line {
    /// Tells of what could not be done and will be tried again. One that an alarm of its own tells of is not told of twice.
    pub(super) fn note_stuck(&self, message: String, has_alarm: bool) {
        self.set_waiting(Some(message.clone()));
        if self.stuck.note(self.context.timer.steady()) && !has_alarm {
            self.raise(AlarmKind::JournalFailed, self.destination.as_str(), message);
        }
    }

    /// It was done.
    pub(super) fn note_unstuck(&self) {
        if self.stuck.end() {
            self.set_waiting(None);
            self.clear(AlarmKind::JournalFailed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_human_is_told_of_what_lasts_for_a_minute() {
        let (stuck, at) = (Stuck::default(), Duration::from_secs);
        assert!(!stuck.end());
        assert!(!stuck.note(at(5)) && !stuck.note(at(64)) && stuck.note(at(65)));
        assert!(stuck.end() && !stuck.end());
        assert!(!stuck.note(at(66)), "it begins anew");
    }
}
