//! Manifests and lists of them, as bytes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{AddedFile, FieldSummary, Manifest, TableForm};
use crate::avro::file;
use crate::avro::rows::{bytes, long};
use crate::codec::CompressError;

/// A member of a record with its id.
fn member(id: u32, name: &str, kind: Value) -> Value {
    json!({"name": name, "type": kind, "field-id": id})
}

/// The same, which may be null.
fn nullable(id: u32, name: &str, kind: Value) -> Value {
    json!({"name": name, "type": ["null", kind], "default": null, "field-id": id})
}

/// A manifest that lists one file.
///
/// # Errors
/// [`CompressError`].
pub fn manifest(added: &AddedFile, snapshot: i64, of: TableForm<'_>) -> Result<Bytes, CompressError> {
    let data_file = json!({"type": "record", "name": "r2", "fields": [
        member(134, "content", json!("int")),
        member(100, "file_path", json!("string")),
        member(101, "file_format", json!("string")),
        member(102, "partition", json!({"type": "record", "name": "r102", "fields": []})),
        member(103, "record_count", json!("long")),
        member(104, "file_size_in_bytes", json!("long")),
    ]});
    let entry = json!({"type": "record", "name": "manifest_entry", "fields": [
        member(0, "status", json!("int")),
        nullable(1, "snapshot_id", json!("long")),
        nullable(3, "sequence_number", json!("long")),
        nullable(4, "file_sequence_number", json!("long")),
        member(2, "data_file", data_file),
    ]});
    let head = [
        ("schema", of.schema.to_owned()),
        ("schema-id", of.schema_id.to_string()),
        ("partition-spec", "[]".to_owned()),
        ("partition-spec-id", of.spec_id.to_string()),
        ("format-version", "2".to_owned()),
        ("content", "data".to_owned()),
    ];
    let mut row = Vec::new();
    // Added; the numbers of the change are those of the manifest, once it is in a list.
    long(1, &mut row);
    some(&mut row, |row| long(snapshot, row));
    none(&mut row);
    none(&mut row);
    long(0, &mut row);
    bytes(added.path.as_bytes(), &mut row);
    bytes(b"PARQUET", &mut row);
    long(added.rows, &mut row);
    long(added.bytes, &mut row);
    file(entry.to_string(), &owned(&head), [row])
}

/// The list of a snapshot's manifests.
///
/// # Errors
/// [`CompressError`].
pub fn write_list(
    manifests: &[Manifest],
    snapshot: i64,
    parent: Option<i64>,
    sequence: i64,
) -> Result<Bytes, CompressError> {
    let summary = json!({"type": "record", "name": "r508", "fields": [
        member(509, "contains_null", json!("boolean")),
        nullable(518, "contains_nan", json!("boolean")),
        nullable(510, "lower_bound", json!("bytes")),
        nullable(511, "upper_bound", json!("bytes")),
    ]});
    let schema = json!({"type": "record", "name": "manifest_file", "fields": [
        member(500, "manifest_path", json!("string")),
        member(501, "manifest_length", json!("long")),
        member(502, "partition_spec_id", json!("int")),
        member(517, "content", json!("int")),
        member(515, "sequence_number", json!("long")),
        member(516, "min_sequence_number", json!("long")),
        member(503, "added_snapshot_id", json!("long")),
        member(504, "added_files_count", json!("int")),
        member(505, "existing_files_count", json!("int")),
        member(506, "deleted_files_count", json!("int")),
        member(512, "added_rows_count", json!("long")),
        member(513, "existing_rows_count", json!("long")),
        member(514, "deleted_rows_count", json!("long")),
        nullable(507, "partitions", json!({"type": "array", "items": summary, "element-id": 508})),
        nullable(519, "key_metadata", json!("bytes")),
    ]});
    let head = [
        ("snapshot-id", snapshot.to_string()),
        ("parent-snapshot-id", parent.map_or_else(|| "null".to_owned(), |id| id.to_string())),
        ("sequence-number", sequence.to_string()),
        ("format-version", "2".to_owned()),
    ];
    file(schema.to_string(), &owned(&head), manifests.iter().map(row))
}

fn owned(head: &[(&str, String)]) -> Vec<(String, String)> {
    head.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn row(of: &Manifest) -> Vec<u8> {
    let mut row = Vec::new();
    bytes(of.path.as_bytes(), &mut row);
    for number in [of.bytes, of.spec_id.into(), of.content.into(), of.sequence, of.sequence_min, of.snapshot]
    {
        long(number, &mut row);
    }
    for number in of.files.map(i64::from).into_iter().chain(of.rows) {
        long(number, &mut row);
    }
    maybe(of.partitions.as_ref(), &mut row, |partitions, row| {
        if !partitions.is_empty() {
            long(partitions.len() as i64, row);
            partitions.iter().for_each(|field| summary(field, row));
        }
        long(0, row);
    });
    maybe(of.key_metadata.as_ref(), &mut row, |metadata, row| bytes(metadata, row));
    row
}

fn summary(field: &FieldSummary, row: &mut Vec<u8>) {
    row.push(field.nulls.into());
    maybe(field.nans, row, |nans, row| row.push(nans.into()));
    maybe(field.lower.as_ref(), row, |bound, row| bytes(bound, row));
    maybe(field.upper.as_ref(), row, |bound, row| bytes(bound, row));
}

fn maybe<T>(value: Option<T>, row: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    match value {
        Some(value) => some(row, |row| put(value, row)),
        None => none(row),
    }
}

fn some(row: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    long(1, row);
    put(row);
}

fn none(row: &mut Vec<u8>) {
    long(0, row);
}
