//! What touches no object: probing a bucket, and removing unfinished uploads.

use aws_sdk_s3::operation::head_bucket::HeadBucketError;
use aws_sdk_s3::operation::list_multipart_uploads::{ListMultipartUploadsError, ListMultipartUploadsOutput};
use standpipe_model::{ErrorClass, ObjectTarget, SinkError};

use super::error::Failure;
use super::multipart::abort;
use super::sink::S3Sink;

/// How many pages of uploads a sweep looks at. Uploads under one key fit the first; the bound is against a store that
/// never ends its list.
const PAGES_MAX: usize = 100;

impl S3Sink {
    /// Asks for the bucket's head. `403` there has no code, so the list of uploads, whose answer has one, tells wrong
    /// credentials (an error) from credentials that may only write (the store was reached and knows them: no error).
    pub(super) async fn probe_bucket(&self, bucket: &str) -> Result<(), SinkError> {
        let place = self.place(&ObjectTarget { bucket: bucket.to_owned(), key: String::new() });
        let answer = self.client.head_bucket().bucket(bucket).send().await;
        let failure = match answer.map_err(Failure::of::<HeadBucketError>) {
            Ok(_) => return Ok(()),
            Err(failure) if failure.status == Some(403) => failure,
            Err(failure) => return Err(failure.into_error(&place, "asking for the bucket")),
        };
        tracing::debug!(store = %place, ?failure, "bucket may not be asked for");
        let listed = self.client.list_multipart_uploads().bucket(bucket).max_uploads(1).send().await;
        match listed.map_err(Failure::of::<ListMultipartUploadsError>) {
            Err(failure) if failure.code.as_deref() != Some("AccessDenied") => {
                Err(failure.into_error(&place, "asking for the bucket's uploads"))
            }
            _ => Ok(()),
        }
    }

    /// The sweep that a repeated attempt begins with. Leftovers cost space and nothing else, so a store that does not
    /// let us look (write-only credentials, no such operation) does not stop the attempt; one that is not there does.
    pub(super) async fn sweep_before_attempt(&self, target: &ObjectTarget) -> Result<(), SinkError> {
        match self.sweep_uploads(target).await {
            Err(error) if matches!(error.class, ErrorClass::Transient | ErrorClass::Throttled) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "unfinished uploads were not looked for");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Aborts the unfinished uploads under exactly this key.
    pub(super) async fn sweep_uploads(&self, target: &ObjectTarget) -> Result<u32, SinkError> {
        let mut aborted = 0;
        let mut marker = (None, None);
        for _ in 0..PAGES_MAX {
            let page = self.uploads(target, marker).await?;
            let ours = page.uploads().iter().filter(|upload| upload.key() == Some(&target.key));
            for id in ours.filter_map(|upload| upload.upload_id()) {
                let outcome = abort(self, target, id).await;
                outcome.map_err(|failure| {
                    failure.into_error(&self.place(target), "aborting an unfinished upload")
                })?;
                aborted += 1;
            }
            // Keys come in order: behind a page that ends with another key there is none of ours.
            let next = page.next_key_marker().filter(|_| page.is_truncated() == Some(true));
            let Some(next) = next.filter(|next| *next <= target.key.as_str()) else { break };
            marker = (Some(next.to_owned()), page.next_upload_id_marker().map(str::to_owned));
        }
        Ok(aborted)
    }

    async fn uploads(
        &self,
        target: &ObjectTarget,
        (key_marker, upload_marker): (Option<String>, Option<String>),
    ) -> Result<ListMultipartUploadsOutput, SinkError> {
        let request = self.client.list_multipart_uploads().bucket(&target.bucket).prefix(&target.key);
        let request = request.set_key_marker(key_marker).set_upload_id_marker(upload_marker);
        request.send().await.map_err(|error| {
            Failure::of::<ListMultipartUploadsError>(error)
                .into_error(&self.place(target), "listing unfinished uploads")
        })
    }
}
