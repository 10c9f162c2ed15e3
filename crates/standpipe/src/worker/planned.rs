//! Delivering a batch that is planned: its objects, several at once, from its spool.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use standpipe_journal::control::{Close, Control, Done, OpenBatch, Plan};
use standpipe_journal::{AppendError, SpoolDamage, SpoolId, SpoolReader};
use standpipe_model::{ErrorClass, Receipt, RequestRow, SinkError};

use super::Line;
use super::append::Appending;
use super::decisions::Decided;
use super::deliver::{AttemptError, NOTED_WITHIN, Try, graver, memory_for, unreadable};
use super::fates::Made;
use super::make::{self, Misfit, Transformation};
use super::pieces::{Pieces, failed};
use super::plan::PlannedObject;
use super::requests::{Lagging, Sending};
use super::shape::Shape;

/// Objects of one batch that are on their way at once; most are small, and the memory of large ones is reserved.
const OBJECTS_AT_ONCE: usize = 8;
/// So many objects that fail one behind the other end an attempt: the store does not answer, and asking for each of
/// thousands of objects would not help it.
const FAILURES_MAX: usize = 16;

/// What an attempt has come to.
struct Progress {
    bytes: u64,
    /// Delivered, and not noted yet.
    done: Vec<u32>,
    noted_at: Duration,
    failures: usize,
    failure: Option<AttemptError>,
}

impl Line {
    /// Sends what is not done yet of a planned batch, and settles it once everything is.
    pub(super) async fn attempt_planned(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        plan: &Plan,
        which: Try,
    ) -> Result<(), AttemptError> {
        let (close, repeated) = (&open.close, which.is_repeated());
        let objects = self.objects(plan).await;
        let objects = objects.map_err(|error| self.damaged(close, unreadable(failed(error))))?;
        let (given_up, lagging) = (AtomicBool::new(false), Lagging::default());
        let lagging = &lagging;
        // They are made as there is room for them.
        let attempts = (0..).zip(objects).filter(|(ordinal, _)| !open.done.contains(ordinal)).map_while(
            |(ordinal, object): (u32, PlannedObject)| {
                let attempt = async move {
                    (ordinal, self.send_planned(open, shape, plan, &object, which, lagging).await)
                };
                (!given_up.load(Ordering::Relaxed)).then_some(attempt)
            },
        );
        let mut attempts = stream::iter(attempts).buffer_unordered(OBJECTS_AT_ONCE);
        let noted_at = self.context.timer.steady();
        let mut progress = Progress { bytes: 0, done: Vec::new(), noted_at, failures: 0, failure: None };
        while let Some((ordinal, sent)) = attempts.next().await {
            match sent {
                Ok(receipt) => {
                    (progress.bytes, progress.failures) = (progress.bytes + receipt.bytes, 0);
                    progress.done.push(ordinal);
                    if self.context.timer.steady().saturating_sub(progress.noted_at) >= NOTED_WITHIN {
                        self.note_done(close, &mut progress).await?;
                    }
                }
                Err(error) => {
                    progress.failures += 1;
                    if progress.failures >= FAILURES_MAX {
                        given_up.store(true, Ordering::Relaxed);
                    }
                    progress.failure = graver(progress.failure, error, AttemptError::class);
                }
            }
        }
        drop(attempts);
        if let Some(failure) = progress.failure.take() {
            self.note_done(close, &mut progress).await?;
            return Err(failure);
        }
        let mut frames = self.done_frames(close, &mut progress.done);
        let (undelivered, bytes) = self.send_undelivered(close, shape, &mut frames, repeated).await?;
        self.settle(close, Vec::new(), plan.tally.back_up(undelivered), progress.bytes + bytes).await?;
        self.drop_spools(close.batch, None).await;
        Ok(())
    }

