//! PostgreSQL: the rows of a request into a table, by `COPY`, in one transaction with a note of them in a ledger.
//!
//! ```text
//! BEGIN    lock(batch)    ledger: which of these rows are there?    COPY the others    ledger: these too    COMMIT
//!                                                                     │ a row that the table refuses: halve under a
//!                                                                     └ savepoint until it is found; it is noted too
//! ```
//!
//! # Invariants
//! - A row is in the table exactly when the ledger has it as loaded: both are committed together. Whoever comes again
//!   with rows of a batch, in whichever requests, finds them in the ledger, with the refusals of the first time.
//! - Attempts at the same batch go one behind the other: in this process they wait for their turn before they take a
//!   connection, and by an advisory lock for one that was given up or is another process's, which may still commit.
//! - The server turns text into values, by the types of the table as it is at that attempt.
//!
//! # Limits
//! - Memory of an attempt: the rows and the text that is made of them.
//! - A refused row costs about log2(rows) statements, and all rows refused one statement each.
//! - The ledger keeps a batch for an hour after it was settled.

pub(crate) mod error;
pub(crate) mod ledger;
mod load;
pub(crate) mod names;
mod options;
mod path;
mod request;
pub(crate) mod session;
mod sink;
mod table;
mod text;
mod tls;

#[cfg(test)]
mod tests;

pub use names::NameError;
pub use options::{Conflict, PostgresFormat, PostgresOptions, PostgresOptionsError, PostgresTls, TlsMode};
pub use path::PathError;
pub use sink::PostgresSink;
