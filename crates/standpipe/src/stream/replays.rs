//! Replays of a stream: what a range of time has, beginning one, stopping it, and taking up those that the journal knows.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standpipe_journal::control::{Progress, Replay};
use standpipe_journal::{AppendError, Journal, Kept};
use standpipe_model::{DestinationId, Position, StreamName, Tally, Timestamp};

use super::Stream;
use crate::alarm::AlarmKind;
use crate::worker::{Ended, JOURNAL_RETRY, Replaying, Worker};

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
    /// The stream goes, with everything in it.
    #[error("the stream is being deleted")]
    Deleting,
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

/// The replays of a stream.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// Those that are under way, and the latest that are over.
    all: Mutex<Vec<Arc<Replaying>>>,
    /// Those that were not begun after all, and that the journal is still to hear so of.
    unrun: Mutex<BTreeSet<DestinationId>>,
}

impl Replays {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Replaying>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unrun(&self) -> MutexGuard<'_, BTreeSet<DestinationId>> {
        self.unrun.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// What a replay has come to.
    pub(crate) fn replayed(&self, replaying: &Replaying) -> Tally {
        let tally = || {
            self.journal
                .with_state(|state| state.destinations.get(&replaying.id).map(|progress| progress.tally))
        };
        replaying.ended().map(|ended| ended.tally).or_else(tally).unwrap_or_default()
    }

    /// The destinations and versions by which the open batches are delivered: of a replay, those of what it replays; none
    /// where it goes into another stream.
    pub(crate) fn open_shapes(&self) -> BTreeSet<(DestinationId, u64)> {
        self.journal.with_state(|state| {
            let mut shapes = BTreeSet::new();
            for (id, progress) in &state.destinations {
                let of = match &progress.replay {
                    None => id,
                    Some(Replay { into: None, of, .. }) => of,
                    Some(Replay { into: Some(_), .. }) => continue,
                };
                shapes.extend(progress.open.values().map(|open| (of.clone(), open.close.version)));
            }
            shapes
        })
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
        if self.is_being_deleted() {
            return Err(ReplayError::Deleting);
        }
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
        match self.journal.begin_replay(id.clone(), span.start, replay.clone()).await {
            Ok(true) => {}
            Ok(false) => return Err(ReplayError::NotKept(self.journal.kept())),
            Err(error) => {
                self.end_unrun(id);
                return Err(error.into());
            }
        }
        let replaying = Replaying::new(id.clone(), span.start, replay);
        let worker = self.start_replay(Arc::clone(&replaying)).map_err(|error| {
            self.end_unrun(id);
            ReplayError::Read(error)
        })?;
        workers.push(worker);
        self.replays.add(&replaying);
        tracing::info!(stream = %self.name, replay = %replaying.id, start = span.start.0, end = span.end.0,
            "replay begins");
        Ok(replaying)
    }

    pub(super) fn start_replay(&self, replaying: Arc<Replaying>) -> io::Result<Worker> {
        let of = replaying.replay.of.clone();
        Worker::start(self.line(replaying.id.clone(), of, Some(replaying)))
    }

