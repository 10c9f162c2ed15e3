//! The seam to a destination that takes rows in requests: one attempt at a time, which says of each row what became of it.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BatchId, CloseReason, DestinationId, Position, SinkError, StreamName, Timestamp};

/// Where a row comes from: what it is known by, the same at every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowOrigin {
    /// The record's position.
    pub position: Position,
    /// The row's number within the record, from 0.
    pub sub: u32,
}

/// A row on its way to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Where it comes from.
    pub origin: RowOrigin,
    /// When its record arrived.
    pub arrived_at: Timestamp,
    /// Its data.
    pub data: Bytes,
}

/// The id of the rows that were cut for a request: who sees it a second time has seen what it holds, which may be fewer of
/// them by then. `Display` writes it as a GUID, serde as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // In the form of a batch's.
        BatchId(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BatchId::deserialize(deserializer).map(|BatchId(id)| Self(id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, byte) in self.0.iter().enumerate() {
            let dash = if matches!(number, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Rows that are sent together.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stream the rows come from.
    pub stream: StreamName,
    /// Its ARN.
    pub stream_arn: Arc<str>,
    /// Which of its destinations this is.
    pub destination: DestinationId,
    /// What the rows' own identities derive from: the batch's id, or where rows are kept in a spool that of the two.
    pub batch: BatchId,
    /// The request's id.
    pub id: RequestId,
    /// The stream's version that the batch was closed under (`VersionId`).
    pub version: u64,
    /// Why the batch closed.
    pub closed_by: CloseReason,
    /// The rows, in the order of their origins; never empty.
    pub rows: Vec<RequestRow>,
    /// Whether an earlier attempt may have reached the destination.
    pub repeated: bool,
    /// Now.
    pub attempted_at: Timestamp,
}

impl Request {
    /// The bytes of its rows.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.data.len() as u64).sum()
    }
}

/// A row that the destination will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The row's index in the request.
    pub row: usize,
    /// The code, as it is written to the error output (`400`, `Splunk.InvalidDataFormat`).
    pub code: String,
    /// What the destination said; no secret.
    pub message: String,
}

/// What the destination made of a request. Rows of which nothing is said are delivered, durably as far as the
/// destination can say so.
#[derive(Debug, Default)]
pub struct Answer {
    /// Rows that it will never take, by ascending index.
    pub refused: Vec<Refusal>,
    /// Rows that are to be sent again, by ascending index, and why.
    pub again: Option<(Vec<usize>, SinkError)>,
    /// Bytes that were sent.
    pub bytes: u64,
    /// An earlier attempt had delivered the rows already.
    pub existed: bool,
}

/// How a batch's rows are cut into requests: a request ends before the row that would be one too many or take it over
/// the bytes. A row that is larger by itself is sent alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The most rows.
    pub rows_max: usize,
    /// The most bytes of rows.
    pub bytes_max: u64,
}

/// The client of a destination that takes rows in requests.
#[async_trait]
pub trait RequestSink: Send + Sync + Debug {
    /// Checks that the destination can be reached and used, writing nothing.
    ///
    /// # Errors
    /// As [`attempt`](RequestSink::attempt).
    async fn probe(&self) -> Result<(), SinkError>;

    /// Sends once: no loop, no sleep.
    ///
    /// # Errors
    /// [`SinkError`], about all rows alike: [`Refused`](crate::ErrorClass::Refused) where none will ever be taken. Its
    /// code is that of the error output (`HttpEndpoint.RequestTimeout`).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the rows were delivered; the next attempt has `repeated` set.
    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError>;

    /// Keeps a note of rows that were given up, as far as the destination wants one beside the error output: the
    /// request has its id and what is given up of its rows. Comes again until the batch is settled.
    ///
    /// # Errors
    /// As [`attempt`](RequestSink::attempt); the batch is not settled before it went well.
    async fn give_up(&self, _request: &Request) -> Result<(), SinkError> {
        Ok(())
    }

    /// Says which batches of a destination are not settled. What the destination keeps to recognise repetitions of
    /// others (a ledger) may go, some time later.
    ///
    /// # Errors
    /// As [`attempt`](RequestSink::attempt); nothing depends on it.
    async fn tidy(
        &self,
        _stream: &StreamName,
        _destination: &DestinationId,
        _unsettled: &[BatchId],
    ) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_prints_as_a_guid() {
        let id = RequestId(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
