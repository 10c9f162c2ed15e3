//! The server under test, the service behind it, and a client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{self, SignableBody, SignableRequest, SignatureLocation, SigningSettings};
use aws_sigv4::sign::v4;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use standpipe_ingest::access::{AuditEvent, CallLimiter, PutLimiter};
use standpipe_ingest::{
    Answered, ApiError, CreateDeliveryStream, Credential, DeleteDeliveryStream, DescribeDeliveryStream,
    EncryptionInput, Frontend, HandshakeResult, ListDeliveryStreams, ListTags, Listener, Observer, Options,
    Proof, Put, PutError, PutReceipt, Service, StreamNames, TagList, Tags, Throttled, Tls, UpdateDestination,
};
use standpipe_model::{Clock, Entropy, Secret, StreamName, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const TEMPORARY_KEY: &str = "ASIAEXAMPLE";
pub(crate) const TOKEN: &str = "session/token+=";
pub(crate) const SEGMENT: [u8; 16] = [9; 16];
/// The server's time: 2026-01-01T00:10:00Z.
pub(crate) const NOW: u64 = 1_767_226_200;

/// The wall clock stands; the steady one is moved by tests.
#[derive(Debug, Default)]
pub(crate) struct ManualClock {
    steady_ms: AtomicU64,
}

impl ManualClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.steady_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(NOW * 1000)
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.steady_ms.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).unwrap();
    }
}

/// Operation, status and code of an answer.
pub(crate) type Seen = (String, u16, Option<&'static str>);

/// Keeps what it is given.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) proof: Proof,
    /// Beside the two that are always there.
    pub(crate) credentials: Vec<Arc<Credential>>,
    pub(crate) stream_limits: HashMap<&'static str, Arc<PutLimiter>>,
    pub(crate) call_limits: Option<Arc<CallLimiter>>,
    pub(crate) audit_fails: AtomicBool,
    pub(crate) audited: Mutex<Vec<AuditEvent>>,
    /// Whose limit refused a request, and how many records.
    pub(crate) throttled: Mutex<Vec<(String, u32)>>,
    pub(crate) puts: Mutex<Vec<Put>>,
    pub(crate) created: Mutex<Vec<CreateDeliveryStream>>,
    pub(crate) updated: Mutex<Vec<UpdateDestination>>,
    pub(crate) tags: Mutex<Tags>,
    pub(crate) encryption: Mutex<Option<EncryptionInput>>,
    pub(crate) seen: Mutex<HashMap<Seen, u64>>,
    pub(crate) record_bytes: AtomicU64,
    pub(crate) handshakes: Mutex<Vec<HandshakeResult>>,
    /// An audit event has come.
    pub(crate) noted: Notify,
    /// Puts to the stream `held`, and its deletion, begin, tell so, and end when let go.
    pub(crate) begun: Notify,
    pub(crate) release: Notify,
}

