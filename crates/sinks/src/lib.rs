//! Destinations: where objects go and what they are called there.
//!
//! [`key`] makes object keys from prefix expressions. The other modules are sinks, one folder each with the same file
//! names. Stores take one object per attempt, idempotent by the object's key, and give the few that are read
//! ([`ReadObject`], [`BrowseObjects`]); endpoints take rows in requests and say of each what became of it. All class their errors by what
//! the worker does next. None of them retries, sleeps or decides what happens to the records of a failed attempt.

mod browse;
mod cause;
pub mod client;
pub mod file;
pub mod http;
pub mod iceberg;
pub mod key;
#[cfg(any(feature = "gcs", feature = "azure"))]
pub mod object;
pub mod opensearch;
pub mod postgres;
mod read;
pub mod redshift;
pub mod s3;
#[cfg(test)]
mod sample;
mod source;
pub mod splunk;

pub use browse::{BrowseObjects, Listed};
pub use client::ClientOptions;
pub use file::{FileOptions, FileSink};
pub use http::{HttpOptions, HttpSink};
#[cfg(any(feature = "gcs", feature = "azure"))]
pub use object::{ObjectSink, ObjectStoreOptions};
pub use opensearch::{OpenSearchOptions, OpenSearchSink};
pub use postgres::{PostgresOptions, PostgresSink};
pub use read::{Found, ReadObject};
pub use redshift::{RedshiftOptions, RedshiftSink};
pub use s3::{S3Options, S3Sink};
pub use splunk::{SplunkOptions, SplunkSink};
