//! The worker of one stream's destination: closes batches, has them attempted, and is the only owner of retries.
//!
//! `step` decides, this loop acts: it feeds what happened to the rule and carries out what the rule says. Stopping it
//! is a planned crash: attempts under way are dropped, and the next start resumes from the journal.

mod ahead;
mod append;
mod body;
mod columns;
mod convert;
mod decisions;
mod deliver;
mod fates;
mod into;
mod make;
mod memory;
mod orders;
mod pieces;
mod plan;
mod planned;
mod recorded;
mod replay;
mod requests;
mod shape;
mod step;
mod stuck;
mod told;
mod undelivered;
mod versions;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use standpipe_encode::EncoderPool;
use standpipe_journal::control::{Close, Control, OpenBatch};
use standpipe_journal::{AppendError, Cursor, Journal, Tip};
use standpipe_model::{BatchId, CloseReason, DestinationId, Entropy, Position, StreamName, stream_arn};
use standpipe_transform::Source;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::task::{self, JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::alarm::Alarms;
use crate::catalog::{Definition, Recorded};
use crate::clock::Timer;
use crate::delivery_log::DeliveryLog;
use crate::endpoints::EndpointClients;
use crate::functions::{Functions, Pinned};
use crate::keys::KeyRing;
use crate::lookup::CatalogClients;
use crate::metrics::Metrics;
use crate::spec::Buffering;
use crate::stores::Stores;

pub(crate) use ahead::LOOKS_AT_ONCE;
pub(crate) use body::chunk_bytes;
pub(crate) use deliver::chain;
use deliver::{Effort, Outcome, Try};
pub(crate) use into::Intake;
pub use memory::Memory;
pub(crate) use recorded::needed_schemas;
pub(crate) use replay::{Ended, Replaying};
pub(crate) use requests::Again;
use step::{Command, Event, WorkerState};
pub(crate) use stuck::Stuck;
pub(crate) use versions::Definitions;

/// How long after a refusal by the journal a control frame is tried again.
pub(crate) const JOURNAL_RETRY: Duration = Duration::from_millis(500);

/// How long after a panic a task is made again.
const PANIC_RETRY: Duration = Duration::from_secs(30);

/// What all workers share.
#[derive(Debug)]
pub struct Context {
    /// Time.
    pub timer: Arc<dyn Timer>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// The stores, live.
    pub stores: Stores,
    /// The functions that processors call, live and at the versions that batches need.
    pub functions: Arc<Functions>,
    /// The master keys of journals, live.
    pub keys: Arc<KeyRing>,
    /// What a human must see to.
    pub alarms: Alarms,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where failed deliveries are told of for the streams that ask for it.
    pub(crate) delivery_log: DeliveryLog,
    /// The catalogs of tables, live.
    pub(crate) catalogs: CatalogClients,
    /// The region that the daemon says it is in.
    pub region: String,
    /// The account that it says it is of.
    pub account_id: String,
    /// Compressors.
    pub encoders: EncoderPool,
    /// How many chunks are encoded at once.
    pub processors: Arc<Semaphore>,
    /// Turns of looking at destinations that have nothing to deliver.
    pub(crate) looks: Semaphore,
    /// Where records are put that are replayed into a stream, once the streams are open.
    pub(crate) intake: OnceLock<Weak<dyn Intake>>,
}

impl Context {
    /// What processors are told of a stream.
    fn source(&self, stream: &StreamName) -> Source {
        let Self { region, account_id, .. } = self;
        Source {
            stream: stream.clone(),
            stream_arn: stream_arn(region, account_id, stream.as_str()),
            region: region.clone(),
        }
    }
}

/// One destination of one stream.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: StreamName,
    /// What its progress is known by.
    pub(crate) destination: DestinationId,
    /// The destination whose shape its batches have: the same, unless it is a replay.
    pub(crate) of: DestinationId,
    /// The replay that it is, if it is one.
    pub(crate) replay: Option<Arc<Replaying>>,
    pub(crate) journal: Journal,
    pub(crate) definitions: Arc<Definitions>,
    /// The schemas that its rows have come to.
    pub(crate) recorded: Arc<Recorded>,
    pub(crate) context: Arc<Context>,
    /// How many chunks go through functions at once. A call waits for its turn in the sandbox, and holds up no other
    /// stream while it does.
    pub(crate) turns: Arc<Semaphore>,
    /// The client of the destination's endpoint, where it has one.
    pub(crate) endpoints: EndpointClients,
    /// Rows that the endpoint wants to have again.
    pub(crate) again: Again,
    /// Since when the journal keeps something from being done.
    pub(crate) stuck: Stuck,
    /// One change of the table that its files become a part of at a time: others would meet each other there.
    pub(crate) appending: Mutex<()>,
}

