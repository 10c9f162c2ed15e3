//! HTTP endpoints: Firehose's own delivery protocol, or the rows as they are for webhooks that do not speak it.
//!
//! ```text
//! POST <url>   X-Amz-Firehose-Request-Id: <id>    {"requestId":"<id>","timestamp":<ms>,"records":[{"data":"<base64>"},…]}
//!         ◄──  200 {"requestId":"<id>","timestamp":<ms>}     anything else has failed
//! ```
//!
//! # Invariants
//! - The request id is that of exactly these rows, the same at every attempt, so that a receiver can drop repetitions.
//! - An endpoint gets all of a request or none of it: it cannot refuse a single row.
//! - 413 is the only answer that no later attempt changes. An endpoint that does not know us (401, 403, 404 and the
//!   like) is held, as someone has to mend it.
//!
//! # Limits
//! - An answer is read up to 1 MiB, as AWS reads it.
//! - Memory of an attempt: the rows, the body made of them, and what it is compressed to.

mod options;
mod request;
mod sink;

#[cfg(test)]
mod tests;

pub use options::{HttpFormat, HttpOptions};
pub use sink::{HttpOptionsError, HttpSink};
