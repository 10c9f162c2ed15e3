//! S3 and what speaks its protocol, through the AWS SDK.
//!
//! Up to [`part_bytes`](S3Options::part_bytes) of the body are buffered. A body that ends by then is one `PutObject`;
//! a longer one becomes a multipart upload with a bounded number of parts on the way.
//!
//! ```text
//! fill first buffer ── ended ──► PutObject If-None-Match:* ─────────────────────► 200 delivered, 412 existed
//!        └─ longer ──► Create ─► UploadPart × n ─► Complete If-None-Match:* ────► 200 delivered, 412 existed
//!                         └────────── any failure ──► Abort, report the failure
//! ```
//!
//! # Invariants
//! - One request per step: the SDK's own retries are off, because the worker alone owns retry.
//! - The key derives from the batch, so that 412 under it means that an earlier attempt has stored these very rows.
//!   Nothing is read: write-only credentials suffice.
//! - An error is [`Refused`](standpipe_model::ErrorClass::Refused) only by a code that is listed for it; whatever is
//!   unknown is tried again.
//!
//! # Limits
//! - Memory of an attempt: [`S3Options::memory_per_attempt`], plus the body's piece in hand.
//! - Part `n` has `part_bytes × (1 + (n − 1) / 1,000)` bytes (whole division), so that 10,000 parts hold 55,000 times
//!   `part_bytes` (430 GiB at the default) while the first thousand parts are of one size, which some stores demand.
//! - A request may take `request_timeout` and one second for each 64 KiB it sends. The SDK's stalled stream protection
//!   is off: it sees a buffered body as sent at once and would only ever guard what these deadlines guard already.

mod browse;
mod client;
mod error;
mod multipart;
mod options;
mod read;
mod request;
mod sink;
mod sweep;

#[cfg(test)]
mod tests;

pub use client::AwsAccess;
pub use options::{S3Checksum, S3Credentials, S3Options, S3OptionsError};
pub use sink::S3Sink;