/// What an operator asks of a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// The definition changed: obey its hints.
    Respec,
    /// Close and deliver what there is.
    Drain,
    /// Try now what waits to be tried again.
    Nudge,
    /// Deliver a batch by the current version of the definition.
    Rebind(BatchId, oneshot::Sender<Result<(), OrderError>>),
    /// Deliver a batch by the version that it has, with the tables in force that it was closed without.
    Pin(BatchId, oneshot::Sender<Result<(), OrderError>>),
    /// Give a batch up.
    Abandon(BatchId, oneshot::Sender<Result<(), OrderError>>),
}

/// An order about a batch was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such batch open.
    #[error("there is no open batch of that id")]
    Unknown,
    /// It is being attempted right now.
    #[error("the batch is being attempted at this moment; try again")]
    Busy,
    /// The journal did not take it.
    #[error("the journal did not take it: {0}")]
    Journal(#[from] AppendError),
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) destination: DestinationId,
    pub(crate) replay: Option<Arc<Replaying>>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) drained: watch::Receiver<bool>,
    stop: DropGuard,
    task: task::JoinHandle<()>,
}

impl Worker {
    /// Starts the worker of a line.
    ///
    /// # Errors
    /// The journal could not be read.
    pub(crate) fn start(line: Line) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(16);
        let (told, drained) = watch::channel(false);
        let stop = CancellationToken::new();
        let (destination, replay) = (line.destination.clone(), line.replay.clone());
        let run = Loop::resume(Arc::new(line), told)?;
        let task = tokio::spawn(run.run(inbox, stop.clone()));
        Ok(Self { destination, replay, orders, drained, stop: stop.drop_guard(), task })
    }

    /// Whether it is a replay that is over.
    pub(crate) fn is_over(&self) -> bool {
        self.replay.as_ref().is_some_and(|replaying| replaying.ended().is_some())
    }

    /// The destination that it is for: that which it replays, if it is a replay.
    pub(crate) fn of(&self) -> &DestinationId {
        self.replay.as_ref().map_or(&self.destination, |replaying| &replaying.replay.of)
    }

    /// Stops it; what it was doing is dropped and resumes at the next start.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(destination = %self.destination, %error, "a worker ended badly");
        }
    }
}

/// What a task of the loop came back with.
struct Came {
    event: Event,
    /// The batch that was attempted and failed.
    failed: Option<BatchId>,
}

struct Loop {
    line: Arc<Line>,
    state: WorkerState,
    tasks: JoinSet<Came>,
    /// What each task is for, should it panic.
    doing: HashMap<task::Id, Command>,
    /// Failed attempts by batch, in this process.
    tries: HashMap<BatchId, u32>,
    /// Batches that an earlier process may have attempted.
    inherited: Vec<BatchId>,
    drained: watch::Sender<bool>,
    /// Where it ends, where it is a replay.
    end: Option<Cursor>,
    /// Ends the look at the destination, while there is one.
    looking: Option<DropGuard>,
}

