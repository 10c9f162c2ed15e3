//! Reading an object.

use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use standpipe_model::{ErrorClass, ObjectTarget, SinkError};

use super::client;
use super::error::Failure;
use super::sink::S3Sink;
use crate::read::{Bounded, Found, ReadObject};

impl S3Sink {
    async fn body(
        &self,
        target: &ObjectTarget,
        mut object: GetObjectOutput,
        max_bytes: u64,
    ) -> Result<Found, SinkError> {
        let length = object.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        let mut read = Bounded::new(self.place(target), length, max_bytes)?;
        while let Some(piece) = object.body.next().await {
            let piece = piece.map_err(|error| {
                let message = format!("{}: reading the object: {error}", self.place(target));
                SinkError::new(ErrorClass::Transient, message).with_source(error)
            })?;
            read.push(&piece)?;
        }
        Ok(Found::Other { bytes: read.bytes, tag: object.e_tag })
    }
}

#[async_trait]
impl ReadObject for S3Sink {
    async fn read(
        &self,
        target: &ObjectTarget,
        known: Option<&str>,
        max_bytes: u64,
    ) -> Result<Found, SinkError> {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let request = self.client.get_object().bucket(&target.bucket).key(&target.key);
        let request = request.set_if_none_match(known.map(str::to_owned));
        let reading = async {
            match request.customize().config_override(client::request_settings(&self.options, 0)).send().await
            {
                Ok(object) => self.body(target, object, max_bytes).await,
                Err(error) => match Failure::of::<GetObjectError>(error) {
                    failure if failure.status == Some(304) => Ok(Found::Same),
                    failure => Err(failure.into_error(&self.place(target), "reading the object")),
                },
            }
        };
        // The SDK's own limit ends with the head of the answer.
        let limit = client::time_for(&self.options, most);
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
            let message = format!("{}: reading the object: not done in {limit:?}", self.place(target));
            Err(SinkError::new(ErrorClass::Transient, message))
        })
    }
}
