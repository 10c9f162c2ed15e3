//! Redshift: the rows of a request as an object in a bucket, loaded from there by `COPY`, in one transaction with a note of
//! them in a ledger.
//!
//! ```text
//! rows ─► object, manifest in the bucket ─► BEGIN   LOCK ledger   which of these rows are there?   COPY   note   COMMIT
//!         (keys derive from the rows)                                                              └─ staging kept or removed
//! given up ─► errors/manifests/… names the object, for a COPY by hand
//! ```
//!
//! Connections, TLS, names and what errors mean are those of [`postgres`](crate::postgres); the statements are of the SQL
//! that Redshift has: no advisory locks, no savepoints, no `ON CONFLICT`, no arrays, and the simple protocol only.
//!
//! # Invariants
//! - Rows are in the table exactly when the ledger has them: both are committed together.
//! - Attempts go one behind the other, by a lock on the ledger: one that was given up may still commit.
//! - The same rows have the same keys at every attempt; an object that is there already is not written again.
//! - `COPY` takes all rows of a request or none of them, unless its options let it skip some.
//!
//! # Limits
//! - Memory of an attempt: the rows, the object that is made of them, and what the store's client buffers.
//! - All streams that share a ledger load one behind the other.
//! - The ledger keeps a request for an hour, and until its batch is settled.

mod copy;
mod error;
mod ledger;
mod options;
mod sink;
mod staging;

#[cfg(test)]
mod tests;

pub use copy::CopyOptionsError;
pub use options::{CopyCredentials, RedshiftOptions, RedshiftOptionsError};
pub use sink::RedshiftSink;
pub use staging::{Staging, StagingOptions};
