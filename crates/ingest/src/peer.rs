//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The other end of a connection; every request carries it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
}
