//! A handler written for AWS Lambda, as a program: the event comes in on the standard input, the answer goes out on the
//! standard output. Mail addresses under `email` are replaced, records without one are passed on, those that are not
//! JSON fail.
//!
//!     cargo build --release --target wasm32-wasip1

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct FirehoseEvent {
    records: Vec<FirehoseRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirehoseRecord {
    record_id: String,
    data: String,
}

#[derive(Serialize)]
struct FirehoseResponse {
    records: Vec<ResponseRecord>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseRecord {
    record_id: String,
    result: &'static str,
    data: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event: FirehoseEvent = serde_json::from_reader(io::stdin().lock())?;
    Ok(serde_json::to_writer(io::stdout().lock(), &handler(event))?)
}

fn handler(event: FirehoseEvent) -> FirehoseResponse {
    FirehoseResponse { records: event.records.into_iter().map(transform).collect() }
}

fn transform(FirehoseRecord { record_id, data }: FirehoseRecord) -> ResponseRecord {
    match redact(&data) {
        Some(data) => ResponseRecord { record_id, result: "Ok", data },
        None => ResponseRecord { record_id, result: "ProcessingFailed", data },
    }
}

fn redact(data: &str) -> Option<String> {
    let mut document: Value = serde_json::from_slice(&BASE64_STANDARD.decode(data).ok()?).ok()?;
    if let Some(email) = document.get_mut("email") {
        *email = Value::from("***");
    }
    Some(BASE64_STANDARD.encode(serde_json::to_vec(&document).ok()?))
}
