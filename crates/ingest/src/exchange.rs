//! One request and its answer: the checks in the order in which AWS's front end makes them.
//!
//! Too large → not POST → body → content type → JSON → operation → signature → types → constraints → permission →
//! limits → operation. What comes first decides the answer, and clients can tell. Permission and limits come before
//! anything is said about a stream.

mod guard;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Version, header};
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use standpipe_model::StreamName;

use crate::access::Cost;
use crate::body::{BodyError, Received, receive};
use crate::error::Refusal;
use crate::observe::{Answered, Limit, Throttled};
use crate::put::{put_digest, put_record, put_record_batch};
use crate::reply::{JSON_1_1, Reply, RequestIds, allow_cross_origin};
use crate::{
    ApiError, ErrorCode, Frontend, Operation, Put, PutError, PutReceipt, PutRefusal, PutRequest, decode_put,
};

/// What is known of a request by the time of its answer.
#[derive(Debug)]
struct Progress {
    ids: RequestIds,
    operation: Option<Operation>,
    stream: Option<StreamName>,
    request_bytes: u64,
    records: u32,
    record_bytes: u64,
    /// The limit that refused it.
    throttled: Option<Refusing>,
    /// Whether the body was read, so that the connection can take another request.
    body_read: bool,
}

/// The limit that refused a request.
#[derive(Debug)]
enum Refusing {
    Credential { user: String, records: u32 },
    Stream { records: u32 },
    Operation,
}

impl Progress {
    fn begin(ids: RequestIds) -> Self {
        Self {
            ids,
            operation: None,
            stream: None,
            request_bytes: 0,
            records: 0,
            record_bytes: 0,
            throttled: None,
            body_read: false,
        }
    }

    fn throttled(&self) -> Option<Throttled<'_>> {
        Some(match self.throttled.as_ref()? {
            Refusing::Credential { user, records } => {
                Throttled { limit: Limit::Credential(user), records: *records }
            }
            Refusing::Stream { records } => {
                Throttled { limit: Limit::Stream(self.stream.as_ref()?), records: *records }
            }
            Refusing::Operation => Throttled { limit: Limit::Operation(self.operation?), records: 0 },
        })
    }
}

impl Frontend {
    /// Answers one request.
    pub(crate) async fn exchange<B>(self: &Arc<Self>, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let started = self.clock.steady();
        let (head, body) = request.into_parts();
        let mut progress = Progress::begin(RequestIds::draw(&*self.entropy));
        let preflight = head.method == Method::OPTIONS && head.headers.contains_key(header::ORIGIN);
        let reply = if preflight {
            Reply::empty()
        } else {
            self.answer(&head, body, &mut progress).await.unwrap_or_else(|refusal| (&refusal).into())
        };
        self.observer.answered(&Answered {
            operation: progress.operation,
            stream: progress.stream.as_ref(),
            status: reply.status(),
            code: reply.code(),
            request_bytes: progress.request_bytes,
            records: progress.records,
            record_bytes: progress.record_bytes,
            throttled: progress.throttled(),
            elapsed: self.clock.steady().saturating_sub(started),
        });
        // A client that is still sending would otherwise send the rest into the next request.
        let keep_alive = progress.body_read || preflight || head.version >= Version::HTTP_2;
        let mut response = reply.into_response(&head.headers, progress.ids, self.clock.now(), keep_alive);
        if preflight {
            allow_cross_origin(&head.headers, response.headers_mut());
        }
        response
    }

