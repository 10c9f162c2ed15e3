//! The Lambda contract: the event that Firehose calls a function with, and the answer that it expects.
//!
//! # Invariants
//! - The same rows make the same bytes, `invocationId` included.
//! - An answer is taken whole or not at all, but for records whose own part of it is wrong; codes and words are AWS's.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::call::{Batch, CallError, Outcome, cut};

const MISSING: &str = "One or more record Ids were not returned. Ensure that the Lambda function returns all received \
                       record Ids.";
const DUPLICATED: &str = "Multiple records were returned with the same record Id. Ensure that the Lambda function \
                          returns a unique record Id for each record.";
const NO_DATA: &str = "The data field cannot be null when the SourceType is DirectPut or KinesisStreamAsSource and \
                       processing result is Ok. The value field cannot be null when the SourceType is MSKAsSource and \
                       processing result is Ok.";

/// The event, as JSON.
pub(super) fn event(batch: &Batch<'_>) -> Vec<u8> {
    let bytes: usize = batch.rows.iter().map(|row| row.data.len() * 4 / 3 + 128).sum();
    let mut event = String::with_capacity(bytes + 512);
    let text = |text: &str| Value::from(text).to_string();
    event.push_str(&format!(
        r#"{{"invocationId":"{}","deliveryStreamArn":{},"region":{},"records":["#,
        invocation_id(batch),
        text(&batch.source.stream_arn),
        text(&batch.source.region),
    ));
    for (number, (id, arrived_at, row)) in batch.each().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let arrived_at = arrived_at.0;
        event.push_str(&format!(
            r#"{comma}{{"recordId":"{id}","approximateArrivalTimestamp":{arrived_at},"data":""#
        ));
        base64_simd::STANDARD.encode_append(&row.data, &mut event);
        event.push_str("\"}");
    }
    event.push_str("]}");
    event.into_bytes()
}

/// An id in the form of a UUID (version 8) that a repetition has too.
fn invocation_id(batch: &Batch<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(batch.source.stream_arn.as_bytes());
    for (id, _, _) in batch.each() {
        hash.update(id.as_bytes());
    }
    let mut id: [u8; 16] = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let hex = hex::encode(id);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    records: Vec<Answered<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    #[serde(borrow)]
    record_id: Cow<'a, str>,
    #[serde(borrow, default)]
    result: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// A text that is copied only where it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    partition_keys: Option<BTreeMap<String, Value>>,
}

/// What an answer says of each row.
///
/// # Errors
/// [`CallError`] when it is no answer to this batch.
pub(super) fn outcomes(batch: &Batch<'_>, answer: &[u8]) -> Result<Vec<Outcome>, CallError> {
    let malformed = |_| CallError::malformed("Lambda.MissingRecordId", MISSING);
    let answer: Answer<'_> = serde_json::from_slice(answer).map_err(malformed)?;
    let numbers: HashMap<String, usize> =
        batch.each().enumerate().map(|(number, (id, _, _))| (id, number)).collect();
    let mut outcomes: Vec<Option<Outcome>> = batch.rows.iter().map(|_| None).collect();
    for record in answer.records {
        let Some(number) = numbers.get(&*record.record_id) else {
            return Err(CallError::failed(&format!(
                "it answered for an unknown record '{}'",
                record.record_id
            )));
        };
        if outcomes[*number].replace(outcome(record)).is_some() {
            return Err(CallError::malformed("Lambda.DuplicatedRecordId", DUPLICATED));
        }
    }
    let outcomes: Option<Vec<Outcome>> = outcomes.into_iter().collect();
    outcomes.ok_or_else(|| CallError::malformed("Lambda.MissingRecordId", MISSING))
}

fn outcome(record: Answered<'_>) -> Outcome {
    let invalid = |message: String| Outcome::Failed { code: "Lambda.InvalidReturnFormat", message };
    let result = record.result.map(|Text(result)| result);
    match (result.as_deref(), record.data) {
        (Some("Ok"), Some(Text(data))) => match base64_simd::STANDARD.decode_to_vec(data.as_bytes()) {
            Ok(data) => {
                let keys = record.metadata.and_then(|metadata| metadata.partition_keys).unwrap_or_default();
                let partition_keys = keys.into_iter().map(|(name, value)| (name, key(value))).collect();
                Outcome::Ok { data: data.into(), partition_keys, headers: Vec::new() }
            }
            Err(_) => invalid("The data field is not valid base64.".to_owned()),
        },
        (Some("Ok"), None) => invalid(NO_DATA.to_owned()),
        (Some("Dropped"), _) => Outcome::Dropped,
        (Some("ProcessingFailed"), _) => Outcome::Failed {
            code: "Lambda.ProcessingFailedStatus",
            message: "ProcessingFailed status set for record".to_owned(),
        },
        (Some(other), _) => {
            invalid(format!("The result is '{}', not Ok, Dropped or ProcessingFailed.", cut(other)))
        }
        (None, _) => invalid("The record has no result.".to_owned()),
    }
}

/// A partition key's value; one that is missing is left empty, which partitioning refuses.
fn key(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use standpipe_model::{Position, StreamName, Timestamp};

    use super::*;
    use crate::row::{Origin, Record, Row, Source};

    #[test]
    fn the_event_is_that_of_firehose_and_the_same_for_the_same_rows() {
        let source = Source {
            stream: StreamName::parse("s").unwrap(),
            stream_arn: "arn:\"quoted\"".to_owned(),
            region: "eu-north-1".to_owned(),
        };
        let record = |position, ms| Record {
            position: Position(position),
            arrived_at: Timestamp(ms),
            data: "whole".into(),
        };
        let records = [record(3, 1_510_109_208_016), record(4, 1_510_109_208_017)];
        let part = Row { origin: Origin { record: 1, sub: 12 }, ..Row::of(1, "part\n".into()) };
        let rows = [Row::of(0, "whole".into()), part];
        let batch = Batch { source: &source, records: &records, rows: &rows };
        let text = event(&batch);
        assert_eq!(text, event(&batch));
        let event: Value = serde_json::from_slice(&text).unwrap();
        let id = event["invocationId"].as_str().unwrap();
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'8'), "a UUID of version 8: {id}");
        let expected = serde_json::json!({
            "invocationId": id,
            "deliveryStreamArn": "arn:\"quoted\"",
            "region": "eu-north-1",
            "records": [
                {
                    "recordId": "00000000000000000003000000",
                    "approximateArrivalTimestamp": 1_510_109_208_016_u64,
                    "data": "d2hvbGU=",
                },
                {
                    "recordId": "00000000000000000004000012",
                    "approximateArrivalTimestamp": 1_510_109_208_017_u64,
                    "data": "cGFydAo=",
                },
            ],
        });
        assert_eq!(event, expected);
    }
}
