//! The hot path: the body of a put to a [`RecordBlock`], and the receipt to the answer's body.
//!
//! A body is read by `fast`, which handles every valid put that clients really send; what it gives up on is read
//! again by `slow`, which knows AWS's words for each fault. Both agree on what is valid.

mod answer;
pub(crate) mod base64;
mod digest;
mod fast;
mod slow;

use standpipe_model::{RecordBlock, StreamName};

pub(crate) use answer::{put_record, put_record_batch};
pub(crate) use digest::put_digest;

use crate::{ApiError, Operation};

/// The most records of a batch; the SDKs' own batching helpers know this number.
const RECORDS_MAX: usize = 500;
/// The most data bytes of a record: 1,000 KiB.
const RECORD_MAX: usize = 1_024_000;
/// The most data bytes of a batch.
const BATCH_MAX: u64 = 4 << 20;

/// A put's body, valid and decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// The stream that it names.
    pub stream: StreamName,
    /// Its records.
    pub block: RecordBlock,
}

/// Why a put's body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutRefusal {
    /// It is not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// It breaks the API's model or limits.
    #[error(transparent)]
    Invalid(#[from] ApiError),
    /// It names a stream that the API allows and that cannot exist here.
    #[error("no stream can be named {0}")]
    NoSuchStream(String),
}

/// Decodes the body of [`Operation::PutRecord`] or [`Operation::PutRecordBatch`] (any other counts as the latter).
///
/// # Errors
/// [`PutRefusal`] says what to answer.
pub fn decode_put(operation: Operation, body: &[u8]) -> Result<PutRequest, PutRefusal> {
    let batch = operation != Operation::PutRecord;
    let (stream, block) = match fast::read(batch, body) {
        Ok(read) => read,
        Err(fast::GaveUp) => slow::read(batch, body)?,
    };
    if block.record_bytes() > BATCH_MAX {
        return Err(ApiError::invalid_argument("Records size exceeds 4 MB limit").into());
    }
    Ok(PutRequest { stream, block })
}

#[cfg(test)]
mod tests;
