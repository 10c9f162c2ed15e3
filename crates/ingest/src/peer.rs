//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of a connection; every request carries it among its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The subject of its certificate as in RFC 4514, such as `CN=producer,O=Example`. Only where the listener asks for
    /// certificates, and then it was issued by one of the client CAs.
    pub(crate) subject: Option<Arc<str>>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{} ({subject})", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}
