//! Delivering rows in requests: cut by fixed rules, several on their way at once, each with a fate for each of its rows.
//!
//! ```text
//! rows in order ─► cut ─► not done, not given up ─► attempt ─┬─ taken ───────────► DONE
//!                  (pinned limits: the same at each attempt)  ├─ refused rows ────► DECIDE, DONE
//!                                                             ├─ some again ──────► at the next attempt, only those
//!                                                             │                     (at once, where others were refused)
//!                                                             └─ failed ──────────► the next attempt, or, where it fails for
//!                                                                                   longer than it may, DECIDE, DONE
//! ```
//!
//! # Invariants
//! - The same rows have the same request id at every attempt and in every process.
//! - Rows are given up by DECIDE before anything is done about it, and are never sent again.
//! - Once some requests in a row of a batch that lags further than it may have failed as a whole, no other of that batch is
//!   sent, but those that the endpoint may know from before.

mod again;
mod cuts;
mod given_up;
pub(super) mod kept;
mod lag;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use ring::digest::{self, SHA256};
use standpipe_journal::AppendError;
use standpipe_journal::control::{Close, Control, Decide, Done, OpenBatch};
use standpipe_model::{
    BatchId, BatchRange, BodyError, ErrorClass, Receipt, Request, RequestId, RequestRow, RowOrigin,
    SinkError, stream_arn,
};
use tokio::sync::OwnedSemaphorePermit;

use super::decisions::{Decided, Messages, Refused};
use super::deliver::{AttemptError, NOTED_WITHIN, Try, chain, graver, unreadable};
use super::fates::{Counted, Fates, Made};
use super::pieces::Pieces;
use super::shape::{Part, Shape};
use super::undelivered::identity;
use super::{Context, Line};
use crate::alarm::AlarmKind;
use crate::endpoints::{Endpoint, EndpointClient};
use crate::spec::S3Destination;
pub(crate) use again::Again;
use cuts::{Cut, Cutter, cuts};
pub(super) use lag::Lagging;
pub(super) use lag::is_beyond;
use lag::{Reason, Why};

/// Requests of one batch that are on their way at once.
const REQUESTS_AT_ONCE: usize = 4;
/// So many requests that fail one behind the other end an attempt: the endpoint does not answer.
const FAILURES_MAX: usize = 4;
/// Of so many requests of a batch the journal says that they are over; after a restart more are sent again.
const REQUESTS_NOTED_MAX: usize = 10_000;

/// What rows are sent for.
pub(super) struct Sending<'a> {
    pub(super) open: &'a OpenBatch,
    /// The records of it that were given up.
    pub(super) decided: Decided,
    pub(super) shape: &'a Shape,
    pub(super) endpoint: &'a Endpoint,
    /// What the rows' identities derive from.
    pub(super) identity: BatchId,
    pub(super) which: Try,
    pub(super) lagging: &'a Lagging,
}

impl Sending<'_> {
    /// About how many bytes the batch's rows have at the most: a processor may make more of a record.
    fn rows_bytes(&self) -> u64 {
        const GROWN: u64 = 4;
        let records = self.open.close.record_bytes;
        if self.shape.transformation.is_empty() { records } else { records.saturating_mul(GROWN) }
    }
}

