//! What a store is told about each object, beside its bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
