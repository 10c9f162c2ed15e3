//! What stands between a request and its operation: who sent it, whether they may, whether now is the time; and the
//! note of what became of it.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use standpipe_model::StreamName;

use super::{Progress, Refusing, is_json_object, not_json};
use crate::access::{Caller, Cost, Noted, Slots, admit, admit_call, event};
use crate::peer::Peer;
use crate::reply::{Reply, uuid_v4};
use crate::sigv4::{self, Signed};
use crate::{ApiError, ErrorCode, Frontend, Operation, Proof, control, shape};

/// What a listing is authorised for.
const ALL_STREAMS: &str = "*";

/// A call of an operation other than a put.
struct Call {
    caller: Caller,
    operation: Operation,
    input: Value,
    headers: HeaderMap,
    request_id: String,
}

/// Why a call was refused: the error, and the limit where it was one.
type RefusedCall = (ApiError, Option<Refusing>);

impl Frontend {
    /// Answers an operation other than a put, and notes it down whatever came of it.
    pub(super) async fn control(
        self: &Arc<Self>,
        head: &Parts,
        operation: Operation,
        body: &[u8],
        progress: &mut Progress,
    ) -> Result<Reply, ApiError> {
        if !is_json_object(body) {
            return Err(not_json());
        }
        let caller = self.authenticate(head, &Sha256::digest(body).into())?;
        let input: Value = serde_json::from_slice(body).map_err(|_| not_json())?;
        let (headers, request_id) = (head.headers.clone(), progress.ids.request.clone());
        let call = Call { caller, operation, input, headers, request_id };
        let frontend = Arc::clone(self);
        // A task of its own: a client that hangs up must not keep what was done from being noted down.
        let noted = tokio::spawn(async move { frontend.noted(&call).await });
        noted.await.unwrap_or_else(|_| Err((ApiError::internal(), None))).map(Reply::ok).map_err(
            |(error, refusing)| {
                progress.throttled = refusing;
                error
            },
        )
    }

    async fn noted(&self, call: &Call) -> Result<String, RefusedCall> {
        let outcome = match shape::check(shape::input_of(call.operation), &call.input) {
            Ok(checked) => self.permitted(call, checked).await,
            Err(error) => Err((error, None)),
        };
        let told = outcome.as_deref().map_err(|(error, _)| error);
        self.note(&call.caller, &call.headers, call.operation, &call.input, told, &call.request_id).await;
        outcome
    }

    /// Runs an operation, if its caller may.
    async fn permitted(&self, call: &Call, checked: Map<String, Value>) -> Result<String, RefusedCall> {
        let (caller, operation) = (&call.caller, call.operation);
        let name = checked.get("DeliveryStreamName").and_then(Value::as_str).unwrap_or(ALL_STREAMS);
        let tagged = checked.get("Tags").and_then(Value::as_array).is_some_and(|tags| !tags.is_empty());
        let tagging =
            (operation == Operation::CreateDeliveryStream && tagged).then_some(Operation::TagDeliveryStream);
        for operation in [operation].into_iter().chain(tagging) {
            caller.authorize(operation, name, &self.options).map_err(|error| (error, None))?;
        }
        self.admit_call(caller, operation)?;
        if operation.changes() && !self.service.auditable().await {
            let message = "The change was not made because the audit log cannot be written.";
            return Err((ApiError::new(ErrorCode::ServiceUnavailable, message), None));
        }
        let ran = control::run(&*self.service, operation, checked, &self.options.account_id).await;
        ran.map_err(|error| (error, None))
    }

    fn admit_call(&self, caller: &Caller, operation: Operation) -> Result<(), RefusedCall> {
        let credential = caller.credential.as_deref();
        let of_caller = credential.and_then(|credential| credential.calls.as_deref());
        let of_all = self.service.call_limiter();
        admit_call([of_caller, of_all.as_deref()], operation, self.clock.steady()).map_err(|(index, wait)| {
            let refusing = match credential.filter(|_| index == 0) {
                Some(credential) => Refusing::Credential { user: credential.user.clone(), records: 0 },
                None => Refusing::Operation,
            };
            let error = ApiError::new(ErrorCode::Throttling, "Rate exceeded");
            (ApiError { retry_after: Some(wait), ..error }, Some(refusing))
        })
    }

    /// Whether the caller may put to the stream of that name. A refusal is noted down.
    pub(super) async fn permit_put(
        &self,
        caller: &Caller,
        head: &Parts,
        operation: Operation,
        stream: &str,
        progress: &Progress,
    ) -> Result<(), ApiError> {
        let Err(error) = caller.authorize(operation, stream, &self.options) else { return Ok(()) };
        let now = self.clock.steady();
        if caller.credential.as_ref().is_some_and(|credential| credential.notes_denied_put(now)) {
            let parameters = json!({"DeliveryStreamName": stream});
            let request_id = &progress.ids.request;
            self.note(caller, &head.headers, operation, &parameters, Err(&error), request_id).await;
        }
        Err(error)
    }

    /// Whether the limits of the caller and of the stream let a put in; it counts until what is returned is dropped.
    pub(super) fn admit_put(
        &self,
        caller: &Caller,
        stream: &StreamName,
        cost: Cost,
        progress: &mut Progress,
    ) -> Result<Option<Slots>, ApiError> {
        let of_caller = caller.credential.as_ref().and_then(|credential| credential.puts.clone());
        let limiters = [of_caller, self.service.stream_limiter(stream)];
        if limiters.iter().all(Option::is_none) {
            return Ok(None);
        }
        admit(limiters, cost, self.clock.steady()).map(Some).map_err(|(index, wait)| {
            let user = caller.credential.as_ref().map(|credential| credential.user.clone());
            progress.throttled = Some(match user.filter(|_| index == 0) {
                Some(user) => Refusing::Credential { user, records: cost.records },
                None => Refusing::Stream { records: cost.records },
            });
            ApiError::slow_down(Some(wait))
        })
    }

    /// Who sent the request.
    pub(super) fn authenticate(&self, head: &Parts, body_sha256: &[u8; 32]) -> Result<Caller, ApiError> {
        let peer = head.extensions.get::<Peer>();
        let source = peer.map(|peer| peer.address.ip());
        let certificate = peer.and_then(|peer| peer.subject.clone());
        let proof = self.service.proof();
        // The connection may be older than what is asked for now.
        if let Some(session) = peer.and_then(|peer| peer.session.as_ref())
            && !session.holds(proof == Proof::Certificate)
        {
            let message = "What is asked of clients' certificates has changed; connect again.";
            return Err(ApiError::new(ErrorCode::ServiceUnavailable, message));
        }
        if proof != Proof::Signature {
            return Ok(Caller { credential: None, source, certificate });
        }
        let signed = Signed {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            authority: head.uri.authority().map(|authority| authority.as_str()),
            headers: &head.headers,
            body_sha256,
        };
        let credential =
            sigv4::verify(&signed, self.clock.now(), &self.signing_keys, |id| self.service.credential(id))?;
        Ok(Caller { credential: Some(credential), source, certificate })
    }

    async fn note(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        operation: Operation,
        parameters: &Value,
        outcome: Result<&str, &ApiError>,
        request_id: &str,
    ) {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let (at, event_id) = (self.clock.now(), uuid_v4(&random));
        let noted = Noted { operation, caller, headers, parameters, outcome, at, request_id, event_id };
        self.service.audit(event(&noted, &self.options)).await;
    }
}
