//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::tls::Trust;

/// The other end of a connection; every request carries it among its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The subject of its certificate as in RFC 4514, such as `CN=producer,O=Example`. Only where the listener asks for
    /// certificates, and then it was issued by one of the client CAs.
    pub(crate) subject: Option<Arc<str>>,
    /// What the handshake has found of its certificate; `None` on a plain listener.
    pub(crate) session: Option<Session>,
}

/// What a connection's handshake was worth, and whether it still is.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The other end has shown a certificate of one of the client CAs.
    pub(crate) certified: bool,
    /// What was asked of certificates.
    pub(crate) trust: Arc<Trust>,
}

impl Session {
    /// Whether nothing else would be asked of the other end if it came now.
    pub(crate) fn holds(&self, certified: bool) -> bool {
        !self.trust.is_over() && (self.certified || !certified)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{} ({subject})", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}
