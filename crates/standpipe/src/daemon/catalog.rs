//! Tables whose columns are in a catalog: they are asked for now and then, and what has changed is recorded for the batches
//! that close from then on. While a catalog is away, or has what cannot be used, the columns before stay in force.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use standpipe_convert::TableSchema;
use standpipe_ingest::{ApiError, ErrorCode};
use standpipe_model::{DestinationId, StreamName};
use standpipe_sinks::iceberg::RestError;
use tokio_util::sync::CancellationToken;

use super::{Daemon, conversion};
use crate::alarm::{AlarmKind, of_destination};
use crate::config::{GlueConfig, IcebergConfig};
use crate::glue::{Glue, GlueError};
use crate::iceberg::{Iceberg, IcebergError};
use crate::spec::{CatalogKind, CatalogTable, Conversion, LATEST, StreamSpec};
use crate::stream::Stream;
use crate::worker::chain;

/// How often it is looked which tables are to be asked for.
const ROUND: Duration = Duration::from_millis(500);
/// How long after a failure a table is asked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// How many tables are asked for at once.
const TABLES_AT_ONCE: usize = 8;

/// The columns of a table could not be had.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    /// From Glue.
    #[error(transparent)]
    Glue(#[from] GlueError),
    /// From an Iceberg catalog.
    #[error(transparent)]
    Iceberg(#[from] IcebergError),
    /// There is no such catalog any more.
    #[error("there is no '{}' under 'catalogs' any more", .0.name())]
    Gone(CatalogKind),
    /// The client could not be made.
    #[error("the client of the catalog could not be made")]
    Client(#[from] tokio::task::JoinError),
}

impl LookupError {
    /// Whether the catalog has been asked, and it is the table that will not do.
    fn is_the_tables(&self) -> bool {
        match self {
            Self::Glue(error) => matches!(error, GlueError::NoTable(_) | GlueError::Columns(_)),
            Self::Iceberg(error) => matches!(
                error,
                IcebergError::Rest(RestError::NoTable(_))
                    | IcebergError::NoVersion(_)
                    | IcebergError::Columns(_)
            ),
            Self::Gone(_) | Self::Client(_) => false,
        }
    }
}

/// The client of a catalog, by the settings that it was made of.
#[derive(Debug)]
struct Client<S, C>(Mutex<Option<(S, Arc<C>)>>);

impl<S, C> Default for Client<S, C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<S, C> Client<S, C>
where
    S: Clone + PartialEq + Send + 'static,
    C: Send + Sync + 'static,
{
    async fn of<E>(
        &self,
        settings: Option<&S>,
        kind: CatalogKind,
        make: fn(&S) -> Result<C, E>,
    ) -> Result<Arc<C>, LookupError>
    where
        E: Send + 'static,
        LookupError: From<E>,
    {
        let settings = settings.ok_or(LookupError::Gone(kind))?;
        let made = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = made().as_ref().filter(|(of, _)| of == settings) {
            return Ok(Arc::clone(client));
        }
        let of = settings.clone();
        let client = Arc::new(tokio::task::spawn_blocking(move || make(&of)).await??);
        *made() = Some((settings.clone(), Arc::clone(&client)));
        Ok(client)
    }
}

/// The clients of all catalogs.
#[derive(Debug, Default)]
pub(super) struct Clients {
    glue: Client<GlueConfig, Glue>,
    iceberg: Client<IcebergConfig, Iceberg>,
}

/// The conversions of a stream whose columns are in a catalog, by destination, and which it is.
fn in_catalog(spec: &StreamSpec) -> impl Iterator<Item = (DestinationId, &Conversion, CatalogKind)> {
    spec.conversions().filter_map(|(destination, of)| Some((destination, of, of.catalog()?)))
}

/// When the table of each destination is to be asked for again.
type Due = BTreeMap<(StreamName, DestinationId), (String, Instant)>;
/// Who wants the columns of a table, by where they are found: all who want the same ask once.
type Wanted = BTreeMap<String, Vec<(Arc<Stream>, DestinationId, Conversion, CatalogKind)>>;

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
        let asked = futures::stream::iter(self.wanted(due)).map(|(of, streams)| async move {
            let (_, _, conversion, catalog) = &streams[0];
            let answer = self.columns(*catalog, &conversion.table).await.map_err(|error| chain(&error));
            (of, streams, answer)
        });
        let mut asked = asked.buffer_unordered(TABLES_AT_ONCE);
        while let Some((of, streams, answer)) = asked.next().await {
            for (stream, destination, conversion, catalog) in streams {
                let asked = (stream.name().clone(), destination);
                let recorded = self.put_in_force(&stream, &asked.1, &conversion, answer.clone()).await;
                let every = self.tell_of(&asked, &conversion, catalog, recorded);
                due.insert(asked, (of.clone(), Instant::now() + every));
            }
        }
    }

    /// The tables that are to be asked for now; what is due later stays, and nothing else does.
    fn wanted(&self, due: &mut Due) -> Wanted {
        let (mut wanted, mut before) = (Wanted::new(), std::mem::take(due));
        for stream in self.streams() {
            let definition = stream.definition();
            for (destination, conversion, catalog) in in_catalog(&definition.spec) {
                let Some(of) = conversion.found_in() else { continue };
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
                let waiting = (Arc::clone(&stream), asked.1, conversion.clone(), catalog);
                wanted.entry(of).or_default().push(waiting);
            }
        }
        // What is not asked for any more has nothing to tell.
        for (stream, destination) in before.into_keys() {
            self.context.alarms.clear(Some(&stream), AlarmKind::CatalogFailed, destination.as_str());
        }
        wanted
    }

    async fn columns(&self, kind: CatalogKind, table: &CatalogTable) -> Result<TableSchema, LookupError> {
        let (config, now) = (self.config(), self.context.timer.now());
        let (catalogs, clients) = (&config.catalogs, &self.catalogs);
        Ok(match kind {
            CatalogKind::Glue => {
                let glue = clients.glue.of(catalogs.glue.as_ref(), kind, Glue::new).await?;
                glue.columns(table, now).await?
            }
            CatalogKind::Iceberg => {
                let iceberg = clients.iceberg.of(catalogs.iceberg.as_ref(), kind, Iceberg::new).await?;
                iceberg.columns(table, now).await?
            }
        })
    }

    /// Puts in force what was told of a stream's table.
    async fn put_in_force(
        &self,
        stream: &Stream,
        destination: &DestinationId,
        conversion: &Conversion,
        answer: Result<TableSchema, String>,
    ) -> Result<(), String> {
        let schema = answer?;
        conversion.with(schema.clone()).check().map_err(|error| chain(&error))?;
        let of = conversion.recorded_of(destination).unwrap_or_default();
        stream.record_columns(of, schema).await.map_err(|error| chain(&error))
    }

    /// Tells of what came of a table; returns after which time it is to be asked for again.
    fn tell_of(
        &self,
        (stream, destination): &(StreamName, DestinationId),
        conversion: &Conversion,
        catalog: CatalogKind,
        recorded: Result<(), String>,
    ) -> Duration {
        let (alarms, kind, about) = (&self.context.alarms, AlarmKind::CatalogFailed, destination.as_str());
        let refresh = self.config().catalogs.refresh(catalog).unwrap_or(AGAIN);
        match recorded {
            Ok(()) => {
                alarms.clear(Some(stream), kind, about);
                refresh
            }
            Err(error) => {
                let CatalogTable { database, table, .. } = &conversion.table;
                let message = of_destination(destination, format!("{database}.{table}: {error}"));
                alarms.raise(Some(stream), kind, about, message, self.context.timer.now());
                AGAIN.min(refresh)
            }
        }
    }

    /// Checks that the catalog has the table that a stream is to be made with.
    ///
    /// # Errors
    /// There is none, it cannot be used, or nobody can say.
    pub(super) async fn check_table(&self, spec: &StreamSpec) -> Result<(), ApiError> {
        // The API knows of one destination, and the file is not checked so.
        let Some((_, wanted, kind)) = in_catalog(spec).next() else { return Ok(()) };
        match self.columns(kind, &wanted.table).await {
            Ok(schema) => wanted.with(schema).check().map_err(|error| conversion::invalid(&error)),
            Err(error) if error.is_the_tables() => Err(conversion::no_table(&error.to_string())),
            Err(error) => {
                tracing::warn!(%error, "a table could not be looked for in the catalog");
                let message = format!("The table cannot be looked for now. {error}.");
                Err(ApiError::new(ErrorCode::ServiceUnavailable, message))
            }
        }
    }
}
