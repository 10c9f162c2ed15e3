//! Endpoints: destinations that take rows in requests. What they are told, which is a part of a stream's specification,
//! and their clients.
//!
//! Of what an endpoint is told, what decides which rows go where under which identity is *shape*, pinned by the version
//! that a batch was closed under; how it is reached (address, credentials, TLS, timeouts) is *access*, always that of
//! the current version.

mod http;
pub(crate) mod jdbc;
mod opensearch;
mod postgres;
mod reach;
mod redshift;
mod splunk;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standpipe_ingest::DestinationKind;
use standpipe_model::{BatchId, RequestLimits, RequestSink, RowOrigin, Timestamp};
use standpipe_sinks::client::ClientError;
use standpipe_sinks::http::HttpOptionsError;
use standpipe_sinks::opensearch::OpenSearchOptionsError;
use standpipe_sinks::postgres::PostgresOptionsError;
use standpipe_sinks::redshift::{RedshiftOptionsError, Staging};
use standpipe_sinks::splunk::SplunkOptionsError;

use crate::spec::{ICEBERG_FAILED, Patience, S3Destination};
use crate::stamp::Stamp;
use crate::stores::Store;
use crate::worker::Memory;

pub use http::HttpTarget;
pub use opensearch::{ClusterAuth, OpenSearchTarget, SearchProduct};
pub use postgres::PostgresTarget;
pub use reach::Reach;
pub use redshift::{CopyRight, RedshiftTarget};
pub use splunk::SplunkTarget;

/// The memory of the requests on their way to one endpoint, in bytes; one that needs more waits until it is the only
/// one.
const ENDPOINT_MEMORY: u64 = 64 << 20;

/// A destination that takes rows in requests, in place of the objects that its store would get. The store gets what the
/// endpoint does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// How long requests may fail before their rows go to the error output (`RetryOptions`), in milliseconds. What a
    /// human has to mend does not count.
    pub retry_ms: u64,
    /// How old a batch's first record may become before its rows go there, whatever they fail of, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag_ms: Option<u64>,
    /// Which it is.
    pub target: Target,
}

impl Endpoint {
    /// What is borne of it.
    pub(crate) fn patience(&self) -> Patience {
        let Self { retry_ms, max_lag_ms, .. } = *self;
        Patience { retry_ms, max_lag_ms }
    }

    /// The same shape, reached and retried as `current` is, where that is of the same kind.
    pub(crate) fn with_access_of(&self, current: &Self) -> Self {
        Self { target: self.target.with_access_of(&current.target), ..*current }
    }
}

/// An endpoint by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An HTTP endpoint.
    Http(HttpTarget),
    /// OpenSearch or Elasticsearch.
    OpenSearch(OpenSearchTarget),
    /// A table of PostgreSQL.
    Postgres(PostgresTarget),
    /// A table of Redshift.
    Redshift(RedshiftTarget),
    /// Splunk.
    Splunk(SplunkTarget),
}

/// A record that its endpoint did not take, as its line of the error output is made of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Undelivered {
    /// What the identities of the batch's rows derive from.
    pub(crate) batch: BatchId,
    pub(crate) origin: RowOrigin,
    pub(crate) arrived_at: Timestamp,
}

