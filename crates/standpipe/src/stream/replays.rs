//! Replays of a stream: what a range of time has, beginning one, stopping it, and taking up those that the journal knows.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standpipe_journal::control::{Progress, Replay};
use standpipe_journal::{AppendError, Journal, Kept};
use standpipe_model::{DestinationId, Position, StreamName, Tally, Timestamp};

use super::Stream;
use crate::alarm::AlarmKind;
use crate::worker::{Ended, Replaying, Worker};

/// How many replays of a stream may be under way.
const REPLAYS_MAX: usize = 4;
/// How many that are over are remembered.
const ENDED_MAX: usize = 16;

/// A replay that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct ReplayOrders {
    /// The destination that it is for.
    pub(crate) of: DestinationId,
    /// The first arrival time; `None` is that of the oldest record that is kept.
    pub(crate) from: Option<Timestamp>,
    /// The arrival time before which it ends; `None` is the end of the journal.
    pub(crate) to: Option<Timestamp>,
    /// The stream that the records are put to, in the place of the destination.
    pub(crate) into: Option<StreamName>,
    /// Records per second, at the most.
    pub(crate) rate: Option<u32>,
}

/// What a range of time has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) bytes: u64,
    /// What there is at all.
    pub(crate) kept: Kept,
}

/// A replay was not begun, or there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// It was to begin with records that are gone.
    #[error("{}; \"from_oldest\" replays what there is", kept_from(.0))]
    NotKept(Kept),
    /// It has no records.
    #[error("no record arrived in that time")]
    Nothing,
    /// There are enough.
    #[error("{REPLAYS_MAX} replays of the stream are under way already")]
    Busy,
    /// There is none of that id.
    #[error("the stream has no such replay under way")]
    Unknown,
    /// The journal could not be read.
    #[error("the journal could not be read")]
    Read(#[source] io::Error),
    /// The journal took no frame.
    #[error("the journal took no frame")]
    Append(#[from] AppendError),
}

fn kept_from(kept: &Kept) -> String {
    match kept.oldest {
        Some(oldest) => format!("only what arrived at {} or later is kept", oldest.to_rfc3339()),
        None => "nothing is kept".to_owned(),
    }
}

/// The replays of a stream that are under way, and the latest that are over.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<Vec<Arc<Replaying>>>);

impl Replays {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Replaying>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, replaying: &Arc<Replaying>) {
        let mut all = self.all();
        let mut ended = all.iter().filter(|other| other.ended().is_some()).count();
        all.retain(|other| {
            let goes = other.ended().is_some() && ended >= ENDED_MAX;
            ended -= usize::from(goes);
            !goes
        });
        all.push(Arc::clone(replaying));
    }
}

