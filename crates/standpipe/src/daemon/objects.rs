//! Tables that are objects of stores: looked at as often as they are to be, each by itself, so that a store that hangs
//! keeps no other table waiting. What changes in one counts for the batches that close after it was read; what is wrong
//! with one changes nothing.
//!
//! A table that is not there yet is waited for: what needs it is held until then, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use standpipe_journal::control::Close;
use standpipe_model::DestinationId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Daemon;
use super::tables::Renewed;
use crate::alarm::AlarmKind;
use crate::config::{Config, TableConfig};
use crate::stream::{BatchOrder, Stream};

/// How often is looked which tables are due.
const ROUND: Duration = Duration::from_millis(500);
/// The longest wait before a table that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What is known of a table's object.
#[derive(Debug)]
struct Followed {
    /// Not again where there is none.
    look_at: Option<Instant>,
    /// The state that was refused, by what the store knows it by.
    refused: Option<String>,
    looking: Option<AbortOnDropHandle<Look>>,
}

/// How a look has ended.
#[derive(Debug, Default)]
struct Look {
    is_good: bool,
    refused: Option<String>,
}

/// Follows the objects of tables until `stop`. Each is looked at first at the start, and after each reload.
pub(super) async fn follow_objects(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut all: BTreeMap<String, Followed> = BTreeMap::new();
    let mut followed_by = daemon.config();
    loop {
        let config = daemon.config();
        if !Arc::ptr_eq(&config, &followed_by) {
            all.clear();
            followed_by = Arc::clone(&config);
        }
        for (name, table) in config.tables.iter().filter(|(_, table)| table.object().is_some()) {
            let first = || Followed { look_at: Some(Instant::now()), refused: None, looking: None };
            all.entry(name.clone()).or_insert_with(first).step(&daemon, &config, name, table).await;
        }
        if !all.is_empty() {
            daemon.give_tables().await;
        }
        if stop.run_until_cancelled(tokio::time::sleep(ROUND)).await.is_none() {
            return;
        }
    }
}

impl Followed {
    /// Begins a look that is due, and takes what has come of one.
    async fn step(&mut self, daemon: &Arc<Daemon>, config: &Arc<Config>, name: &str, table: &TableConfig) {
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            let look = looking.await.unwrap_or_default();
            self.refused = look.refused;
            let every = match (look.is_good, table.refresh) {
                (true, every) => every,
                (false, every) => Some(every.map_or(RETRY, |every| every.min(RETRY))),
            };
            self.look_at = every.map(|every| Instant::now() + every);
        }
        if self.looking.is_none() && self.look_at.is_some_and(|at| at <= Instant::now()) {
            let look = look(Arc::clone(daemon), Arc::clone(config), name.to_owned(), self.refused.clone());
            self.looking = Some(AbortOnDropHandle::new(tokio::spawn(look)));
        }
    }
}

/// Asks the store whether the object is another one, and has it taken if so.
async fn look(daemon: Arc<Daemon>, config: Arc<Config>, name: String, refused: Option<String>) -> Look {
    let Some(table) = config.tables.get(&name) else { return Look::default() };
    let functions = &daemon.context.functions;
    let known = refused.clone().or_else(|| functions.tag(&name, table));
    match functions.look(&config, &name, table, known.as_deref()).await {
        Ok(None) if refused.is_some() => Look { is_good: false, refused },
        Ok(None) => {
            daemon.context.alarms.clear(None, AlarmKind::TableRefused, &name);
            Look { is_good: true, refused: None }
        }
        Ok(Some(read)) => {
            let tag = read.tag.clone();
            let renewed = daemon.renew_table(&name, table, Some(read)).await;
            // What is not the table's fault may work with the same one another time.
            let refused = tag.filter(|_| renewed == Renewed::Refused);
            Look { is_good: renewed == Renewed::Good, refused }
        }
        Err(error) => {
            daemon.refuse_table(&name, table, "failed", &error);
            Look::default()
        }
    }
}

impl Daemon {
    /// Gives batches that were closed before a table was there the version that is in force by now. Nothing of them can
    /// have been delivered, and from then on they keep it.
    async fn give_tables(&self) {
        for stream in self.streams() {
            if !stream.definitions().iter().any(|of| of.spec.processors().any(|p| p.table().is_some())) {
                continue;
            }
            for (destination, open) in stream.open_batches() {
                for batch in open.iter().filter(|open| self.lacks_table(&stream, &destination, &open.close)) {
                    let batch = batch.close.batch;
                    if let Err(error) = stream.batch(&destination, batch, BatchOrder::Pin).await {
                        tracing::debug!(stream = %stream.name(), %batch, %error, "batch gets its table later");
                    }
                }
            }
        }
    }

    /// Whether a batch is held because a table was not there when it closed, and now is. One with a plan takes it by
    /// itself, and the plan keeps it.
    fn lacks_table(&self, stream: &Stream, destination: &DestinationId, close: &Close) -> bool {
        let definitions = stream.definitions();
        let Some(of) = definitions.iter().find(|of| of.version == close.version) else { return false };
        let processors = of.spec.processors_of(destination);
        !of.spec.is_planned(destination) && self.context.functions.lacks_table(processors, &close.pins)
    }
}
