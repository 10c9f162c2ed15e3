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

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use ring::digest::{self, SHA256};
use standpipe_encode::ChunkEncoder;
use standpipe_journal::control::{Close, Control, Decide, Done, OpenBatch};
use standpipe_model::{
    Answer, BatchId, BatchRange, BodyError, ErrorClass, Position, Receipt, Request, RequestId, RequestLimits,
    RequestRow, RowOrigin, SinkError, stream_arn,
};
use tokio::sync::OwnedSemaphorePermit;

use super::body::Make;
use super::deliver::{AttemptError, Try, chain, unreadable};
use super::fates::{Counted, Fates, Made};
use super::pieces::Pieces;
use super::shape::{Part, REQUESTS_FROM, Shape};
use super::{Line, Memory, make};
use crate::endpoints::{Endpoint, EndpointClient};

/// Requests of one batch that are on their way at once.
const REQUESTS_AT_ONCE: usize = 4;
/// So many requests that fail one behind the other end an attempt: the endpoint does not answer.
const FAILURES_MAX: usize = 4;
/// How long a request that succeeded may wait to be noted; a restart meanwhile sends it again.
const NOTED_WITHIN: Duration = Duration::from_millis(100);
/// So many different messages of a batch are kept; rows beyond get the first one of their code.
const MESSAGES_MAX: usize = 100;
/// How much of a message is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 1024;

/// What rows are sent for.
pub(super) struct Sending<'a> {
    pub(super) open: &'a OpenBatch,
    pub(super) shape: &'a Shape,
    pub(super) endpoint: &'a Endpoint,
    /// What the rows' identities derive from.
    pub(super) identity: BatchId,
    pub(super) which: Try,
}

/// Rows that an endpoint wants to have again, by batch and request; known only to this process, as all that a
/// repetition of the others costs is a repetition.
pub(crate) type Again = Mutex<HashMap<(BatchId, u32), BTreeSet<RowOrigin>>>;

/// Rows of a batch on their way into requests.
struct Cutter {
    /// `None` behind the last.
    rows: Option<Counted<Vec<RequestRow>>>,
    waiting: VecDeque<RequestRow>,
    limits: RequestLimits,
    next: u32,
}

impl Cutter {
    fn new(rows: Counted<Vec<RequestRow>>, limits: RequestLimits) -> Self {
        Self { rows: Some(rows), waiting: VecDeque::new(), limits, next: REQUESTS_FROM }
    }

    /// The rows of the next request, and its ordinal; `None` behind the last.
    async fn next(&mut self) -> Result<Option<(u32, Vec<RequestRow>)>, BodyError> {
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
        if rows.is_empty() {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some((self.next - 1, rows)))
    }
}

/// The rows of a request, with the memory that it may take.
struct Cut {
    ordinal: u32,
    rows: Vec<RequestRow>,
    _memory: Option<OwnedSemaphorePermit>,
}