/// An endpoint's client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A file of its settings cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// How it is reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A setting of an HTTP endpoint.
    #[error(transparent)]
    Http(#[from] HttpOptionsError),
    /// A setting of a cluster.
    #[error(transparent)]
    OpenSearch(#[from] OpenSearchOptionsError),
    /// A setting of a table.
    #[error(transparent)]
    Postgres(#[from] PostgresOptionsError),
    /// A setting of a table of Redshift.
    #[error(transparent)]
    Redshift(#[from] RedshiftOptionsError),
    /// Its store is not configured.
    #[error("the store that it is loaded from is not configured")]
    Staging,
    /// A setting of a Splunk.
    #[error(transparent)]
    Splunk(#[from] SplunkOptionsError),
}

/// Every [`error_output_type`](Target::error_output_type) that there is, and that of tables.
pub(crate) const ERROR_OUTPUT_TYPES: [&str; 7] = [
    "http-endpoint-failed",
    "AmazonOpenSearchService-failed",
    "elasticsearch-failed",
    ICEBERG_FAILED,
    "postgres-failed",
    "redshift-failed",
    "splunk-failed",
];

impl Target {
    /// The API's kind of destination.
    pub(crate) fn kind(&self) -> DestinationKind {
        match self {
            Self::Http(_) => DestinationKind::HttpEndpoint,
            Self::OpenSearch(cluster) => cluster.kind(),
            // The API's only kind of table that speaks PostgreSQL's language.
            Self::Postgres(_) | Self::Redshift(_) => DestinationKind::Redshift,
            Self::Splunk(_) => DestinationKind::Splunk,
        }
    }

    /// Its key in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::OpenSearch(_) => "opensearch",
            Self::Postgres(_) => "postgres",
            Self::Redshift(_) => "redshift",
            Self::Splunk(_) => "splunk",
        }
    }

    /// The word in `!{firehose:error-output-type}` for what it did not take.
    pub(crate) fn error_output_type(&self) -> &'static str {
        match self {
            Self::Http(_) => "http-endpoint-failed",
            Self::OpenSearch(cluster) => cluster.error_output_type(),
            Self::Postgres(_) => "postgres-failed",
            Self::Redshift(_) => "redshift-failed",
            Self::Splunk(_) => "splunk-failed",
        }
    }

    /// How rows are cut into requests.
    pub(crate) fn limits(&self) -> RequestLimits {
        match self {
            Self::Http(http) => http.limits(),
            Self::OpenSearch(cluster) => cluster.limits(),
            Self::Postgres(table) | Self::Redshift(RedshiftTarget { table, .. }) => table.limits(),
            Self::Splunk(splunk) => splunk.limits(),
        }
    }

    /// About how much memory a request takes for each byte of its rows, the rows included.
    pub(crate) fn memory_factor(&self) -> u64 {
        match self {
            Self::Http(http) => http.memory_factor(),
            Self::OpenSearch(cluster) => cluster.memory_factor(),
            // The rows, and their text.
            Self::Postgres(_) => 3,
            // The rows, the object, and the parts of it that are on their way.
            Self::Redshift(_) => 4,
            Self::Splunk(_) => 2,
        }
    }

    /// Where it is, without secrets, as the delivery log names it.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Http(http) => http.address(),
            Self::OpenSearch(cluster) => cluster.address(),
            Self::Postgres(table) => table.address(),
            Self::Redshift(table) => table.address(),
            Self::Splunk(splunk) => splunk.url.clone(),
        }
    }

    /// What a line of the error output says beside what all lines say.
    pub(crate) fn error_members(&self, of: &Undelivered) -> Map<String, Value> {
        match self {
            Self::Http(http) => http.error_members(of),
            Self::OpenSearch(cluster) => cluster.error_members(of),
            Self::Postgres(_) | Self::Redshift(_) => Map::new(),
            Self::Splunk(_) => SplunkTarget::error_members(of),
        }
    }

    /// Whether it may be asked for something else than to take records. Who listens behind a URL may know nothing else.
    pub(crate) fn can_be_looked_at(&self) -> bool {
        !matches!(self, Self::Http(_))
    }

    /// Whether it keeps something of each request, to recognise repetitions.
    pub(crate) fn remembers_requests(&self) -> bool {
        match self {
            Self::Http(_) | Self::OpenSearch(_) | Self::Splunk(_) => false,
            Self::Postgres(_) | Self::Redshift(_) => true,
        }
    }

    /// Whether what it loads is an object of its destination's store before, of which it keeps a note where it is given up.
    pub(crate) fn is_staged(&self) -> bool {
        matches!(self, Self::Redshift(_))
    }

    fn with_access_of(&self, current: &Self) -> Self {
        match (self, current) {
            (Self::Http(shape), Self::Http(access)) => Self::Http(shape.with_access_of(access)),
            (Self::OpenSearch(shape), Self::OpenSearch(access)) => {
                Self::OpenSearch(shape.with_access_of(access))
            }
            (Self::Postgres(shape), Self::Postgres(access)) => Self::Postgres(shape.with_access_of(access)),
            (Self::Redshift(shape), Self::Redshift(access)) => Self::Redshift(shape.with_access_of(access)),
            (Self::Splunk(shape), Self::Splunk(access)) => Self::Splunk(shape.with_access_of(access)),
            (shape, _) => shape.clone(),
        }
    }

    fn files(&self) -> Vec<&Path> {
        match self {
            Self::Http(http) => http.reach.files(),
            Self::OpenSearch(cluster) => cluster.reach.files(),
            Self::Postgres(table) | Self::Redshift(RedshiftTarget { table, .. }) => table.reach.files(),
            Self::Splunk(splunk) => splunk.reach.files(),
        }
    }

    /// Makes its client.
    ///
    /// # Errors
    /// [`EndpointError`].
    fn sink(&self, staging: Option<Staging>) -> Result<Arc<dyn RequestSink>, EndpointError> {
        match self {
            Self::Http(http) => http.sink(),
            Self::OpenSearch(cluster) => cluster.sink(),
            Self::Postgres(table) => table.sink(),
            Self::Redshift(table) => table.sink(staging),
            Self::Splunk(splunk) => splunk.sink(),
        }
    }
}

