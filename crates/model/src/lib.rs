//! The nouns and traits that every stage of standpipe shares: what flows along the data path and the seams
//! between its stages.
//!
//! Stage crates (`ingest`, `journal`, `encode`, `sinks`, …) depend on this crate and on no other stage crate; the
//! daemon wires them together.
//!
//! # Invariants
//! - Nothing here does I/O, starts a task or reads a clock: time, chance and disk come in through [`Clock`] and
//!   [`Entropy`].
//! - A [`RecordBlock`] is already in the journal's payload layout, so a record's bytes are written once, by the
//!   decoder that produced them.

mod batch;
mod block;
mod clock;
mod names;
mod object;
mod request;
mod secret;
mod sink;

pub use batch::{BatchId, BatchRange, CloseReason, Compression, Tally};
pub use block::{RECORD_PREFIX_LEN, RecordBlock, RecordBlockBuilder, Records};
pub use clock::{Clock, Entropy, OsClock, Timestamp};
pub use names::{DestinationId, NameError, Position, PutDigest, StreamName, stream_arn};
pub use object::{Encryption, LockMode, ObjectLock, ObjectOptions};
pub use request::{Answer, Refusal, Request, RequestId, RequestLimits, RequestRow, RequestSink, RowOrigin};
pub use secret::Secret;
pub use sink::{Body, BodyError, Delivery, ErrorClass, Media, ObjectTarget, Receipt, Sink, SinkError};
