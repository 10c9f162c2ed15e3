//! Tables whose columns are in Glue: they are asked for now and then, and what has changed is recorded for the batches that
//! close from then on. While Glue is away, or has what cannot be used, the columns before stay in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use standpipe_convert::TableSchema;
use standpipe_ingest::{ApiError, ErrorCode};
use standpipe_model::{DestinationId, StreamName};
use tokio_util::sync::CancellationToken;

use super::{Daemon, conversion};
use crate::alarm::AlarmKind;
use crate::config::GlueConfig;
use crate::glue::{Glue, GlueError, LATEST};
use crate::spec::{CatalogTable, ColumnSource, Conversion, StreamSpec};
use crate::stream::Stream;
use crate::worker::chain;

/// How often it is looked which tables are to be asked for.
const ROUND: Duration = Duration::from_millis(500);
/// How long after a failure a table is asked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// The client of Glue, by the settings that it was made of.
#[derive(Debug, Default)]
pub(super) struct Client(std::sync::Mutex<Option<(GlueConfig, Arc<Glue>)>>);

impl Client {
    async fn of(&self, config: &GlueConfig) -> Result<Arc<Glue>, GlueError> {
        let made = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, glue)) = made().as_ref().filter(|(of, _)| of == config) {
            return Ok(Arc::clone(glue));
        }
        let settings = config.clone();
        let glue = tokio::task::spawn_blocking(move || Glue::new(&settings)).await;
        let glue = Arc::new(glue.map_err(|error| GlueError::Settings(error.to_string()))??);
        *made() = Some((config.clone(), Arc::clone(&glue)));
        Ok(glue)
    }
}

/// The conversions of a stream whose columns are in Glue, by destination.
fn in_glue(spec: &StreamSpec) -> impl Iterator<Item = (DestinationId, &Conversion)> {
    spec.conversions().filter(|(_, of)| of.columns_from == Some(ColumnSource::Glue))
}

/// When the table of each destination is to be asked for again.
type Due = BTreeMap<(StreamName, DestinationId), (String, Instant)>;
/// What a round was told of tables: streams of one table ask once.
type Told = BTreeMap<String, Result<TableSchema, String>>;

/// Follows the tables until `stop`.
pub(super) async fn follow_catalog(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut due = Due::new();
    while stop.run_until_cancelled(tokio::time::sleep(ROUND)).await.is_some() {
        let round = daemon.look_at_catalog(&mut due);
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

impl Daemon {
    async fn look_at_catalog(&self, due: &mut Due) {
        let (streams, mut told, mut before) = (self.streams(), Told::new(), std::mem::take(due));
        for stream in &streams {
            let definition = stream.definition();
            for (destination, conversion) in in_glue(&definition.spec) {
                let Some(of) = conversion.recorded_of(&destination) else { continue };
                let asked = (stream.name().clone(), destination);
                if let Some(known) =
                    before.remove(&asked).filter(|(known, at)| *known == of && *at > Instant::now())
                {
                    due.insert(asked, known);
                    continue;
                }
                // A version that is fixed stays what it is.
                if conversion.table.version_id != LATEST && stream.has_columns(&asked.1) {
                    continue;
                }
                let answer = match told.get(&of) {
                    Some(answer) => answer.clone(),
                    None => self.columns(&conversion.table).await.map_err(|error| error.to_string()),
                };
                told.insert(of.clone(), answer.clone());
                let every = self.put_in_force(stream, &asked.1, conversion, of.clone(), answer).await;
                due.insert(asked, (of, Instant::now() + every));
            }
        }
        // What is not asked for any more has nothing to tell.
        for (stream, destination) in before.into_keys() {
            self.context.alarms.clear(Some(&stream), AlarmKind::CatalogFailed, destination.as_str());
        }
    }

    async fn columns(&self, table: &CatalogTable) -> Result<TableSchema, GlueError> {
        let config = self.config();
        let Some(glue) = &config.glue else {
            return Err(GlueError::Settings("there is none under 'catalogs' any more".to_owned()));
        };
        self.glue.of(glue).await?.columns(table, self.context.timer.now()).await
    }

    /// Puts in force what was told of a stream's table; returns after which time it is to be asked for again.
    async fn put_in_force(
        &self,
        stream: &Stream,
        destination: &DestinationId,
        conversion: &Conversion,
        of: String,
        answer: Result<TableSchema, String>,
    ) -> Duration {
        let recorded = match answer {
            Ok(schema) => match conversion.with(schema.clone()).check() {
                Ok(()) => stream.record_columns(of, schema).await.map_err(|error| chain(&error)),
                Err(error) => Err(chain(&error)),
            },
            Err(error) => Err(error),
        };
        let (alarms, kind) = (&self.context.alarms, AlarmKind::CatalogFailed);
        let refresh = self.config().glue.as_ref().map_or(AGAIN, |glue| glue.refresh);
        match recorded {
            Ok(()) => {
                alarms.clear(Some(stream.name()), kind, destination.as_str());
                refresh
            }
            Err(error) => {
                let CatalogTable { database, table, .. } = &conversion.table;
                let message = format!("{database}.{table}: {error}");
                alarms.raise(
                    Some(stream.name()),
                    kind,
                    destination.as_str(),
                    message,
                    self.context.timer.now(),
                );
                AGAIN.min(refresh)
            }
        }
    }

    /// Checks that Glue has the table that a stream is to be made with.
    ///
    /// # Errors
    /// There is none, it cannot be used, or nobody can say.
    pub(super) async fn check_table(&self, spec: &StreamSpec) -> Result<(), ApiError> {
        // The API knows of one destination, and the file is not checked so.
        let Some((_, wanted)) = in_glue(spec).next() else { return Ok(()) };
        match self.columns(&wanted.table).await {
            Ok(schema) => wanted.with(schema).check().map_err(|error| conversion::invalid(&error)),
            Err(error @ (GlueError::NoTable(_) | GlueError::Columns(_))) => {
                Err(conversion::no_table(&error.to_string()))
            }
            Err(error) => {
                tracing::warn!(%error, "a table could not be looked for in the catalog");
                let message = format!("The table cannot be looked for now. {error}.");
                Err(ApiError::new(ErrorCode::ServiceUnavailable, message))
            }
        }
    }
}
