//! What every object is told about itself: headers, tags, metadata and checksum, ready for the SDK.

use std::collections::HashMap;
use std::fmt::Write;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ObjectCannedAcl, ObjectLockMode, ServerSideEncryption, StorageClass,
};
use aws_smithy_checksums::ChecksumAlgorithm as Algorithm;
use standpipe_model::{Delivery, Encryption, ErrorClass, LockMode, SinkError};

use super::options::S3Checksum;

/// The headers of an object, in the SDK's types.
#[derive(Debug, Clone)]
pub(super) struct Headers {
    pub(super) content_type: String,
    pub(super) content_encoding: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) acl: Option<ObjectCannedAcl>,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) kms_key: Option<String>,
    pub(super) tagging: Option<String>,
    pub(super) metadata: HashMap<String, String>,
    pub(super) lock_mode: Option<ObjectLockMode>,
    pub(super) retain_until: Option<DateTime>,
}

impl Headers {
    /// The headers of a delivery's object.
    ///
    /// # Errors
    /// [`ErrorClass::Misconfigured`] where an option cannot be sent.
    pub(super) fn of(delivery: &Delivery) -> Result<Self, SinkError> {
        let options = &delivery.options;
        let (encryption, kms_key) = match &options.encryption {
            Encryption::BucketDefault => (None, None),
            Encryption::S3 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms { key } => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
        };
        let (lock_mode, retain_until) = lock(delivery)?;
        Ok(Self {
            content_type: delivery.media.content_type.to_owned(),
            content_encoding: delivery.media.content_encoding.map(str::to_owned),
            storage_class: options.storage_class.as_deref().map(StorageClass::from),
            acl: options.acl.as_deref().map(ObjectCannedAcl::from),
            encryption,
            kms_key,
            tagging: tagging(delivery),
            metadata: metadata(delivery)?,
            lock_mode,
            retain_until,
        })
    }
}

fn lock(delivery: &Delivery) -> Result<(Option<ObjectLockMode>, Option<DateTime>), SinkError> {
    let Some(lock) = &delivery.options.lock else { return Ok((None, None)) };
    let mode = match lock.mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    };
    let until = delivery.retain_until.and_then(|until| i64::try_from(until.as_millis()).ok());
    let until = until.ok_or_else(|| {
        SinkError::new(ErrorClass::Misconfigured, "object lock is set, but no time until which to retain")
    })?;
    Ok((Some(mode), Some(DateTime::from_millis(until))))
}

/// The user's metadata and, over it, standpipe's own.
fn metadata(delivery: &Delivery) -> Result<HashMap<String, String>, SinkError> {
    let mut metadata: HashMap<String, String> = HashMap::new();
    for (name, value) in &delivery.options.metadata {
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
            let message = format!("metadata '{name}' cannot be sent: it takes printable ASCII only");
            return Err(SinkError::new(ErrorClass::Misconfigured, message));
        }
        metadata.insert(name.to_ascii_lowercase(), value.clone());
    }
    let own = [
        ("stream", delivery.stream.to_string()),
        ("version", delivery.version.to_string()),
        ("first-position", delivery.range.first.to_string()),
        ("last-position", delivery.range.last.to_string()),
        ("batch-id", delivery.batch.to_string()),
        ("close-reason", delivery.closed_by.as_str().to_owned()),
    ];
    metadata.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Ok(metadata)
}

/// Tags travel as a query string.
fn tagging(delivery: &Delivery) -> Option<String> {
    let pair = |(name, value): (&String, &String)| format!("{}={}", percent(name), percent(value));
    let pairs: Vec<_> = delivery.options.tags.iter().map(pair).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let written = write!(out, "%{byte:02X}");
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }
    out
}

/// A checksum in the field that belongs to its algorithm; the others stay empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
}

impl S3Checksum {
    /// The checksum of `data`, as the headers want it.
    pub(super) fn of(self, data: &[u8]) -> Checksums {
        let sum = |algorithm: Algorithm| {
            let mut sum = algorithm.into_impl();
            sum.update(data);
            Some(base64_simd::STANDARD.encode_to_string(sum.finalize()))
        };
        match self {
            Self::Crc32c => Checksums { crc32c: sum(Algorithm::Crc32c), ..Checksums::default() },
            Self::Crc64Nvme => Checksums { crc64nvme: sum(Algorithm::Crc64Nvme), ..Checksums::default() },
            Self::Crc32 => Checksums { crc32: sum(Algorithm::Crc32), ..Checksums::default() },
            Self::Off => Checksums::default(),
        }
    }

    /// What a multipart upload announces.
    pub(super) fn announced(self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            Self::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Self::Crc32 => Some(ChecksumAlgorithm::Crc32),
            Self::Off => None,
        }
    }
}
