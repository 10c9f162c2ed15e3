//! What became of each record that `transform run` took through a chain.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64_simd::STANDARD;
use serde_json::{Value, json};
use standpipe_model::{BatchId, Timestamp};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::{Chain, Failure, FailureKind, Record, Row, Source};

use super::run::Format;

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its rows, each with the prefix of its partition where the destination has such.
    Kept(Vec<(Row, Option<String>)>),
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
    let mut kept: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for row in done.rows {
        let number = row.origin.record;
        let Some(record) = records.get(number as usize) else { continue };
        match keys.map(|keys| prefix(keys, source, &row, record.arrived_at)).transpose() {
            Ok(prefix) => kept.entry(number).or_default().push((row, prefix)),
            Err(failure) => drop(done.failures.entry(number).or_insert(failure)),
        }
    }
    let of = |(number, _)| match (done.failures.remove(&number), kept.remove(&number)) {
        (Some(failure), _) => Outcome::Failed(failure),
        (None, Some(rows)) => Outcome::Kept(rows),
        (None, None) => Outcome::Dropped,
    };
    (0u32..).zip(records).map(of).collect()
}

/// What the key of the row's object begins with, were the record the first of a batch.
fn prefix(keys: &ObjectKeys, source: &Source, row: &Row, arrived_at: Timestamp) -> Result<String, Failure> {
    let fail = |code, message| Failure::once(FailureKind::Processing, code, message);
    let partition = keys.partition(&row.query_keys, &row.function_keys);
    let partition = partition.map_err(|error| fail(error.code(), error.to_string()))?;
    let key = keys.object_key(1, BatchId([0; 16]), 0, arrived_at, Some(&partition));
    let mut key = key.map_err(|error| fail("DynamicPartitioning.InvalidKey", error.to_string()))?;
    // No part of a time or a UUID looks like this, so that the last one is the name's.
    key.truncate(key.rfind(&format!("{}-1-", source.stream)).unwrap_or(key.len()));
    Ok(key)
}

impl Outcome {
    /// Writes it for the `number`-th record.
    pub(super) fn show(&self, number: u64, format: Format, out: &mut String) {
        match format {
            Format::Text => self.show_text(number, out),
            Format::Json => {
                writeln!(out, "{}", self.json(number)).ok();
            }
        }
    }

    fn show_text(&self, number: u64, out: &mut String) {
        let mut line = |text: &str| {
            writeln!(out, "{number} {text}").ok();
        };
        match self {
            Self::Kept(rows) => {
                for (row, prefix) in rows {
                    let data = String::from_utf8_lossy(&row.data);
                    line(&plain(&format!("kept {}{data}", place(row, prefix.as_deref()))));
                }
            }
            Self::Dropped => line("dropped"),
            Self::Failed(Failure { code, message, .. }) => line(&plain(&format!("failed {code}: {message}"))),
        }
    }

    fn json(&self, number: u64) -> Value {
        match self {
            Self::Kept(rows) => {
                let rows: Vec<Value> =
                    rows.iter().map(|(row, prefix)| json_row(row, prefix.as_deref())).collect();
                json!({ "record": number, "outcome": "kept", "rows": rows })
            }
            Self::Dropped => json!({ "record": number, "outcome": "dropped" }),
            Self::Failed(Failure { kind, code, message, attempts, .. }) => json!({
                "record": number, "outcome": "failed", "error_output_type": kind.as_str(), "code": code,
                "message": message, "attempts": attempts }),
        }
    }
}

/// Text on one line, and without what a terminal would obey.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

/// Where a row goes by what is in it: its prefix, or the partition keys of a function that is no stream's.
fn place(row: &Row, prefix: Option<&str>) -> String {
    let keys = row.query_keys.iter().chain(&row.function_keys);
    let keys: Vec<String> = keys.map(|(key, value)| format!("{key}={value}")).collect();
    match prefix {
        Some(prefix) => format!("{prefix} "),
        None if keys.is_empty() => String::new(),
        None => format!("[{}] ", keys.join(" ")),
    }
}

/// Data that are no text are in base64.
fn json_row(row: &Row, prefix: Option<&str>) -> Value {
    let mut shown = match std::str::from_utf8(&row.data) {
        Ok(text) => json!({ "data": text }),
        Err(_) => json!({ "data_base64": STANDARD.encode_to_string(&row.data) }),
    };
    if let Some(prefix) = prefix {
        shown["prefix"] = json!(prefix);
    }
    let maps =
        [("query_keys", &row.query_keys), ("function_keys", &row.function_keys), ("headers", &row.headers)];
    for (name, map) in maps.into_iter().filter(|(_, map)| !map.is_empty()) {
        shown[name] = json!(map);
    }
    shown
}
