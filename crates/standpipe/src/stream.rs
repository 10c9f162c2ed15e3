//! A delivery stream at work: its journal, its definition, and a worker for each destination.

mod destinations;
mod encryption;
mod replays;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use standpipe_convert::TableSchema;
use standpipe_ingest::{Put, PutError, PutReceipt};
use standpipe_journal::keys::KeyTrouble;
use standpipe_journal::{
    Append, AppendError, Journal, JournalOptions, OpenError, RecoveryReport, Shelf, Shortage,
};
use standpipe_model::{BatchId, DestinationId, StreamName};
use tokio::sync::{Mutex, Semaphore, oneshot};

use crate::alarm::AlarmKind;
use crate::catalog::{Catalog, CatalogError, Damaged, Definition, Recorded};
use crate::endpoints::EndpointClients;
use crate::keys::StateError;
use crate::metrics::{JournalState, LineState};
use crate::spec::Conversion;
use crate::worker::{
    Again, Context, Definitions, Line, Order, OrderError, Replaying, Stuck, Worker, chain, needed_schemas,
};

pub(crate) use destinations::ForgetError;
use encryption::AtRest;
pub(crate) use encryption::refusal as key_refusal;
use replays::Replays;
pub(crate) use replays::{ReplayError, ReplayOrders, Span};

/// How long a client is asked to stay away when its put is refused.
const COME_BACK: Duration = Duration::from_millis(500);
/// How many chunks of a destination go through functions at once, at the most: calls that wait hold a thread each.
const TURNS_MAX: usize = 8;

