//! An object in many parts.

use aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadError;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadError;
use aws_sdk_s3::operation::upload_part::UploadPartError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use standpipe_model::{Delivery, ErrorClass, ObjectTarget, Receipt, SinkError};

use super::client::request_settings;
use super::error::Failure;
use super::request::Headers;
use super::sink::S3Sink;
use crate::source::{Source, body_failed};

/// The most parts that an upload may have.
const PARTS_MAX: u32 = 10_000;
/// After how many parts they become larger.
const PARTS_OF_A_SIZE: u32 = 1_000;

/// The size of a part, counted from 1.
fn part_size(part_bytes: u64, number: u32) -> usize {
    (part_bytes * u64::from(1 + (number - 1) / PARTS_OF_A_SIZE)) as usize
}

/// A multipart upload that was begun.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    sink: &'a S3Sink,
    target: &'a ObjectTarget,
    id: String,
}

impl<'a> Upload<'a> {
    /// Begins an upload.
    pub(super) async fn start(
        sink: &'a S3Sink,
        delivery: &'a Delivery,
        headers: Headers,
    ) -> Result<Self, SinkError> {
        let target = &delivery.target;
        let request = sink
            .client
            .create_multipart_upload()
            .bucket(&target.bucket)
            .key(&target.key)
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
            .set_checksum_algorithm(sink.options.checksum.announced());
        let what = "beginning a multipart upload";
        let begun = request.send().await.map_err(|error| {
            Failure::of::<CreateMultipartUploadError>(error).into_error(&sink.place(target), what)
        })?;
        let id = begun.upload_id.ok_or_else(|| {
            SinkError::new(ErrorClass::Transient, format!("{}: {what}: no upload id", sink.place(target)))
        })?;
        Ok(Self { sink, target, id })
    }

    /// Sends the parts and completes the upload; on any failure aborts it.
    pub(super) async fn run(self, first: Vec<u8>, source: Source) -> Result<Receipt, SinkError> {
        let outcome = self.deliver(first, source).await;
        // After 412 the store keeps the parts; after an unclear completion there may be nothing to abort any more.
        if !matches!(outcome, Ok(Receipt { existed: false, .. })) {
            self.abort().await;
        }
        outcome
    }

    async fn deliver(&self, first: Vec<u8>, source: Source) -> Result<Receipt, SinkError> {
        let (parts, bytes) = self.send_parts(first, source).await?;
        match self.complete(parts).await {
            Ok(()) => Ok(Receipt { bytes, existed: false }),
            Err(failure) if failure.existed() => Ok(Receipt { bytes, existed: true }),
            Err(failure) => Err(self.failed(failure, "completing the multipart upload")),
        }
    }

    /// Sends the parts, several at a time. Reading goes on while they are on their way, up to one part ahead.
    async fn send_parts(
        &self,
        first: Vec<u8>,
        mut source: Source,
    ) -> Result<(Vec<CompletedPart>, u64), SinkError> {
        let (limit, part_bytes) = (self.sink.options.parts_in_flight, self.sink.options.part_bytes);
        let (mut number, mut bytes, mut done) = (1, first.len() as u64, Vec::new());
        let mut on_the_way = FuturesUnordered::new();
        on_the_way.push(self.send_part(number, first));
        let (mut next, mut more) = (Vec::new(), true);
        while more || !on_the_way.is_empty() {
            let size = part_size(part_bytes, number + 1);
            tokio::select! {
                Some(part) = on_the_way.next() => done.push(part?),
                filled = source.fill(&mut next, size), if more && on_the_way.len() < limit => {
                    filled.map_err(body_failed)?;
                    more = next.len() == size;
                    if !next.is_empty() {
                        number += 1;
                        self.check_number(number)?;
                        bytes += next.len() as u64;
                        on_the_way.push(self.send_part(number, std::mem::take(&mut next)));
                    }
                }
            }
        }
        done.sort_unstable_by_key(|part| part.part_number);
        Ok((done, bytes))
    }

    /// An object that outgrew its upload is a matter of the part size: held, not given up.
    fn check_number(&self, number: u32) -> Result<(), SinkError> {
        if number <= PARTS_MAX {
            return Ok(());
        }
        let message = format!(
            "{}: the object does not fit {PARTS_MAX} parts; raise the part size of {} bytes",
            self.sink.place(self.target),
            self.sink.options.part_bytes
        );
        Err(SinkError::new(ErrorClass::Misconfigured, message))
    }

    async fn send_part(&self, number: u32, data: Vec<u8>) -> Result<CompletedPart, SinkError> {
        let settings = request_settings(&self.sink.options, data.len());
        let checksum = self.sink.options.checksum.of(&data);
        let request = self
            .sink
            .client
            .upload_part()
            .bucket(&self.target.bucket)
            .key(&self.target.key)
            .upload_id(&self.id)
            .part_number(number as i32)
            .set_checksum_crc32(checksum.crc32.clone())
            .set_checksum_crc32_c(checksum.crc32c.clone())
            .set_checksum_crc64_nvme(checksum.crc64nvme.clone())
            .body(ByteStream::from(Bytes::from(data)))
            .customize()
            .config_override(settings);
        let request = match self.sink.unsigned_payload() {
            true => request.disable_payload_signing(),
            false => request,
        };
        let sent = request.send().await.map_err(|error| {
            self.failed(Failure::of::<UploadPartError>(error), &format!("sending part {number}"))
        })?;
        Ok(CompletedPart::builder()
            .part_number(number as i32)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(checksum.crc32)
            .set_checksum_crc32_c(checksum.crc32c)
            .set_checksum_crc64_nvme(checksum.crc64nvme)
            .build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<(), Failure> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self
            .sink
            .client
            .complete_multipart_upload()
            .bucket(&self.target.bucket)
            .key(&self.target.key)
            .upload_id(&self.id)
            .set_if_none_match(self.sink.if_none_match())
            .multipart_upload(parts)
            .customize()
            // Stores copy the parts together here, for minutes when there are many.
            .config_override(request_settings(&self.sink.options, COMPLETION_ALLOWANCE));
        request.send().await.map(drop).map_err(Failure::of::<CompleteMultipartUploadError>)
    }

    async fn abort(&self) {
        let (place, id) = (self.sink.place(self.target), &self.id);
        let aborted = abort(self.sink, self.target, id).await;
        if let Err(failure) = aborted {
            let error = failure.into_error(&place, "aborting the multipart upload");
            tracing::debug!(%error, "unfinished upload left for the next sweep");
        }
    }

    fn failed(&self, failure: Failure, what: &str) -> SinkError {
        failure.into_error(&self.sink.place(self.target), what)
    }
}

/// Completing may take as long as sending this many bytes.
const COMPLETION_ALLOWANCE: usize = 16 << 20;

/// Aborts an upload. One that is gone already counts as aborted.
pub(super) async fn abort(sink: &S3Sink, target: &ObjectTarget, id: &str) -> Result<(), Failure> {
    let request = sink.client.abort_multipart_upload();
    let aborted = request.bucket(&target.bucket).key(&target.key).upload_id(id).send().await;
    match aborted.map_err(Failure::of::<AbortMultipartUploadError>) {
        Err(failure) if failure.code.as_deref() != Some("NoSuchUpload") => Err(failure),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_ten_thousand_hold_the_documented_size() {
        let total: u64 = (1..=PARTS_MAX).map(|number| part_size(8 << 20, number) as u64).sum();
        assert_eq!(total, 55_000 * (8 << 20));
        assert_eq!((part_size(5, 1), part_size(5, 1_000), part_size(5, 1_001)), (5, 5, 10));
    }
}
