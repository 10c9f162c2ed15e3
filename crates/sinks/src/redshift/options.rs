//! What a Redshift destination is told and how.

use standpipe_model::Secret;

use super::copy::{Copy, CopyOptions, CopyOptionsError, literal};
use crate::postgres::names::{TableName, column};
use crate::postgres::{NameError, PostgresOptions, PostgresOptionsError};

/// By what right `COPY` reads the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyCredentials {
    /// A role that the cluster may take: its ARN, several with commas between, or `default`.
    Role(String),
    /// An access key.
    Keys {
        /// Its id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: Secret,
        /// The session token of a temporary one.
        session_token: Option<Secret>,
    },
}

impl CopyCredentials {
    /// What the statement says of it.
    pub(super) fn clause(&self) -> String {
        match self {
            Self::Role(role) if role.eq_ignore_ascii_case("default") => "IAM_ROLE default".to_owned(),
            Self::Role(role) => format!("IAM_ROLE {}", literal(role)),
            Self::Keys { access_key_id, secret_access_key, session_token } => {
                let secret = secret_access_key.expose();
                let token = session_token.as_ref().map(|token| format!(";token={}", token.expose()));
                let token = token.unwrap_or_default();
                let all = format!("aws_access_key_id={access_key_id};aws_secret_access_key={secret}{token}");
                format!("CREDENTIALS {}", literal(&all))
            }
        }
    }

    /// What no message may repeat.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Role(_) => Vec::new(),
            Self::Keys { secret_access_key, session_token, .. } => {
                [Some(secret_access_key), session_token.as_ref()].into_iter().flatten().cloned().collect()
            }
        }
    }
}

/// A table of a Redshift.
#[derive(Debug, Clone)]
pub struct RedshiftOptions {
    /// The server, the table with its columns, and the ledger, as of PostgreSQL. Columns have no paths: `COPY` reads the
    /// records.
    pub table: PostgresOptions,
    /// What `COPY` is told beside (`CopyOptions`).
    pub copy_options: String,
    /// By what right it reads the bucket.
    pub credentials: CopyCredentials,
    /// Whether staged objects and their manifests stay once they are loaded.
    pub keeps_staged: bool,
}

/// The settings of a Redshift destination cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedshiftOptionsError {
    /// How the server is reached.
    #[error(transparent)]
    Server(#[from] PostgresOptionsError),
    /// A table's or a column's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What `COPY` is told.
    #[error(transparent)]
    Copy(#[from] CopyOptionsError),
    /// Redshift does not say which of several servers takes writes.
    #[error("a Redshift has one host")]
    Hosts,
    /// It would be read by nobody.
    #[error("the column '{0}' has a path: with Redshift the copy option JSON says where values stand")]
    Path(String),
}

/// The usual copy options of records that are JSON objects.
pub(super) const JSON: &str = "JSON 'auto'";

impl RedshiftOptions {
    /// Options with the usual values of what need not be said.
    pub fn new(table: PostgresOptions, credentials: CopyCredentials) -> Self {
        Self { table, copy_options: JSON.to_owned(), credentials, keeps_staged: true }
    }

    /// Checks what can be checked without a server and without certificates.
    ///
    /// # Errors
    /// [`RedshiftOptionsError`].
    pub fn check(&self) -> Result<(), RedshiftOptionsError> {
        TableName::parse(&self.table.ledger)?;
        self.copy().map(drop)
    }

    pub(super) fn copy(&self) -> Result<Copy, RedshiftOptionsError> {
        if self.table.host.contains(',') {
            return Err(RedshiftOptionsError::Hosts);
        }
        if let Some((name, _)) = self.table.columns.iter().find(|(_, path)| path.is_some()) {
            return Err(RedshiftOptionsError::Path(name.clone()));
        }
        let columns = self.table.columns.iter().map(|(text, _)| column(text));
        Ok(Copy {
            table: TableName::parse(&self.table.table)?,
            columns: columns.collect::<Result<_, _>>()?,
            credentials: self.credentials.clone(),
            options: CopyOptions::parse(&self.copy_options)?,
        })
    }
}
