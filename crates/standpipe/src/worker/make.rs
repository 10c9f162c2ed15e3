//! What is made of a batch's chunks: the rows to deliver, and the lines of the error output.
//!
//! Where the chain of processors says the same each time, each object is made by going through the batch: nothing but
//! the records has to be kept for a repetition. Where it may not, or where rows have partitions, all that comes of a
//! chunk goes to the plan, [`sorted`].

use std::sync::Arc;

use base64_simd::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use standpipe_encode::ChunkEncoder;
use standpipe_journal::Chunk;
use standpipe_journal::control::Close;
use standpipe_sinks::key::{ObjectKeys, Partition, PartitionError};
use standpipe_transform::{Chain, Failure, FailureKind, Record, Source, Transformed};

use super::body::{Made, Make};
use super::fates::Fates;
use super::pieces::{Work, failed};

/// What a batch's records go through.
#[derive(Debug, Clone)]
pub(super) struct Transformation {
    pub(super) chain: Arc<Chain>,
    pub(super) source: Source,
    /// About so many bytes of records go through it in one piece.
    pub(super) chunk_bytes: u64,
}

impl Transformation {
    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    fn run(&self, chunk: &Chunk) -> (Vec<Record>, Transformed) {
        let records: Vec<Record> = chunk
            .records()
            .map(|(position, arrived_at, data)| Record { position, arrived_at, data })
            .collect();
        let transformed = self.chain.run(&self.source, &records);
        (records, transformed)
    }
}

fn fates(transformed: &Transformed) -> Fates {
    let mut fates = Fates { dropped: transformed.dropped, ..Fates::default() };
    for failure in transformed.failures.values() {
        *fates.failed.entry(failure.kind).or_default() += 1;
    }
    fates
}

/// The rows to deliver.
pub(super) fn rows(of: Transformation, encoder: ChunkEncoder) -> Make {
    if of.is_empty() {
        return Arc::new(move |chunk| {
            Ok(Made { encoded: encoder.encode(chunk.iter()).map_err(failed)?, fates: Fates::default() })
        });
    }
    Arc::new(move |chunk| {
        let (_, transformed) = of.run(chunk);
        let rows = transformed.rows.iter().map(|row| &row.data[..]);
        Ok(Made { encoded: encoder.encode(rows).map_err(failed)?, fates: fates(&transformed) })
    })
}

/// Nothing; it only counts what became of the records.
pub(super) fn counts(of: Transformation, encoder: ChunkEncoder) -> Make {
    Arc::new(move |chunk| {
        let (_, transformed) = of.run(chunk);
        let nothing: [&[u8]; 0] = [];
        Ok(Made { encoded: encoder.encode(nothing).map_err(failed)?, fates: fates(&transformed) })
    })
}

/// The lines of one part of the error output.
pub(super) fn failures(of: Transformation, kind: FailureKind, close: &Close, encoder: ChunkEncoder) -> Make {
    let ended_at = close.closed_at.as_millis();
    Arc::new(move |chunk| {
        let (records, transformed) = of.run(chunk);
        let failed_ones = transformed.failures.iter().filter(|(_, failure)| failure.kind == kind);
        let lines = failed_ones
            .filter_map(|(number, failure)| Some(line(records.get(*number as usize)?, failure, ended_at)));
        let lines = lines.collect::<Result<Vec<Bytes>, _>>().map_err(failed)?;
        let encoded = encoder.encode(lines.iter().map(|line| &line[..])).map_err(failed)?;
        Ok(Made { encoded, fates: fates(&transformed) })
    })
}

/// All that comes of a chunk.
pub(super) struct Sorted {
    pub(super) records: Vec<Record>,
    pub(super) transformed: Transformed,
    /// The partition of each row; none where the prefix asks for none.
    pub(super) partitions: Vec<Result<Partition, PartitionError>>,
}

/// All that comes of a chunk, with the partitions of its rows.
pub(super) fn sorted(of: Transformation, keys: Arc<ObjectKeys>) -> Work<Sorted> {
    let is_partitioned = keys.is_partitioned();
    Arc::new(move |chunk| {
        let (records, transformed) = of.run(chunk);
        let rows = transformed.rows.iter().filter(|_| is_partitioned);
        let partitions = rows.map(|row| keys.partition(&row.query_keys, &row.function_keys)).collect();
        Ok(Sorted { records, transformed, partitions })
    })
}

/// A line of the error output, in the order of members that AWS's have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorLine<'a> {
    raw_data: String,
    error_code: &'a str,
    error_message: &'a str,
    attempts_made: u32,
    arrival_timestamp: u64,
    /// When the batch closed: a time that is the same at every attempt.
    attempt_ending_timestamp: u64,
    #[serde(rename = "lambdaARN", skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
}

pub(super) fn line(record: &Record, failure: &Failure, ended_at: u64) -> serde_json::Result<Bytes> {
    let line = ErrorLine {
        raw_data: STANDARD.encode_to_string(&record.data),
        error_code: &failure.code,
        error_message: &failure.message,
        attempts_made: failure.attempts,
        arrival_timestamp: record.arrived_at.as_millis(),
        attempt_ending_timestamp: ended_at,
        function: failure.function.as_deref(),
    };
    let mut line = serde_json::to_vec(&line)?;
    line.push(b'\n');
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use standpipe_model::{Position, Timestamp};

    use super::*;

    #[test]
    fn a_line_of_the_error_output_has_the_members_of_aws_in_their_order() {
        let record =
            Record { position: Position(0), arrived_at: Timestamp(1), data: Bytes::from_static(b"hi") };
        let failure = Failure::once(FailureKind::Processing, "Lambda.FunctionError", "it \"failed\"");
        let failure = Failure { attempts: 4, function: Some("arn".to_owned()), ..failure };
        let expect = concat!(
            r#"{"rawData":"aGk=","errorCode":"Lambda.FunctionError","errorMessage":"it \"failed\"","attemptsMade":4,"#,
            r#""arrivalTimestamp":1,"attemptEndingTimestamp":2,"lambdaARN":"arn"}"#,
            "\n"
        );
        assert_eq!(line(&record, &failure, 2).unwrap(), expect);
    }
}
