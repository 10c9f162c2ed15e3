//! One attempt to deliver one batch, from its records to its settlement.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use standpipe_encode::{ChunkEncoder, EncodeOptions};
use standpipe_ingest::PutError;
use standpipe_journal::control::{Close, Control, Done, Failing, OpenBatch, Settle};
use standpipe_journal::{AppendError, SpoolError, SpoolId};
use standpipe_model::{BatchId, BodyError, ErrorClass, Receipt, SinkError, StreamName, Tally, Timestamp};

use super::append::Appending;
use super::body::{self, Make, ObjectBody, WORKING_BYTES};
use super::columns::{self, CONVERTING_BYTES, FileSettings};
use super::decisions::Decided;
use super::fates::Fates;
use super::make::Transformation;
use super::pieces::Chunks;
use super::requests::{Lagging, Sending};
use super::shape::{Part, Shape};
use super::{Line, make};
use crate::alarm::{AlarmKind, of_destination};
use crate::catalog::CatalogError;
use crate::spec::S3Destination;
use crate::stores::Store;

/// Firehose gives up on S3 after so long; standpipe keeps the data and raises an alarm.
const RETRY_DURATION: Duration = Duration::from_secs(24 * 3600);
/// What a sink may buffer of one object, beside the chunks on their way to it.
const SINK_BUFFER_BYTES: u64 = 32 << 20;

/// Which attempt at a batch it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    /// Failed attempts before it, in this process.
    pub(crate) tries: u32,
    /// An earlier process may have tried.
    pub(crate) repeated: bool,
    /// How much work its object is worth.
    pub(crate) effort: Effort,
}

impl Try {
    /// Whether an attempt before it may have left something behind.
    pub(super) fn is_repeated(self) -> bool {
        self.repeated || self.tries > 0
    }
}

/// How much work goes into an object's compression where the stream sets no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// The format's default level.
    Full,
    /// A quicker one, as the destination is falling behind: a load that swings to the machine's limit is then met with
    /// larger objects and not with later ones, and no setting has to be changed.
    Quick,
    /// The quickest, as that was not enough.
    Quickest,
}

impl Effort {
    /// What an object is worth while so many full batches wait to be closed. Fewer than four are just the slots being
    /// taken.
    pub(crate) fn when_behind(batches: u64) -> Self {
        match batches {
            ..4 => Self::Full,
            4..16 => Self::Quick,
            16.. => Self::Quickest,
        }
    }

    /// The level of deflate, where it is not the default.
    fn deflate_level(self) -> Option<i32> {
        match self {
            Self::Full => None,
            Self::Quick => Some(2),
            Self::Quickest => Some(1),
        }
    }
}

/// How long what succeeded may wait to be noted; a restart meanwhile only does it again.
pub(super) const NOTED_WITHIN: Duration = Duration::from_millis(100);

/// Of two failures the one to tell of: a fault that has to be mended says more than one that passes, and the first of a
/// class more than those after it.
pub(super) fn graver<E, C: Ord>(first: Option<E>, error: E, gravity: impl Fn(&E) -> C) -> Option<E> {
    first.filter(|first| gravity(first) >= gravity(&error)).or(Some(error))
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Every record has its fate, durably.
    Settled,
    /// It is to be made again after this long.
    Again(Duration),
}

/// Why an attempt did not settle its batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An endpoint or a table failed; some of the batch's requests may have come to their end all the same.
    #[error("{error}")]
    Endpoint { error: SinkError, progressed: bool },
    #[error("what was made of the batch cannot be kept")]
    Spool(#[from] SpoolError),
    #[error("the schema that the rows come to cannot be kept")]
    Schema(#[from] CatalogError),
    #[error("the journal did not take the outcome")]
    Journal(#[from] AppendError),
    #[error("stream '{into}' takes no records")]
    Put { into: StreamName, source: PutError },
}

impl AttemptError {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Sink(error) | Self::Endpoint { error, .. } => error.class,
            Self::Journal(AppendError::TooLarge(_)) => ErrorClass::Refused,
            Self::Put { source: PutError::Unavailable { .. }, .. } => ErrorClass::Throttled,
            Self::Put { .. } => ErrorClass::Misconfigured,
            Self::Spool(_) | Self::Schema(_) | Self::Journal(_) => ErrorClass::Transient,
        }
    }
}

