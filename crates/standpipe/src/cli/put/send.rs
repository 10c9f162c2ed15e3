//! One batch to the daemon, until every record of it is acknowledged or there is no hope.

use base64_simd::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use standpipe_model::{RecordBlock, RecordBlockBuilder};

use crate::cli::client::{CallError, FirehoseClient, backoff};

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Records that were acknowledged.
    pub(super) records: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Records that were not.
    pub(super) missed: u64,
    /// Why not.
    pub(super) error: Option<CallError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    failed_put_count: u64,
    request_responses: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    error_code: Option<String>,
    error_message: Option<String>,
}

/// Sends a batch. Records that the daemon refuses one by one are sent again, as a put of their own.
pub(super) async fn send(client: FirehoseClient, stream: String, batch: RecordBlock) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = batch;
    let mut round = 1;
    loop {
        let all = (u64::from(rest.count()), rest.record_bytes());
        let (again, error) = match put(&client, &stream, &rest).await {
            Ok((again, error)) => (again, error),
            Err(error) => {
                outcome.missed = all.0;
                outcome.error = Some(error);
                return outcome;
            }
        };
        outcome.records += all.0 - u64::from(again.count());
        outcome.bytes += all.1 - again.record_bytes();
        if again.count() == 0 {
            return outcome;
        }
        match backoff(round) {
            Ok(pause) if round <= client.retries() => tokio::time::sleep(pause).await,
            _ => {
                outcome.missed = u64::from(again.count());
                outcome.error = error;
                return outcome;
            }
        }
        rest = again;
        round += 1;
    }
}

/// Puts once (with the client's retries of the whole request); returns the records that were refused, and why.
async fn put(
    client: &FirehoseClient,
    stream: &str,
    batch: &RecordBlock,
) -> Result<(RecordBlock, Option<CallError>), CallError> {
    let answer = client.call("PutRecordBatch", body(stream, batch)).await?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(CallError::Answer)?;
    let mut again = RecordBlockBuilder::with_capacity(0, 0);
    if answer.failed_put_count == 0 {
        return Ok((again.finish(), None));
    }
    let mut error = None;
    // A record without an entry was not acknowledged either.
    let entries = answer.request_responses.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    for (record, entry) in batch.iter().zip(entries) {
        let refusal = match entry {
            Some(Entry { error_code: None, .. }) => continue,
            Some(Entry { error_code: Some(code), error_message }) => {
                (code, error_message.unwrap_or_default())
            }
            None => ("InternalFailure".to_owned(), "the answer says nothing of the record".to_owned()),
        };
        again.push(record);
        error = Some(CallError::Refused { status: StatusCode::OK, code: refusal.0, message: refusal.1 });
    }
    Ok((again.finish(), error))
}

/// The request's JSON.
fn body(stream: &str, batch: &RecordBlock) -> Bytes {
    let capacity = batch.record_bytes() as usize / 3 * 4 + batch.count() as usize * 16 + 128;
    let mut body = String::with_capacity(capacity);
    body.push_str("{\"DeliveryStreamName\":");
    body.push_str(&serde_json::Value::from(stream).to_string());
    body.push_str(",\"Records\":[");
    for (index, record) in batch.iter().enumerate() {
        body.push_str(if index == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        STANDARD.encode_append(record, &mut body);
        body.push_str("\"}");
    }
    body.push_str("]}");
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_the_api_takes() {
        let mut batch = RecordBlockBuilder::with_capacity(2, 8);
        batch.push(b"hello");
        batch.push(b"");
        assert_eq!(
            body("a\"b", &batch.finish()),
            r#"{"DeliveryStreamName":"a\"b","Records":[{"Data":"aGVsbG8="},{"Data":""}]}"#
        );
    }
}
