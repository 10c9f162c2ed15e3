//! Tables of Redshift.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standpipe_model::{Compression, RequestSink};
use standpipe_sinks::redshift::{CopyCredentials, Staging, StagingOptions};
use standpipe_sinks::{RedshiftOptions, RedshiftSink};

use super::{EndpointError, PostgresTarget};
use crate::config::S3Keys;
use crate::spec::S3Destination;

/// A table, loaded by `COPY` from where its destination's objects would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedshiftTarget {
    /// The server, the table and the ledger, as those of PostgreSQL are told of.
    pub table: PostgresTarget,
    /// What `COPY` is told (`CopyOptions`).
    pub copy_options: String,
    /// By what right it reads the bucket.
    pub credentials: CopyRight,
    /// Whether staged objects stay.
    pub keeps_staged: bool,
}

/// By what right `COPY` reads the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyRight {
    /// A role of the cluster.
    Role(String),
    /// An access key.
    Keys(S3Keys),
}

impl RedshiftTarget {
    /// The most records of a request; what they come to in bytes is the limit that counts.
    pub(crate) const RECORDS_MAX: usize = 1_000_000;
    /// How long a statement may take where nothing is said: `COPY` may have to wait for its turn.
    pub(crate) const STATEMENT_MS: u64 = 15 * 60 * 1000;
    /// Redshift's port.
    pub(crate) const PORT: u16 = 5439;

    pub(crate) fn address(&self) -> String {
        let PostgresTarget { host, port, database, table, .. } = &self.table;
        format!("redshift://{host}:{port}/{database} {table}")
    }

    /// As of PostgreSQL. What `COPY` is told may have to be mended for data that waits.
    pub(super) fn with_access_of(&self, access: &Self) -> Self {
        Self { table: self.table.with_access_of(&access.table), ..access.clone() }
    }

    /// What its client is told, certificates aside.
    pub(crate) fn options(&self) -> RedshiftOptions {
        let credentials = match self.credentials.clone() {
            CopyRight::Role(role) => CopyCredentials::Role(role),
            CopyRight::Keys(S3Keys { access_key_id, secret_access_key, session_token }) => {
                CopyCredentials::Keys { access_key_id, secret_access_key, session_token }
            }
        };
        RedshiftOptions {
            copy_options: self.copy_options.clone(),
            keeps_staged: self.keeps_staged,
            ..RedshiftOptions::new(self.table.options(), credentials)
        }
    }

    pub(super) fn sink(&self, staging: Option<Staging>) -> Result<Arc<dyn RequestSink>, EndpointError> {
        let staging = staging.ok_or(EndpointError::Staging)?;
        let mut options = self.options();
        options.table = self.table.with_certificates()?;
        Ok(Arc::new(RedshiftSink::new(&options, staging)?))
    }
}

/// What is staged for such a table is like the objects that its destination would get.
pub(super) fn staging_options(destination: &S3Destination) -> StagingOptions {
    StagingOptions {
        bucket: destination.bucket.clone(),
        prefix: destination.prefix.clone(),
        custom_time_zone: destination.custom_time_zone.clone(),
        extension: match destination.file_extension.as_str() {
            "" => destination.default_extension(),
            own => own.to_owned(),
        },
        gzip: destination.compression == Compression::Gzip,
        object: destination.object.clone(),
    }
}