impl Line {
    /// Makes an attempt at a batch.
    pub(crate) async fn deliver(&self, open: &OpenBatch, which: Try) -> Outcome {
        let started = self.context.timer.steady();
        let into = self.replay.as_deref().and_then(|of| Some((of, of.replay.into.as_ref()?)));
        let result = match into {
            Some((replaying, into)) => self.put_into(open, replaying, into).await,
            None => self.attempt(open, which).await,
        };
        self.note_waiting(result.as_ref().err());
        let took = self.context.timer.steady().saturating_sub(started);
        let class = result.as_ref().map_or_else(|error| error.class().as_str(), |()| "ok");
        self.context.metrics.attempted(&self.stream, self.label(), class, took);
        match result {
            Ok(()) => {
                self.clear_alarms(&open.close);
                self.again.forget(open.close.batch);
                Outcome::Settled
            }
            Err(error) => self.failed(open, which.tries, &error).await,
        }
    }

    async fn attempt(&self, open: &OpenBatch, which: Try) -> Result<(), AttemptError> {
        let open = &*self.with_schema(open).await?;
        let mut shape = self.shape(open)?;
        shape.make_level(which.effort.deflate_level());
        match &open.plan {
            Some(plan) => self.attempt_planned(open, &shape, plan, which).await,
            None if shape.is_planned => {
                let plan = self.plan(&open.close, &shape).await?;
                // What was noted as done belonged to a plan that is lost.
                let open = OpenBatch { done: BTreeSet::new(), ..open.clone() };
                self.attempt_planned(&open, &shape, &plan, which).await
            }
            None => self.attempt_unplanned(open, &shape, which).await,
        }
    }

    /// Sends what is not done yet of the batch's objects: its rows, then what failed on the way.
    async fn attempt_unplanned(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        which: Try,
    ) -> Result<(), AttemptError> {
        let (close, repeated) = (&open.close, which.is_repeated());
        let is_done = |part: Part| open.done.contains(&part.ordinal());
        let (mut bytes, mut done) = (0, Vec::new());
        let mut fates = Fates::default();
        if !is_done(Part::Rows) {
            let (receipt, seen) = match &shape.destination.endpoint {
                None if shape.destination.appends() => self.append_rows(open, shape, which).await?,
                None => self.send(close, shape, Part::Rows, repeated).await?,
                Some(endpoint) => {
                    let of = &shape.transformation;
                    let rows =
                        of.pieces(self.journal.read(close.range), make::requests(of.clone()), &shape.turns);
                    let (decided, identity) = (Decided::of(&open.decided), close.batch);
                    let lagging = &Lagging::default();
                    let sending = Sending { open, decided, shape, endpoint, identity, which, lagging };
                    self.send_requests(&sending, rows).await?
                }
            };
            (bytes, fates) = (receipt.bytes, seen);
            done.push(Part::Rows);
        }
        let says_more = !shape.transformation.is_empty() || shape.destination.endpoint.is_some();
        if !fates.complete && says_more {
            // It was delivered already, so that nobody went through all of the batch.
            fates = self.count(close, shape).await?;
        }
        for part in fates.failed.keys().map(|kind| Part::Failures(*kind)).filter(|part| !is_done(*part)) {
            if !done.is_empty() {
                self.journal.control(self.done(close, &mut done)).await?;
            }
            bytes += self.send(close, shape, part, repeated).await?.0.bytes;
            done.push(part);
        }
        let mut frames = self.done(close, &mut done);
        let (undelivered, sent) = self.send_undelivered(close, shape, &mut frames, repeated).await?;
        let tally = fates.tally(close.range.count()).back_up(undelivered);
        self.settle(close, frames, tally, bytes + sent).await?;
        self.tell_failed(close, &fates);
        Ok(())
    }

    /// DONE for each of the parts, which are then told of.
    fn done(&self, close: &Close, parts: &mut Vec<Part>) -> Vec<Control> {
        let (batch, destination) = (close.batch, &self.destination);
        let done = |part: Part| {
            let (destination, ordinal) = (destination.clone(), part.ordinal());
            Done { batch, destination, ordinal, further: 0, request: None }
        };
        parts.drain(..).map(|part| Control::Done(done(part))).collect()
    }

