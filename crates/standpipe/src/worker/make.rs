//! What is made of a batch's chunks: the rows to deliver, and the lines of the error output.
//!
//! Where the chain of processors says the same each time, each object is made by going through the batch: nothing but
//! the records has to be kept for a repetition. Where it may not, or where rows have partitions, all that comes of a
//! chunk goes to the plan, [`sorted`]. A conversion comes last; what it cannot convert fails like anything else.

use std::sync::Arc;

use base64_simd::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use standpipe_convert::infer::{Inferred, News};
use standpipe_convert::{FileFormat, RecordBatch};
use standpipe_encode::ChunkEncoder;
use standpipe_journal::Chunk;
use standpipe_journal::control::{Close, Decide};
use standpipe_model::{BatchId, BodyError, RequestRow, RowOrigin};
use standpipe_sinks::key::{ObjectKeys, Partition, PartitionError};
use standpipe_transform::{Chain, Failure, FailureKind, Record, Row, Source, Transformed};
use tokio::sync::Semaphore;

use super::body::Make;
use super::convert::Converter;
use super::decisions::Decided;
use super::fates::{Fates, Made};
use super::pieces::{Chunks, Pieces, Split, Work, failed};
use super::requests::kept;
use crate::endpoints::{Target, Undelivered};
use crate::spec::CatalogTable;

/// What a batch's records go through.
#[derive(Debug, Clone)]
pub(super) struct Transformation {
    pub(super) chain: Arc<Chain>,
    pub(super) source: Source,
    /// What their rows are converted to, where they are.
    pub(super) converter: Option<Arc<Converter>>,
    /// What comes are the rows of a plan, which have been through all of it: none may fail now.
    pub(super) is_planned: bool,
    /// They come as a spool keeps them with what they come from.
    pub(super) has_origins: bool,
    /// About so many bytes of records go through it in one piece.
    pub(super) chunk_bytes: u64,
}

/// What comes of a chunk.
struct Run {
    records: Vec<Record>,
    transformed: Transformed,
    /// The rows as columns, where they are converted.
    columns: Option<RecordBatch>,
}

impl Transformation {
    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.chain.is_empty() && self.converter.is_none()
    }

    fn run(&self, chunk: &Chunk) -> Result<Run, BodyError> {
        let records = chunk.records().map(|(position, arrived_at, data)| match self.has_origins {
            false => Ok(Record { position, arrived_at, data }),
            true => kept_record(data),
        });
        let records = records.collect::<Result<Vec<Record>, BodyError>>()?;
        let mut transformed = self.chain.run(&self.source, &records);
        let converted = self.converter.as_ref().map(|converter| converter.run(&mut transformed));
        Ok(Run { records, transformed, columns: converted.transpose().map_err(failed)? })
    }

    /// Begins to have `work` done on what is read, in pieces that fit it.
    pub(super) fn pieces<T: Send + 'static>(
        &self,
        reader: impl Chunks,
        work: Work<T>,
        turns: &Arc<Semaphore>,
    ) -> Pieces<T> {
        let records_max = self.converter.as_ref().map_or(usize::MAX, |converter| converter.records_max);
        Pieces::start(Split::new(reader, records_max), self.chunk_bytes, work, Arc::clone(turns))
    }

    /// The files that its rows are written to; none where they stay text.
    pub(super) fn format(&self) -> Option<&Arc<FileFormat>> {
        self.converter.as_ref()?.format.as_ref()
    }

    /// What lines of the error output say of a table.
    pub(super) fn table(&self) -> Option<&CatalogTable> {
        self.converter.as_ref().map(|converter| &converter.table)
    }
}

/// A row that a spool has kept with what it comes from.
fn kept_record(row: Bytes) -> Result<Record, BodyError> {
    let row = kept::read(row).ok_or_else(|| failed(Misfit))?;
    Ok(Record { position: row.origin.position, arrived_at: row.arrived_at, data: row.data })
}

fn fates(transformed: &Transformed) -> Fates {
    let mut fates = Fates { dropped: transformed.dropped, ..Fates::default() };
    transformed.failures.values().for_each(|failure| fates.fail(failure));
    fates
}