    /// Ends a replay that was not begun after all, if the journal knows it, as soon as that takes it: nobody runs it.
    fn end_unrun(&self, id: DestinationId) {
        if !self.journal.with_state(|state| state.destinations.contains_key(&id)) {
            return;
        }
        let (journal, timer, stream) =
            (self.journal.clone(), Arc::clone(&self.context.timer), self.name.clone());
        self.replays.unrun().insert(id.clone());
        tokio::spawn(async move {
            loop {
                match journal.end_replay(id.clone()).await {
                    Ok(()) | Err(AppendError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%stream, replay = %id, %error, "a replay that could not be begun cannot be ended yet");
                    }
                }
                timer.sleep_until(timer.steady() + JOURNAL_RETRY).await;
            }
        });
    }

    /// Those that the journal knows.
    pub(super) fn replays_of_journal(&self) -> Vec<Arc<Replaying>> {
        let mut known = self.journal.with_state(|state| {
            let replay = |(id, progress): (&DestinationId, &Progress)| {
                Some((id.clone(), progress.start, progress.replay.clone()?))
            };
            state.destinations.iter().filter_map(replay).collect::<Vec<_>>()
        });
        let unrun = self.replays.unrun().clone();
        known.retain(|(id, ..)| !unrun.contains(id));
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

    /// Ends those that the journal does not know any more and nobody runs: whoever was to note their end was stopped in it.
    pub(super) fn end_unknown(&self, workers: &[Worker]) {
        let known: BTreeSet<DestinationId> =
            self.journal.with_state(|state| state.destinations.keys().cloned().collect());
        let runs = |id: &DestinationId| workers.iter().any(|worker| worker.destination == *id);
        for replaying in self.replays() {
            if replaying.ended().is_none() && !known.contains(&replaying.id) && !runs(&replaying.id) {
                self.end_early(&replaying, &Progress::default());
            }
        }
    }

    /// Stops a replay: what it has not delivered stays so, what is under way may arrive or not.
    ///
    /// # Errors
    /// [`ReplayError`]: it goes on, or there is none.
    pub(crate) async fn stop_replay(&self, id: &str) -> Result<Arc<Replaying>, ReplayError> {
        let mut workers = self.workers.lock().await;
        let is_it = |worker: &Worker| worker.destination.as_str() == id && !worker.is_over();
        let at = workers.iter().position(is_it);
        // One that could not be taken up at a start has no worker.
        let known = || self.replays_of_journal().into_iter().find(|replaying| replaying.id.as_str() == id);
        let replaying = at.map_or_else(known, |at| workers[at].replay.clone()).ok_or(ReplayError::Unknown)?;
        let progress = self.journal.with_state(|state| state.destinations.get(&replaying.id).cloned());
        let progress = progress.unwrap_or_default();
        self.journal.end_replay(replaying.id.clone()).await?;
        if let Some(at) = at {
            workers.swap_remove(at).stop().await;
        }
        drop(workers);
        self.tidy_spools().await;
        self.end_early(&replaying, &progress);
        tracing::info!(stream = %self.name, replay = id, tally = ?progress.tally, "replay stopped");
        Ok(replaying)
    }

    /// The replays under way of destinations that are not among these, with how far they have come.
    pub(super) fn replays_of_others(&self, staying: &[DestinationId]) -> Vec<(Arc<Replaying>, Progress)> {
        let leaves = |Replay { of, into, .. }: &Replay| into.is_none() && !staying.contains(of);
        let all = self.replays_of_journal().into_iter().filter(|replaying| leaves(&replaying.replay));
        self.journal.with_state(|state| {
            let with_progress = |replaying: Arc<Replaying>| {
                let progress = state.destinations.get(&replaying.id).cloned();
                (replaying, progress.unwrap_or_default())
            };
            all.map(with_progress).collect()
        })
    }

    /// Notes that these are gone with their destination.
    pub(super) async fn end_with_destination(&self, gone: Vec<(Arc<Replaying>, Progress)>) {
        if gone.is_empty() {
            return;
        }
        self.tidy_spools().await;
        for (replaying, progress) in gone {
            self.end_early(&replaying, &progress);
            tracing::warn!(stream = %self.name, replay = %replaying.id, tally = ?progress.tally,
                "a replay ended with its destination");
        }
    }

    /// Removes the spools of batches that are not open any more.
    pub(super) async fn tidy_spools(&self) {
        let journal = self.journal.clone();
        let tidied = tokio::task::spawn_blocking(move || journal.tidy_spools()).await;
        if let Err(error) = tidied.map_err(io::Error::other).flatten() {
            tracing::warn!(stream = %self.name, %error, "spools cannot be removed before the next start");
        }
    }

    /// Notes that one is over which had come so far.
    fn end_early(&self, replaying: &Replaying, progress: &Progress) {
        let (alarms, name) = (&self.context.alarms, Some(&self.name));
        for batch in progress.open.keys() {
            alarms.clear(name, AlarmKind::Refused, &batch.to_string());
        }
        for kind in [AlarmKind::JournalFailed, AlarmKind::Misconfigured, AlarmKind::RetryExhausted] {
            alarms.clear(name, kind, replaying.id.as_str());
        }
        replaying.end(Ended { at: self.context.timer.now(), early: true, tally: progress.tally });
    }
}
