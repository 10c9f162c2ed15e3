//! Connections: accepting, limits, and stopping.
//!
//! HTTP/1.1 and HTTP/2 share a port; the first bytes of the connection, under the TLS if there is one, tell them apart.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use standpipe_model::{Clock, Entropy};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::body::{BodyBudget, BodyLimits};
use crate::peer::Peer;
use crate::sigv4::SigningKeys;
use crate::tls::{HandshakeResult, Tls, handshake};
use crate::{Observer, Service};

/// Read buffer of an HTTP/1 connection, which also bounds a request's head.
const READ_BUFFER: usize = 256 * 1024;
/// What an HTTP/2 client may send ahead of us reading: per stream, per connection.
const WINDOWS: (u32, u32) = (512 * 1024, 1024 * 1024);
/// How long to wait before accepting again when the system refuses (mostly: no descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of the front end. `Default` gives the documented values.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most connections at a time, 2048; further ones wait in the listener's backlog.
    pub connections_max: usize,
    /// How long a TLS handshake may take, 10 s.
    pub handshake_timeout: Duration,
    /// The most TLS handshakes at a time, 512; further connections wait in the listener's backlog. Connections that are
    /// made stay out of this count, so clients that never finish a handshake cannot take all of `connections_max`.
    pub handshakes_max: usize,
    /// How long a connection may take for a request's head, 75 s. Idle connections are closed by it too, so it is
    /// longer than the common SDKs keep theirs.
    pub head_timeout: Duration,
    /// How long a request's body may take, 30 s.
    pub body_timeout: Duration,
    /// The most bytes of a body, 10 MiB: a full batch in base64 with room for escapes and blanks. More answers 413.
    pub body_max: usize,
    /// The most bytes of all bodies at a time, 32 MiB. A value below `body_max` counts as `body_max`.
    pub body_budget: usize,
    /// How long a request may wait for that budget before it answers 503, 1 s.
    pub body_budget_wait: Duration,
    /// The most concurrent requests of an HTTP/2 connection, 128.
    pub http2_streams_max: u32,
    /// The account that ARNs and error texts name, `000000000000`.
    pub account_id: String,
    /// The region in ARNs, `us-east-1`.
    pub region: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 512,
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_max: 10 << 20,
            body_budget: 32 << 20,
            body_budget_wait: Duration::from_secs(1),
            http2_streams_max: 128,
            account_id: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }
}

impl Options {
    /// The ARN of the stream of that name.
    pub(crate) fn stream_arn(&self, stream: &str) -> String {
        standpipe_model::stream_arn(&self.region, &self.account_id, stream)
    }

    /// The ARN of the user of that name.
    pub(crate) fn user_arn(&self, user: &str) -> String {
        format!("arn:aws:iam::{}:user/{user}", self.account_id)
    }

    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits { max: self.body_max, time: self.body_timeout, budget_wait: self.body_budget_wait }
    }
}

/// A socket that is listened on, in plain or with TLS.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Its TLS; `None` for plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

/// The front end: a [`Service`] behind HTTP.
pub struct Frontend {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) options: Options,
    pub(crate) budget: BodyBudget,
    pub(crate) signing_keys: SigningKeys,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

/// What a connection holds while it is open, and gives back by being dropped.
struct Places {
    _connection: OwnedSemaphorePermit,
    /// Until the TLS handshake is through.
    handshake: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Frontend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frontend").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Frontend {
    /// A front end for `service`.
    pub fn new(
        service: Arc<dyn Service>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        observer: Arc<dyn Observer>,
        options: Options,
    ) -> Self {
        let budget = BodyBudget::new(options.body_budget.max(options.body_max));
        let places = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        let (connections, handshakes) = (places(options.connections_max), places(options.handshakes_max));
        let signing_keys = SigningKeys::default();
        Self { service, clock, entropy, observer, options, budget, signing_keys, connections, handshakes }
    }

    /// The connections that are open.
    pub fn connections_open(&self) -> usize {
        self.options.connections_max.saturating_sub(self.connections.available_permits())
    }

    /// The bytes of the body budget that are free.
    pub fn body_budget_available(&self) -> usize {
        self.budget.available()
    }

