//! Destinations: where objects go and what they are called there.
//!
//! [`key`] makes object keys from prefix expressions. The other modules are sinks, one folder each with the same file
//! names: each delivers one object per attempt, idempotent by the object's key, and classes its errors by what the
//! worker does next. [`ReadObject`] is for the few objects that are read. None of them retries, sleeps or decides what happens to the records of a failed attempt.

pub mod file;
pub mod key;
#[cfg(any(feature = "gcs", feature = "azure"))]
pub mod object;
mod read;
pub mod s3;
mod source;

pub use file::{FileOptions, FileSink};
#[cfg(any(feature = "gcs", feature = "azure"))]
pub use object::{ObjectSink, ObjectStoreOptions};
pub use read::{Found, ReadObject};
pub use s3::{S3Options, S3Sink};