impl Loop {
    fn resume(line: Arc<Line>, drained: watch::Sender<bool>) -> io::Result<Self> {
        let (position, mut open) = line.journal.with_state(|state| {
            let progress = state.destinations.get(&line.destination);
            let open: Vec<_> =
                progress.into_iter().flat_map(|p| p.open.values()).map(|o| o.close.clone()).collect();
            (progress.map_or(state.next, |progress| progress.cursor), open)
        });
        open.sort_by_key(|close| close.range.first);
        let inherited: Vec<BatchId> = open.iter().map(|close| close.batch).collect();
        line.journal.tidy_spools()?;
        let hints = line.hints();
        let cursor = line.journal.cursor_at(position)?;
        let mut state = WorkerState::resume(hints, cursor, inherited.clone());
        let mut end = None;
        if let Some(Replaying { replay, .. }) = line.replay.as_deref() {
            end = Some(line.journal.cursor_at(replay.end)?);
            state = state.paced(replay.into.is_some(), replay.rate);
        }
        Ok(Self {
            line,
            state,
            tasks: JoinSet::new(),
            doing: HashMap::new(),
            tries: HashMap::new(),
            inherited,
            drained,
            end,
            looking: None,
        })
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
        let (mut tip, mut pressure) = (self.line.journal.watch(), self.line.journal.watch_pressure());
        let first = self.tip(*tip.borrow_and_update());
        self.look_ahead();
        self.step(first);
        pressure.mark_changed();
        if self.end.is_some() {
            // It does not wait for records that come in later.
            self.step(Event::Drain);
        }
        while !self.is_over() {
            let came = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(came) = self.tasks.join_next_with_id() => Some(self.note(came)),
                Some(order) = orders.recv() => self.obey(order).await,
                Ok(()) = tip.changed() => {
                    let reached = *tip.borrow_and_update();
                    Some(self.tip(reached))
                }
                // A replay closes what it has as fast as it may.
                Ok(()) = pressure.changed(), if self.end.is_none() => {
                    Some(Event::Pressure { before: *pressure.borrow_and_update() })
                }
                () = sleep(&self.line, self.state.wake_at()) => Some(Event::Timer),
            };
            if let Some(event) = came {
                self.step(event);
            }
        }
        // What was under way must have ended before anyone else works on the same batches.
        self.tasks.shutdown().await;
        if self.is_over() {
            // Whoever gives an order from here on must not wait for it.
            drop(orders);
            stop.run_until_cancelled(self.line.end_replay()).await;
        }
    }

    /// Whether it is a replay that has come to its end.
    fn is_over(&self) -> bool {
        self.end.is_some() && self.state.is_drained()
    }

    fn tip(&self, tip: Tip) -> Event {
        let end = self.end.map(|Cursor { position: next, bytes }| Tip { next, bytes });
        Event::Tip(end.unwrap_or(tip))
    }

    /// Looks at the destination, unless there are batches whose attempts say more.
    fn look_ahead(&mut self) {
        if self.end.is_some() || !self.state.is_idle() {
            return;
        }
        let (line, ended) = (Arc::clone(&self.line), CancellationToken::new());
        self.looking = Some(ended.clone().drop_guard());
        self.tasks.spawn(async move {
            ended.run_until_cancelled(line.look_ahead()).await;
            Came { event: Event::Timer, failed: None }
        });
    }

    fn step(&mut self, event: Event) {
        for command in self.state.step(event, self.line.now_ms()) {
            self.act(command);
        }
        self.drained
            .send_if_modified(|drained| std::mem::replace(drained, self.state.is_drained()) != *drained);
    }

    fn note(&mut self, came: Result<(task::Id, Came), JoinError>) -> Event {
        let came = match came {
            Ok((id, came)) => {
                self.doing.remove(&id);
                came
            }
            Err(error) => self.panicked(&error),
        };
        match (came.failed, &came.event) {
            (Some(batch), _) => *self.tries.entry(batch).or_default() += 1,
            (None, Event::Settled { batch }) => {
                self.tries.remove(batch);
                self.inherited.retain(|other| other != batch);
            }
            _ => {}
        }
        came.event
    }

    /// A task that panicked failed, and is made again like any other failure: it must not hold its slot for ever.
    fn panicked(&mut self, error: &JoinError) -> Came {
        let Line { stream, destination, .. } = &*self.line;
        tracing::error!(%stream, %destination, %error, "a task of the worker panicked");
        let retry_at = self.line.after(PANIC_RETRY);
        match self.doing.remove(&error.id()) {
            Some(Command::Attempt(batch)) => {
                Came { event: Event::Failed { batch, retry_at }, failed: Some(batch) }
            }
            Some(Command::Close { .. }) => Came { event: Event::CloseFailed { retry_at }, failed: None },
            Some(Command::LookFront(position)) => {
                let arrived_ms = self.line.now_ms();
                Came { event: Event::Front { position, arrived_ms }, failed: None }
            }
            Some(Command::Tidy) => Came { event: Event::Tidied, failed: None },
            None => Came { event: Event::Timer, failed: None },
        }
    }

    fn act(&mut self, command: Command) {
        let line = Arc::clone(&self.line);
        let task = match command {
            Command::LookFront(position) => {
                self.tasks.spawn(async move { Came { event: line.look_front(position).await, failed: None } })
            }
            Command::Close { from, reason } => {
                self.tasks.spawn(async move { Came { event: line.close(from, reason).await, failed: None } })
            }
            Command::Tidy => self.tasks.spawn(async move {
                line.tidy_endpoint().await;
                Came { event: Event::Tidied, failed: None }
            }),
            Command::Attempt(batch) => {
                self.looking = None;
                let tries = self.tries.get(&batch).copied().unwrap_or_default();
                let repeated = self.inherited.contains(&batch);
                let effort = Effort::when_behind(self.state.batches_behind());
                self.tasks
                    .spawn(async move { line.attempt_batch(batch, Try { tries, repeated, effort }).await })
            }
        };
        self.doing.insert(task.id(), command);
    }

    async fn obey(&mut self, order: Order) -> Option<Event> {
        match order {
            Order::Respec => {
                self.look_ahead();
                Some(Event::Hints(self.line.hints()))
            }
            Order::Drain => {
                // The end that was last heard of may lie before what has been acknowledged since.
                let tip = *self.line.journal.watch().borrow();
                self.step(self.tip(tip));
                Some(Event::Drain)
            }
            Order::Nudge => Some(Event::Nudge { batch: None }),
            Order::Rebind(batch, reply) => {
                let result = self.line.rebind(batch, self.state.is_running(batch)).await;
                let event = result.is_ok().then_some(Event::Nudge { batch: Some(batch) });
                // Whoever asked may have gone; the order is carried out all the same.
                drop(reply.send(result));
                event
            }
            Order::Pin(batch, reply) => {
                let result = self.line.pin_again(batch, self.state.is_running(batch)).await;
                let event = result.is_ok().then_some(Event::Nudge { batch: Some(batch) });
                drop(reply.send(result));
                event
            }
            Order::Abandon(batch, reply) => {
                let result = self.line.abandon(batch, self.state.is_running(batch)).await;
                let event = result.is_ok().then_some(Event::Settled { batch });
                drop(reply.send(result));
                event
            }
        }
    }
}

