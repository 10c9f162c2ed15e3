//! The seam to a destination: one attempt at a time, idempotent by the delivery's identity, with errors classed by
//! what the worker does next.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{BatchId, BatchRange, CloseReason, ObjectOptions, StreamName, Timestamp};

/// What one attempt delivers, and under which identity.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The stream the records came from.
    pub stream: StreamName,
    /// The stream's version that the batch was closed under (`VersionId`).
    pub version: u64,
    /// The batch.
    pub batch: BatchId,
    /// The batch's positions.
    pub range: BatchRange,
    /// Why the batch closed.
    pub closed_by: CloseReason,
    /// Where the object goes.
    pub target: ObjectTarget,
    /// What the object's bytes are.
    pub media: Media,
    /// What the store is told about the object (a file store ignores it; configuration refuses it there).
    pub options: Arc<ObjectOptions>,
    /// When Object Lock retention ends, where `options.lock` is set; derived from the batch's close time, so that it is
    /// the same at every attempt.
    pub retain_until: Option<Timestamp>,
    /// Whether an earlier attempt of this delivery may have left something behind (a retry, or after a restart). A
    /// sink then cleans up unfinished uploads under the same key first.
    pub repeated: bool,
}

/// An object's address in its store. The key derives from the batch id, so that it is the same at every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTarget {
    /// The bucket; empty for a store that has none (a local folder).
    pub bucket: String,
    /// The full key.
    pub key: String,
}

/// What an object's bytes are, for its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`, where one applies.
    pub content_encoding: Option<&'static str>,
    /// The default file extension with its dot, or empty.
    pub extension: &'static str,
}

/// An object's bytes, produced piece by piece while they are sent; pieces may have any size. The same delivery may
/// produce different bytes at another attempt (a library upgrade), never other records.
pub type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// The body could not be produced: the journal could not be read, or encoding failed.
#[derive(Debug, thiserror::Error)]
#[error("producing the object's bytes failed")]
pub struct BodyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A finished attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Bytes of the object as stored, after compression.
    pub bytes: u64,
    /// The store already held the object under this delivery's own key: an earlier attempt had succeeded.
    pub existed: bool,
}

/// What the worker does next; never what broke. *Unknown* is [`Transient`](ErrorClass::Transient). A later one needs more
/// of a human.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// Try again after a backoff.
    Transient,
    /// Try again later and slower; the destination asked for it.
    Throttled,
    /// The destination will never take these bytes.
    Refused,
    /// Credentials, permissions, a missing bucket: hold the data, raise an alarm, try again with settings re-read.
    Misconfigured,
}

impl ErrorClass {
    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// An attempt failed.
#[derive(thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What to do next.
    pub class: ErrorClass,
    /// What happened, for an operator: names the store, bucket or endpoint and the server's own code; no secret.
    pub message: String,
    /// The destination's own words, which may repeat what it was sent: for the error output, and for no log.
    pub words: Option<String>,
    /// The destination's own code for it, where it gave one (`NoSuchBucket`).
    pub code: Option<String>,
    /// How long the destination asked us to wait.
    pub retry_after: Option<Duration>,
    /// It is no failure of the destination's: the time for which that may fail does not run.
    pub is_ours: bool,
    /// The cause, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SinkError {
    /// An error of the destination's with neither code nor cause nor wish for a delay.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { class, message, words: None, code: None, retry_after: None, is_ours: false, source: None }
    }

    /// The message with the destination's own words.
    pub fn told(&self) -> String {
        let words = self.words.as_deref().map(|words| format!("{}: {words}", self.message));
        words.unwrap_or_else(|| self.message.clone())
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl Debug for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkError")
            .field("class", &self.class)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// A destination's client.
#[async_trait]
pub trait Sink: Send + Sync + Debug {
    /// Checks that the destination can be reached and used, writing nothing.
    ///
    /// # Errors
    /// As [`attempt`](Sink::attempt).
    async fn probe(&self, bucket: &str) -> Result<(), SinkError>;

    /// Delivers once: no loop, no sleep. Idempotent by `delivery.target.key`: where the store already holds the
    /// object under that key, the answer is a receipt with `existed`.
    ///
    /// # Errors
    /// [`SinkError`], classed by what the caller does next.
    ///
    /// # Cancel safety
    /// Dropping the future may leave an unfinished upload, which the next attempt with `repeated` set, or
    /// [`sweep`](Sink::sweep), removes.
    async fn attempt(&self, delivery: &Delivery, body: Body) -> Result<Receipt, SinkError>;

    /// Removes what unfinished attempts at `target` left behind (multipart uploads, temporary files), without touching
    /// a finished object. Returns how many leftovers were removed.
    ///
    /// # Errors
    /// As [`attempt`](Sink::attempt).
    async fn sweep(&self, target: &ObjectTarget) -> Result<u32, SinkError>;

    /// Removes a finished object. One that is not there is removed already.
    ///
    /// # Errors
    /// As [`attempt`](Sink::attempt).
    async fn remove(&self, target: &ObjectTarget) -> Result<(), SinkError>;
}