/// A request that was attempted.
struct Attempted {
    /// What it is known by: the id of its rows as they were cut.
    cut: RequestId,
    refused: Refused,
    /// What is not over of it, and why.
    left: Option<(Request, Why)>,
    bytes: u64,
    /// It was over before.
    was_over: bool,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Attempted {
    fn nothing(cut: RequestId, memory: Option<OwnedSemaphorePermit>) -> Self {
        let refused = Refused::default();
        Self { cut, refused, left: None, bytes: 0, was_over: false, _memory: memory }
    }
}

/// What the attempts of a batch have come to.
struct Progress {
    bytes: u64,
    frames: Vec<Control>,
    /// What is known of requests that are not over, once the frames are in the journal.
    again: Vec<(RequestId, BTreeSet<RowOrigin>)>,
    noted_at: Duration,
    failures: usize,
    failure: Option<SinkError>,
    messages: Messages,
    /// Requests of the batch that the journal knows to be over.
    noted: usize,
    /// Whether a request came to its end.
    progressed: bool,
}

impl Line {
    /// Sends what is left of a batch's rows. Once it returns, each of them was taken or given up.
    pub(super) fn send_requests<'a>(
        &'a self,
        sending: &'a Sending<'a>,
        rows: Pieces<Made<Vec<RequestRow>>>,
    ) -> BoxFuture<'a, Result<(Receipt, Fates), AttemptError>> {
        self.send_all(sending, rows).boxed()
    }

    async fn send_all(
        &self,
        sending: &Sending<'_>,
        rows: Pieces<Made<Vec<RequestRow>>>,
    ) -> Result<(Receipt, Fates), AttemptError> {
        self.can_decide()?;
        let endpoint = self.live(sending.endpoint);
        let client = self.client(&endpoint, &sending.shape.destination)?;
        let rows = Counted::new(rows);
        let seen = rows.seen();
        let given_up = Arc::new(AtomicBool::new(false));
        let limits = endpoint.target.limits();
        let memory = limits.bytes_max.min(sending.rows_bytes()) * endpoint.target.memory_factor();
        let cutter = Cutter::new(rows, limits);
        let cuts = cuts(cutter, Arc::clone(&client.memory), memory, Arc::clone(&given_up));
        let attempts = cuts.map(|cut| self.attempt_request(sending, &client, cut));
        let mut attempts = attempts.buffer_unordered(REQUESTS_AT_ONCE);
        let mut progress = Progress::of(sending.open, self.context.timer.steady());
        while let Some(attempted) = attempts.next().await {
            match attempted {
                Ok(attempted) => self.note(sending, &endpoint, &client, attempted, &mut progress).await?,
                Err(error) => progress.fail(error),
            }
            if let Err(error) = self.can_decide() {
                progress.fail(error);
                given_up.store(true, Ordering::Relaxed);
            }
            given_up.fetch_or(progress.failures >= FAILURES_MAX, Ordering::Relaxed);
        }
        drop(attempts);
        if let Some(error) = progress.failure.take() {
            self.flush(&sending.open.close, &mut progress).await?;
            return Err(AttemptError::Endpoint { error, progressed: progress.progressed });
        }
        let fates = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((Receipt { bytes: progress.bytes, existed: false }, fates))
    }

    /// Sending what cannot be noted would only be done again.
    fn can_decide(&self) -> Result<(), SinkError> {
        match self.journal.usage().poisoned {
            true => {
                let error = SinkError::new(ErrorClass::Transient, "the journal takes no decisions now");
                Err(SinkError { is_ours: true, ..error })
            }
            false => Ok(()),
        }
    }

    /// An endpoint of the shape that was pinned, reached and retried as the current version says.
    fn live(&self, pinned: &Endpoint) -> Endpoint {
        let definition = self.definitions.current();
        let current = definition.spec.destination_of(&self.of).and_then(|d| d.endpoint.as_ref());
        current.map_or_else(|| pinned.clone(), |current| pinned.with_access_of(current))
    }

    pub(super) fn client(
        &self,
        endpoint: &Endpoint,
        destination: &S3Destination,
    ) -> Result<EndpointClient, SinkError> {
        let store = || self.context.stores.get(&destination.store);
        self.endpoints.get(&endpoint.target, destination, store).map_err(|error| {
            SinkError::new(ErrorClass::Misconfigured, "the endpoint's client cannot be made")
                .with_source(error)
        })
    }

    /// Attempts a request, or what is left of it. Rows that others were refused beside, and that are wanted again for
    /// nothing but that, are sent at once: each time there are fewer.
    async fn attempt_request(
        &self,
        sending: &Sending<'_>,
        client: &EndpointClient,
        cut: Result<Cut, BodyError>,
    ) -> Result<Attempted, SinkError> {
        let Cut { mut rows, memory } = cut.map_err(unreadable)?;
        let Sending { open, identity, .. } = sending;
        let cut = request_id(open.close.version, *identity, &rows);
        let mut attempted = Attempted::nothing(cut, memory);
        attempted.was_over = open.requests.contains(&cut);
        let again = self.again.map().get(&cut).map(|(_, again)| again.clone());
        if again.as_ref().is_none_or(|again| !again.is_empty()) {
            self.keep_given_up(sending, client, cut, attempted.was_over, &rows).await?;
        }
        if let Some(again) = again {
            attempted.was_over |= again.is_empty();
            rows.retain(|row| again.contains(&row.origin));
        }
        if attempted.was_over {
            return Ok(attempted);
        }
        rows.retain(|row| !sending.decided.holds(row.origin.position));
        let mut request = self.request(sending, cut, rows);
        while !request.rows.is_empty() {
            // Of one that was sent before, the endpoint may know rows to be there.
            let is_unsent = !sending.which.is_repeated() || !sending.endpoint.target.remembers_requests();
            if let Some(reason) = sending.lagging.reason().filter(|_| is_unsent) {
                attempted.left = Some((request, Why::Unsent(reason)));
                break;
            }
            let answer = match client.sink.attempt(&request).await {
                Ok(answer) => answer,
                Err(error) => {
                    attempted.left = Some((request, Why::Failed { error, in_part: false }));
                    break;
                }
            };
            attempted.bytes += answer.bytes;
            let were_refused = !answer.refused.is_empty();
            for refusal in answer.refused {
                if let Some(row) = request.rows.get(refusal.row) {
                    attempted.refused.add(refusal.code, &refusal.message, [row.origin.position]);
                }
            }
            let Some((again, error)) = answer.again else { break };
            let left = again.into_iter().filter_map(|row| request.rows.get(row).cloned()).collect();
            let before = std::mem::replace(&mut request.rows, left).len();
            // A destination that asks for time gets it.
            let asks_for_time = error.class != ErrorClass::Transient || error.retry_after.is_some();
            let at_once = were_refused && !asks_for_time && request.rows.len() < before;
            if !at_once {
                let in_part = request.rows.len() < before;
                attempted.left = Some((request, Why::Failed { error, in_part }));
                break;
            }
        }
        Ok(attempted)
    }

    fn request(&self, sending: &Sending<'_>, id: RequestId, rows: Vec<RequestRow>) -> Request {
        let Context { region, account_id, .. } = &*self.context;
        Request {
            stream: self.stream.clone(),
            stream_arn: stream_arn(region, account_id, self.stream.as_str()).into(),
            destination: self.of.clone(),
            batch: sending.identity,
            id,
            version: sending.open.close.version,
            closed_by: sending.open.close.reason,
            rows,
            repeated: sending.which.is_repeated(),
            attempted_at: self.context.timer.now(),
        }
    }

    /// Notes what came of a request.
    async fn note(
        &self,
        sending: &Sending<'_>,
        endpoint: &Endpoint,
        client: &EndpointClient,
        attempted: Attempted,
        progress: &mut Progress,
    ) -> Result<(), AttemptError> {
        let Attempted { cut, mut refused, left, bytes, was_over, _memory } = attempted;
        let close = &sending.open.close;
        progress.bytes += bytes;
        let mut given_up = None;
        let is_done = match left {
            None => {
                if !was_over {
                    sending.lagging.worked();
                    self.clear(AlarmKind::RetryExhausted);
                }
                !was_over
            }
            Some((request, why)) => match self.given_up_for(sending, endpoint, progress, why) {
                Ok((code, message)) => {
                    refused.add(code, &message, request.rows.iter().map(|row| row.origin.position));
                    given_up = Some(request).filter(|_| client.keeps_given_up);
                    true
                }
                Err(error) => {
                    progress.fail(error);
                    progress.again.push((cut, request.rows.iter().map(|row| row.origin).collect()));
                    false
                }
            },
        };
        let decisions = refused.decisions(&mut progress.messages);
        let is_urgent = !decisions.is_empty();
        progress.frames.extend(decisions.into_iter().map(|(reason, message, rows)| {
            let (batch, destination) = (close.batch, self.destination.clone());
            let (attempts, decided_at) = (sending.which.tries + 1, self.context.timer.now());
            Control::Decide(Decide { batch, destination, rows, reason, message, attempts, decided_at })
        }));
        if is_done {
            self.note_over(close.batch, cut, progress);
        }
        let late = self.context.timer.steady().saturating_sub(progress.noted_at) >= NOTED_WITHIN;
        if is_urgent || late {
            self.flush(close, progress).await?;
        }
        if let Some(request) = given_up
            && let Err(error) = self.give_up(close.batch, client, cut, &request).await
        {
            // The next attempt does what is left of it.
            self.again.map().remove(&cut);
            progress.fail(error);
        }
        Ok(())
    }

    /// Notes that a request is over.
    fn note_over(&self, batch: BatchId, cut: RequestId, progress: &mut Progress) {
        (progress.failures, progress.progressed) = (0, true);
        progress.noted += 1;
        // Of more the process alone knows that nothing of them is left.
        if progress.noted > REQUESTS_NOTED_MAX {
            progress.again.push((cut, BTreeSet::new()));
            return;
        }
        let (ordinal, destination) = (Part::Undelivered.ordinal(), self.destination.clone());
        progress.frames.push(Control::Done(Done {
            batch,
            destination,
            ordinal,
            further: 0,
            request: Some(cut),
        }));
        self.again.map().remove(&cut);
    }

    /// Why rows of which this came are given up, or with what they have failed for now.
    fn given_up_for(
        &self,
        sending: &Sending<'_>,
        endpoint: &Endpoint,
        progress: &Progress,
        why: Why,
    ) -> Result<Reason, SinkError> {
        let (error, in_part) = match why {
            Why::Failed { error, in_part } => (error, in_part),
            Why::Unsent(reason) => return Ok(reason),
        };
        let (open, patience) = (sending.open, endpoint.patience());
        let lags = self.lags(open, patience, &error);
        if !lags && !self.is_over(open, patience, progress.progressed, &error) {
            return Err(error);
        }
        if error.class != ErrorClass::Refused {
            let message = format!("batch {}: given up: {}", sending.open.close.batch, chain(&error));
            self.raise(AlarmKind::RetryExhausted, self.destination.as_str(), message);
        }
        let code = error.code.clone().unwrap_or_else(|| "InternalError".to_owned());
        let reason = (code, error.told());
        if lags {
            sending.lagging.note(error.class, in_part, &reason);
        }
        Ok(reason)
    }

    /// Writes what came of requests. Where there is no room for what only spares a repetition it is left out: the batch
    /// must come to its end to make room.
    async fn flush(&self, close: &Close, progress: &mut Progress) -> Result<(), AttemptError> {
        progress.noted_at = self.context.timer.steady();
        let frames = std::mem::take(&mut progress.frames);
        if !frames.is_empty() {
            let mut decides: BTreeMap<String, (String, u64)> = BTreeMap::new();
            for frame in &frames {
                if let Control::Decide(Decide { reason, message, rows, .. }) = frame {
                    let alike = decides.entry(reason.clone()).or_insert_with(|| (message.clone(), 0));
                    alike.1 += rows.iter().map(BatchRange::count).sum::<u64>();
                }
            }
            let over = frames.iter().filter_map(|frame| match frame {
                Control::Done(done) => done.request,
                _ => None,
            });
            let over: Vec<RequestId> = over.collect();
            match self.journal.control(frames).await {
                // The process knows it, at least.
                Err(AppendError::Full(_)) if decides.is_empty() => {
                    progress.again.extend(over.into_iter().map(|cut| (cut, BTreeSet::new())));
                }
                noted => noted?,
            }
            for (code, (message, records)) in decides {
                self.tell_undelivered(close, &code, &message, records);
            }
        }
        let again = progress.again.drain(..).map(|(cut, rows)| (cut, (close.batch, rows)));
        self.again.map().extend(again);
        Ok(())
    }

    /// Tells the endpoint what it need not remember any more.
    pub(super) async fn tidy_endpoint(&self) {
        let definition = self.definitions.current();
        let Some(destination) = definition.spec.destination_of(&self.of) else { return };
        let endpoint = destination.endpoint.as_ref();
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.target.remembers_requests()) else { return };
        let unsettled: Vec<BatchId> =
            self.journal.with_state(|state| state.open_of(&self.of).map(identity).collect());
        let tidied = match self.client(endpoint, destination) {
            Ok(client) => client.sink.tidy(&self.stream, &self.of, &unsettled).await,
            Err(error) => Err(error),
        };
        if let Err(error) = tidied {
            let error = chain(&error);
            tracing::warn!(stream = %self.stream, destination = %self.destination, error,
                "an endpoint keeps what it need not remember for now");
        }
    }
}