#[async_trait]
impl Service for Memory {
    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        if let Some(found) = self.credentials.iter().find(|found| found.access_key_id == access_key_id) {
            return Some(Arc::clone(found));
        }
        let mut credential = Credential::new(access_key_id, Secret::new(SECRET));
        credential.session_token = (access_key_id == TEMPORARY_KEY).then(|| Secret::new(TOKEN));
        [ACCESS_KEY, TEMPORARY_KEY].contains(&access_key_id).then(|| Arc::new(credential))
    }

    fn proof(&self) -> Proof {
        self.proof
    }

    fn stream_limiter(&self, stream: &StreamName) -> Option<Arc<PutLimiter>> {
        self.stream_limits.get(stream.as_str()).cloned()
    }

    fn call_limiter(&self) -> Option<Arc<CallLimiter>> {
        self.call_limits.clone()
    }

    async fn auditable(&self) -> bool {
        !self.audit_fails.load(Ordering::Relaxed)
    }

    async fn audit(&self, event: AuditEvent) {
        self.audited.lock().unwrap().push(event);
        self.noted.notify_one();
    }

    async fn put(&self, put: Put) -> Result<PutReceipt, PutError> {
        match put.stream.as_str() {
            "gone" => return Err(PutError::NotFound),
            "creating" => return Err(PutError::NotActive),
            "full" => return Err(PutError::Unavailable { retry_after: Some(Duration::from_millis(250)) }),
            "kinesis" => return Err(PutError::NotPermitted { stream_type: "KinesisStreamAsSource" }),
            "broken" => return Err(PutError::Other(ApiError::internal())),
            "held" => {
                self.begun.notify_one();
                self.release.notified().await;
            }
            _ => {}
        }
        let mut puts = self.puts.lock().unwrap();
        let first_ordinal = puts.iter().map(|put| u64::from(put.block.count())).sum();
        puts.push(put);
        Ok(PutReceipt { segment: SEGMENT, first_ordinal, encrypted: false })
    }

    async fn create_delivery_stream(&self, input: CreateDeliveryStream) -> Result<String, ApiError> {
        if input.stream.as_str() == "taken" {
            return Err(ApiError::stream_exists("taken", "123456789012"));
        }
        let arn = format!("arn:aws:firehose:eu-west-1:123456789012:deliverystream/{}", input.stream);
        self.created.lock().unwrap().push(input);
        Ok(arn)
    }

    async fn describe_delivery_stream(&self, input: DescribeDeliveryStream) -> Result<Value, ApiError> {
        match input.stream.as_str() {
            "gone" => Err(ApiError::stream_not_found("gone", "123456789012")),
            name => Ok(json!({"DeliveryStreamName": name, "CreateTimestamp": 1_753_200_000.123})),
        }
    }

    async fn list_delivery_streams(&self, input: ListDeliveryStreams) -> Result<StreamNames, ApiError> {
        let names = ["a", "b", "c"].into_iter().take(input.limit);
        let names = names.map(|name| StreamName::parse(name).unwrap()).collect::<Vec<_>>();
        Ok(StreamNames { has_more: names.len() < 3, names })
    }

    async fn delete_delivery_stream(&self, input: DeleteDeliveryStream) -> Result<(), ApiError> {
        if input.stream.as_str() == "held" {
            self.begun.notify_one();
            self.release.notified().await;
        }
        Ok(())
    }

    async fn update_destination(&self, input: UpdateDestination) -> Result<(), ApiError> {
        if input.current_version_id != "1" {
            return Err(ApiError::version_mismatch(input.stream.as_str(), "1", &input.current_version_id));
        }
        self.updated.lock().unwrap().push(input);
        Ok(())
    }

    async fn tag_delivery_stream(&self, _: StreamName, tags: Tags) -> Result<(), ApiError> {
        self.tags.lock().unwrap().extend(tags);
        Ok(())
    }

    async fn untag_delivery_stream(&self, _: StreamName, keys: Vec<String>) -> Result<(), ApiError> {
        self.tags.lock().unwrap().retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn list_tags_for_delivery_stream(&self, input: ListTags) -> Result<TagList, ApiError> {
        let tags = self.tags.lock().unwrap().clone();
        let tags: Tags = tags.into_iter().take(input.limit).collect();
        Ok(TagList { tags, has_more: input.limit == 1 })
    }

    async fn start_delivery_stream_encryption(
        &self,
        _: StreamName,
        input: EncryptionInput,
    ) -> Result<(), ApiError> {
        *self.encryption.lock().unwrap() = Some(input);
        Ok(())
    }

    async fn stop_delivery_stream_encryption(&self, _: StreamName) -> Result<(), ApiError> {
        *self.encryption.lock().unwrap() = None;
        Ok(())
    }
}

impl Observer for Memory {
    fn answered(&self, answered: &Answered<'_>) {
        let operation = answered.operation.map(|operation| operation.name().to_owned()).unwrap_or_default();
        *self.seen.lock().unwrap().entry((operation, answered.status, answered.code)).or_default() += 1;
        self.record_bytes.fetch_add(answered.record_bytes, Ordering::Relaxed);
        if let Some(Throttled { limit, records }) = answered.throttled {
            self.throttled.lock().unwrap().push((format!("{limit:?}"), records));
        }
    }

    fn shaken(&self, result: HandshakeResult) {
        self.handshakes.lock().unwrap().push(result);
    }
}

