//! Listing objects, and reading a part of one.

use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use standpipe_model::{ErrorClass, ObjectTarget, SinkError, Timestamp};

use super::client;
use super::error::Failure;
use super::sink::S3Sink;
use crate::browse::{BrowseObjects, Listed};

const READING: &str = "reading a part of the object";

impl S3Sink {
    async fn part(
        &self,
        target: &ObjectTarget,
        mut object: GetObjectOutput,
        len: usize,
    ) -> Result<Vec<u8>, SinkError> {
        let mut bytes = Vec::new();
        while let Some(piece) = object.body.next().await {
            let piece = piece.map_err(|error| {
                let message = format!("{}: {READING}: {error}", self.place(target));
                SinkError::new(ErrorClass::Transient, message).with_source(error)
            })?;
            bytes.extend_from_slice(&piece);
            // A store that does not know ranges sends more, from the beginning, which nobody here asks for twice.
            if bytes.len() > len {
                let message =
                    format!("{}: {READING}: the store sent more than was asked for", self.place(target));
                return Err(SinkError::new(ErrorClass::Misconfigured, message));
            }
        }
        Ok(bytes)
    }
}

#[async_trait]
impl BrowseObjects for S3Sink {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Listed>, SinkError> {
        let request = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
        let request = request.set_start_after(after.map(str::to_owned));
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let page = request.max_keys(max).send().await.map_err(|error| {
            let target = ObjectTarget { bucket: bucket.to_owned(), key: prefix.to_owned() };
            Failure::of::<ListObjectsV2Error>(error).into_error(&self.place(&target), "listing objects")
        })?;
        let listed = page.contents().iter().filter_map(|object| {
            let millis = object.last_modified().and_then(|at| at.to_millis().ok()).unwrap_or(0);
            Some(Listed {
                key: object.key()?.to_owned(),
                bytes: object.size().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
                modified: Timestamp(u64::try_from(millis).unwrap_or(0)),
            })
        });
        Ok(listed.collect())
    }

    async fn read_part(&self, target: &ObjectTarget, from: u64, len: u64) -> Result<Vec<u8>, SinkError> {
        let most = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(last) = len.checked_sub(1) else { return Ok(Vec::new()) };
        let range = format!("bytes={from}-{}", from.saturating_add(last));
        let request = self.client.get_object().bucket(&target.bucket).key(&target.key).range(range);
        let reading = async {
            match request.customize().config_override(client::request_settings(&self.options, 0)).send().await
            {
                Ok(object) => self.part(target, object, most).await,
                Err(error) => {
                    Err(Failure::of::<GetObjectError>(error).into_error(&self.place(target), READING))
                }
            }
        };
        // The SDK's own limit ends with the head of the answer.
        let limit = client::time_for(&self.options, most);
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
            let message = format!("{}: {READING}: not done in {limit:?}", self.place(target));
            Err(SinkError::new(ErrorClass::Transient, message))
        })
    }
}