impl Progress {
    fn of(open: &OpenBatch, noted_at: Duration) -> Self {
        Self {
            bytes: 0,
            frames: Vec::new(),
            again: Vec::new(),
            noted_at,
            failures: 0,
            failure: None,
            messages: Messages::of(&open.decided),
            noted: open.requests.len(),
            progressed: false,
        }
    }

    fn fail(&mut self, error: SinkError) {
        self.failures += 1;
        self.failure = graver(self.failure.take(), error, |error| (error.class, !error.is_ours));
    }
}

/// The id of a request: of the batch as that version makes it, and of exactly these rows.
fn request_id(version: u64, identity: BatchId, rows: &[RequestRow]) -> RequestId {
    let mut hash = digest::Context::new(&SHA256);
    hash.update(b"standpipe request");
    hash.update(&version.to_le_bytes());
    hash.update(&identity.0);
    for row in rows {
        hash.update(&row.origin.position.0.to_le_bytes());
        hash.update(&row.origin.sub.to_le_bytes());
    }
    let digest = hash.finish();
    RequestId(std::array::from_fn(|byte| digest.as_ref()[byte]))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use standpipe_model::{Position, Timestamp};

    use super::*;

    fn row(position: u64, sub: u32) -> RequestRow {
        let origin = RowOrigin { position: Position(position), sub };
        RequestRow { origin, arrived_at: Timestamp(7), data: Bytes::from_static(b"data") }
    }

    #[test]
    fn a_request_id_is_that_of_exactly_its_rows() {
        let (batch, all) = (BatchId([1; 16]), [row(1, 0), row(2, 0), row(2, 1)]);
        assert_eq!(request_id(1, batch, &all), request_id(1, batch, &all));
        for other in [&all[..2], &all[1..], &[row(1, 0), row(2, 0), row(2, 2)]] {
            assert_ne!(request_id(1, batch, &all), request_id(1, batch, other));
        }
        assert_ne!(request_id(1, batch, &all), request_id(1, BatchId([2; 16]), &all));
        assert_ne!(request_id(1, batch, &all), request_id(2, batch, &all));
    }
}