/// A stream could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Its definition.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// Its journal took no frame.
    #[error("the journal took no frame")]
    Append(#[from] AppendError),
    /// Its journal could not be read.
    #[error("the journal could not be read")]
    Read(#[source] std::io::Error),
    /// What its folder says of its encryption.
    #[error(transparent)]
    Encryption(#[from] StateError),
    /// A key.
    #[error(transparent)]
    Key(KeyTrouble),
    /// The key slots of its segments could not be read or written.
    #[error("the key slots of the journal's segments could not be read or written")]
    Slots(#[source] std::io::Error),
    /// It has a folder but no definition.
    #[error("stream '{0}' has no definition on disk")]
    Undefined(StreamName),
}

impl StreamError {
    /// The trouble with a key that is behind it: the stream can be opened once that is over.
    pub fn key_trouble(&self) -> Option<&KeyTrouble> {
        match self {
            Self::Journal(OpenError::Key { source, .. })
            | Self::Append(AppendError::Key(source))
            | Self::Key(source) => Some(source),
            Self::Read(error) => KeyTrouble::behind(error),
            _ => None,
        }
    }
}

/// What becomes of a stream (`DeliveryStreamStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It takes puts.
    Active,
    /// It is deleted or has left the configuration, and takes no puts any more.
    Deleting,
}

impl Status {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
}

/// A delivery stream.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    journal: Journal,
    definitions: Arc<Definitions>,
    recorded: Arc<Recorded>,
    context: Arc<Context>,
    catalog: Catalog,
    workers: Mutex<Vec<Worker>>,
    replays: Replays,
    at_rest: AtRest,
    /// It refuses puts: it left the configuration and only delivers what it has.
    retired: AtomicBool,
    /// It refuses puts: it is on its way into the trash.
    deleting: AtomicBool,
    short: AtomicBool,
    failed: AtomicBool,
}

impl Stream {
    /// Opens a stream that has a definition in the catalog, recovers its journal and starts its workers.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(
        name: &StreamName,
        catalog: &Catalog,
        context: &Arc<Context>,
        shelf: &Shelf,
    ) -> Result<Arc<Self>, StreamError> {
        let definitions =
            Definitions::new(catalog.load(name)?).ok_or_else(|| StreamError::Undefined(name.clone()))?;
        let limit = definitions.current().spec.journal_limit_bytes;
        let options = limit.map_or_else(JournalOptions::default, JournalOptions::within);
        let at_rest = AtRest::open(&definitions.current(), &catalog.folder(name), &context.keys).await?;
        let (folder, shelf, keys) = (catalog.journal(name), shelf.clone(), Arc::clone(&at_rest.keys));
        let open = move || Journal::open_with_keys(&folder, options, shelf, keys);
        let opened = tokio::task::spawn_blocking(open).await;
        let (journal, report) = opened.map_err(|error| StreamError::Read(std::io::Error::other(error)))??;
        let (recorded, damaged) = Recorded::open(catalog.folder(name), &needed_schemas(&journal))?;
        let stream = Arc::new(Self {
            name: name.clone(),
            journal,
            definitions: Arc::new(definitions),
            recorded: Arc::new(recorded),
            context: Arc::clone(context),
            catalog: catalog.clone(),
            workers: Mutex::default(),
            replays: Replays::default(),
            at_rest,
            retired: AtomicBool::new(false),
            deleting: AtomicBool::new(false),
            short: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        stream.journal.keep_settled(stream.definition().spec.retention());
        stream.tell(&report);
        stream.tell_of_schemas(&damaged);
        // Only now, when no CLOSE can be on its way that still names an old version.
        stream.forget_versions();
        if let Err(error) = stream.start_workers().await {
            stream.stop().await;
            stream.journal.release();
            return Err(error);
        }
        Ok(stream)
    }

    fn tell(&self, report: &RecoveryReport) {
        let lost = report.lost_records();
        tracing::info!(stream = %self.name, segments = report.segments, torn_bytes = report.torn_bytes,
            lost_records = lost, open_batches = report.open_batches, partly_done = report.partly_done,
            last_frame = ?report.last_frame, "journal recovered");
        if lost > 0 || !report.set_aside.is_empty() {
            let aside: Vec<String> = report.set_aside.iter().map(|path| path.display().to_string()).collect();
            let message = format!("{lost} records are damaged; set aside: {}", aside.join(", "));
            let now = self.context.timer.now();
            self.context.alarms.raise(Some(&self.name), AlarmKind::RecordsLost, "recovery", message, now);
        }
    }

    fn tell_of_schemas(&self, damaged: &[Damaged]) {
        for Damaged { version, is_needed, error } in damaged {
            let what =
                if *is_needed { "batches that were closed under it are held" } else { "it was set aside" };
            let message = format!("{what}: {}", chain(error));
            let (alarms, now) = (&self.context.alarms, self.context.timer.now());
            alarms.raise(Some(&self.name), AlarmKind::SchemaDamaged, &version.to_string(), message, now);
        }
    }

    /// What the worker of a destination, or of a replay of one, works with.
    fn line(&self, destination: DestinationId, of: DestinationId, replay: Option<Arc<Replaying>>) -> Line {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Line {
            stream: self.name.clone(),
            destination,
            of,
            replay,
            journal: self.journal.clone(),
            definitions: Arc::clone(&self.definitions),
            recorded: Arc::clone(&self.recorded),
            context: Arc::clone(&self.context),
            turns: Arc::new(Semaphore::new(processors.min(TURNS_MAX))),
            endpoints: EndpointClients::default(),
            again: Again::default(),
            stuck: Stuck::default(),
            appending: Mutex::default(),
        }
    }

    /// Forgets the versions that no open batch was closed under.
    fn forget_versions(&self) {
        let needed = self.journal.with_state(|state| {
            let open = state.destinations.values().flat_map(|progress| progress.open.values());
            open.map(|open| open.close.version).collect::<Vec<_>>()
        });
        for version in self.definitions.keep(|version| needed.contains(&version)) {
            if let Err(error) = self.catalog.forget(&self.name, version) {
                tracing::warn!(stream = %self.name, version, %error, "an old definition could not be removed");
            }
        }
    }

    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// The definition in force.
    pub fn definition(&self) -> Arc<Definition> {
        self.definitions.current()
    }

    /// All definitions that batches may still need, the current one included.
    pub fn definitions(&self) -> Vec<Arc<Definition>> {
        self.definitions.all()
    }

    /// What the rows of a destination are converted to, where they are, with the columns that are in force.
    pub fn conversion(&self, destination: &DestinationId) -> Option<Conversion> {
        let conversion = self.definition().spec.destination_of(destination)?.conversion.clone()?;
        match conversion.recorded_of(destination) {
            Some(of) => Some(conversion.with(self.recorded.in_force(&of).1)),
            None => Some(conversion),
        }
    }

    /// Whether columns are in force that the rows of a destination are converted to.
    pub(crate) fn has_columns(&self, destination: &DestinationId) -> bool {
        self.conversion(destination).is_some_and(|conversion| !conversion.schema.columns().is_empty())
    }

    /// Puts the columns in force that a catalog has of the table now; they are durable when this returns.
    ///
    /// # Errors
    /// [`StreamError::Catalog`]: those before are still in force.
    pub(crate) async fn record_columns(&self, of: String, schema: TableSchema) -> Result<(), StreamError> {
        let _held = self.recorded.hold().await;
        if self.recorded.in_force(&of).1 == schema {
            return Ok(());
        }
        let (columns, told) = (schema.columns().len(), of.clone());
        let (recorded, needed) = (Arc::clone(&self.recorded), needed_schemas(&self.journal));
        let made = tokio::task::spawn_blocking(move || recorded.record(of, schema, &needed)).await;
        let version = made.map_err(|error| StreamError::Read(std::io::Error::other(error)))??;
        tracing::info!(stream = %self.name, of = told, version, columns, "the table's columns have changed in the catalog");
        self.nudge().await;
        Ok(())
    }

    /// The stream's journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether it refuses puts because it left the configuration.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// What becomes of it.
    pub fn status(&self) -> Status {
        match self.is_retired() || self.deleting.load(Ordering::Relaxed) {
            true => Status::Deleting,
            false => Status::Active,
        }
    }

    /// Makes it refuse puts for good.
    pub fn begin_deletion(&self) {
        self.deleting.store(true, Ordering::Relaxed);
    }

    /// Whether it is to go into the trash.
    pub fn is_being_deleted(&self) -> bool {
        self.deleting.load(Ordering::Relaxed)
    }

    /// Makes it refuse puts, or take them again.
    pub async fn retire(&self, retired: bool) {
        if self.retired.swap(retired, Ordering::Relaxed) != retired {
            tracing::info!(stream = %self.name, retired, "stream changed");
        }
        if retired {
            self.order_all(|| Order::Drain).await;
        }
    }

    /// Stores a put; resolves when it is durable.
    ///
    /// # Errors
    /// [`PutError`]; nothing of it was accepted.
    pub async fn put(&self, put: Put) -> Result<PutReceipt, PutError> {
        if self.status() != Status::Active {
            return Err(PutError::NotActive);
        }
        let append = Append { block: put.block, digest: put.digest, source: None };
        match self.journal.append(append).await {
            Ok(receipt) => {
                self.well();
                let (segment, first_ordinal) = (receipt.segment.0, receipt.first_ordinal);
                Ok(PutReceipt { segment, first_ordinal, encrypted: receipt.encrypted })
            }
            Err(AppendError::Key(trouble)) => Err(self.refused_for_key(&trouble)),
            Err(error) => {
                self.unwell(&error);
                Err(match error {
                    AppendError::Closed => PutError::NotActive,
                    _ => PutError::Unavailable { retry_after: Some(COME_BACK) },
                })
            }
        }
    }

    fn well(&self) {
        for (flag, kind) in [(&self.short, AlarmKind::JournalFull), (&self.failed, AlarmKind::JournalFailed)]
        {
            if flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed) {
                self.context.alarms.clear(Some(&self.name), kind, "");
            }
        }
    }

    fn unwell(&self, error: &AppendError) {
        let (flag, kind) = match error {
            AppendError::Full(_) => (&self.short, AlarmKind::JournalFull),
            AppendError::Poisoned | AppendError::TooLarge(_) => (&self.failed, AlarmKind::JournalFailed),
            // An alarm of its own tells of a key.
            AppendError::Closed | AppendError::Key(_) => return,
        };
        if !flag.swap(true, Ordering::Relaxed) {
            let now = self.context.timer.now();
            self.context.alarms.raise(Some(&self.name), kind, "", error.to_string(), now);
        }
    }

    /// Why a put would be refused now, if it would.
    pub fn refuses_puts(&self) -> Option<String> {
        let usage = self.journal.usage();
        let full = usage.shortage.map(|shortage: Shortage| shortage.to_string());
        let failed = usage.poisoned.then(|| "the journal failed and is being reopened".to_owned());
        if full.is_none() && failed.is_none() {
            self.well();
        }
        full.or(failed).or_else(|| self.key_trouble().map(|trouble| trouble.to_string()))
    }

    /// Forgets what is kept no longer, as each put does.
    async fn tidy(&self) {
        let journal = self.journal.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || journal.tidy()).await {
            tracing::error!(stream = %self.name, %error, "tidying a journal ended badly");
        }
    }

    /// The same now and then, where no puts do it.
    pub(crate) async fn tidy_kept(&self) {
        if self.definition().spec.retention_ms > 0 {
            self.tidy().await;
        }
    }

    /// Makes every destination try again now, as when access settings changed.
    pub async fn nudge(&self) {
        self.order_all(|| Order::Nudge).await;
    }

    async fn order_all(&self, order: impl Fn() -> Order) {
        for worker in self.workers.lock().await.iter() {
            // A replay takes no orders any more once it has come to its end.
            if worker.orders.send(order()).await.is_err() && worker.replay.is_none() {
                tracing::error!(stream = %self.name, destination = %worker.destination, "a worker is gone");
            }
        }
    }

    /// Asks the worker that holds a batch.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn batch(
        &self,
        destination: &DestinationId,
        batch: BatchId,
        what: BatchOrder,
    ) -> Result<(), OrderError> {
        let (reply, answer) = oneshot::channel();
        let order = match what {
            BatchOrder::Rebind => Order::Rebind(batch, reply),
            BatchOrder::Pin => Order::Pin(batch, reply),
            BatchOrder::Abandon => Order::Abandon(batch, reply),
        };
        {
            let workers = self.workers.lock().await;
            let worker = workers.iter().find(|worker| worker.destination == *destination);
            let worker = worker.ok_or(OrderError::Unknown)?;
            worker.orders.send(order).await.map_err(|_| OrderError::Unknown)?;
        }
        answer.await.unwrap_or(Err(OrderError::Unknown))
    }

    /// Closes and delivers everything there is; resolves when that is done.
    pub async fn drain(&self) {
        self.order_all(|| Order::Drain).await;
        let own = |worker: &&Worker| worker.replay.is_none();
        let workers = self.workers.lock().await;
        let drained: Vec<_> = workers.iter().filter(own).map(|worker| worker.drained.clone()).collect();
        drop(workers);
        for mut drained in drained {
            // An error says that the worker is gone, and with it what there was to wait for.
            drop(drained.wait_for(|drained| *drained).await);
        }
    }

    /// How many records wait for a fate at one destination or more, each counted once: what deleting it loses.
    pub fn waiting(&self) -> u64 {
        self.journal.with_state(|state| state.waiting())
    }

    /// Whether every record has its fate, and none is replayed.
    pub fn is_finished(&self) -> bool {
        self.journal
            .with_state(|state| state.is_settled() && state.lasting().count() == state.destinations.len())
    }

    /// Stops it as a planned crash: what waits to be synced is, the rest is the next start's.
    pub async fn stop(&self) {
        self.at_rest.stop();
        self.journal.close().await;
        self.stop_workers(|_| true).await;
    }

    /// Its numbers for the metrics.
    pub(crate) fn numbers(&self) -> (Vec<LineState>, JournalState) {
        let state = self.journal.state();
        let usage = self.journal.usage();
        let now = self.context.timer.now();
        let mut lines = Vec::new();
        for (destination, progress) in state.lasting() {
            let oldest_open = progress.open.values().map(|open| open.close.arrived_at).min();
            let oldest = oldest_open.or_else(|| {
                let unclosed = progress.cursor < state.next;
                unclosed
                    .then(|| self.journal.arrival_at(progress.cursor).ok().flatten())
                    .flatten()
                    .map(|a| a.at)
            });
            lines.push(LineState {
                stream: self.name.clone(),
                destination: destination.clone(),
                accepted: state.next.0 - progress.start.0,
                in_journal: progress.in_journal(state.next),
                tally: progress.tally,
                oldest_age: oldest.map(|at| now.since(at)).unwrap_or_default(),
                open_batches: progress.open.len() as u64,
            });
        }
        let kept = self.journal.kept();
        let journal = JournalState {
            stream: self.name.clone(),
            used: usage.used,
            limit: usage.limit,
            kept,
            oldest_kept_age: kept.oldest.map(|at| now.since(at)).unwrap_or_default(),
            replays: state.destinations.len().saturating_sub(lines.len()) as u64,
        };
        (lines, journal)
    }

    /// Its open batches by destination.
    pub fn open_batches(&self) -> BTreeMap<DestinationId, Vec<standpipe_journal::control::OpenBatch>> {
        let state = self.journal.state();
        let open = state.destinations.into_iter();
        open.map(|(id, progress)| (id, progress.open.into_values().collect())).collect()
    }
}

/// What an operator may do with a batch that does not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOrder {
    /// Deliver it by the current version of the stream's definition.
    Rebind,
    /// Deliver it by the version that it has, with the tables in force that it was closed without.
    Pin,
    /// Give it up.
    Abandon,
}