    async fn answer<B>(
        self: &Arc<Self>,
        head: &Parts,
        body: B,
        progress: &mut Progress,
    ) -> Result<Reply, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.size_hint().lower() > self.options.body_max as u64 {
            return Err(Refusal::TooLarge);
        }
        if head.method != Method::POST {
            return Err(Refusal::NoOperation);
        }
        let target = head.headers.get("x-amz-target").map(|target| target.to_str().unwrap_or_default());
        progress.operation = target.and_then(Operation::from_target);
        let received = receive(body, &self.budget, self.options.body_limits()).await.map_err(refuse_body)?;
        progress.request_bytes = received.bytes.len() as u64;
        progress.body_read = true;
        if !is_json_type(&head.headers) {
            return Err(if target.is_some() { Refusal::WrongContentType } else { Refusal::NoOperation });
        }
        let Some(operation) = progress.operation else {
            return Err(refuse_unknown(&received.bytes).into());
        };
        match operation {
            Operation::PutRecord | Operation::PutRecordBatch => {
                self.put(head, operation, received, progress).await.map_err(Refusal::from)
            }
            _ => self.control(head, operation, &received.bytes, progress).await.map_err(Refusal::from),
        }
    }

    async fn put(
        &self,
        head: &Parts,
        operation: Operation,
        received: Received,
        progress: &mut Progress,
    ) -> Result<Reply, ApiError> {
        let Received { bytes, permits } = received;
        let body_sha256 = Sha256::digest(&bytes).into();
        let caller = match self.authenticate(head, &body_sha256) {
            Ok(caller) => caller,
            // A body that is no JSON is refused as such, whoever sent it.
            Err(_) if !is_json_object(&bytes) => return Err(not_json()),
            Err(error) => return Err(error),
        };
        let PutRequest { stream, block } = match decode_put(operation, &bytes) {
            Ok(put) => put,
            Err(PutRefusal::NotJson) => return Err(not_json()),
            Err(PutRefusal::Invalid(error)) => return Err(error),
            Err(PutRefusal::NoSuchStream(name)) => {
                self.permit_put(&caller, head, operation, &name, progress).await?;
                return Err(ApiError::stream_not_found(&name, &self.options.account_id));
            }
        };
        // From here on the permits stand for the decoded block.
        drop(bytes);
        self.permit_put(&caller, head, operation, stream.as_str(), progress).await?;
        progress.stream = Some(stream.clone());
        let cost = Cost { records: block.count(), bytes: block.record_bytes() };
        let slots = self.admit_put(&caller, &stream, cost, progress)?;

        let invocation = head.headers.get("amz-sdk-invocation-id").filter(|id| !id.is_empty());
        let digest =
            invocation.map(|id| put_digest(caller.access_key_id(), id.as_bytes(), &stream, &body_sha256));
        let receipt = self.service.put(Put { stream: stream.clone(), block, digest }).await;
        drop((permits, slots));
        let receipt = receipt.map_err(|error| self.refuse_put(error, &stream))?;
        progress.records = cost.records;
        progress.record_bytes = cost.bytes;
        Ok(Reply::ok(put_answer(operation, &receipt, cost.records)))
    }

    fn refuse_put(&self, error: PutError, stream: &StreamName) -> ApiError {
        let account = &self.options.account_id;
        match error {
            PutError::NotFound => ApiError::stream_not_found(stream.as_str(), account),
            PutError::NotActive => ApiError::new(
                ErrorCode::ResourceNotFound,
                format!("Firehose {stream} is not active in {account} account."),
            ),
            PutError::Unavailable { retry_after } => ApiError::slow_down(retry_after),
            PutError::NotPermitted { stream_type } => ApiError::invalid_argument(format!(
                "This operation is not permitted on {stream_type} delivery stream type."
            )),
            PutError::Other(error) => error,
        }
    }
}

fn put_answer(operation: Operation, receipt: &PutReceipt, records: u32) -> Vec<u8> {
    match operation {
        Operation::PutRecord => put_record(receipt),
        _ => put_record_batch(receipt, records),
    }
}

fn refuse_body(error: BodyError) -> Refusal {
    match error {
        BodyError::TooLarge => Refusal::TooLarge,
        BodyError::NoBudget => ApiError::slow_down(None).into(),
        BodyError::TimedOut | BodyError::Broken => ApiError::new(
            ErrorCode::RequestTimeout,
            "Your socket connection to the server was not read from or written to within the timeout period.",
        )
        .into(),
    }
}

/// `application/json` is taken as well: AWS answers it with nonsense.
fn is_json_type(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = value.split(';').next().unwrap_or_default().trim();
    value.eq_ignore_ascii_case(JSON_1_1) || value.eq_ignore_ascii_case("application/json")
}

/// The answer to a request whose target names no operation.
fn refuse_unknown(body: &[u8]) -> ApiError {
    if body.is_empty() || is_json_object(body) {
        ApiError::bare(ErrorCode::UnknownOperation)
    } else {
        not_json()
    }
}

fn not_json() -> ApiError {
    ApiError::bare(ErrorCode::Serialization)
}

/// Whether the body is a JSON object. It is not kept: a tree of it may take ten times its bytes, and the sender is not
/// known yet.
fn is_json_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}
