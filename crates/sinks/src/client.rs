//! The HTTP client of destinations that take rows in requests: connections that are kept, TLS, a proxy, and what it
//! means when no answer comes.

use std::error::Error as _;
use std::io::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Certificate, Client, Identity, Proxy, RequestBuilder, Response, redirect};
use standpipe_model::{ErrorClass, Secret, SinkError};

use crate::cause::{RETRY_AFTER_MAX, WORDS_MAX, causes, refuses_certificate};

/// The connections that are made for a request that is not sent.
const CONNECTIONS_MAX: usize = 4;

/// How a destination is reached.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities (PEM) trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's certificate and its key, in one PEM.
    pub identity_pem: Option<Secret>,
    /// The proxy's URL; none is taken from the environment.
    pub proxy: Option<Secret>,
    /// Whether cookies are kept, by which load balancers know whom they sent a client to.
    pub keep_cookies: bool,
    /// For making a connection.
    pub connect_timeout: Duration,
    /// For a whole request with its answer.
    pub request_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let (connect_timeout, request_timeout) = (Duration::from_secs(10), Duration::from_secs(180));
        Self {
            ca_pem: None,
            identity_pem: None,
            proxy: None,
            keep_cookies: false,
            connect_timeout,
            request_timeout,
        }
    }
}

/// The settings of a client cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// They are no certificates in PEM.
    #[error("the file of certificate authorities cannot be used")]
    Authorities(#[source] reqwest::Error),
    /// It is no certificate with its key in PEM.
    #[error("the client certificate or its key cannot be used")]
    Identity(#[source] reqwest::Error),
    /// It is no URL of a proxy.
    #[error("the proxy's URL cannot be used")]
    Proxy,
    /// The client could not be made of them.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

impl ClientOptions {
    /// Makes the client.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn client(&self) -> Result<Client, ClientError> {
        let mut builder = Client::builder()
            .no_proxy()
            .cookie_store(self.keep_cookies)
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            // Shorter than the usual idle time of servers and of what stands before them.
            .pool_idle_timeout(Duration::from_secs(50));
        if let Some(pem) = &self.ca_pem {
            let authorities = Certificate::from_pem_bundle(pem).map_err(ClientError::Authorities)?;
            builder = authorities.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        if let Some(pem) = &self.identity_pem {
            let identity = Identity::from_pem(pem.expose().as_bytes()).map_err(ClientError::Identity)?;
            builder = builder.identity(identity);
        }
        if let Some(url) = &self.proxy {
            // Its error would tell of the URL, which may hold a password.
            builder = builder.proxy(Proxy::all(url.expose()).map_err(|_| ClientError::Proxy)?);
        }
        builder.build().map_err(ClientError::Client)
    }
}

/// Sends a request. A server may end a connection as soon as it is made, as one that misses our certificate does; the
/// request that was to be its first has then not been sent, and its error does not say why the connection ended. The
/// next connection tells.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, reqwest::Error> {
    for _ in 1..CONNECTIONS_MAX {
        let Some(copy) = request.try_clone() else { break };
        match copy.send().await {
            Err(error) if is_unsent(&error) => {}
            outcome => return outcome,
        }
    }
    request.send().await
}

fn is_unsent(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref()).any(hyper::Error::is_canceled)
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Not in time.
    Timeout,
    /// There was no connection.
    Connect,
    /// The server's certificate is not trusted, or it does not trust ours.
    Certificate,
    /// The connection ended first.
    Closed,
}

impl Silence {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        match error {
            error if refuses_certificate(error) => Self::Certificate,
            error if error.is_timeout() => Self::Timeout,
            error if error.is_connect() => Self::Connect,
            _ => Self::Closed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Timeout => "RequestTimeout",
            Self::Connect => "ConnectionFailed",
            Self::Certificate => "SSLHandshakeFailure",
            Self::Closed => "ConnectionReset",
        }
    }

    /// The error for the worker, of a destination at `place`.
    pub(crate) fn into_error(self, place: &str, code: &str, error: reqwest::Error) -> SinkError {
        let class = match self {
            // No waiting mends it.
            Self::Certificate => ErrorClass::Misconfigured,
            Self::Timeout | Self::Connect | Self::Closed => ErrorClass::Transient,
        };
        // The URL may hold a token; `place` says where.
        let error = error.without_url();
        let text = match self {
            Self::Timeout => "no answer in time".to_owned(),
            _ => causes(&error),
        };
        coded(class, code, format!("{place}: {text}"))
    }
}

/// The error that no answer came from a destination of a kind (`HttpEndpoint`) at `place`.
pub(crate) fn unanswered(kind: &str, place: &str, error: reqwest::Error) -> SinkError {
    let silence = Silence::of(&error);
    silence.into_error(place, &format!("{kind}.{}", silence.word()), error)
}

/// A body as it is compressed.
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes what is written to it")
}

/// An answer's body could not be had.
#[derive(Debug)]
pub(crate) enum BodyTrouble {
    /// It is larger than it may be.
    TooLarge,
    /// The connection ended or the time was over.
    Broken(reqwest::Error),
}

/// Reads an answer's body of at most `bytes_max`.
pub(crate) async fn read_body(mut response: Response, bytes_max: usize) -> Result<Bytes, BodyTrouble> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(BodyTrouble::Broken)? {
        if body.len() + piece.len() > bytes_max {
            return Err(BodyTrouble::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// How long the answer asks to wait (`Retry-After` in seconds), within reason.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// An answer's words for a message: cut, and in one line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}

/// A URL as a message may show it: the path of a webhook may be its secret.
pub(crate) fn shown(url: &reqwest::Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Does what takes long and waits for nothing where it holds up nobody.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SinkError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        SinkError::new(ErrorClass::Transient, "making a request or reading its answer failed")
            .with_source(error)
    })
}

/// An error with a code.
pub(crate) fn coded(class: ErrorClass, code: &str, message: String) -> SinkError {
    SinkError { code: Some(code.to_owned()), ..SinkError::new(class, message) }
}
