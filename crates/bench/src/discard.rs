//! Servers that take everything and keep nothing: what is left is the cost of whoever talks to them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// What the server pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pretend {
    /// The Firehose API: every put is accepted at once, with an answer as long as a real one.
    Firehose,
    /// S3: every object and every part is stored.
    S3,
    /// An HTTP endpoint that speaks Firehose's delivery protocol.
    Endpoint,
    /// The HTTP Event Collector of Splunk, without acknowledgement.
    Hec,
}

/// Starts a discard server in this process, for as long as the process lives, and returns its endpoint.
///
/// # Errors
/// When it cannot listen.
pub(crate) fn start(pretend: Pretend) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listener = runtime.block_on(TcpListener::bind(any)).context("the discard server cannot listen")?;
    let address = listener.local_addr()?;
    thread::Builder::new()
        .name("discard".to_owned())
        .spawn(move || runtime.block_on(serve(listener, pretend)))?;
    Ok(format!("http://{address}"))
}

async fn serve(listener: TcpListener, pretend: Pretend) {
    let answer = put_answer();
    // A listener that fails ends the server, and with it the run.
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true).ok();
            let service = service_fn(move |request| take(request, pretend, answer.clone()));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).max_buf_size(256 << 10);
            // A client that hangs up is none of ours.
            server.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn take(
    request: Request<Incoming>,
    pretend: Pretend,
    answer: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let content = match (pretend, &head.method, head.uri.query().unwrap_or_default()) {
        (Pretend::Firehose, ..) => answer,
        (Pretend::Endpoint, ..) => {
            let id = head.headers.get("x-amz-firehose-request-id").and_then(|id| id.to_str().ok());
            format!("{{\"requestId\":\"{}\",\"timestamp\":1}}", id.unwrap_or_default()).into()
        }
        (Pretend::Hec, ..) => "{\"text\":\"Success\",\"code\":0}".into(),
        (Pretend::S3, &Method::POST, query) if query.contains("uploadId") => COMPLETED.into(),
        (Pretend::S3, &Method::POST, _) => STARTED.into(),
        (Pretend::S3, &Method::GET, query) if query.contains("uploads") => NO_UPLOADS.into(),
        (Pretend::S3, &Method::GET, _) => NO_OBJECTS.into(),
        (Pretend::S3, ..) => Bytes::new(),
    };
    let mut response = Response::new(Full::new(content));
    let headers = response.headers_mut();
    headers.insert("etag", http::HeaderValue::from_static("\"discarded\""));
    if matches!(pretend, Pretend::Endpoint | Pretend::Hec) {
        headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

const STARTED: &str =
    "<InitiateMultipartUploadResult><UploadId>discarded</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str =
    "<CompleteMultipartUploadResult><ETag>\"discarded\"</ETag></CompleteMultipartUploadResult>";
const NO_UPLOADS: &str =
    "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
const NO_OBJECTS: &str =
    "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";

/// The answer to a put of 500 records.
fn put_answer() -> Bytes {
    let entry = format!("{{\"RecordId\":\"{}\"}}", "A".repeat(32));
    let entries = vec![entry; 500].join(",");
    format!("{{\"Encrypted\":false,\"FailedPutCount\":0,\"RequestResponses\":[{entries}]}}").into()
}