    /// Sends one part; what became of the records is known as far as they were gone through.
    pub(super) async fn send(
        &self,
        close: &Close,
        shape: &Shape,
        part: Part,
        repeated: bool,
    ) -> Result<(Receipt, Fates), SinkError> {
        let encoding = shape.encoding(part != Part::Rows);
        let key = match part {
            Part::Undelivered => {
                let batch = self.undelivered_identity(close.batch)?;
                shape.key(&Close { batch, ..close.clone() }, part, part.ordinal())?
            }
            _ => shape.key(close, part, part.ordinal())?,
        };
        let mut delivery = self.delivery(close, shape, &encoding, key, repeated);
        let Store { sink, memory } = self.store(&shape.destination)?;
        let table = match part {
            Part::Rows => self.table_for(close, shape, &mut delivery.target).await?,
            Part::Failures(_) | Part::Undelivered => None,
        };
        if table.as_ref().is_some_and(Appending::is_done) {
            return Ok((Receipt { bytes: 0, existed: true }, Fates::default()));
        }
        let _reserved = memory.reserve(memory_for(close.record_bytes, shape)).await;
        let key = &delivery.target.key;
        let (of, reader) = (shape.transformation.clone(), self.journal.read(close.range));
        let object = match part {
            Part::Rows => self.rows(close, shape, of, reader, &encoding, key).await?,
            Part::Failures(kind) => {
                let make = make::failures(of, kind, close, self.encoder(&encoding)?);
                self.object(close, shape, &encoding, make, reader, key).await?
            }
            Part::Undelivered => {
                let make = self.undelivered(close, shape, self.encoder(&encoding)?)?;
                self.object(close, shape, &encoding, make, reader, key).await?
            }
        };
        let receipt = match object.body {
            Some(body) => {
                let receipt = sink.attempt(&delivery, body).await?;
                self.append(table, &*sink, &delivery).await?;
                receipt
            }
            None => Receipt::default(),
        };
        let mut fates = object.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if receipt.existed {
            // It was made of the same records; its own attempt read them all.
            fates.lost = 0;
        }
        tracing::debug!(stream = %self.stream, destination = %self.destination, batch = %close.batch, key,
            reason = close.reason.as_str(), bytes = receipt.bytes, existed = receipt.existed, "object delivered");
        Ok((receipt, fates))
    }

    /// Goes through the batch only to learn what becomes of its records.
    async fn count(&self, close: &Close, shape: &Shape) -> Result<Fates, SinkError> {
        let Store { memory, .. } = self.store(&shape.destination)?;
        let _reserved = memory.reserve(memory_for(close.record_bytes, shape)).await;
        let (encoding, reader) = (EncodeOptions::default(), self.journal.read(close.range));
        let make = make::counts(shape.transformation.clone(), self.encoder(&encoding)?);
        let object = self.object(close, shape, &encoding, make, reader, "").await?;
        let fates = object.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(fates)
    }

    pub(super) fn store(&self, destination: &S3Destination) -> Result<Store, SinkError> {
        self.context.stores.get(&destination.store).ok_or_else(|| {
            let message = format!("store '{}' is not configured", destination.store);
            SinkError::new(ErrorClass::Misconfigured, message)
        })
    }

    /// Begins to make an object of rows, from wherever they are read.
    pub(super) async fn rows(
        &self,
        close: &Close,
        shape: &Shape,
        of: Transformation,
        reader: impl Chunks,
        encoding: &EncodeOptions,
        key: &str,
    ) -> Result<ObjectBody, SinkError> {
        let Some(format) = of.format().cloned() else {
            let make = make::rows(of, self.encoder(encoding)?);
            return self.object(close, shape, encoding, make, reader, key).await;
        };
        let processors = Arc::clone(&self.context.processors);
        let pieces = of.pieces(reader, make::columns(of.clone()), &processors);
        let metadata = self.metadata(close);
        columns::open(pieces, FileSettings { format, metadata, processors }).await.map_err(unreadable)
    }

    /// Begins to make an object of lines.
    async fn object(
        &self,
        close: &Close,
        shape: &Shape,
        encoding: &EncodeOptions,
        make: Make,
        reader: impl Chunks,
        key: &str,
    ) -> Result<ObjectBody, SinkError> {
        let pieces = shape.transformation.pieces(reader, make, &self.context.processors);
        body::open(pieces, encoding.compression, shape.entry(close, key)).await.map_err(unreadable)
    }

