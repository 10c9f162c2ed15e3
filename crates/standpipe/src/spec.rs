//! A stream's validated specification: what the configuration and the API both turn into, and what the worker obeys.
//!
//! Of a specification, the *shape* (everything in [`S3Destination`]) is pinned by version when a batch closes; the
//! *access* to the named store (endpoint, credentials, TLS) is looked up live at each attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::{Compression, StreamName};

/// Everything standpipe does for one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: StreamName,
    /// Where its records go.
    pub destination: S3Destination,
    /// Where a raw copy of every record goes (`S3BackupMode: Enabled`); the records are settled when both have landed.
    #[serde(default)]
    pub backup: Option<S3Destination>,
    /// The most bytes its journal may hold on disk; the daemon's share where absent.
    #[serde(default)]
    pub journal_limit_bytes: Option<u64>,
}

/// An object store destination: the shape that a batch's object is made by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Destination {
    /// The configured store's name.
    pub store: String,
    /// The bucket, or the top folder in a file store; may be empty for a file store.
    pub bucket: String,
    /// The prefix expression as written.
    #[serde(default)]
    pub prefix: String,
    /// The error output prefix expression as written.
    #[serde(default)]
    pub error_output_prefix: String,
    /// How objects are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// The compression level, where the format has one; its default where absent.
    #[serde(default)]
    pub compression_level: Option<i32>,
    /// Bytes appended to every record, usually none or a newline.
    #[serde(default)]
    pub delimiter: String,
    /// Replaces the default extension; empty means the default of the compression.
    #[serde(default)]
    pub file_extension: String,
    /// The IANA time zone of timestamps in keys; empty means UTC.
    #[serde(default)]
    pub custom_time_zone: String,
    /// When a batch closes.
    pub buffering: Buffering,
    /// What the store is told about each object.
    #[serde(default)]
    pub object: ObjectOptions,
}

/// When a batch closes: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffering {
    /// Raw record bytes.
    pub size_bytes: u64,
    /// Age of the oldest record, in milliseconds; 0 means at once.
    pub interval_ms: u64,
}

impl Buffering {
    /// The age at which a batch closes.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Default for Buffering {
    fn default() -> Self {
        Self { size_bytes: 5 << 20, interval_ms: 60_000 }
    }
}

/// Settings of each stored object (S3 only; a file store refuses them at configuration).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectOptions {
    /// `x-amz-storage-class`.
    pub storage_class: Option<String>,
    /// `x-amz-acl`, a canned ACL.
    pub acl: Option<String>,
    /// Server-side encryption.
    pub encryption: Encryption,
    /// Object tags.
    pub tags: BTreeMap<String, String>,
    /// User metadata (`x-amz-meta-…`) beside standpipe's own.
    pub metadata: BTreeMap<String, String>,
    /// Object Lock.
    pub lock: Option<ObjectLock>,
}

/// Server-side encryption of stored objects.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Encryption {
    /// Whatever the bucket does by itself.
    #[default]
    BucketDefault,
    /// SSE-S3 (`AES256`).
    S3,
    /// SSE-KMS (`aws:kms`) with this key id or ARN.
    Kms {
        /// The key id or ARN.
        key: String,
    },
}

/// Object Lock retention of stored objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: LockMode,
    /// Days from the batch's close until deletion is allowed.
    pub retain_days: u32,
}

/// Object Lock's modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LockMode {
    /// May be lifted by those allowed to.
    Governance,
    /// May be lifted by nobody.
    Compliance,
}
