//! Google Cloud Storage and Azure Blob Storage, through object_store.
//!
//! An object of up to [`part_bytes`](ObjectStoreOptions::part_bytes) is one conditional request: what is there already
//! stays. A longer one is uploaded in parts, one after the other; its completion has no condition in object_store, so
//! that the store is asked for the object just before, and two attempts at the same moment may both store the same rows.
//!
//! # Limits
//! - Memory of an attempt: two parts, plus the body's piece in hand.
//! - Unfinished uploads cannot be listed through object_store, so a sweep finds none. A failed attempt aborts its own;
//!   what a dead process leaves goes by itself on Azure after a week and on Google by a lifecycle rule of the bucket
//!   (`AbortIncompleteMultipartUpload`).
//! - The status of an answer is not told, so that throttling counts as transient.

mod browse;
mod options;
mod read;
mod request;
mod sink;

#[cfg(test)]
mod tests;

pub use options::{ObjectProvider, ObjectStoreOptions};
pub use sink::ObjectSink;