/// The rows to deliver.
pub(super) fn rows(of: Transformation, encoder: ChunkEncoder) -> Make {
    if of.is_empty() {
        return Arc::new(move |chunk| {
            Ok(Made { made: encoder.encode(chunk.iter()).map_err(failed)?, fates: Fates::default() })
        });
    }
    Arc::new(move |chunk| {
        let Run { transformed, .. } = of.run(chunk)?;
        let rows = transformed.rows.iter().map(|row| &row.data[..]);
        Ok(Made { made: encoder.encode(rows).map_err(failed)?, fates: fates(&transformed) })
    })
}

/// Rows of a plan do not fit any more, since this build is stricter than the one that planned them.
#[derive(Debug, thiserror::Error)]
#[error("rows that were planned cannot be converted any more")]
pub(super) struct Misfit;

/// The rows to deliver, as columns.
pub(super) fn columns(of: Transformation) -> Work<Made<RecordBatch>> {
    Arc::new(move |chunk| {
        let Run { transformed, columns, .. } = of.run(chunk)?;
        if of.is_planned && !transformed.failures.is_empty() {
            return Err(failed(Misfit));
        }
        let made = columns.ok_or_else(|| failed("rows that are not converted have no columns"))?;
        Ok(Made { made, fates: fates(&transformed) })
    })
}

/// The rows to send in requests.
pub(super) fn requests(of: Transformation) -> Work<Made<Vec<RequestRow>>> {
    Arc::new(move |chunk| {
        let Run { records, transformed, .. } = of.run(chunk)?;
        let mut made: Vec<RequestRow> = request_rows(&records, &transformed.rows).collect();
        let bytes: u64 = made.iter().map(|row| row.data.len() as u64).sum();
        if bytes < chunk.bytes / 2 {
            // A few rows must not keep all of the chunk in memory.
            made.iter_mut().for_each(|row| row.data = Bytes::copy_from_slice(&row.data));
        }
        Ok(Made { made, fates: fates(&transformed) })
    })
}

/// Rows as requests have them.
pub(super) fn request_rows<'a>(
    records: &'a [Record],
    rows: &'a [Row],
) -> impl Iterator<Item = RequestRow> + 'a {
    rows.iter().filter_map(|row| {
        let record = records.get(row.origin.record as usize)?;
        let origin = RowOrigin { position: record.position, sub: row.origin.sub };
        Some(RequestRow { origin, arrived_at: record.arrived_at, data: row.data.clone() })
    })
}

/// The rows to send in requests, as a spool has kept them.
pub(super) fn kept_requests() -> Work<Made<Vec<RequestRow>>> {
    Arc::new(|chunk| {
        let rows = chunk.records().map(|(_, _, row)| kept::read(row));
        let made = rows.collect::<Option<_>>().ok_or_else(|| failed(Misfit))?;
        Ok(Made { made, fates: Fates::default() })
    })
}

/// The lines of the error output about what an endpoint, or a table, did not take. They hold the records as they were put: whoever
/// puts them again has them go all the way.
pub(super) fn undelivered(
    decided: Vec<Decide>,
    target: Option<Target>,
    batch: BatchId,
    encoder: ChunkEncoder,
) -> Make {
    let apart = Decided::of(&decided);
    Arc::new(move |chunk| {
        let lines = chunk.records().filter_map(|(position, arrived_at, data)| {
            let decide = decided.get(apart.about(position)?)?;
            let of = Undelivered { batch, origin: RowOrigin { position, sub: 0 }, arrived_at };
            let members = target.as_ref().map(|target| target.error_members(&of)).unwrap_or_default();
            Some(undelivered_line(decide, &of, &data, members))
        });
        let lines = lines.collect::<serde_json::Result<Vec<Vec<u8>>>>().map_err(failed)?;
        let made = encoder.encode(lines.iter().map(|line| &line[..])).map_err(failed)?;
        Ok(Made { made, fates: Fates::default() })
    })
}

/// Nothing; it only counts what became of the records.
pub(super) fn counts(of: Transformation, encoder: ChunkEncoder) -> Make {
    Arc::new(move |chunk| {
        let Run { transformed, .. } = of.run(chunk)?;
        let nothing: [&[u8]; 0] = [];
        Ok(Made { made: encoder.encode(nothing).map_err(failed)?, fates: fates(&transformed) })
    })
}

