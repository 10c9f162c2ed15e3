//! One attempt at one object.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::delete_object::DeleteObjectError;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use standpipe_model::{Body, Delivery, ObjectTarget, Receipt, Sink, SinkError};

use super::client;
use super::error::Failure;
use super::multipart::Upload;
use super::options::{S3Options, S3OptionsError};
use super::request::Headers;
use crate::source::{Source, body_failed};

/// A sink that stores objects in S3 or a store that speaks its protocol.
#[derive(Clone)]
pub struct S3Sink {
    pub(super) client: Client,
    pub(super) options: Arc<S3Options>,
    store: Arc<str>,
}

impl fmt::Debug for S3Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Sink").field("store", &self.store).finish_non_exhaustive()
    }
}

impl S3Sink {
    /// A sink with these settings. Nothing is connected and no credentials are looked up yet.
    ///
    /// # Errors
    /// The first setting that is not usable.
    pub fn new(options: S3Options) -> Result<Self, S3OptionsError> {
        let client = client::build(&options)?;
        let store = match &options.endpoint {
            Some(endpoint) => endpoint.as_str().into(),
            None => format!("s3 {}", options.region).into(),
        };
        Ok(Self { client, options: Arc::new(options), store })
    }

    /// Store, bucket and key, for messages.
    pub(super) fn place(&self, target: &ObjectTarget) -> String {
        format!("{} bucket '{}' key '{}'", self.store, target.bucket, target.key)
    }

    /// Whether payloads go unsigned. TLS and the checksum protect them already, and signing would hash every byte; over
    /// plain HTTP stores insist on a signed payload.
    pub(super) fn unsigned_payload(&self) -> bool {
        self.options.endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https://"))
    }

    pub(super) fn if_none_match(&self) -> Option<String> {
        self.options.conditional_put.then(|| "*".to_owned())
    }

    /// Sends an object that fits one request.
    async fn put(&self, delivery: &Delivery, headers: Headers, data: Vec<u8>) -> Result<Receipt, SinkError> {
        let bytes = data.len() as u64;
        match self.put_request(delivery, headers, data).await {
            Ok(_) => Ok(Receipt { bytes, existed: false }),
            Err(failure) if failure.existed() => Ok(Receipt { bytes, existed: true }),
            Err(failure) => Err(failure.into_error(&self.place(&delivery.target), "storing the object")),
        }
    }

    async fn put_request(
        &self,
        delivery: &Delivery,
        headers: Headers,
        data: Vec<u8>,
    ) -> Result<PutObjectOutput, Failure> {
        let settings = client::request_settings(&self.options, data.len());
        let checksum = self.options.checksum.of(&data);
        let request = self
            .client
            .put_object()
            .bucket(&delivery.target.bucket)
            .key(&delivery.target.key)
            .set_if_none_match(self.if_none_match())
            .content_type(headers.content_type)
            .set_content_encoding(headers.content_encoding)
            .set_storage_class(headers.storage_class)
            .set_acl(headers.acl)
            .set_server_side_encryption(headers.encryption)
            .set_ssekms_key_id(headers.kms_key)
            .set_tagging(headers.tagging)
            .set_metadata(Some(headers.metadata))
            .set_object_lock_mode(headers.lock_mode)
            .set_object_lock_retain_until_date(headers.retain_until)
            .set_checksum_crc32(checksum.crc32)
            .set_checksum_crc32_c(checksum.crc32c)
            .set_checksum_crc64_nvme(checksum.crc64nvme)
            .body(ByteStream::from(Bytes::from(data)))
            .customize()
            .config_override(settings);
        let request = match self.unsigned_payload() {
            true => request.disable_payload_signing(),
            false => request,
        };
        request.send().await.map_err(Failure::of::<PutObjectError>)
    }
}

#[async_trait]
impl Sink for S3Sink {
    async fn probe(&self, bucket: &str) -> Result<(), SinkError> {
        self.probe_bucket(bucket).await
    }

    async fn attempt(&self, delivery: &Delivery, body: Body) -> Result<Receipt, SinkError> {
        let headers = Headers::of(delivery)?;
        if delivery.repeated {
            self.sweep_before_attempt(&delivery.target).await?;
        }
        let mut source = Source::new(body);
        let (mut first, part_bytes) = (Vec::new(), self.options.part_bytes as usize);
        source.fill(&mut first, part_bytes).await.map_err(body_failed)?;
        if source.at_end().await.map_err(body_failed)? {
            return self.put(delivery, headers, first).await;
        }
        Upload::start(self, delivery, headers).await?.run(first, source).await
    }

    async fn sweep(&self, target: &ObjectTarget) -> Result<u32, SinkError> {
        self.sweep_uploads(target).await
    }

    async fn remove(&self, target: &ObjectTarget) -> Result<(), SinkError> {
        let removed = self.client.delete_object().bucket(&target.bucket).key(&target.key).send().await;
        match removed.map_err(Failure::of::<DeleteObjectError>) {
            Err(failure) if failure.code.as_deref() != Some("NoSuchKey") => {
                Err(failure.into_error(&self.place(target), "removing the object"))
            }
            _ => Ok(()),
        }
    }
}
