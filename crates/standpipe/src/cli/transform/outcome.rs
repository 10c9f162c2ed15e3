//! What became of each record that `transform run` took through a chain.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64_simd::STANDARD;
use serde_json::{Value, json};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::{Chain, Failure, FailureKind, Record, Row, Source};

use super::run::Format;

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its rows.
    Kept(Vec<Row>),
    /// It came to nothing.
    Dropped,
    /// It would go to the error output.
    Failed(Failure),
}

/// Takes records through the chain; where the destination is partitioned, a record of which a row has no place fails as a
/// whole, as in the worker.
pub(super) fn outcomes(
    chain: &Chain,
    keys: Option<&ObjectKeys>,
    source: &Source,
    records: &[Record],
) -> Vec<Outcome> {
    let mut done = chain.run(source, records);
    let mut kept: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
    for row in done.rows {
        if let Some(Err(error)) = keys.map(|keys| keys.partition(&row.query_keys, &row.function_keys)) {
            let failure = Failure::once(FailureKind::Processing, error.code(), error.to_string());
            done.failures.entry(row.origin.record).or_insert(failure);
        }
        kept.entry(row.origin.record).or_default().push(row);
    }
    let of = |(number, _)| match (done.failures.remove(&number), kept.remove(&number)) {
        (Some(failure), _) => Outcome::Failed(failure),
        (None, Some(rows)) => Outcome::Kept(rows),
        (None, None) => Outcome::Dropped,
    };
    (0u32..).zip(records).map(of).collect()
}

impl Outcome {
    /// Writes it for the `number`-th record. Data that are no text are shown in base64 by JSON.
    pub(super) fn show(&self, number: u64, format: Format, out: &mut String) {
        let line = match (self, format) {
            (Self::Kept(rows), Format::Text) => {
                for row in rows {
                    let data = String::from_utf8_lossy(&row.data);
                    writeln!(out, "{number} kept {}{}", data.trim_end(), keys(row)).ok();
                }
                return;
            }
            (Self::Dropped, Format::Text) => format!("{number} dropped"),
            (Self::Failed(failure), Format::Text) => {
                format!("{number} failed {}: {}", failure.code, failure.message)
            }
            (Self::Kept(rows), Format::Json) => {
                let rows: Vec<_> = rows.iter().map(json_row).collect();
                json!({ "record": number, "outcome": "kept", "rows": rows }).to_string()
            }
            (Self::Dropped, Format::Json) => json!({ "record": number, "outcome": "dropped" }).to_string(),
            (Self::Failed(Failure { code, message, .. }), Format::Json) => {
                json!({ "record": number, "outcome": "failed", "code": code, "message": message }).to_string()
            }
        };
        writeln!(out, "{line}").ok();
    }
}

fn keys(row: &Row) -> String {
    let all = row.query_keys.iter().chain(&row.function_keys);
    let pairs: Vec<String> = all.map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { String::new() } else { format!("  [{}]", pairs.join(" ")) }
}

fn json_row(row: &Row) -> Value {
    let data = match std::str::from_utf8(&row.data) {
        Ok(text) => json!({ "data": text }),
        Err(_) => json!({ "data_base64": STANDARD.encode_to_string(&row.data) }),
    };
    let mut shown = data;
    for (name, keys) in [("query_keys", &row.query_keys), ("function_keys", &row.function_keys)] {
        if !keys.is_empty() {
            shown[name] = json!(keys);
        }
    }
    shown
}
