//! One request and its answer: the checks in the order in which AWS's front end makes them.
//!
//! Too large → not POST → body → content type → JSON → operation → signature → types → constraints → operation. What
//! comes first decides the answer, and clients can tell.

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Version, header};
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use standpipe_model::StreamName;

use crate::body::{BodyError, Received, receive};
use crate::error::Refusal;
use crate::observe::Answered;
use crate::put::{put_digest, put_record, put_record_batch};
use crate::reply::{JSON_1_1, Reply, allow_cross_origin};
use crate::sigv4::{self, Signed};
use crate::{
    ApiError, ErrorCode, Frontend, Operation, Put, PutError, PutReceipt, PutRefusal, PutRequest, control,
    decode_put,
};

/// What is known of a request by the time of its answer.
#[derive(Debug, Default)]
struct Progress {
    operation: Option<Operation>,
    stream: Option<StreamName>,
    request_bytes: u64,
    records: u32,
    record_bytes: u64,
    /// Whether the body was read, so that the connection can take another request.
    body_read: bool,
}

impl Frontend {
    /// Answers one request.
    pub(crate) async fn exchange<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let started = self.clock.steady();
        let (head, body) = request.into_parts();
        let mut progress = Progress::default();
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
            elapsed: self.clock.steady().saturating_sub(started),
        });
        // A client that is still sending would otherwise send the rest into the next request.
        let keep_alive = progress.body_read || preflight || head.version >= Version::HTTP_2;
        let mut response = reply.into_response(&head.headers, &*self.entropy, self.clock.now(), keep_alive);
        if preflight {
            allow_cross_origin(&head.headers, response.headers_mut());
        }
        response
    }

    async fn answer<B>(&self, head: &Parts, body: B, progress: &mut Progress) -> Result<Reply, Refusal>
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
            _ => {
                if !is_json_object(&received.bytes) {
                    return Err(not_json().into());
                }
                self.authenticate(head, &Sha256::digest(&received.bytes).into())?;
                let input = serde_json::from_slice(&received.bytes).map_err(|_| not_json())?;
                let body = control::run(&*self.service, operation, &input, &self.options.account_id).await?;
                Ok(Reply::ok(body))
            }
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
        let credential_id = match self.authenticate(head, &body_sha256) {
            Ok(credential_id) => credential_id,
            // A body that is no JSON is refused as such, whoever sent it.
            Err(_) if !is_json_object(&bytes) => return Err(not_json()),
            Err(error) => return Err(error),
        };
        let PutRequest { stream, block } =
            decode_put(operation, &bytes).map_err(|refusal| match refusal {
                PutRefusal::NotJson => not_json(),
                PutRefusal::Invalid(error) => error,
                PutRefusal::NoSuchStream(name) => ApiError::stream_not_found(&name, &self.options.account_id),
            })?;
        // From here on the permits stand for the decoded block.
        drop(bytes);

        let invocation = head.headers.get("amz-sdk-invocation-id").filter(|id| !id.is_empty());
        let digest = invocation.map(|id| put_digest(&credential_id, id.as_bytes(), &stream, &body_sha256));
        let (records, record_bytes) = (block.count(), block.record_bytes());
        progress.stream = Some(stream.clone());
        let receipt = self.service.put(Put { stream: stream.clone(), block, digest }).await;
        drop(permits);
        let receipt = receipt.map_err(|error| self.refuse_put(error, &stream))?;
        progress.records = records;
        progress.record_bytes = record_bytes;
        Ok(Reply::ok(put_answer(operation, &receipt, records)))
    }

    /// The access key id that signed the request; empty while requests need no signature.
    fn authenticate(&self, head: &Parts, body_sha256: &[u8; 32]) -> Result<String, ApiError> {
        if !self.service.auth_required() {
            return Ok(String::new());
        }
        let signed = Signed {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            authority: head.uri.authority().map(|authority| authority.as_str()),
            headers: &head.headers,
            body_sha256,
        };
        sigv4::verify(&signed, self.clock.now(), &self.signing_keys, |id| self.service.credential(id))
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
