//! The destinations of a stream as its definition changes: which workers come and go, and what becomes of what a
//! destination had not delivered when it is taken out.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use standpipe_journal::AppendError;
use standpipe_journal::control::Progress;
use standpipe_model::DestinationId;

use super::{Stream, StreamError};
use crate::alarm::AlarmKind;
use crate::catalog::{CatalogError, Definition};
use crate::spec::Conversion;
use crate::worker::{Order, Worker, chain, needed_schemas};

/// A destination was not forgotten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    /// The stream has it.
    #[error("'{0}' is a destination of the stream: take it out of the configuration first")]
    InUse(DestinationId),
    /// Nothing is held for it.
    #[error("nothing is held for a destination '{0}'")]
    Unknown(DestinationId),
    /// The journal took no frame.
    #[error("the journal took no frame")]
    Append(#[from] AppendError),
    /// What is recorded of its rows is still there.
    #[error("what its rows were converted to could not be removed")]
    Recorded(#[from] CatalogError),
    /// The same.
    #[error("removing what its rows were converted to ended badly")]
    Ended(#[source] io::Error),
}

impl Stream {
    /// Puts a new version of the definition in force; it must be in the catalog already. Destinations that stay go on
    /// undisturbed.
    ///
    /// # Errors
    /// [`StreamError`]: the journal took no new destinations, and the version before is in force.
    pub async fn redefine(&self, definition: Definition) -> Result<(), StreamError> {
        let current = self.definitions.current();
        if definition.spec.journal_limit_bytes != current.spec.journal_limit_bytes {
            tracing::warn!(stream = %self.name, "a changed journal_limit takes effect at the next start");
        }
        let destinations = definition.spec.destinations();
        self.obey_file(&definition).await;
        self.stop_workers(|worker| !destinations.contains(worker.of())).await;
        let leaving = self.replays_of_others(&destinations);
        let changed = self.journal.set_destinations(&destinations).await;
        if changed.is_ok() {
            self.end_with_destination(leaving).await;
            let was = current.spec.destinations();
            was.iter().filter(|id| !destinations.contains(id)).for_each(|id| self.clear_alarms_of(id));
            self.put_in_force(definition).await;
        }
        // By the definition that is in force now, which is the old one where the journal took no new destinations.
        match self.start_workers().await {
            Ok(()) => self.context.alarms.clear(Some(&self.name), AlarmKind::NotOpened, ""),
            Err(error) => {
                // The version that is in force stays so: batches may be closed under it.
                let (now, message) = (self.context.timer.now(), chain(&error));
                self.context.alarms.raise(Some(&self.name), AlarmKind::NotOpened, "", message, now);
            }
        }
        self.order_all(|| Order::Respec).await;
        self.order_all(|| Order::Nudge).await;
        Ok(changed?)
    }

    async fn put_in_force(&self, definition: Definition) {
        let retention = definition.spec.retention();
        let is_other = retention != self.definitions.current().spec.retention();
        self.definitions.push(definition);
        if is_other {
            self.journal.keep_settled(retention);
            self.tidy().await;
        }
    }

    /// Starts the workers that there should be and are not. One that cannot be started keeps no other from it.
    pub(super) async fn start_workers(&self) -> Result<(), StreamError> {
        let destinations = self.definitions.current().spec.destinations();
        self.journal.set_destinations(&destinations).await?;
        self.tell_of_removed(&destinations);
        let mut workers = self.workers.lock().await;
        let mut failed = None;
        let mut add = |workers: &mut Vec<Worker>, started: io::Result<Worker>| match started {
            Ok(worker) => workers.push(worker),
            Err(error) => failed = failed.take().or(Some(error)),
        };
        for destination in destinations {
            if workers.iter().all(|worker| worker.destination != destination) {
                let line = self.line(destination.clone(), destination, None);
                add(&mut workers, Worker::start(line));
            }
        }
        self.end_unknown(&workers);
        for replaying in self.replays_of_journal() {
            if workers.iter().all(|worker| worker.destination != replaying.id) {
                add(&mut workers, self.start_replay(replaying));
            }
        }
        failed.map_or(Ok(()), |error| Err(StreamError::Read(error)))
    }

    pub(super) async fn stop_workers(&self, which: impl Fn(&Worker) -> bool) {
        let stopped: Vec<Worker> = self.workers.lock().await.extract_if(.., |worker| which(worker)).collect();
        for worker in stopped {
            worker.stop().await;
        }
    }

    /// What a destination had not delivered when it was taken out is held until somebody says what is to become of it.
    fn tell_of_removed(&self, destinations: &[DestinationId]) {
        let alarms = &self.context.alarms;
        let (kind, name, now) = (AlarmKind::DestinationRemoved, Some(&self.name), self.context.timer.now());
        destinations.iter().for_each(|id| alarms.clear(name, kind, id.as_str()));
        for (id, records, open) in self.removed(destinations) {
            self.clear_alarms_of(&id);
            open.iter().for_each(|batch| alarms.clear(name, AlarmKind::Refused, batch));
            let message = format!(
                "destination {id} was taken out and had {records} records to deliver: put it back and it goes on, or give \
                 them up with 'standpipe streams forget {} --destination {id}'",
                self.name
            );
            alarms.raise(name, kind, id.as_str(), message, now);
        }
    }

    /// Clears what only its worker would clear.
    fn clear_alarms_of(&self, id: &DestinationId) {
        use AlarmKind::{JournalFailed, Misconfigured, RetryExhausted, SchemaFull};
        for kind in [JournalFailed, Misconfigured, RetryExhausted, SchemaFull] {
            self.context.alarms.clear(Some(&self.name), kind, id.as_str());
        }
    }

    /// The destinations that something is held for and that are not among these: with how many records, and the ids of
    /// their batches.
    fn removed(&self, destinations: &[DestinationId]) -> Vec<(DestinationId, u64, Vec<String>)> {
        let staying: BTreeSet<&DestinationId> = destinations.iter().collect();
        self.journal.with_state(|state| {
            let gone = state.lasting().filter(|(id, _)| !staying.contains(id));
            let told = |(id, progress): (&DestinationId, &Progress)| {
                let open = progress.open.keys().map(ToString::to_string).collect();
                (id.clone(), progress.in_journal(state.next), open)
            };
            gone.map(told).collect()
        })
    }

    /// Gives up what is held for a destination that was taken out, and what is recorded of its rows; how many records that
    /// were.
    ///
    /// # Errors
    /// [`ForgetError`]: it is still held.
    pub(crate) async fn forget_destination(&self, id: &DestinationId) -> Result<u64, ForgetError> {
        let destinations = self.definition().spec.destinations();
        if destinations.contains(id) {
            return Err(ForgetError::InUse(id.clone()));
        }
        let held = self.removed(&destinations).into_iter().find(|(held, ..)| held == id);
        if held.is_none() && !self.recorded.has(|of| Conversion::is_of(of, id)) {
            return Err(ForgetError::Unknown(id.clone()));
        }
        let records = held.map_or(0, |(_, records, _)| records);
        self.journal.forget_destination(id).await?;
        self.tidy_spools().await;
        self.context.metrics.discarded(&self.name, records);
        self.context.alarms.clear(Some(&self.name), AlarmKind::DestinationRemoved, id.as_str());
        tracing::warn!(stream = %self.name, destination = %id, records, "what was held for a destination is discarded");
        self.forget_schemas(id).await?;
        Ok(records)
    }

    async fn forget_schemas(&self, of: &DestinationId) -> Result<(), ForgetError> {
        let _held = self.recorded.hold().await;
        let (recorded, needed) = (Arc::clone(&self.recorded), needed_schemas(&self.journal));
        let of = of.clone();
        let forget = move || recorded.forget(|recorded| Conversion::is_of(recorded, &of), &needed);
        let forgotten = tokio::task::spawn_blocking(forget).await;
        Ok(forgotten.map_err(|error| ForgetError::Ended(io::Error::other(error)))??)
    }
}