    /// What a file says of where its rows come from.
    fn metadata(&self, close: &Close) -> Vec<(String, String)> {
        let pairs = [
            ("stream", self.stream.to_string()),
            ("version", close.version.to_string()),
            ("batch", close.batch.to_string()),
            ("first-position", close.range.first.0.to_string()),
            ("last-position", close.range.last.0.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (format!("standpipe.{key}"), value)).collect()
    }

    pub(super) fn encoder(&self, options: &EncodeOptions) -> Result<ChunkEncoder, SinkError> {
        self.context.encoders.encoder(options).map_err(|error| {
            SinkError::new(ErrorClass::Refused, "the compression level is not one of the format's")
                .with_source(error)
        })
    }

    /// Notes that every record has its fate.
    pub(super) async fn settle(
        &self,
        close: &Close,
        mut frames: Vec<Control>,
        tally: Tally,
        bytes: u64,
    ) -> Result<(), AppendError> {
        let (batch, destination) = (close.batch, self.destination.clone());
        frames.push(Control::Settle(Settle { batch, destination, range: close.range, tally }));
        self.journal.control(frames).await?;
        self.context.metrics.delivered(&self.stream, self.label(), bytes);
        if self.replay.is_some() {
            self.context.metrics.replayed(&self.stream, tally.total());
        }
        if tally.lost > 0 {
            let message =
                format!("{} records of batch {} could not be read from the journal", tally.lost, close.batch);
            self.raise(AlarmKind::RecordsLost, self.destination.as_str(), message);
        }
        Ok(())
    }

    /// Removes the spools of a batch that it does not need any more.
    pub(super) async fn drop_spools(&self, batch: BatchId, kept: Option<SpoolId>) {
        if let Err(error) = self.blocking(move |journal| journal.remove_spools(batch, kept)).await {
            tracing::warn!(stream = %self.stream, destination = %self.destination, %batch, %error,
                "a spool cannot be removed before the next start");
        }
    }

    async fn failed(&self, open: &OpenBatch, tries: u32, error: &AttemptError) -> Outcome {
        let now = self.context.timer.now();
        let since = self.failing_since(open, now, error);
        let class = error.class();
        self.note_failing(open, now, error).await;
        let (stream, batch) = (&self.stream, open.close.batch);
        tracing::warn!(%stream, destination = %self.destination, %batch, tries, class = class.as_str(),
            error = %chain(error), "delivery attempt failed");
        self.raise_by_class(open, class, error, now.since(since));
        self.tell_attempt(&open.close, error);
        let asked = match error {
            AttemptError::Sink(error) | AttemptError::Endpoint { error, .. } => {
                error.retry_after.unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        Outcome::Again(backoff(class, tries, self.context.entropy.next_u64()).max(asked))
    }

    /// The destination that a batch was closed for, where its version is still there.
    pub(super) fn closed_for<T>(&self, close: &Close, look: impl FnOnce(&S3Destination) -> T) -> Option<T> {
        let version = self.definitions.version(close.version).filter(|_| self.goes_into().is_none())?;
        version.definition.spec.destination_of(&self.of).map(look)
    }

    /// How long a failure may last before a human is told.
    fn retry_duration(&self, close: &Close) -> Duration {
        let retry = self.closed_for(close, |to| to.partitioning.as_ref().map(|of| of.retry_ms)).flatten();
        retry.map_or(RETRY_DURATION, Duration::from_millis)
    }

    /// Whether its records go to the error output in the end.
    fn is_given_up(&self, close: &Close) -> bool {
        self.closed_for(close, |to| to.bears().is_some()).unwrap_or_default()
    }

    /// Since when a batch has been failing. Where its records are given up in the end, that is noted only of what they are
    /// given up for: what is the store's, or nobody's, may have lasted since it was closed.
    fn failing_since(&self, open: &OpenBatch, now: Timestamp, error: &AttemptError) -> Timestamp {
        match error {
            AttemptError::Endpoint { error, .. } if !error.is_ours => open.failing_since.unwrap_or(now),
            _ if self.is_given_up(&open.close) => open.close.closed_at,
            _ => open.failing_since.unwrap_or(now),
        }
    }

    fn is_of_table(&self, close: &Close) -> bool {
        self.closed_for(close, |to| to.patience.is_some()).unwrap_or_default()
    }

    /// Notes since when a batch has been failing. The time that an endpoint or a table has for it runs for nothing but its
    /// own failures, and anew after each attempt that brought the batch further, and after what a human had to mend.
    async fn note_failing(&self, open: &OpenBatch, since: Timestamp, error: &AttemptError) {
        let is_given_up = self.is_given_up(&open.close);
        let must_mend = error.class() == ErrorClass::Misconfigured;
        let (begins, over) = match error {
            AttemptError::Endpoint { error, progressed } => {
                (!must_mend && !error.is_ours, *progressed || must_mend)
            }
            // What comes behind the catalog failed, which answers then.
            _ => (!is_given_up, is_given_up && (must_mend || self.is_of_table(&open.close))),
        };
        let failing = |over| {
            let (batch, destination) = (open.close.batch, self.destination.clone());
            Control::Failing(Failing { batch, destination, since, over })
        };
        let mut frames = Vec::new();
        if over && open.failing_since.is_some() {
            frames.push(failing(true));
        }
        if begins && (over || open.failing_since.is_none()) {
            frames.push(failing(false));
        }
        if !frames.is_empty()
            && let Err(error) = self.journal.control(frames).await
        {
            // It only delays an alarm, and the attempt itself is told of already.
            tracing::warn!(stream = %self.stream, destination = %self.destination, %error,
                "cannot note the beginning of a failure");
        }
    }

    fn raise_by_class(&self, open: &OpenBatch, class: ErrorClass, error: &AttemptError, failing: Duration) {
        let about = self.destination.to_string();
        let message = format!("batch {}: {}", open.close.batch, chain(error));
        match class {
            ErrorClass::Misconfigured => self.raise(AlarmKind::Misconfigured, &about, message),
            ErrorClass::Refused => self.raise(AlarmKind::Refused, &open.close.batch.to_string(), message),
            ErrorClass::Transient | ErrorClass::Throttled if failing >= self.retry_duration(&open.close) => {
                self.raise(AlarmKind::RetryExhausted, &about, message);
            }
            ErrorClass::Transient | ErrorClass::Throttled => {}
        }
    }

    pub(crate) fn clear_alarms(&self, close: &Close) {
        self.clear(AlarmKind::Misconfigured);
        if !self.is_given_up(close) {
            // A batch of an endpoint may have been given up; once one of its requests is answered, it is cleared. So it
            // is once a table has taken a file.
            self.clear(AlarmKind::RetryExhausted);
        }
        self.context.alarms.clear(Some(&self.stream), AlarmKind::Refused, &close.batch.to_string());
    }

    /// Clears an alarm about the destination.
    pub(super) fn clear(&self, kind: AlarmKind) {
        self.context.alarms.clear(Some(&self.stream), kind, self.destination.as_str());
    }

    pub(crate) fn raise(&self, kind: AlarmKind, about: &str, message: String) {
        let (message, now) = (of_destination(&self.destination, message), self.context.timer.now());
        self.context.alarms.raise(Some(&self.stream), kind, about, message, now);
    }
}

/// How long to wait after the `tries`-th failure (from 0): doubling, capped, and jittered between half and all of it,
/// so that batches that failed together do not come back together.
fn backoff(class: ErrorClass, tries: u32, random: u64) -> Duration {
    let (first, most) = match class {
        ErrorClass::Transient => (250, 30_000),
        ErrorClass::Throttled => (1_000, 60_000),
        ErrorClass::Misconfigured => (2_000, 30_000),
        ErrorClass::Refused => (60_000, 900_000),
    };
    let full = (first << tries.min(16)).min(most);
    Duration::from_millis(full / 2 + random % (full / 2 + 1))
}

/// The memory that sending an object of so many bytes takes.
pub(super) fn memory_for(bytes: u64, shape: &Shape) -> u64 {
    let converting = shape.transformation.converter.as_ref().map_or(0, |_| CONVERTING_BYTES);
    bytes.min(SINK_BUFFER_BYTES) + bytes.min(WORKING_BYTES) + bytes.min(converting)
}

/// What it comes to that the records or rows could not be read.
pub(super) fn unreadable(error: BodyError) -> SinkError {
    SinkError::new(ErrorClass::Transient, "the journal could not be read").with_source(error)
}

/// An error with its causes, for one log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_cap_within_its_jitter() {
        for (class, first, most) in [
            (ErrorClass::Transient, 250, 30_000),
            (ErrorClass::Throttled, 1_000, 60_000),
            (ErrorClass::Misconfigured, 2_000, 30_000),
            (ErrorClass::Refused, 60_000, 900_000),
        ] {
            assert_eq!(backoff(class, 0, 0), Duration::from_millis(first / 2));
            assert_eq!(backoff(class, 1, u64::MAX).as_millis() as u64 / first, 1);
            for random in [0, 7, u64::MAX] {
                let late = backoff(class, u32::MAX, random);
                assert!(
                    late >= Duration::from_millis(most / 2) && late <= Duration::from_millis(most),
                    "{late:?}"
                );
            }
        }
    }
}
