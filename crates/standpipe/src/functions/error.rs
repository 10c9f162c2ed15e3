//! Why functions and tables cannot be used.

use std::io;
use std::path::PathBuf;

use standpipe_model::SinkError;
use standpipe_transform::{LoadError, SandboxError, TableError};

use crate::stores::StoreError;

/// A function or a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// Its file cannot be read.
    #[error("function '{name}': cannot read {}", path.display())]
    File {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its file is another one.
    #[error("function '{name}': {} has the SHA-256 {found}, the configuration says {wanted}", path.display())]
    Digest {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
    /// It cannot be loaded.
    #[error("function '{name}'")]
    Load {
        /// Its name.
        name: String,
        /// The cause.
        source: LoadError,
    },
    /// No function can be run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Versions cannot be kept or read.
    #[error("cannot access the versions of functions in the data directory")]
    Shelf(#[source] io::Error),
    /// It is not in the configuration, or not loaded.
    #[error("function '{0}' is not configured, or a table that it looks up could not be read yet")]
    Unknown(String),
    /// A table cannot be used.
    #[error("table '{name}'")]
    Table {
        /// Its name.
        name: String,
        /// Why.
        source: TableFault,
    },
    /// There was no version of a table when a batch was closed.
    #[error(
        "table '{table}' could not be read yet, see the alarm 'table_refused'; the batch goes on when it is there"
    )]
    NotYet {
        /// The table's name.
        table: String,
    },
    /// The version of a table that a batch was closed with is nowhere. With another one its objects could be others than
    /// those that are delivered already.
    #[error(
        "the version of table '{table}' that the batch was closed with is gone; `standpipe batches rebind` gives it the one \
         in force"
    )]
    Gone {
        /// The table's name.
        table: String,
    },
}

/// What is wrong with a table's file or object.
#[derive(Debug, thiserror::Error)]
pub enum TableFault {
    /// It cannot be read.
    #[error("cannot read the path {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is too large.
    #[error("the path {} has {bytes} bytes, its max is {max}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it has.
        bytes: u64,
        /// What it may have.
        max: u64,
    },
    /// The store of its object is not configured.
    #[error("store '{0}' is not configured")]
    NoStore(String),
    /// The settings of its store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its object cannot be read, or is too large.
    #[error(transparent)]
    Object(Box<SinkError>),
    /// What is in it is no table.
    #[error(transparent)]
    Content(#[from] TableError),
    /// Reading it panicked.
    #[error("reading it ended in a panic, which the log shows; it is most likely damaged")]
    Panic,
}

impl From<SinkError> for TableFault {
    fn from(error: SinkError) -> Self {
        Self::Object(Box::new(error))
    }
}
