//! One handshake of the server's side, and what becomes of those that fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls;
use tokio_rustls::server::TlsStream;

use super::{Tls, certificate};
use crate::peer::Session;

/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
/// What a client that speaks plain HTTP to this port is told.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 49\r\n\
    connection: close\r\n\r\nthis port speaks TLS: its address is https://...\n";
/// How much of a plain request is read and thrown away, so that its sender sees the answer and not a reset.
const PLAIN_MAX: u64 = 1 << 20;

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeResult {
    /// A connection was made.
    Ok,
    /// The client took longer than it may.
    Timeout,
    /// The client left before it began, as the probes of load balancers do.
    Closed,
    /// The client speaks HTTP without TLS.
    Plain,
    /// The client has no certificate, or none that is accepted.
    Certificate,
    /// Anything else: no common version or cipher, a client that does not trust us, a broken connection.
    Failed,
}

impl HandshakeResult {
    /// The label in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Plain => "plain",
            Self::Certificate => "certificate",
            Self::Failed => "failed",
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the client took longer than {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the client left before it began")]
    Closed,
    #[error("the client does not speak TLS")]
    Plain,
    #[error("{0}")]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// How the handshake ended.
    pub(crate) fn result(&self) -> HandshakeResult {
        match self {
            Self::Timeout(_) => HandshakeResult::Timeout,
            Self::Closed => HandshakeResult::Closed,
            Self::Plain => HandshakeResult::Plain,
            Self::Failed(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                    HandshakeResult::Certificate
                }
                _ => HandshakeResult::Failed,
            },
        }
    }
}

/// A connection, whose certificate its client has shown, and what that is worth.
pub(crate) type Shaken = (TlsStream<TcpStream>, Option<Arc<str>>, Session);

/// Makes a TLS connection of `stream` within `limit`.
///
/// # Errors
/// [`HandshakeError`]; the connection is closed.
pub(crate) async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    limit: Duration,
) -> Result<Shaken, HandshakeError> {
    timeout(limit, shake_hands(stream, tls)).await.unwrap_or(Err(HandshakeError::Timeout(limit)))
}

async fn shake_hands(stream: TcpStream, tls: &Tls) -> Result<Shaken, HandshakeError> {
    let mut first = [0];
    match (stream.peek(&mut first).await?, first) {
        (0, _) => return Err(HandshakeError::Closed),
        (_, [HANDSHAKE_RECORD]) => {}
        (_, [byte]) => {
            if byte.is_ascii_uppercase() {
                answer_plain(stream).await?;
            }
            return Err(HandshakeError::Plain);
        }
    }
    let (acceptor, trust) = tls.in_force();
    let stream = acceptor.accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let subject = shown.and_then(|shown| certificate::subject(shown)).map(Arc::from);
    let session = Session { certified: shown.is_some(), trust };
    Ok((stream, subject, session))
}

/// Tells a client that came without TLS what is wrong, as it would else see a connection that breaks.
async fn answer_plain(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_ANSWER).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(PLAIN_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
