//! A double of a server, most often of S3, that answers what it is told to: for answers that no real server gives on demand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use standpipe_model::{ErrorClass, Secret, Sink};
use standpipe_sinks::s3::S3Credentials;
use standpipe_sinks::{S3Options, S3Sink};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::deliveries::{body, content, delivery};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) type Answer = (u16, &'static str, String);

/// Answers each request by its first line, and remembers them; who bears a token is told by a second one.
pub(crate) struct Scripted {
    pub(crate) endpoint: String,
    seen: Seen,
}

/// First lines of requests, each with its headers in lower case.
type Seen = Arc<Mutex<Vec<(String, Vec<String>)>>>;

impl Scripted {
    pub(crate) async fn start(answer: fn(&str) -> Option<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, answer, Arc::clone(&log)));
            }
        });
        Self { endpoint, seen }
    }

    /// The same over TLS with this certificate and key, for as many connections as come.
    async fn start_tls(answer: fn(&str) -> Option<Answer>, certificate: &[u8], key: &[u8]) -> Self {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
        // Named, because the test build holds a second provider: the test kit's.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("ring speaks them");
        let config = config.with_no_client_auth();
        let config = config.with_single_cert(chain.expect("a certificate"), key).expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                if let Ok(connection) = acceptor.accept(connection).await {
                    serve(connection, answer, Arc::clone(&log)).await;
                }
            }
        });
        Self { endpoint: format!("https://localhost:{port}"), seen }
    }

    fn sink(&self) -> S3Sink {
        sink(&self.endpoint)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").iter().map(|(first, _)| first.clone()).collect()
    }

    /// The values of a header, request by request.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let seen = self.seen.lock().expect("no panic");
        let lines = seen.iter().flat_map(|(_, headers)| headers);
        lines.filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned())).collect()
    }
}

fn sink(endpoint: &str) -> S3Sink {
    S3Sink::new(options(endpoint)).expect("good settings")
}

fn options(endpoint: &str) -> S3Options {
    let mut options = S3Options::new(S3Credentials::Static {
        access_key_id: "key".to_owned(),
        secret_access_key: Secret::new("hunter2"),
        session_token: None,
    });
    options.endpoint = Some(endpoint.to_owned());
    options.path_style = true;
    options.request_timeout = Duration::from_secs(1);
    options
}

async fn serve(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    answer: fn(&str) -> Option<Answer>,
    log: Seen,
) {
    let mut connection = BufReader::new(connection);
    let (mut first, mut bearer, mut headers, mut length) = (String::new(), String::new(), Vec::new(), 0);
    connection.read_line(&mut first).await.expect("a request");
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.expect("a header");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.starts_with("authorization: bearer ") {
            bearer.clone_from(&line);
        }
        if line.is_empty() {
            break;
        }
        headers.push(line);
    }
    let mut sent = vec![0; length];
    connection.read_exact(&mut sent).await.expect("a body");
    first.push_str(&bearer);
    log.lock().expect("no panic").push((first.clone(), headers));
    let Some((status, headers, body)) = answer(&first) else {
        // No answer at all: the connection stays open.
        return std::future::pending().await;
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    connection.write_all(format!("{head}{body}").as_bytes()).await.expect("the client waits for the answer");
    connection.flush().await.expect("the client waits for the answer");
}

fn error(status: u16, code: &str) -> Option<Answer> {
    let body = format!("<Error><Code>{code}</Code><Message>because</Message></Error>");
    Some((status, "x-amz-request-id: R1\r\n", body))
}

fn multipart(first: &str, on_complete: Option<Answer>) -> Option<Answer> {
    let xml = "<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>";
    match first.split(' ').next() {
        Some("POST") if first.contains("?uploads") => Some((200, "", xml.to_owned())),
        Some("POST") => on_complete,
        Some("PUT") => Some((200, "etag: \"e\"\r\n", String::new())),
        Some("DELETE") => Some((204, "", String::new())),
        _ => error(403, "AccessDenied"),
    }
}

#[tokio::test]
async fn a_store_that_asks_for_time_gets_it() {
    let server = Scripted::start(|_| {
        let (status, _, body) = error(503, "SlowDown")?;
        Some((status, "retry-after: 86400\r\n", body))
    });
    let server = server.await;
    let error = server.sink().attempt(&delivery("b", "k"), body(b"x")).await.expect_err("slow down");
    assert_eq!((error.class, error.retry_after), (ErrorClass::Throttled, Some(Duration::from_secs(300))));
    assert_eq!(server.seen().len(), 1, "the SDK does not retry by itself");
}