    /// Notes what was delivered, as runs of ordinals. Where there is no room for that it is left out: it would only
    /// spare a repetition, and the batch must come to its end to make room.
    async fn note_done(&self, close: &Close, progress: &mut Progress) -> Result<(), AttemptError> {
        progress.noted_at = self.context.timer.steady();
        let frames = self.done_frames(close, &mut progress.done);
        if frames.is_empty() {
            return Ok(());
        }
        match self.journal.control(frames).await {
            Err(AppendError::Full(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// DONE for runs of ordinals.
    fn done_frames(&self, close: &Close, done: &mut Vec<u32>) -> Vec<Control> {
        let mut done = std::mem::take(done);
        done.sort_unstable();
        let frames = done.chunk_by(|a, b| a + 1 == *b).map(|run| {
            let further = u32::try_from(run.len() - 1).unwrap_or_default();
            let (batch, destination) = (close.batch, self.destination.clone());
            Control::Done(Done { batch, destination, ordinal: run[0], further, request: None })
        });
        frames.collect()
    }

    async fn send_planned(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        plan: &Plan,
        object: &PlannedObject,
        which: Try,
        lagging: &Lagging,
    ) -> Result<Receipt, AttemptError> {
        let close = &open.close;
        let sent = match &shape.destination.endpoint {
            Some(endpoint) if !object.is_error_output => {
                let identity = plan.spool.identity(close.batch);
                let decided = Decided::of(&open.decided);
                let sending = Sending { open, decided, shape, endpoint, identity, which, lagging };
                self.send_kept(&sending, plan.spool, object).await
            }
            None if shape.destination.appends() && !object.is_error_output => {
                self.append_kept(open, shape, plan.spool, object, which).await
            }
            _ => {
                let sent = self.send_spooled(close, shape, plan.spool, object, which.is_repeated()).await;
                sent.map_err(AttemptError::from)
            }
        };
        sent.map_err(|error| match error {
            AttemptError::Sink(error) => self.damaged(close, error).into(),
            AttemptError::Endpoint { error, progressed } => {
                AttemptError::Endpoint { error: self.damaged(close, error), progressed }
            }
            other => other,
        })
    }

    /// Sends the rows of a spool in requests.
    async fn send_kept(
        &self,
        sending: &Sending<'_>,
        spool: SpoolId,
        object: &PlannedObject,
    ) -> Result<Receipt, AttemptError> {
        let rows = self.kept_rows(sending.shape, spool, object).await?;
        Ok(self.send_requests(sending, rows).await?.0)
    }

    /// The rows of a spool with what they come from.
    pub(super) async fn kept_rows(
        &self,
        shape: &Shape,
        spool: SpoolId,
        object: &PlannedObject,
    ) -> Result<Pieces<Made<Vec<RequestRow>>>, SinkError> {
        let rows = self.spooled(spool, object).await?;
        Ok(shape.transformation.pieces(rows, make::kept_requests(), &self.context.processors))
    }

    async fn spooled(&self, spool: SpoolId, object: &PlannedObject) -> Result<SpoolReader, SinkError> {
        let place = object.place;
        let reader = self.blocking(move |journal| journal.read_spool(spool, place)).await;
        reader.map_err(|error| unreadable(failed(error)))
    }

    pub(super) async fn send_spooled(
        &self,
        close: &Close,
        shape: &Shape,
        spool: SpoolId,
        object: &PlannedObject,
        repeated: bool,
    ) -> Result<Receipt, SinkError> {
        let store = self.store(&shape.destination)?;
        let encoding = shape.encoding(object.is_error_output);
        let mut delivery = self.delivery(close, shape, &encoding, object.key.clone(), repeated);
        let table = match object.is_error_output {
            true => None,
            false => self.table_for(close, shape, &mut delivery.target).await?,
        };
        if table.as_ref().is_some_and(Appending::is_done) {
            return Ok(Receipt { bytes: 0, existed: true });
        }
        let _reserved = store.memory.reserve(memory_for(object.place.bytes, shape)).await;
        let reader = self.spooled(spool, object).await?;
        let mut of =
            Transformation { chain: Arc::default(), is_planned: true, ..shape.transformation.clone() };
        of.has_origins = object.has_origins;
        // Lines of text, be they of errors or of JSON, are in the plan as they are sent.
        of.converter = of.converter.filter(|converter| !object.is_error_output && converter.format.is_some());
        let made = self.rows(close, shape, of, reader, &encoding, &object.key).await?;
        let receipt = match made.body {
            Some(body) => {
                let receipt = store.sink.attempt(&delivery, body).await?;
                self.append(table, &*store.sink, &delivery).await?;
                receipt
            }
            None => Receipt::default(),
        };
        tracing::debug!(stream = %self.stream, destination = %self.destination, batch = %close.batch, key = object.key,
            bytes = receipt.bytes, existed = receipt.existed, "object delivered");
        Ok(receipt)
    }

    /// A failure that no other attempt would mend where it is the spool that cannot be read.
    fn damaged(&self, close: &Close, error: SinkError) -> SinkError {
        if !is_damage(&error) {
            return error;
        }
        let message = format!(
            "what was made of the batch cannot be read back; 'standpipe batches rebind {} {}' makes it anew by the current \
             definition, under other keys",
            self.stream, close.batch
        );
        SinkError::new(ErrorClass::Refused, message).with_source(error)
    }
}

/// Whether it is the spool that another attempt would find as it is now.
fn is_damage(error: &SinkError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(SpoolDamage::is_behind) || error.is::<Misfit>() {
            return true;
        }
        cause = error.source();
    }
    false
}