async fn sleep(line: &Line, until_ms: Option<i64>) {
    match until_ms {
        Some(until) => {
            let steady = Duration::from_millis(u64::try_from(until).unwrap_or_default());
            line.context.timer.sleep_until(steady).await;
        }
        None => std::future::pending().await,
    }
}

impl Line {
    fn hints(&self) -> Buffering {
        if self.goes_into().is_some() {
            return into::BUFFERING;
        }
        let (definition, limit) = (self.definitions.current(), self.journal.usage().limit);
        definition.spec.buffering_of(&self.of, limit).unwrap_or_default()
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.context.timer.steady().as_millis()).unwrap_or(i64::MAX)
    }

    fn after(&self, delay: Duration) -> i64 {
        self.now_ms().saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
    }

    /// Reads the journal where reading may wait for the disk.
    async fn blocking<R: Send + 'static>(
        &self,
        read: impl FnOnce(&Journal) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let journal = self.journal.clone();
        spawn_blocking(move || read(&journal)).await.map_err(io::Error::other)?
    }

    async fn look_front(&self, position: Position) -> Event {
        let arrival = self.blocking(move |journal| journal.arrival_at(position)).await;
        let arrival = arrival.unwrap_or_else(|error| {
            tracing::warn!(stream = %self.stream, destination = %self.destination, %error, "the journal cannot be read");
            None
        });
        let arrived_ms = arrival.map_or_else(|| self.now_ms(), |arrival| arrival.steady_ms);
        Event::Front { position, arrived_ms }
    }

    async fn close(&self, from: Cursor, reason: CloseReason) -> Event {
        match self.try_close(from, reason).await {
            Ok(event) => {
                self.note_unstuck();
                event
            }
            Err(error) => {
                // An alarm tells of it.
                let has_alarm = matches!(error.downcast_ref(), Some(AppendError::Key(_)));
                let error = chain(error.as_ref());
                if !has_alarm {
                    let Self { stream, destination, .. } = self;
                    tracing::warn!(%stream, %destination, error, "a batch cannot be closed yet");
                }
                self.note_stuck(format!("a batch cannot be closed: {error}"), has_alarm);
                Event::CloseFailed { retry_at: self.after(JOURNAL_RETRY) }
            }
        }
    }

    async fn try_close(
        &self,
        from: Cursor,
        reason: CloseReason,
    ) -> Result<Event, Box<dyn std::error::Error + Send + Sync>> {
        let definition = self.definitions.current();
        let (size, bound) = (self.hints().size_bytes, self.bound(from.position));
        let tip = *self.journal.watch().borrow();
        let (end, arrival) = self
            .blocking(move |journal| {
                let end = journal.boundary(from, size)?;
                let end = end.unwrap_or(Cursor { position: tip.next, bytes: tip.bytes });
                let bound = bound.filter(|bound| *bound < end.position);
                let end = bound.map_or(Ok(end), |bound| journal.cursor_at(bound))?;
                Ok((end, journal.arrival_at(from.position)?))
            })
            .await?;
        let now = self.context.timer.now();
        let pinned = self.pin(&definition);
        let mut pins = pinned.pins();
        let _held = self.pin_columns(&definition, &mut pins).await;
        let close = Close {
            batch: BatchId::draw(self.context.entropy.as_ref()),
            destination: self.destination.clone(),
            range: standpipe_model::BatchRange { first: from.position, last: Position(end.position.0 - 1) },
            reason,
            version: definition.version,
            closed_at: now,
            arrived_at: arrival.map_or(now, |arrival| arrival.at),
            record_bytes: end.bytes.saturating_sub(from.bytes),
            pins,
        };
        let batch = close.batch;
        self.journal.control(vec![Control::Close(close)]).await?;
        // From here on the journal holds them.
        drop(pinned);
        self.context.metrics.closed(&self.stream, self.label(), reason.as_str());
        tracing::debug!(stream = %self.stream, destination = %self.destination, %batch, reason = reason.as_str(),
            "batch closed");
        Ok(Event::Closed { batch, end })
    }

    /// The functions that a batch is to be transformed by when it is closed now.
    fn pin(&self, definition: &Definition) -> Pinned {
        let is_transformed = self.goes_into().is_none();
        let processors = if is_transformed { definition.spec.processors_of(&self.of) } else { &[] };
        self.context.functions.pin(processors)
    }

    fn open_batch(&self, batch: BatchId) -> Option<OpenBatch> {
        self.journal.with_state(|state| state.destinations.get(&self.destination)?.open.get(&batch).cloned())
    }

    async fn attempt_batch(&self, batch: BatchId, which: Try) -> Came {
        let Some(open) = self.open_batch(batch) else {
            // It was settled by who worked on it before.
            self.drop_spools(batch, None).await;
            return Came { event: Event::Settled { batch }, failed: None };
        };
        match self.deliver(&open, which).await {
            Outcome::Settled => Came { event: Event::Settled { batch }, failed: None },
            Outcome::Again(delay) => {
                Came { event: Event::Failed { batch, retry_at: self.after(delay) }, failed: Some(batch) }
            }
        }
    }
}