/// What its rows show that the columns of a converter do not have, seen from where `beginning` is.
pub(super) fn news(
    of: Transformation,
    converter: Arc<Converter>,
    beginning: Inferred,
) -> Work<Option<Inferred>> {
    Arc::new(move |chunk| {
        let Run { transformed, .. } = of.run(chunk)?;
        let mut news = News::new(&beginning, converter.rows.reader());
        transformed.rows.iter().for_each(|row| news.look(&row.data));
        Ok(news.seen())
    })
}

/// The lines of one part of the error output.
pub(super) fn failures(of: Transformation, kind: FailureKind, close: &Close, encoder: ChunkEncoder) -> Make {
    let ended_at = close.closed_at.as_millis();
    Arc::new(move |chunk| {
        let Run { records, transformed, .. } = of.run(chunk)?;
        let failed_ones = transformed.failures.iter().filter(|(_, failure)| failure.kind == kind);
        let lines = failed_ones.filter_map(|(number, failure)| {
            Some(line(records.get(*number as usize)?, failure, ended_at, of.table()))
        });
        let lines = lines.collect::<Result<Vec<Bytes>, _>>().map_err(failed)?;
        let made = encoder.encode(lines.iter().map(|line| &line[..])).map_err(failed)?;
        Ok(Made { made, fates: fates(&transformed) })
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
        let Run { records, transformed, .. } = of.run(chunk)?;
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

/// A line of what could not be converted, which has members of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionLine<'a> {
    attempts_made: u32,
    arrival_timestamp: u64,
    last_error_code: &'a str,
    last_error_message: &'a str,
    attempt_ending_timestamp: u64,
    raw_data: String,
    /// The record's position.
    sequence_number: String,
    sub_sequence_number: u64,
    data_catalog_table: Option<TableLine<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableLine<'a> {
    catalog_id: &'a str,
    database_name: &'a str,
    table_name: &'a str,
    region: &'a str,
    version_id: &'a str,
    role_arn: Option<&'a str>,
}

impl<'a> From<&'a CatalogTable> for TableLine<'a> {
    fn from(of: &'a CatalogTable) -> Self {
        Self {
            catalog_id: &of.catalog_id,
            database_name: &of.database,
            table_name: &of.table,
            region: &of.region,
            version_id: &of.version_id,
            role_arn: of.role_arn.as_deref(),
        }
    }
}

pub(super) fn line(
    record: &Record,
    failure: &Failure,
    ended_at: u64,
    table: Option<&CatalogTable>,
) -> serde_json::Result<Bytes> {
    let (raw_data, arrived_at) = (STANDARD.encode_to_string(&record.data), record.arrived_at.as_millis());
    let mut line = match failure.kind {
        FailureKind::Conversion => serde_json::to_vec(&ConversionLine {
            attempts_made: failure.attempts,
            arrival_timestamp: arrived_at,
            last_error_code: &failure.code,
            last_error_message: &failure.message,
            attempt_ending_timestamp: ended_at,
            raw_data,
            sequence_number: record.position.0.to_string(),
            sub_sequence_number: 0,
            data_catalog_table: table.map(TableLine::from),
        })?,
        _ => serde_json::to_vec(&ErrorLine {
            raw_data,
            error_code: &failure.code,
            error_message: &failure.message,
            attempts_made: failure.attempts,
            arrival_timestamp: arrived_at,
            attempt_ending_timestamp: ended_at,
            function: failure.function.as_deref(),
        })?,
    };
    line.push(b'\n');
    Ok(line.into())
}

/// A line about what an endpoint or a table did not take.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UndeliveredLine<'a> {
    attempts_made: u32,
    arrival_timestamp: u64,
    error_code: &'a str,
    error_message: &'a str,
    attempt_ending_timestamp: u64,
    raw_data: String,
    #[serde(flatten)]
    of_endpoint: Map<String, Value>,
}

fn undelivered_line(
    decide: &Decide,
    of: &Undelivered,
    data: &[u8],
    of_endpoint: Map<String, Value>,
) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&UndeliveredLine {
        attempts_made: decide.attempts,
        arrival_timestamp: of.arrived_at.as_millis(),
        error_code: &decide.reason,
        error_message: &decide.message,
        attempt_ending_timestamp: decide.decided_at.as_millis(),
        raw_data: STANDARD.encode_to_string(data),
        of_endpoint,
    })?;
    line.push(b'\n');
    Ok(line)
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
        assert_eq!(line(&record, &failure, 2, None).unwrap(), expect);
    }
}