/// The running server.
pub(crate) struct Server {
    pub(crate) memory: Arc<Memory>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Memory::default(), Options::default()).await
    }

    pub(crate) async fn start_with(memory: Memory, options: Options) -> Self {
        Self::serve(memory, options, None).await
    }

    /// A server that is plain, or has TLS.
    pub(crate) async fn serve(memory: Memory, options: Options, tls: Option<Arc<Tls>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(memory);
        let clock = Arc::new(ManualClock::default());
        let options = Options { account_id: "123456789012".to_owned(), ..options };
        let frontend = Arc::new(Frontend::new(
            Arc::clone(&memory) as _,
            Arc::clone(&clock) as _,
            Arc::new(OsEntropy),
            Arc::clone(&memory) as _,
            options,
        ));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(Arc::clone(&frontend).serve(
            vec![Listener { socket: listener, tls }],
            stop.clone(),
            Duration::from_millis(500),
        ));
        Self { memory, clock, frontend, address, stop, serving }
    }

    /// A signed call; its answer as JSON.
    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Answer {
        self.send(Call::new(operation, body.to_string())).await
    }

    pub(crate) async fn send(&self, call: Call) -> Answer {
        let http2 = call.http2;
        self.exchange(call.into_request(), http2).await
    }

    /// Sends one request over a connection of its own.
    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>, http2: bool) -> Answer {
        let mut sender = Sender::over(TcpStream::connect(self.address).await.unwrap(), http2).await;
        sender.send(request).await.unwrap()
    }
}

/// The client's end of a connection.
pub(crate) enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    pub(crate) async fn over<S>(stream: S, http2: bool) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        if http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            return Self::Http2(sender);
        }
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => sender.send_request(request).await?,
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// A request to be signed and sent.
pub(crate) struct Call {
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) http2: bool,
    pub(crate) access_key: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) token: Option<&'static str>,
    pub(crate) at: u64,
    pub(crate) location: SignatureLocation,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Call {
    pub(crate) fn new(operation: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            target: format!("Firehose_20150804.{operation}"),
            body: body.into(),
            http2: false,
            access_key: ACCESS_KEY,
            secret: SECRET,
            token: None,
            at: NOW,
            location: SignatureLocation::Headers,
            headers: Vec::new(),
        }
    }

    /// The signed request.
    pub(crate) fn into_request(self) -> Request<Full<Bytes>> {
        // HTTP/2 takes the host from the URI, which HTTP/1 sends as it is; servers must cope with either.
        let uri = "http://standpipe.test/";
        let mut request = Request::post(uri)
            .header("host", "standpipe.test")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", &self.target);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(Full::new(Bytes::from(self.body.clone()))).unwrap();
        let identity =
            Credentials::new(self.access_key, self.secret, self.token.map(str::to_owned), None, "test")
                .into();
        let mut settings = SigningSettings::default();
        settings.expires_in =
            (self.location == SignatureLocation::QueryParams).then_some(Duration::from_secs(300));
        settings.signature_location = self.location;
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(self.at);
        let params = v4::SigningParams::builder().identity(&identity).region("eu-west-1").name("firehose");
        let params = params.time(at).settings(settings).build().unwrap().into();
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let signable = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = http_request::sign(signable, &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        if self.http2 {
            request.headers_mut().remove("host");
        } else {
            let path = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
            *request.uri_mut() = path;
        }
        request
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str, text: &str) {
        let body = self.json();
        assert_eq!((self.status.as_u16(), &body["__type"]), (status, &json!(code)), "{body}");
        let message = body.get("message").or(body.get("Message")).and_then(Value::as_str).unwrap_or_default();
        assert!(message.contains(text), "{message}");
        assert_eq!(body.get("code"), None);
    }
}

/// The body of a batch of `records`.
pub(crate) fn batch(stream: &str, records: &[Vec<u8>]) -> Value {
    let encode = |data: &Vec<u8>| json!({"Data": base64_simd::STANDARD.encode_to_string(data)});
    json!({"DeliveryStreamName": stream, "Records": records.iter().map(encode).collect::<Vec<_>>()})
}

/// The body of a single record.
pub(crate) fn single(stream: &str, data: &[u8]) -> Value {
    json!({"DeliveryStreamName": stream, "Record": {"Data": base64_simd::STANDARD.encode_to_string(data)}})
}