    /// Serves `listeners` until `stop` is cancelled; then takes no more connections, lets the requests in flight
    /// finish for at most `drain`, and drops what is left.
    pub async fn serve(self: Arc<Self>, listeners: Vec<Listener>, stop: CancellationToken, drain: Duration) {
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(Arc::clone(&self).accept(listener, stop.clone(), drain));
        }
        while accepting.join_next().await.is_some() {}
    }

    async fn accept(self: Arc<Self>, listener: Listener, stop: CancellationToken, drain: Duration) {
        let Listener { socket, tls } = listener;
        let mut open = JoinSet::new();
        while let Some((stream, address)) = stop.run_until_cancelled(next(&socket)).await {
            let places = stop.run_until_cancelled(self.places(tls.is_some())).await;
            let Some(Some(places)) = places else { break };
            let (frontend, tls, stop) = (Arc::clone(&self), tls.clone(), stop.clone());
            open.spawn(frontend.connect(stream, address, tls, places, stop));
            while open.try_join_next().is_some() {}
        }
        drop(socket);
        let drained = timeout(drain, async { while open.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(connections = open.len(), "stop deadline passed with requests in flight");
            open.shutdown().await;
        }
    }

    /// Waits for what a new connection needs. `None` never comes: the semaphores stay open.
    async fn places(&self, tls: bool) -> Option<Places> {
        let connection = Arc::clone(&self.connections).acquire_owned().await.ok()?;
        let handshake = match tls {
            true => Some(Arc::clone(&self.handshakes).acquire_owned().await.ok()?),
            false => None,
        };
        Some(Places { _connection: connection, handshake })
    }

    /// Sees a connection through, from its handshake to its end.
    async fn connect(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
        mut places: Places,
        stop: CancellationToken,
    ) {
        // A put is one write and one read; waiting for more would cost every answer a round trip.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection without nodelay");
        }
        let Some(tls) = tls else {
            return self.connection(stream, Peer { address, subject: None, session: None }, stop).await;
        };
        let shaking = handshake(stream, &tls, self.options.handshake_timeout);
        // Nothing has been asked for yet, so a stop waits for no handshake.
        let Some(shaken) = stop.run_until_cancelled(shaking).await else { return };
        drop(places.handshake.take());
        match shaken {
            Ok((stream, subject, session)) => {
                self.observer.shaken(HandshakeResult::Ok);
                self.connection(stream, Peer { address, subject, session: Some(session) }, stop).await;
            }
            Err(error) => {
                self.observer.shaken(error.result());
                tracing::debug!(%error, peer = %address, "no TLS connection");
            }
        }
    }

    async fn connection<S>(self: Arc<Self>, stream: S, peer: Peer, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shown = peer.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let builder = self.builder();
        let service = service_fn({
            let (frontend, begun) = (Arc::clone(&self), Arc::clone(&begun));
            move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer.clone());
                begun.store(true, Ordering::Relaxed);
                let frontend = Arc::clone(&frontend);
                async move { Ok::<_, Infallible>(frontend.exchange(request).await) }
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut first_head = pin!(sleep(self.options.head_timeout));
        let (mut watching, mut stopping) = (true, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, peer = %shown, "connection ended");
                    }
                    return;
                }
                () = ending(&stop, &shown), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                // Before the version is known, and on HTTP/2, no other limit closes a silent connection.
                () = first_head.as_mut(), if watching => {
                    if !begun.load(Ordering::Relaxed) {
                        return;
                    }
                    watching = false;
                }
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.head_timeout)
            .max_buf_size(READ_BUFFER)
            // The answer carries the date of the clock that signatures are checked against.
            .auto_date_header(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.options.head_timeout)
            .max_concurrent_streams(self.options.http2_streams_max)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .auto_date_header(false);
        builder
    }
}

/// Waits until a connection is to end: at the stop, or when something else is asked of clients' certificates.
async fn ending(stop: &CancellationToken, peer: &Peer) {
    match &peer.session {
        Some(session) => {
            stop.run_until_cancelled(session.trust.over()).await;
        }
        None => stop.cancelled().await,
    }
}

/// The next connection, however often the system refuses to give one.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
