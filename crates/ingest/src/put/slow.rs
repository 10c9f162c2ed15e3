//! The slow path of a put: the whole body as a JSON tree, checked against the model's tables.
//!
//! It decides what the fast path gave up on, and words the refusal.

use serde_json::{Map, Value};
use standpipe_model::{RecordBlock, RecordBlockBuilder, StreamName};

use super::{PutRefusal, base64};
use crate::{ApiError, ErrorCode, Operation, shape};

/// Reads a `PutRecord` (`batch` false) or `PutRecordBatch` body.
pub(super) fn read(batch: bool, body: &[u8]) -> Result<(StreamName, RecordBlock), PutRefusal> {
    let input: Value = match serde_json::from_slice(body) {
        Ok(input @ Value::Object(_)) => input,
        _ => return Err(PutRefusal::NotJson),
    };
    let operation = if batch { Operation::PutRecordBatch } else { Operation::PutRecord };
    let input = shape::check(shape::input_of(operation), &input)?;
    let name = input.get("DeliveryStreamName").and_then(Value::as_str).unwrap_or_default();
    let block = if batch {
        let records = input.get("Records").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        decode(records.iter().filter_map(Value::as_object))
    } else {
        decode(input.get("Record").and_then(Value::as_object).into_iter())
    };
    // The API's rule has passed; only names that no stream can have here are left, such as `..`.
    let stream = StreamName::parse(name).map_err(|_| PutRefusal::NoSuchStream(name.to_owned()))?;
    Ok((stream, block?))
}

fn decode<'a>(records: impl Iterator<Item = &'a Map<String, Value>>) -> Result<RecordBlock, ApiError> {
    let mut block = RecordBlockBuilder::with_capacity(0, 0);
    for record in records {
        let text = record.get("Data").and_then(Value::as_str).unwrap_or_default();
        block
            .push_with(base64::decoded_len(text), |out| base64::decode(text.as_bytes(), out))
            .map_err(|_| ApiError::bare(ErrorCode::Serialization))?;
    }
    Ok(block.finish())
}