#[tokio::test]
async fn a_message_names_the_request() {
    let server = Scripted::start(|_| error(500, "InternalError")).await;
    let error = server.sink().attempt(&delivery("b", "k"), body(b"x")).await.expect_err("an error");
    assert_eq!(error.class, ErrorClass::Transient);
    let expected = format!(
        "{} bucket 'b' key 'k': storing the object: 500 InternalError: because, request id R1",
        server.endpoint
    );
    assert_eq!(error.message, expected);
}

#[tokio::test]
async fn write_only_credentials_pass_a_probe_and_a_repeated_attempt() {
    let server = Scripted::start(|first| match first.split(' ').next() {
        Some("HEAD") => Some((403, "", String::new())),
        Some("GET") => error(403, "AccessDenied"),
        _ => Some((200, "etag: \"e\"\r\n", String::new())),
    });
    let sink = server.await.sink();
    sink.probe("b").await.expect("reachable");
    let mut attempt = delivery("b", "k");
    attempt.repeated = true;
    assert!(!sink.attempt(&attempt, body(b"x")).await.expect("stored").existed);
}

#[tokio::test]
async fn a_probe_with_a_wrong_secret_fails() {
    let server = Scripted::start(|first| match first.split(' ').next() {
        Some("HEAD") => Some((403, "", String::new())),
        _ => error(403, "SignatureDoesNotMatch"),
    });
    let error = server.await.sink().probe("b").await.expect_err("wrong secret");
    assert_eq!(error.class, ErrorClass::Misconfigured);
}

#[tokio::test]
async fn a_conflict_at_completion_is_tried_again_and_the_upload_aborted() {
    let server = Scripted::start(|first| multipart(first, error(409, "ConditionalRequestConflict"))).await;
    let attempt = delivery("b", "k");
    let error = server.sink().attempt(&attempt, body(&content(1, 9 << 20))).await.expect_err("a conflict");
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(server.seen().last().is_some_and(|first| first.starts_with("DELETE")), "{:?}", server.seen());
}

/// S3 answers 200 at once and may put an error into the body minutes later.
#[tokio::test]
async fn an_error_inside_a_200_is_an_error() {
    let server = Scripted::start(|first| {
        let (_, headers, body) = error(500, "InternalError")?;
        multipart(first, Some((200, headers, body)))
    });
    let server = server.await;
    let error = server.sink().attempt(&delivery("b", "k"), body(&content(1, 9 << 20))).await;
    assert_eq!(error.expect_err("an error").class, ErrorClass::Transient);
}

#[tokio::test]
async fn a_store_that_is_silent_or_gone_is_tried_again() {
    let silent = Scripted::start(|_| None).await;
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    for endpoint in [silent.endpoint.as_str(), &gone, "http://no-such-host.invalid"] {
        let sink = sink(endpoint);
        for repeated in [false, true] {
            let mut attempt = delivery("b", "k");
            attempt.repeated = repeated;
            let error = sink.attempt(&attempt, body(b"x")).await.expect_err(endpoint);
            assert_eq!(error.class, ErrorClass::Transient, "{error}");
        }
        assert_eq!(sink.probe("b").await.expect_err(endpoint).class, ErrorClass::Transient);
    }
}

/// A certificate for `localhost` that signs itself, and its key, in PEM.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = std::process::Command::new("openssl")
        .current_dir(folder.path())
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key", "-out", "certificate"])
        .output();
    assert!(made.expect("openssl is installed").status.success());
    let read = |name| std::fs::read(folder.path().join(name)).expect("openssl wrote it");
    (read("certificate"), read("key"))
}

#[tokio::test]
async fn tls_trusts_the_certificate_that_it_was_given_and_no_other() {
    let (pem, key) = certificate();
    let server = Scripted::start_tls(|_| Some((200, "etag: \"e\"\r\n", String::new())), &pem, &key).await;
    let error = server.sink().attempt(&delivery("b", "k"), body(b"x")).await.expect_err("not trusted");
    assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
    let trusting = S3Options { ca_pem: Some(pem), ..options(&server.endpoint) };
    let trusting = S3Sink::new(trusting).expect("a good certificate");
    assert!(!trusting.attempt(&delivery("b", "k"), body(b"x")).await.expect("trusted").existed);
}
