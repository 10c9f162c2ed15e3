//! What a Postgres destination is told and how.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;

use super::names::{self, NameError, TableName};
use super::path::{Path, PathError};
use super::table::Wanted;

/// How a row's data is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresFormat {
    /// JSON, of which columns are parts: of an object, unless no column is one of its members.
    #[default]
    Json,
    /// A line of CSV: its fields are the columns in their order.
    Csv {
        /// What stands between fields.
        delimiter: char,
        /// What stands for NULL where it is not in quotes.
        null: String,
    },
}

/// What happens to a row whose key the table has already.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// The row is refused.
    #[default]
    Error,
    /// The table's row stays as it is.
    Ignore {
        /// The key's columns; empty for any key.
        key: Vec<String>,
    },
    /// The row takes its place.
    Update {
        /// The key's columns.
        key: Vec<String>,
        /// The column whose greater value wins; without one the row that comes later does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        newest_by: Option<String>,
    },
}

/// How far the connection is protected, in the words of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Not.
    Disable,
    /// Encrypted where the server can.
    #[default]
    Prefer,
    /// Encrypted, whoever the server is.
    Require,
    /// Encrypted to a server with a certificate of the authority.
    VerifyCa,
    /// Encrypted to a server whose certificate is for this host.
    VerifyFull,
}

/// TLS.
#[derive(Debug, Clone, Default)]
pub struct PostgresTls {
    /// How far.
    pub mode: TlsMode,
    /// The certificate authorities (PEM) in the place of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's certificate and its key, in one PEM.
    pub identity_pem: Option<Secret>,
}

/// A table of a PostgreSQL server.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The host, or several with commas between, of which the one that takes writes is used; with `/` in front the folder
    /// of a socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// Who connects.
    pub user: String,
    /// The password, where the server asks for one.
    pub password: Option<Secret>,
    /// How it is protected.
    pub tls: PostgresTls,
    /// The table as SQL writes it, perhaps with its schema: folded to lower case unless in double quotes.
    pub table: String,
    /// The columns as SQL writes them, and where their values stand; without a path, in the member of that name. Empty:
    /// all columns that the table does not fill itself.
    pub columns: Vec<(String, Option<String>)>,
    /// How rows are read.
    pub format: PostgresFormat,
    /// What happens to keys that are there.
    pub conflict: Conflict,
    /// The table that says what was loaded.
    pub ledger: String,
    /// The most connections.
    pub connections_max: usize,
    /// How long a connection that nobody uses is kept.
    pub idle_timeout: Duration,
    /// For making a connection.
    pub connect_timeout: Duration,
    /// For a statement with its answer.
    pub request_timeout: Duration,
}

/// The settings of a Postgres destination cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOptionsError {
    /// A table's or a column's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Where a column's value stands cannot be understood.
    #[error(transparent)]
    Path(#[from] PathError),
    /// CSV has no members.
    #[error("the column '{0}' has a path, which rows of CSV do not have")]
    CsvPath(String),
    /// It could not be told from what is between fields.
    #[error("'{0}' cannot stand between fields")]
    Delimiter(char),
    /// Without a key nobody knows which row to update.
    #[error("conflict: update needs the columns of the key")]
    NoKey,
    /// A key that is not loaded cannot be compared.
    #[error("'{0}' is none of the columns")]
    KeyColumn(String),
    /// The authority could not be looked at.
    #[error("certificate authorities are looked at with verify-ca and verify-full only")]
    UnusedAuthorities,
    /// Any certificate of any authority would do.
    #[error("verify-ca needs the certificate authority")]
    NoAuthorities,
    /// The certificates cannot be used.
    #[error("{what} cannot be used: {why}")]
    Certificates {
        /// Which ones.
        what: &'static str,
        /// What is wrong with them.
        why: String,
    },
}

/// What the options come to.
pub(super) struct Plan {
    pub(super) table: TableName,
    pub(super) ledger: TableName,
    pub(super) wanted: Wanted,
    /// With names as the server has them.
    pub(super) conflict: Conflict,
}

impl PostgresOptions {
    /// Options with the usual values of what need not be said.
    pub fn new(host: &str, database: &str, user: &str, table: &str) -> Self {
        Self {
            host: host.to_owned(),
            port: 5432,
            database: database.to_owned(),
            user: user.to_owned(),
            password: None,
            tls: PostgresTls::default(),
            table: table.to_owned(),
            columns: Vec::new(),
            format: PostgresFormat::Json,
            conflict: Conflict::Error,
            ledger: Self::LEDGER.to_owned(),
            connections_max: 4,
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(180),
        }
    }

    /// The usual name of the ledger.
    pub const LEDGER: &str = "standpipe_ledger";

    /// Checks what can be checked without a server and without certificates.
    ///
    /// # Errors
    /// [`PostgresOptionsError`].
    pub fn check(&self) -> Result<(), PostgresOptionsError> {
        self.plan().map(drop)
    }

    pub(super) fn plan(&self) -> Result<Plan, PostgresOptionsError> {
        let wanted = self.wanted()?;
        let conflict = conflict(&self.conflict, &wanted)?;
        Ok(Plan {
            table: TableName::parse(&self.table)?,
            ledger: TableName::parse(&self.ledger)?,
            wanted,
            conflict,
        })
    }

    fn wanted(&self) -> Result<Wanted, PostgresOptionsError> {
        let is_csv = matches!(self.format, PostgresFormat::Csv { .. });
        if let PostgresFormat::Csv { delimiter: delimiter @ ('"' | '\n' | '\r' | '\0'), .. } = self.format {
            return Err(PostgresOptionsError::Delimiter(delimiter));
        }
        let mut wanted = Wanted::new();
        for (text, path) in &self.columns {
            let name = names::column(text)?;
            // As it was written: `userId` is the column `userid` and the member `userId`.
            let member = || if text.contains('"') { name.as_str() } else { text.trim() };
            let path = match path {
                Some(_) if is_csv => return Err(PostgresOptionsError::CsvPath(name)),
                Some(path) => path.parse()?,
                None => Path::member(member()),
            };
            wanted.push((name, path));
        }
        Ok(wanted)
    }
}

fn conflict(conflict: &Conflict, wanted: &Wanted) -> Result<Conflict, PostgresOptionsError> {
    let loaded = |text: &String| {
        let name = names::column(text)?;
        match wanted.is_empty() || wanted.iter().any(|(column, _)| *column == name) {
            true => Ok(name),
            false => Err(PostgresOptionsError::KeyColumn(name)),
        }
    };
    let all = |key: &[String]| key.iter().map(loaded).collect::<Result<Vec<String>, _>>();
    Ok(match conflict {
        Conflict::Error => Conflict::Error,
        Conflict::Ignore { key } => Conflict::Ignore { key: all(key)? },
        Conflict::Update { key, .. } if key.is_empty() => return Err(PostgresOptionsError::NoKey),
        Conflict::Update { key, newest_by } => {
            Conflict::Update { key: all(key)?, newest_by: newest_by.as_ref().map(loaded).transpose()? }
        }
    })
}
