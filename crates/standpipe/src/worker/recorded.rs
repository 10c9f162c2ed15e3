//! The schema of a batch that is not in its definition: its rows say themselves what it is (`schema: infer`), or a catalog
//! has it, and CLOSE names the version that was recorded last.
//!
//! Before anything else is done with a batch of the former kind, its rows are gone through as they are to be converted. What they show
//! beyond the schema in force makes the next version of it, which is recorded; then the batch is closed once more, under
//! the version that its rows are converted by. Every later attempt finds that CLOSE, and looks for nothing again.
//!
//! # Invariants
//! - Nothing of a batch is delivered before a CLOSE that names its schema is durable, nor that before the schema is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use standpipe_convert::TableSchema;
use standpipe_convert::infer::Inferred;
use standpipe_journal::Journal;
use standpipe_journal::control::{Close, Control, OpenBatch};
use standpipe_model::{ErrorClass, SinkError};
use tokio::sync::MutexGuard;
use tokio::task::spawn_blocking;

use super::Line;
use super::deliver::{AttemptError, chain, memory_for, unreadable};
use super::make;
use super::pieces::{Pieces, Split, failed};
use crate::alarm::AlarmKind;
use crate::catalog::Definition;
use crate::spec::{ColumnSource, Conversion};

/// What CLOSE calls the version of the schema; pins of functions and tables have other names.
const PIN: &str = "schema";

fn pinned(close: &Close) -> Option<u64> {
    close.pins.get(PIN)?.parse().ok()
}

/// The versions that batches were closed under which are not settled.
pub(crate) fn needed_schemas(journal: &Journal) -> BTreeSet<u64> {
    journal.with_state(|state| {
        let open = state.destinations.values().flat_map(|progress| progress.open.values());
        open.filter_map(|open| pinned(&open.close)).collect()
    })
}

impl Line {
    /// The conversion of a batch, with its columns; of one whose schema is still to be found, those in force.
    ///
    /// # Errors
    /// What it was closed under is not there any more.
    pub(super) fn with_columns(
        &self,
        conversion: &Conversion,
        close: &Close,
    ) -> Result<Conversion, SinkError> {
        let Some(of) = conversion.recorded_of(&self.of) else { return Ok(conversion.clone()) };
        let schema = match pinned(close) {
            None => self.recorded.in_force(&of).1,
            Some(version) => self.recorded.at(version).ok_or_else(|| {
                let message = format!(
                    "version {version} of the recorded schema cannot be read, or is not there any more"
                );
                SinkError::new(ErrorClass::Misconfigured, message)
            })?,
        };
        Ok(conversion.with(schema))
    }

