//! Tables that change without a reload: each is looked at as often as it is to be, by itself, so that one whose disk or store
//! hangs keeps no other waiting. What changes in one counts for the batches that close after it was read; what is wrong with
//! one changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Daemon, objects, tables};
use crate::config::{Config, TableConfig, TableSource};
use crate::stamp::Stamp;

/// How often is looked which tables are due; and how long a file has to stand still before it is read, so that one that is
/// being written is not read in the middle.
const ROUND: Duration = Duration::from_millis(500);
/// The longest wait before a table that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What a table is made from, as it is known without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    File(Stamp),
    /// By what the store knows it by.
    Object(String),
}

/// What a look leaves for the next one.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// A state that may not stand still yet.
    pub(super) seen: Option<State>,
    /// A state that was refused.
    pub(super) refused: Option<State>,
}

/// When there is another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At once.
    Soon,
    /// As often as the table says.
    Later,
    /// The same, but not too late.
    Retry,
}

/// How a look has ended.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) next: Next,
    pub(super) known: Known,
}

impl Look {
    pub(super) fn new(next: Next, refused: Option<State>) -> Self {
        Self { next, known: Known { seen: None, refused } }
    }
}

/// A table that is followed.
#[derive(Debug)]
struct Followed {
    /// Not again where there is none.
    look_at: Option<Instant>,
    known: Known,
    looking: Option<AbortOnDropHandle<Look>>,
}

/// Follows tables until `stop`. A file was read at the start and by each reload; an object is looked at first then.
pub(super) async fn follow_tables(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut all: BTreeMap<String, Followed> = BTreeMap::new();
    let mut followed_by = daemon.config();
    loop {
        let config = daemon.config();
        if !Arc::ptr_eq(&config, &followed_by) {
            all.clear();
            followed_by = Arc::clone(&config);
        }
        for (name, table) in &config.tables {
            let followed = all.entry(name.clone()).or_insert_with(|| Followed::first(table));
            followed.step(&daemon, &config, name, table).await;
        }
        if config.tables.values().any(|table| table.object().is_some()) {
            daemon.give_tables().await;
        }
        if stop.run_until_cancelled(tokio::time::sleep(ROUND)).await.is_none() {
            return;
        }
    }
}

impl Followed {
    fn first(table: &TableConfig) -> Self {
        let first = match &table.from {
            TableSource::File(_) => table.refresh,
            _ => Some(Duration::ZERO),
        };
        let look_at = first.map(|first| Instant::now() + first);
        Self { look_at, known: Known::default(), looking: None }
    }

    /// Begins a look that is due, and takes what has come of one.
    async fn step(&mut self, daemon: &Arc<Daemon>, config: &Arc<Config>, name: &str, table: &TableConfig) {
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            let failed = || Look::new(Next::Retry, None);
            let Look { next, known } = looking.await.unwrap_or_else(|_| failed());
            self.known = known;
            let every = match next {
                Next::Soon => Some(Duration::ZERO),
                Next::Later => table.refresh,
                Next::Retry => Some(table.refresh.map_or(RETRY, |every| every.min(RETRY))),
            };
            self.look_at = every.map(|every| Instant::now() + every);
        }
        if self.looking.is_none() && self.look_at.is_some_and(|at| at <= Instant::now()) {
            let look = look(Arc::clone(daemon), Arc::clone(config), name.to_owned(), self.known.clone());
            self.looking = Some(AbortOnDropHandle::new(tokio::spawn(look)));
        }
    }
}

async fn look(daemon: Arc<Daemon>, config: Arc<Config>, name: String, known: Known) -> Look {
    let Some(table) = config.tables.get(&name) else { return Look::new(Next::Later, None) };
    match &table.from {
        TableSource::File(path) => tables::look(&daemon, &name, table, path, known).await,
        _ => objects::look(&daemon, &config, &name, table, known).await,
    }
}