/// An endpoint in use.
#[derive(Debug, Clone)]
pub(crate) struct EndpointClient {
    pub(crate) sink: Arc<dyn RequestSink>,
    /// What all requests on their way to it may hold together.
    pub(crate) memory: Arc<Memory>,
    /// Whether it keeps something of what is given up.
    pub(crate) keeps_given_up: bool,
}

/// How many clients of a destination are kept: one for each version of its definition that batches are delivered by.
const CLIENTS_KEPT: usize = 4;

/// A client with what it was made of: settings, the stamps of their files, and where it stages.
type Kept = (Target, Vec<Stamp>, Option<Staging>, Arc<dyn RequestSink>);

/// The clients of a destination's endpoint, kept with their connections for as long as it is reached in the same way; the
/// latest last.
#[derive(Debug)]
pub(crate) struct EndpointClients {
    kept: Mutex<VecDeque<Kept>>,
    memory: Arc<Memory>,
}

impl Default for EndpointClients {
    fn default() -> Self {
        Self { kept: Mutex::default(), memory: Arc::new(Memory::new(ENDPOINT_MEMORY)) }
    }
}

impl EndpointClients {
    /// The client of a target, made anew where its settings, one of its files or the store of its destination changed.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub(crate) fn get(
        &self,
        target: &Target,
        destination: &S3Destination,
        store: impl FnOnce() -> Option<Store>,
    ) -> Result<EndpointClient, EndpointError> {
        let store = target.is_staged().then(store).flatten();
        let options = || redshift::staging_options(destination);
        let staging = store.map(|Store { sink, .. }| Staging { options: options(), store: sink });
        let stamps: Vec<Stamp> = target.files().into_iter().map(Stamp::of).collect();
        let client = |sink: &Arc<dyn RequestSink>| EndpointClient {
            sink: Arc::clone(sink),
            memory: Arc::clone(&self.memory),
            keeps_given_up: target.is_staged(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(of, at, on, _): &&Kept| of == target && *at == stamps && *on == staging;
        if let Some((.., sink)) = kept.iter().find(same) {
            return Ok(client(sink));
        }
        let sink = target.sink(staging.clone())?;
        if kept.len() == CLIENTS_KEPT {
            kept.pop_front();
        }
        let made = client(&sink);
        kept.push_back((target.clone(), stamps, staging, sink));
        Ok(made)
    }
}
