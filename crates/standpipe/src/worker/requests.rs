//! Delivering rows in requests: cut by fixed rules, several on their way at once, each with a fate for each of its rows.
//!
//! ```text
//! rows in order ─► cut ─► not done, not given up ─► attempt ─┬─ taken ───────────► DONE
//!                  (pinned limits: the same at each attempt)  ├─ refused rows ────► DECIDE, DONE
//!                                                             ├─ some again ──────► at the next attempt, only those
//!                                                             └─ failed ──────────► the next attempt, or, where it fails for
//!                                                                                   longer than it may, DECIDE, DONE
//! ```
//!
//! # Invariants
//! - The same rows have the same request id at every attempt and in every process.
//! - Rows are given up by DECIDE before anything is done about it, and are never sent again.
//! - What a human has to mend ([`ErrorClass::Misconfigured`]) gives nothing up, however long it lasts.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use ring::digest::{self, SHA256};
use standpipe_encode::ChunkEncoder;
use standpipe_journal::control::{Close, Control, Decide, Done, OpenBatch};
use standpipe_model::{
    Answer, BatchId, BodyError, ErrorClass, Position, Receipt, Request, RequestId, RequestLimits, RequestRow,
    RowOrigin, SinkError, stream_arn,
};
use tokio::sync::OwnedSemaphorePermit;

use super::body::Make;
use super::decisions::{Refused, count, is_decided};
use super::deliver::{AttemptError, Try, chain, unreadable};
use super::fates::{Counted, Fates, Made};
use super::pieces::Pieces;
use super::shape::{Part, Shape};
use super::{Line, Memory, make};
use crate::endpoints::{Endpoint, EndpointClient};

/// Requests of one batch that are on their way at once.
const REQUESTS_AT_ONCE: usize = 4;
/// So many requests that fail one behind the other end an attempt: the endpoint does not answer.
const FAILURES_MAX: usize = 4;
/// How long a request that succeeded may wait to be noted; a restart meanwhile sends it again.
const NOTED_WITHIN: Duration = Duration::from_millis(100);

/// What rows are sent for.
pub(super) struct Sending<'a> {
    pub(super) open: &'a OpenBatch,
    pub(super) shape: &'a Shape,
    pub(super) endpoint: &'a Endpoint,
    /// What the rows' identities derive from.
    pub(super) identity: BatchId,
    pub(super) which: Try,
}

impl Sending<'_> {
    /// About how many bytes the batch's rows have at the most: a processor may make more of a record.
    fn rows_bytes(&self) -> u64 {
        const GROWN: u64 = 4;
        let records = self.open.close.record_bytes;
        if self.shape.transformation.is_empty() { records } else { records.saturating_mul(GROWN) }
    }
}

/// Rows of a request that its endpoint wants to have again; known only to this process, as all that a repetition of the
/// others costs is a repetition.
pub(crate) type Again = Mutex<HashMap<RequestId, BTreeSet<RowOrigin>>>;

/// Rows of a batch on their way into requests.
struct Cutter {
    /// `None` behind the last.
    rows: Option<Counted<Vec<RequestRow>>>,
    waiting: VecDeque<RequestRow>,
    limits: RequestLimits,
}

impl Cutter {
    fn new(rows: Counted<Vec<RequestRow>>, limits: RequestLimits) -> Self {
        Self { rows: Some(rows), waiting: VecDeque::new(), limits }
    }

    /// The rows of the next request; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Vec<RequestRow>>, BodyError> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            let Some(row) = self.waiting.pop_front() else {
                let Some(source) = &mut self.rows else { break };
                match source.next().await? {
                    Some(more) => self.waiting = more.into(),
                    None => self.rows = None,
                }
                continue;
            };
            let len = row.data.len() as u64;
            let full = rows.len() >= self.limits.rows_max || bytes + len > self.limits.bytes_max;
            if full && !rows.is_empty() {
                self.waiting.push_front(row);
                break;
            }
            bytes += len;
            rows.push(row);
        }
        Ok((!rows.is_empty()).then_some(rows))
    }
}

/// The rows of a request, with the memory that it may take.
struct Cut {
    rows: Vec<RequestRow>,
    _memory: Option<OwnedSemaphorePermit>,
}

/// A request that was attempted.
struct Attempted {
    /// What it is known by: the id of its rows as they were cut.
    cut: RequestId,
    /// The records that its rows are of.
    positions: Vec<Position>,
    /// `None` where nothing of it was left to send.
    result: Option<Result<Answer, SinkError>>,
}