/// A request that was attempted.
struct Attempted {
    ordinal: u32,
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
        let memory = target.limits().bytes_max.min(sending.open.close.record_bytes) * target.memory_factor();
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
        let Cut { ordinal, mut rows, _memory } = cut.map_err(unreadable)?;
        let Sending { open, identity, .. } = sending;
        if open.done.contains(&ordinal) {
            return Ok(Attempted { ordinal, positions: Vec::new(), result: None });
        }
        let key = (open.close.batch, ordinal);
        if let Some(again) = self.again.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            rows.retain(|row| again.contains(&row.origin));
        }
        rows.retain(|row| !is_decided(&open.decided, row.origin.position));
        let positions: Vec<Position> = rows.iter().map(|row| row.origin.position).collect();
        if rows.is_empty() {
            return Ok(Attempted { ordinal, positions, result: Some(Ok(Answer::default())) });
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
            self.again.lock().unwrap_or_else(PoisonError::into_inner).insert(key, left);
        }
        Ok(Attempted { ordinal, positions, result: Some(result) })
    }

    /// Notes what came of a request.
    async fn note(
        &self,
        sending: &Sending<'_>,
        attempted: Attempted,
        progress: &mut Progress,
    ) -> Result<(), AttemptError> {
        let Attempted { ordinal, positions, result } = attempted;
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
            progress.frames.push(Control::Done(Done { batch, destination, ordinal, further: 0 }));
            self.again.lock().unwrap_or_else(PoisonError::into_inner).remove(&(batch, ordinal));
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
        let (open, endpoint) = (self.open_batch(close.batch), shape.destination.endpoint.clone());
        let (Some(open), Some(endpoint)) = (open, endpoint) else {
            return Err(SinkError::new(ErrorClass::Transient, "the batch is not open any more"));
        };
        let identity = identity(&open);
        Ok(make::undelivered(open.decided, endpoint.target, identity, encoder))
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
                Ok(cut) => cut.map(|(ordinal, rows)| (Ok(Cut { ordinal, rows, _memory }), Some(cutter))),
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

/// Whether a record was given up.
fn is_decided(decided: &[Decide], position: Position) -> bool {
    decision(decided, position).is_some()
}

/// Why a record was given up: the first reason counts.
pub(super) fn decision(decided: &[Decide], position: Position) -> Option<&Decide> {
    let holds = |rows: &BatchRange| rows.first <= position && position <= rows.last;
    decided.iter().find(|decide| decide.rows.iter().any(holds))
}

/// How many records were given up.
fn count(decided: &[Decide]) -> u64 {
    let mut ranges: Vec<BatchRange> = decided.iter().flat_map(|decide| decide.rows.iter().copied()).collect();
    ranges.sort_unstable_by_key(|range| range.first);
    let (mut total, mut from) = (0, Position(0));
    for range in ranges {
        let first = range.first.max(from);
        if first <= range.last {
            total += BatchRange { first, last: range.last }.count();
            from = range.end();
        }
    }
    total
}

/// Records that an endpoint does not take, by code and message.
#[derive(Debug, Default)]
struct Refused(BTreeMap<(String, String), BTreeSet<Position>>);

impl Refused {
    fn add(&mut self, code: String, message: &str, positions: impl IntoIterator<Item = Position>) {
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        self.0.entry((code, message)).or_default().extend(positions);
    }

    /// The same with their ranges. `told` counts the messages of the batch so far: they take room in the journal.
    fn decisions(self, told: &mut usize) -> Vec<(String, String, Vec<BatchRange>)> {
        let mut groups: Vec<((String, String), BTreeSet<Position>)> = Vec::new();
        for (reason, positions) in self.0 {
            // They are sorted, so that those of one code stand together.
            match groups.last_mut().filter(|((code, _), _)| *told >= MESSAGES_MAX && *code == reason.0) {
                Some((_, kept)) => kept.extend(positions),
                None => {
                    *told += 1;
                    groups.push((reason, positions));
                }
            }
        }
        let ranges =
            groups.into_iter().map(|((code, message), positions)| (code, message, ranges(positions)));
        ranges.collect()
    }
}

fn ranges(positions: BTreeSet<Position>) -> Vec<BatchRange> {
    let all: Vec<Position> = positions.into_iter().collect();
    let runs = all.chunk_by(|a, b| a.0 + 1 == b.0);
    runs.map(|run| BatchRange { first: run[0], last: run[run.len() - 1] }).collect()
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
    use standpipe_model::{DestinationId, Timestamp};

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

    #[test]
    fn what_was_given_up_is_counted_once_per_record_and_keeps_its_first_reason() {
        let decide = |reason: &str, first, last| Decide {
            batch: BatchId([1; 16]),
            destination: DestinationId::primary(),
            rows: vec![BatchRange { first: Position(first), last: Position(last) }],
            reason: reason.to_owned(),
            message: String::new(),
            attempts: 1,
            decided_at: Timestamp(1),
        };
        let decided = [decide("a", 3, 5), decide("b", 5, 9), decide("c", 1, 1), decide("d", 4, 4)];
        assert_eq!(count(&decided), 8);
        assert_eq!(decision(&decided, Position(5)).map(|decide| &*decide.reason), Some("a"));
        assert_eq!(decision(&decided, Position(2)), None);
    }

    #[test]
    fn messages_of_a_batch_are_kept_up_to_a_number() {
        let mut refused = Refused::default();
        for position in 0..150 {
            refused.add("400".to_owned(), &format!("message {position:03}"), [Position(position)]);
        }
        refused.add("409".to_owned(), "another", [Position(150), Position(151)]);
        let mut told = 0;
        let decisions = refused.decisions(&mut told);
        assert_eq!(decisions.len(), MESSAGES_MAX + 1);
        let records: u64 = decisions.iter().flat_map(|(_, _, rows)| rows).map(BatchRange::count).sum();
        assert_eq!(records, 152);
        assert_eq!(decisions[MESSAGES_MAX].2, [BatchRange { first: Position(150), last: Position(151) }]);
    }
}
