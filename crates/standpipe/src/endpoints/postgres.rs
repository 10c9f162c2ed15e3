//! Tables of PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::{RequestLimits, RequestSink, Secret};
use standpipe_sinks::postgres::{Conflict, PostgresFormat, PostgresTls, TlsMode};
use standpipe_sinks::{PostgresOptions, PostgresSink};

use super::EndpointError;
use super::reach::Reach;
use crate::exposed::expose_some;

/// The most records of a request: finding those that the table refuses costs statements for each.
const RECORDS_MAX: usize = 10_000;
/// The most bytes of them.
const BYTES_MAX: u64 = 16 << 20;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresTarget {
    /// The server, or several with commas between.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who connects.
    pub user: String,
    /// With which password.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose_some")]
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// The table (`DataTableName`).
    pub table: String,
    /// Its columns (`DataTableColumns`), and where their values stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<(String, Option<String>)>,
    /// How records are read.
    #[serde(default)]
    pub format: PostgresFormat,
    /// What happens to keys that are there.
    #[serde(default)]
    pub conflict: Conflict,
    /// The table that says what was loaded.
    pub ledger: String,
    /// The most rows of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_max: Option<usize>,
    /// The most bytes of a request's rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// How far the connection is protected.
    #[serde(default)]
    pub tls: TlsMode,
    /// The most connections.
    pub connections_max: usize,
    /// Certificates and timeouts.
    #[serde(default)]
    pub reach: Reach,
}

impl PostgresTarget {
    /// A table with nothing else said of it.
    pub(crate) fn at(host: String, port: u16, database: String, user: String, table: String) -> Self {
        let PostgresOptions { connections_max, ledger, .. } = PostgresOptions::new("", "", "", "");
        Self {
            host,
            port,
            user,
            password: None,
            database,
            table,
            columns: Vec::new(),
            format: PostgresFormat::default(),
            conflict: Conflict::default(),
            ledger,
            records_max: None,
            bytes_max: None,
            tls: TlsMode::default(),
            connections_max,
            reach: Reach::default(),
        }
    }

    pub(crate) fn limits(&self) -> RequestLimits {
        RequestLimits {
            rows_max: self.records_max.unwrap_or(RECORDS_MAX),
            bytes_max: self.bytes_max.unwrap_or(BYTES_MAX),
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("postgresql://{}:{}/{} {}", self.host, self.port, self.database, self.table)
    }

    /// Who is asked, who asks, and how; which table of which database is shape, and what becomes of rows there.
    pub(super) fn with_access_of(&self, access: &Self) -> Self {
        let PostgresTarget { host, port, user, password, tls, connections_max, reach, .. } = access.clone();
        Self { host, port, user, password, tls, connections_max, reach, ..self.clone() }
    }

    /// What its client is told, certificates aside.
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions {
            port: self.port,
            password: self.password.clone(),
            tls: PostgresTls { mode: self.tls, ..PostgresTls::default() },
            columns: self.columns.clone(),
            format: self.format.clone(),
            conflict: self.conflict.clone(),
            ledger: self.ledger.clone(),
            connections_max: self.connections_max,
            connect_timeout: Duration::from_millis(self.reach.connect_timeout_ms),
            request_timeout: Duration::from_millis(self.reach.request_timeout_ms),
            ..PostgresOptions::new(&self.host, &self.database, &self.user, &self.table)
        }
    }

    /// The same with them.
    pub(super) fn with_certificates(&self) -> Result<PostgresOptions, EndpointError> {
        let client = self.reach.options()?;
        let mut options = self.options();
        (options.tls.ca_pem, options.tls.identity_pem) = (client.ca_pem, client.identity_pem);
        Ok(options)
    }

    pub(super) fn sink(&self) -> Result<Arc<dyn RequestSink>, EndpointError> {
        Ok(Arc::new(PostgresSink::new(&self.with_certificates()?)?))
    }
}