    /// Names the columns that a catalog has now, where a batch is being closed; they are in force while that is held.
    pub(super) async fn pin_columns(
        &self,
        definition: &Definition,
        pins: &mut BTreeMap<String, String>,
    ) -> Option<MutexGuard<'_, ()>> {
        let conversion = definition.spec.destination_of(&self.of)?.conversion.as_ref()?;
        let of = conversion.recorded_of(&self.of).filter(|_| conversion.catalog().is_some())?;
        let held = self.recorded.hold().await;
        let (version, _) = self.recorded.in_force(&of);
        if version > 0 {
            pins.insert(PIN.to_owned(), version.to_string());
        }
        Some(held)
    }

    /// The batch, closed under the schema that its rows are converted by, where that is theirs to say.
    ///
    /// # Errors
    /// [`AttemptError`]; nothing has become of the batch.
    pub(super) async fn with_schema<'a>(
        &self,
        open: &'a OpenBatch,
    ) -> Result<Cow<'a, OpenBatch>, AttemptError> {
        let version = self.definitions.version(open.close.version);
        let spec = version.as_ref().map(|version| &version.definition.spec);
        let destination = spec.and_then(|spec| spec.destination_of(&self.of));
        let conversion = destination.and_then(|destination| destination.conversion.as_ref());
        let Some(conversion) =
            conversion.filter(|of| of.columns_from.is_some() && pinned(&open.close).is_none())
        else {
            return Ok(Cow::Borrowed(open));
        };
        let (version, _held) = match conversion.columns_from {
            Some(ColumnSource::Infer(names_max)) => {
                let seen = self.look_through(open, conversion, names_max).await?;
                let held = self.recorded.hold().await;
                (self.evolve(conversion, names_max, seen).await?, held)
            }
            _ => {
                let held = self.recorded.hold().await;
                (self.in_force(conversion).0, held)
            }
        };
        if version == 0 && conversion.catalog().is_some() {
            let message = "the catalog has not been asked for the columns of the table with success yet";
            return Err(SinkError::new(ErrorClass::Misconfigured, message).into());
        }
        let mut close = open.close.clone();
        close.pins.insert(PIN.to_owned(), version.to_string());
        self.journal.control(vec![Control::Close(close.clone())]).await?;
        Ok(Cow::Owned(OpenBatch { close, ..open.clone() }))
    }

    /// What the rows of a batch show that the schema in force does not have.
    async fn look_through(
        &self,
        open: &OpenBatch,
        conversion: &Conversion,
        names_max: u32,
    ) -> Result<Option<Inferred>, AttemptError> {
        let mut shape = self.shape(open)?;
        let memory = self.store(&shape.destination)?.memory;
        let _reserved = memory.reserve(memory_for(open.close.record_bytes, &shape)).await;
        let Some(converter) = shape.transformation.converter.take() else { return Ok(None) };
        let reader = Split::new(self.journal.read(open.close.range), converter.records_max);
        let work = make::news(shape.transformation.clone(), converter, self.begin(conversion, names_max));
        let mut pieces = Pieces::start(reader, shape.transformation.chunk_bytes, work, shape.turns);
        let mut all: Option<Inferred> = None;
        while let Some(news) = pieces.next().await.map_err(unreadable)? {
            match (&mut all, news) {
                (Some(all), Some(news)) => all.join(news),
                (None, news) => all = news,
                _ => {}
            }
        }
        Ok(all)
    }

    /// The schema in force, to go on from.
    fn begin(&self, conversion: &Conversion, names_max: u32) -> Inferred {
        Inferred::beyond(&self.in_force(conversion).1, &conversion.deserializer, names_max as usize)
    }

    fn in_force(&self, conversion: &Conversion) -> (u64, TableSchema) {
        conversion.recorded_of(&self.of).map(|of| self.recorded.in_force(&of)).unwrap_or_default()
    }

    /// Puts what was seen in force; returns the version that is then.
    async fn evolve(
        &self,
        conversion: &Conversion,
        names_max: u32,
        seen: Option<Inferred>,
    ) -> Result<u64, AttemptError> {
        let (version, schema) = self.in_force(conversion);
        let mut inferred = self.begin(conversion, names_max);
        if let Some(seen) = seen {
            inferred.join(seen);
        }
        self.tell_of_left_out(names_max, &inferred);
        let evolved = match inferred.evolved() {
            Ok(evolved) if evolved != schema => evolved,
            Ok(_) => return Ok(version),
            Err(error) => {
                tracing::error!(stream = %self.stream, destination = %self.destination, %error,
                    "an inferred schema cannot be used");
                return Ok(version);
            }
        };
        if let Err(error) = conversion.with(evolved.clone()).format() {
            let error = chain(&error);
            tracing::error!(stream = %self.stream, destination = %self.destination, error, "an inferred schema cannot be used");
            return Ok(version);
        }
        let columns = evolved.columns().len();
        let (recorded, needed) = (Arc::clone(&self.recorded), needed_schemas(&self.journal));
        let of = conversion.recorded_of(&self.of).unwrap_or_default();
        let made = spawn_blocking(move || recorded.record(of, evolved, &needed)).await;
        let version = made.map_err(|error| unreadable(failed(error)))??;
        tracing::info!(stream = %self.stream, destination = %self.destination, version, columns,
            "the inferred schema has changed");
        Ok(version)
    }

    fn tell_of_left_out(&self, max: u32, inferred: &Inferred) {
        let left_out = inferred.left_out();
        self.context.metrics.keys_left_out(&self.stream, self.label(), left_out);
        if left_out == 0 {
            return self.context.alarms.clear(Some(&self.stream), AlarmKind::SchemaFull, self.of.as_str());
        }
        let message = format!(
            "{left_out} times a key of the latest batch was left out: the inferred schema has its {max} columns and members, \
             or the name is too long"
        );
        self.raise(AlarmKind::SchemaFull, self.of.as_str(), message);
    }
}