fn span(journal: &Journal, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Span, ReplayError> {
    let kept = journal.kept();
    let start = match from {
        Some(from) if kept.first > Position(0) && kept.oldest.is_none_or(|oldest| from < oldest) => {
            return Err(ReplayError::NotKept(kept));
        }
        Some(from) => journal.position_at(from).map_err(ReplayError::Read)?,
        None => kept.first,
    };
    let end = match to {
        Some(to) => journal.position_at(to).map_err(ReplayError::Read)?,
        None => journal.watch().borrow().next,
    };
    if end <= start {
        return Err(ReplayError::Nothing);
    }
    let bytes_at =
        |position| journal.cursor_at(position).map(|cursor| cursor.bytes).map_err(ReplayError::Read);
    Ok(Span { start, end, bytes: bytes_at(end)?.saturating_sub(bytes_at(start)?), kept })
}

impl Stream {
    /// The replays that are under way, and the latest that are over.
    pub(crate) fn replays(&self) -> Vec<Arc<Replaying>> {
        self.replays.all().clone()
    }

    /// Whether one is under way.
    pub(crate) fn is_replaying(&self) -> bool {
        self.journal.with_state(|state| state.lasting().count() < state.destinations.len())
    }

    /// What a replay has come to.
    pub(crate) fn replayed(&self, replaying: &Replaying) -> Tally {
        let tally = || {
            self.journal
                .with_state(|state| state.destinations.get(&replaying.id).map(|progress| progress.tally))
        };
        replaying.ended().map(|ended| ended.tally).or_else(tally).unwrap_or_default()
    }

    /// The destination whose shape the batches of a destination have: that which it replays, if it is a replay.
    pub(crate) fn shape_of(&self, id: &DestinationId) -> DestinationId {
        let replay = |progress: &Progress| progress.replay.as_ref().map(|replay| replay.of.clone());
        let of = self.journal.with_state(|state| state.destinations.get(id).and_then(replay));
        of.unwrap_or_else(|| id.clone())
    }

    /// What a range of time has.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub(crate) async fn span(&self, orders: &ReplayOrders) -> Result<Span, ReplayError> {
        let (journal, from, to) = (self.journal.clone(), orders.from, orders.to);
        let looked = tokio::task::spawn_blocking(move || span(&journal, from, to)).await;
        looked.unwrap_or_else(|error| Err(ReplayError::Read(io::Error::other(error))))
    }

    /// Begins a replay; the journal knows it when this returns.
    ///
    /// # Errors
    /// [`ReplayError`]: none was begun.
    pub(crate) async fn begin_replay(&self, orders: ReplayOrders) -> Result<Arc<Replaying>, ReplayError> {
        let mut workers = self.workers.lock().await;
        workers.retain(|worker| !worker.is_over());
        if workers.iter().filter(|worker| worker.replay.is_some()).count() >= REPLAYS_MAX {
            return Err(ReplayError::Busy);
        }
        let span = self.span(&orders).await?;
        let ReplayOrders { of, from, to, into, rate } = orders;
        let now = self.context.timer.now();
        let from = from.or(span.kept.oldest).unwrap_or(now);
        let replay = Replay { of, end: span.end, from, to: to.unwrap_or(now), into, rate, begun_at: now };
        let id = DestinationId::replay(self.context.entropy.next_u64() as u32);
        if !self.journal.begin_replay(id.clone(), span.start, replay.clone()).await? {
            return Err(ReplayError::NotKept(self.journal.kept()));
        }
        let replaying = Replaying::new(id, span.start, replay);
        self.replays.add(&replaying);
        workers.push(self.start_replay(Arc::clone(&replaying)).map_err(ReplayError::Read)?);
        tracing::info!(stream = %self.name, replay = %replaying.id, start = span.start.0, end = span.end.0,
            "replay begins");
        Ok(replaying)
    }

    pub(super) fn start_replay(&self, replaying: Arc<Replaying>) -> io::Result<Worker> {
        let of = replaying.replay.of.clone();
        Worker::start(self.line(replaying.id.clone(), of, Some(replaying)))
    }

    /// Those that the journal knows; what is not among them any more is over.
    pub(super) fn replays_of_journal(&self) -> Vec<Arc<Replaying>> {
        let known = self.journal.with_state(|state| {
            let replay = |(id, progress): (&DestinationId, &Progress)| {
                Some((id.clone(), progress.start, progress.replay.clone()?))
            };
            state.destinations.iter().filter_map(replay).collect::<Vec<_>>()
        });
        for replaying in self.replays().iter().filter(|replaying| replaying.ended().is_none()) {
            if known.iter().all(|(id, ..)| *id != replaying.id) {
                tracing::warn!(stream = %self.name, replay = %replaying.id, "a replay ended with its destination");
                self.end_early(replaying, Tally::default());
            }
        }
        let take_up = |(id, start, replay)| {
            let under_way = self.replays().into_iter().find(|replaying| replaying.id == id);
            under_way.unwrap_or_else(|| {
                let replaying = Replaying::new(id, start, replay);
                self.replays.add(&replaying);
                replaying
            })
        };
        known.into_iter().map(take_up).collect()
    }

    /// Stops a replay: what it has not delivered stays so, what is under way may arrive or not.
    ///
    /// # Errors
    /// [`ReplayError`]: it goes on, or there is none.
    pub(crate) async fn stop_replay(&self, id: &str) -> Result<Arc<Replaying>, ReplayError> {
        let mut workers = self.workers.lock().await;
        let is_it = |worker: &Worker| worker.destination.as_str() == id && !worker.is_over();
        let at = workers.iter().position(is_it).ok_or(ReplayError::Unknown)?;
        let replaying = workers[at].replay.clone().ok_or(ReplayError::Unknown)?;
        let progress = self.journal.with_state(|state| state.destinations.get(&replaying.id).cloned());
        let progress = progress.unwrap_or_default();
        self.journal.end_replay(replaying.id.clone()).await?;
        workers.swap_remove(at).stop().await;
        drop(workers);
        for batch in progress.open.keys() {
            self.context.alarms.clear(Some(&self.name), AlarmKind::Refused, &batch.to_string());
        }
        let journal = self.journal.clone();
        let tidied = tokio::task::spawn_blocking(move || journal.tidy_spools()).await;
        if let Err(error) = tidied.map_err(io::Error::other).flatten() {
            tracing::warn!(stream = %self.name, %error, "spools of a replay cannot be removed before the next start");
        }
        self.end_early(&replaying, progress.tally);
        tracing::info!(stream = %self.name, replay = id, tally = ?progress.tally, "replay stopped");
        Ok(replaying)
    }

    fn end_early(&self, replaying: &Replaying, tally: Tally) {
        for kind in [AlarmKind::Misconfigured, AlarmKind::RetryExhausted] {
            self.context.alarms.clear(Some(&self.name), kind, replaying.id.as_str());
        }
        replaying.end(Ended { at: self.context.timer.now(), early: true, tally });
    }
}
