//! A replay, as a worker's line: it delivers like the destination that it replays, up to its end, and ends itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standpipe_journal::AppendError;
use standpipe_journal::control::{Close, Replay};
use standpipe_model::{DestinationId, Position, StreamName, Tally, Timestamp};

use super::deliver::AttemptError;
use super::into::PutThrough;
use super::{JOURNAL_RETRY, Line, chain};
use crate::alarm::AlarmKind;

/// A replay that is under way, or is over.
#[derive(Debug)]
pub(crate) struct Replaying {
    /// What its progress is known by.
    pub(crate) id: DestinationId,
    /// Where it begins.
    pub(crate) start: Position,
    /// What it replays.
    pub(crate) replay: Replay,
    /// What it is called in the metrics: all replays are one there, as there may be any number of them.
    label: DestinationId,
    standing: Mutex<Standing>,
    /// How far batches are put into another stream that could not note it.
    pub(super) put_through: PutThrough,
}

#[derive(Debug, Default)]
struct Standing {
    waiting: Option<String>,
    abandoned: u64,
    ended: Option<Ended>,
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    /// Somebody stopped it, or its destination is gone.
    pub(crate) early: bool,
    /// What became of its records.
    pub(crate) tally: Tally,
}

impl Replaying {
    pub(crate) fn new(id: DestinationId, start: Position, replay: Replay) -> Arc<Self> {
        let label = DestinationId::any_replay();
        let (standing, put_through) = (Mutex::default(), PutThrough::default());
        Arc::new(Self { id, start, replay, label, standing, put_through })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it waits for, as the latest attempt failed.
    pub(crate) fn waiting(&self) -> Option<String> {
        self.standing().waiting.clone()
    }

    /// Notes what it waits for.
    pub(crate) fn wait_for(&self, waiting: Option<String>) {
        self.standing().waiting = waiting;
    }

    /// Records that an operator gave up, in this process; they count as dropped.
    pub(crate) fn abandoned(&self) -> u64 {
        self.standing().abandoned
    }

    pub(super) fn note_abandoned(&self, records: u64) {
        self.standing().abandoned += records;
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.standing().ended
    }

    /// Notes how it ended; who comes first knows.
    pub(crate) fn end(&self, ended: Ended) {
        let mut standing = self.standing();
        standing.waiting = None;
        standing.ended.get_or_insert(ended);
    }
}

impl Line {
    /// The destination in the metrics.
    pub(super) fn label(&self) -> &DestinationId {
        self.replay.as_ref().map_or(&self.destination, |replaying| &replaying.label)
    }

    /// The stream that its records are put to, where they are.
    pub(super) fn goes_into(&self) -> Option<&StreamName> {
        self.replay.as_ref()?.replay.into.as_ref()
    }

    /// Since when a batch that is not delivered lags behind: what is replayed is old from the beginning.
    pub(super) fn lags_since(&self, close: &Close) -> Timestamp {
        if self.replay.is_some() { close.closed_at } else { close.arrived_at }
    }

    /// The position behind the last record that a batch may have which begins at `from`.
    pub(super) fn bound(&self, from: Position) -> Option<Position> {
        let replay = &self.replay.as_ref()?.replay;
        // With a rate, as many as would have come in by the interval, but those of a second at the least.
        let most = replay.rate.map_or(u64::MAX, |rate| {
            u64::from(rate).max(u64::from(rate).saturating_mul(self.hints().interval_ms) / 1_000).max(1)
        });
        Some(replay.end.min(from.advance(most)))
    }

    /// Notes for a replay what it waits for.
    pub(super) fn note_waiting(&self, error: Option<&AttemptError>) {
        self.set_waiting(error.map(|error| chain(error)));
    }

    pub(super) fn set_waiting(&self, waiting: Option<String>) {
        if let Some(replaying) = &self.replay {
            replaying.wait_for(waiting);
        }
    }

    /// Ends its replay, which has come to its end, as soon as the journal takes that.
    pub(super) async fn end_replay(&self) {
        let Some(replaying) = &self.replay else { return };
        let tally = self.journal.with_state(|state| state.destinations.get(&replaying.id).map(|p| p.tally));
        loop {
            match self.journal.end_replay(replaying.id.clone()).await {
                Ok(()) => break,
                Err(AppendError::Closed) => return,
                Err(error) => {
                    tracing::warn!(stream = %self.stream, replay = %replaying.id, %error, "a replay cannot be ended yet");
                    let has_alarm = matches!(error, AppendError::Key(_));
                    self.note_stuck(format!("the replay cannot be ended: {}", chain(&error)), has_alarm);
                }
            }
            self.context.timer.sleep_until(self.context.timer.steady() + JOURNAL_RETRY).await;
        }
        self.note_unstuck();
        let tally = tally.unwrap_or_default();
        [AlarmKind::JournalFailed, AlarmKind::Misconfigured, AlarmKind::RetryExhausted]
            .into_iter()
            .for_each(|kind| self.clear(kind));
        replaying.end(Ended { at: self.context.timer.now(), early: false, tally });
        tracing::info!(stream = %self.stream, replay = %replaying.id, ?tally, "replay ends");
    }
}