/// What the attempts of a batch have come to.
struct Progress {
    bytes: u64,
    frames: Vec<Control>,
    noted_at: Duration,
    failures: usize,
    failure: Option<SinkError>,
    messages: usize,
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
        let client = self.endpoint(sending.endpoint)?;
        let rows = Counted::new(rows);
        let seen = rows.seen();
        let given_up = Arc::new(AtomicBool::new(false));
        let target = &sending.endpoint.target;
        let cutter = Cutter::new(rows, target.limits());
        let memory = target.limits().bytes_max.min(sending.rows_bytes()) * target.memory_factor();
        let cuts = cuts(cutter, Arc::clone(&client.memory), memory, Arc::clone(&given_up));
        let attempts = cuts.map(|cut| self.attempt_request(sending, &client, cut));
        let mut attempts = attempts.buffer_unordered(REQUESTS_AT_ONCE);
        let (noted_at, messages) = (self.context.timer.steady(), sending.open.decided.len());
        let mut progress =
            Progress { bytes: 0, frames: Vec::new(), noted_at, failures: 0, failure: None, messages };
        while let Some(attempted) = attempts.next().await {
            match attempted {
                Ok(attempted) => self.note(sending, attempted, &mut progress).await?,
                Err(error) => progress.fail(error),
            }
            given_up.store(progress.failures >= FAILURES_MAX, Ordering::Relaxed);
        }
        drop(attempts);
        if let Some(failure) = progress.failure.take() {
            self.flush(&mut progress).await?;
            return Err(failure.into());
        }
        let fates = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((Receipt { bytes: progress.bytes, existed: false }, fates))
    }

    /// The endpoint's client, reached as the current version says.
    fn endpoint(&self, endpoint: &Endpoint) -> Result<EndpointClient, SinkError> {
        let definition = self.definitions.current();
        let current = definition.spec.destination_of(&self.destination).and_then(|d| d.endpoint.as_ref());
        let target = current.map_or_else(
            || endpoint.target.clone(),
            |current| endpoint.target.with_access_of(&current.target),
        );
        self.endpoints.get(&target).map_err(|error| {
            SinkError::new(ErrorClass::Misconfigured, "the endpoint's client cannot be made")
                .with_source(error)
        })
    }

    /// Attempts a request, or what is left of it.
    async fn attempt_request(
        &self,
        sending: &Sending<'_>,
        client: &EndpointClient,
        cut: Result<Cut, BodyError>,
    ) -> Result<Attempted, SinkError> {
        let Cut { mut rows, _memory } = cut.map_err(unreadable)?;
        let Sending { open, identity, .. } = sending;
        let cut = request_id(*identity, &rows);
        if open.requests.contains(&cut) {
            return Ok(Attempted { cut, positions: Vec::new(), result: None });
        }
        if let Some(again) = self.again.lock().unwrap_or_else(PoisonError::into_inner).get(&cut) {
            rows.retain(|row| again.contains(&row.origin));
        }
        rows.retain(|row| !is_decided(&open.decided, row.origin.position));
        let positions: Vec<Position> = rows.iter().map(|row| row.origin.position).collect();
        if rows.is_empty() {
            return Ok(Attempted { cut, positions, result: Some(Ok(Answer::default())) });
        }
        let request = Request {
            stream: self.stream.clone(),
            stream_arn: stream_arn(&self.context.region, &self.context.account_id, self.stream.as_str())
                .into(),
            destination: self.destination.clone(),
            batch: *identity,
            id: request_id(*identity, &rows),
            rows,
            repeated: sending.which.is_repeated(),
            attempted_at: self.context.timer.now(),
        };
        let result = client.sink.attempt(&request).await;
        if let Ok(Answer { again: Some((left, _)), .. }) = &result {
            let left = left.iter().filter_map(|row| Some(request.rows.get(*row)?.origin)).collect();
            self.again.lock().unwrap_or_else(PoisonError::into_inner).insert(cut, left);
        }
        Ok(Attempted { cut, positions, result: Some(result) })
    }

    /// Notes what came of a request.
    async fn note(
        &self,
        sending: &Sending<'_>,
        attempted: Attempted,
        progress: &mut Progress,
    ) -> Result<(), AttemptError> {
        let Attempted { cut, positions, result } = attempted;
        let Some(result) = result else { return Ok(()) };
        let close = &sending.open.close;
        let is_over = |error: &SinkError| self.is_over(sending, error);
        let mut refused = Refused::default();
        let left = match result {
            Ok(answer) => {
                progress.bytes += answer.bytes;
                for refusal in answer.refused {
                    if let Some(position) = positions.get(refusal.row) {
                        refused.add(refusal.code, &refusal.message, [*position]);
                    }
                }
                answer.again.map(|(rows, error)| {
                    let rows = rows.into_iter().filter_map(|row| positions.get(row).copied());
                    (rows.collect::<Vec<_>>(), error)
                })
            }
            Err(error) => Some((positions, error)),
        };
        let is_done = match left {
            None => true,
            Some((rows, error)) if is_over(&error) => {
                let code = error.code.clone().unwrap_or_else(|| "InternalError".to_owned());
                refused.add(code, &error.message, rows);
                true
            }
            Some((_, error)) => {
                progress.fail(error);
                false
            }
        };
        let decisions = refused.decisions(&mut progress.messages);
        let is_urgent = !decisions.is_empty();
        progress.frames.extend(decisions.into_iter().map(|(reason, message, rows)| {
            let (batch, destination) = (close.batch, self.destination.clone());
            let (attempts, decided_at) = (sending.which.tries + 1, self.context.timer.now());
            Control::Decide(Decide { batch, destination, rows, reason, message, attempts, decided_at })
        }));
        if is_done {
            progress.failures = 0;
            let (batch, destination) = (close.batch, self.destination.clone());
            let done = Done { batch, destination, ordinal: 0, further: 0, request: Some(cut) };
            progress.frames.push(Control::Done(done));
            self.again.lock().unwrap_or_else(PoisonError::into_inner).remove(&cut);
        }
        let late = self.context.timer.steady().saturating_sub(progress.noted_at) >= NOTED_WITHIN;
        if is_urgent || late { self.flush(progress).await } else { Ok(()) }
    }

    /// Whether rows that failed so are given up.
    fn is_over(&self, sending: &Sending<'_>, error: &SinkError) -> bool {
        match error.class {
            ErrorClass::Refused => true,
            ErrorClass::Misconfigured => false,
            ErrorClass::Transient | ErrorClass::Throttled => {
                let now = self.context.timer.now();
                let failing = now.since(sending.open.failing_since.unwrap_or(now));
                failing >= Duration::from_millis(sending.endpoint.retry_ms)
            }
        }
    }

    async fn flush(&self, progress: &mut Progress) -> Result<(), AttemptError> {
        progress.noted_at = self.context.timer.steady();
        let frames = std::mem::take(&mut progress.frames);
        if !frames.is_empty() {
            self.journal.control(frames).await?;
        }
        Ok(())
    }

    /// Tells the endpoint what it need not remember any more.
    pub(super) async fn tidy_endpoint(&self) {
        let definition = self.definitions.current();
        let endpoint = definition.spec.destination_of(&self.destination).and_then(|d| d.endpoint.as_ref());
        let Some(endpoint) = endpoint else { return };
        let unsettled: Vec<BatchId> = self.journal.with_state(|state| {
            let open = state.destinations.get(&self.destination).into_iter().flat_map(|p| p.open.values());
            open.map(identity).collect()
        });
        let tidied = match self.endpoint(endpoint) {
            Ok(client) => client.sink.tidy(&self.stream, &self.destination, &unsettled).await,
            Err(error) => Err(error),
        };
        if let Err(error) = tidied {
            let error = chain(&error);
            tracing::warn!(stream = %self.stream, error, "an endpoint keeps what it need not remember for now");
        }
    }

    /// How the lines about them are made.
    pub(super) fn undelivered(
        &self,
        close: &Close,
        shape: &Shape,
        encoder: ChunkEncoder,
    ) -> Result<Make, SinkError> {
        let (open, endpoint) = (self.still_open(close.batch)?, shape.destination.endpoint.clone());
        let endpoint = endpoint.ok_or_else(|| {
            SinkError::new(
                ErrorClass::Misconfigured,
                "records were given up by a destination that has no endpoint",
            )
        })?;
        let identity = identity(&open);
        Ok(make::undelivered(open.decided, endpoint.target, identity, encoder))
    }

    /// What the key of the object with them derives from: of exactly these decisions.
    pub(super) fn undelivered_identity(&self, batch: BatchId) -> Result<BatchId, SinkError> {
        let decided = self.still_open(batch)?.decided;
        let mut hash = digest::Context::new(&SHA256);
        hash.update(b"standpipe undelivered");
        hash.update(&batch.0);
        for rows in decided.iter().flat_map(|decide| &decide.rows) {
            hash.update(&rows.first.0.to_le_bytes());
            hash.update(&rows.last.0.to_le_bytes());
        }
        let digest = hash.finish();
        Ok(BatchId(std::array::from_fn(|byte| digest.as_ref()[byte])))
    }

    fn still_open(&self, batch: BatchId) -> Result<OpenBatch, SinkError> {
        let gone = || SinkError::new(ErrorClass::Transient, "the batch is not open any more");
        self.open_batch(batch).ok_or_else(gone)
    }

    /// Writes the records that were given up to the error output; their number, and the bytes that were stored. What
    /// was done and is not noted yet is noted before, as this may fail for long.
    pub(super) async fn send_undelivered(
        &self,
        close: &Close,
        shape: &Shape,
        frames: &mut Vec<Control>,
        repeated: bool,
    ) -> Result<(u64, u64), AttemptError> {
        let open = self.open_batch(close.batch);
        let Some(OpenBatch { decided, done, .. }) = open.filter(|open| !open.decided.is_empty()) else {
            return Ok((0, 0));
        };
        let records = count(&decided);
        if done.contains(&Part::Undelivered.ordinal()) {
            return Ok((records, 0));
        }
        self.journal.control(std::mem::take(frames)).await?;
        let (receipt, _) = self.send(close, shape, Part::Undelivered, repeated).await?;
        Ok((records, receipt.bytes))
    }
}

