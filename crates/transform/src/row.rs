//! What processors take and give.

use std::collections::BTreeMap;

use bytes::Bytes;
use standpipe_model::{Position, StreamName, Timestamp};

/// Where the records of a chunk come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The stream.
    pub stream: StreamName,
    /// Its ARN.
    pub stream_arn: String,
    /// The region that it says it is in.
    pub region: String,
}

/// A record as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream: what it is known by, the same at every attempt.
    pub position: Position,
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// Its data.
    pub data: Bytes,
}

/// Which row of which record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The record's number within the chunk.
    pub record: u32,
    /// The row's number within the record, from 0; rows in the order of their origins are in the order of delivery.
    pub sub: u32,
}

/// A record, or a part of one, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it comes from.
    pub origin: Origin,
    /// Its data as the processors so far have left it.
    pub data: Bytes,
    /// Partition keys that a query made (`partitionKeyFromQuery`).
    pub query_keys: BTreeMap<String, String>,
    /// Partition keys that a function gave (`partitionKeyFromLambda`).
    pub function_keys: BTreeMap<String, String>,
    /// Headers that a function gave, for destinations that have such.
    pub headers: BTreeMap<String, String>,
}

impl Row {
    /// A record as its only row.
    pub fn of(record: u32, data: Bytes) -> Self {
        let origin = Origin { record, sub: 0 };
        let none = BTreeMap::new;
        Self { origin, data, query_keys: none(), function_keys: none(), headers: none() }
    }

    /// The same row with other data.
    #[must_use]
    pub fn with_data(self, data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), ..self }
    }
}

/// Which part of the error output a failure belongs to; the words are those of `!{firehose:error-output-type}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// A processor or function could not do it, or its partition keys could not be made.
    Processing,
    /// It could not be decompressed.
    Decompression,
    /// Its partition would have been one more than is allowed.
    ActivePartitions,
    /// It could not be converted to the destination's format.
    Conversion,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Processing, Self::Decompression, Self::ActivePartitions, Self::Conversion];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing-failed",
            Self::Decompression => "decompression-failed",
            Self::ActivePartitions => "activePartitionExceeded",
            Self::Conversion => "format-conversion-failed",
        }
    }
}

/// Why a record goes to the error output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which part of the error output it belongs to.
    pub kind: FailureKind,
    /// The code (`errorCode`), such as `Lambda.FunctionError`.
    pub code: String,
    /// The message (`errorMessage`).
    pub message: String,
    /// How many tries were made (`attemptsMade`).
    pub attempts: u32,
    /// The function (`lambdaARN`), where one was called: its ARN, or its name in the configuration.
    pub function: Option<String>,
}

impl Failure {
    /// A failure that no second try would change.
    pub fn once(kind: FailureKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), attempts: 1, function: None }
    }
}

/// What a processor makes of its rows.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<(u32, Failure)>,
}

impl Output {
    /// Passes a row on. Rows of one record are passed on in the order in which they are to be delivered.
    pub fn keep(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Fails the record that a row comes from, with all of its rows. A row that is neither kept nor failed is dropped.
    pub fn fail(&mut self, origin: Origin, failure: Failure) {
        self.failures.push((origin.record, failure));
    }
}
