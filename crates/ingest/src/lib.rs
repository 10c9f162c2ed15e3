//! The AWS JSON 1.1 front end: SigV4, validation, decoding, errors.
//!
//! It is the first stage of the data path. A request comes in over HTTP/1.1 or HTTP/2, is checked in the order of
//! AWS's own front end, and reaches the daemon as a typed call on [`Service`]: a put as a [`RecordBlock`] that is
//! already in the journal's layout, a control plane operation as validated JSON with AWS's member names.
//!
//! # Reading order
//! [`Service`] (what the daemon implements) → `exchange` (one request, check by check) → `put` (the hot path) →
//! `shape` (the API model as tables) → `sigv4` and [`access`] (who, and what they may) → `server` (connections and
//! limits) → `tls`.
//!
//! # Invariants
//! - Nothing of a put is handed on unless all of it is valid.
//! - A body's bytes are taken from a daemon-wide budget before they are read, and given back after the answer.
//! - The body is hashed once, parsed once and decoded once, straight into its final buffer; only a refused put is
//!   parsed a second time, to word the refusal.
//! - Every answer carries `date` and `x-amzn-requestid`; no answer carries a member `code`, which the Rust SDK would
//!   take for the error's type.
//!
//! [`RecordBlock`]: standpipe_model::RecordBlock

pub mod access;
mod body;
mod control;
mod destination;
mod error;
mod exchange;
mod observe;
mod operation;
mod peer;
mod put;
mod record_id;
mod reply;
mod server;
mod service;
pub mod shape;
mod sigv4;
mod tls;

pub use access::Credential;
pub use control::check_destination;
pub use destination::{Destination, DestinationKind};
pub use error::{ApiError, ErrorCode};
pub use observe::{Answered, Limit, Observer, Throttled};
pub use operation::Operation;
pub use put::{PutRefusal, PutRequest, decode_put};
pub use record_id::RecordId;
pub use server::{Frontend, Listener, Options};
pub use service::{
    CreateDeliveryStream, DeleteDeliveryStream, DescribeDeliveryStream, EncryptionInput, KeyType,
    ListDeliveryStreams, ListTags, Proof, Put, PutError, PutReceipt, Service, StreamNames, TAGS_MAX, TagList,
    Tags, UpdateDestination,
};
#[doc(hidden)]
pub use sigv4::verify_signature;
pub use tls::{ClientAuth, HandshakeResult, Tls, TlsContext, TlsError, TlsOptions, TlsPart, TlsVersion};