/// The requests of a batch, each once there is `bytes` of memory for it, until there is no more to be tried.
fn cuts(
    cutter: Cutter,
    memory: Arc<Memory>,
    bytes: u64,
    given_up: Arc<AtomicBool>,
) -> BoxStream<'static, Result<Cut, BodyError>> {
    let cuts = stream::unfold(Some(cutter), move |cutter| {
        let (memory, given_up) = (Arc::clone(&memory), Arc::clone(&given_up));
        async move {
            let mut cutter = cutter.filter(|_| !given_up.load(Ordering::Relaxed))?;
            let _memory = memory.reserve(bytes).await;
            match cutter.next().await {
                Ok(rows) => rows.map(|rows| (Ok(Cut { rows, _memory }), Some(cutter))),
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    cuts.boxed()
}

impl Progress {
    fn fail(&mut self, error: SinkError) {
        self.failures += 1;
        // A fault that has to be mended says more than one that passes.
        self.failure = self.failure.take().filter(|first| first.class >= error.class).or(Some(error));
    }
}

/// What the identities of a batch's rows derive from.
fn identity(open: &OpenBatch) -> BatchId {
    let batch = open.close.batch;
    open.plan.as_ref().map_or(batch, |plan| plan.spool.identity(batch))
}

/// The id of a request: of the batch, and of exactly its rows.
fn request_id(identity: BatchId, rows: &[RequestRow]) -> RequestId {
    let mut hash = digest::Context::new(&SHA256);
    hash.update(b"standpipe request");
    hash.update(&identity.0);
    for row in rows {
        hash.update(&row.origin.position.0.to_le_bytes());
        hash.update(&row.origin.sub.to_le_bytes());
    }
    let digest = hash.finish();
    RequestId(std::array::from_fn(|byte| digest.as_ref()[byte]))
}

/// A row as a spool keeps it, with what it comes from.
pub(super) mod kept {
    use bytes::{Buf, BufMut, Bytes};
    use standpipe_model::{Position, RequestRow, RowOrigin, Timestamp};

    /// Position, number within the record, arrival.
    const LEN: usize = 20;

    pub(crate) fn write(row: &RequestRow) -> Vec<u8> {
        let mut kept = Vec::with_capacity(LEN + row.data.len());
        kept.put_u64_le(row.origin.position.0);
        kept.put_u32_le(row.origin.sub);
        kept.put_u64_le(row.arrived_at.as_millis());
        kept.extend_from_slice(&row.data);
        kept
    }

    pub(crate) fn read(mut kept: Bytes) -> Option<RequestRow> {
        if kept.len() < LEN {
            return None;
        }
        let (position, sub, arrived_at) = (kept.get_u64_le(), kept.get_u32_le(), kept.get_u64_le());
        let origin = RowOrigin { position: Position(position), sub };
        Some(RequestRow { origin, arrived_at: Timestamp(arrived_at), data: kept })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use standpipe_model::Timestamp;

    use super::*;

    fn row(position: u64, sub: u32) -> RequestRow {
        let origin = RowOrigin { position: Position(position), sub };
        RequestRow { origin, arrived_at: Timestamp(7), data: Bytes::from_static(b"data") }
    }

    #[test]
    fn a_request_id_is_that_of_exactly_its_rows() {
        let (batch, all) = (BatchId([1; 16]), [row(1, 0), row(2, 0), row(2, 1)]);
        assert_eq!(request_id(batch, &all), request_id(batch, &all));
        for other in [&all[..2], &all[1..], &[row(1, 0), row(2, 0), row(2, 2)]] {
            assert_ne!(request_id(batch, &all), request_id(batch, other));
        }
        assert_ne!(request_id(batch, &all), request_id(BatchId([2; 16]), &all));
    }

    #[test]
    fn a_row_of_a_spool_knows_where_it_comes_from() {
        let kept = kept::write(&row(1 << 40, 9));
        assert_eq!(kept::read(kept.into()), Some(row(1 << 40, 9)));
        assert_eq!(kept::read(Bytes::from_static(b"short")), None);
    }
}
