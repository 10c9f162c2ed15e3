//! The metrics seam: what the daemon is told about every answer and every handshake.

use std::time::Duration;

use standpipe_model::StreamName;

use crate::{HandshakeResult, Operation};

/// What a limit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<'a> {
    /// A credential, by its user.
    Credential(&'a str),
    /// A stream.
    Stream(&'a StreamName),
    /// An operation, for all callers together.
    Operation(Operation),
}

/// A request that a limit refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled<'a> {
    /// Whose limit it was.
    pub limit: Limit<'a>,
    /// The records of a refused put.
    pub records: u32,
}

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The operation, where the request named one.
    pub operation: Option<Operation>,
    /// The stream, for puts that passed validation.
    pub stream: Option<&'a StreamName>,
    /// The HTTP status.
    pub status: u16,
    /// The error code; `None` for a success and for errors outside of the API's shape (403, 404, 413).
    pub code: Option<&'static str>,
    /// The bytes of the request's body; 0 when it was not read to its end.
    pub request_bytes: u64,
    /// The records accepted by a put.
    pub records: u32,
    /// The data bytes of those records.
    pub record_bytes: u64,
    /// The limit that refused it.
    pub throttled: Option<Throttled<'a>>,
    /// From the request's head to its answer, on the steady clock.
    pub elapsed: Duration,
}

/// Receives every answer and the end of every handshake, on the thread that serves the connection: implementations count and return.
pub trait Observer: Send + Sync + 'static {
    /// A request has been answered.
    fn answered(&self, answered: &Answered<'_>);

    /// A TLS handshake has ended.
    fn shaken(&self, result: HandshakeResult);
}

/// Observes nothing.
impl Observer for () {
    fn answered(&self, _: &Answered<'_>) {}

    fn shaken(&self, _: HandshakeResult) {}
}
