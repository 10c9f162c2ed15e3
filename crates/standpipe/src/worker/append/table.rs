//! What a table of Iceberg takes, where its files are, and the change that adds one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standpipe_convert::TableSchema;
use standpipe_convert::manifest::AddedFile;
use standpipe_model::{Delivery, ErrorClass, ObjectTarget, SinkError};
use standpipe_sinks::iceberg::{MAIN, Schema, TableMetadata};

use crate::iceberg::version_of;

/// What a snapshot says of the file that it added.
const FILE: &str = "standpipe.file";
/// The version of the format that is written.
const FORMAT_VERSION: u32 = 2;

pub(super) fn misconfigured(message: impl Into<String>) -> SinkError {
    SinkError::new(ErrorClass::Misconfigured, message)
}

/// Whether a file was added by a snapshot that the table still has.
pub(super) fn has(table: &TableMetadata, name: &str) -> bool {
    table.snapshots.iter().any(|snapshot| snapshot.summary.get(FILE).is_some_and(|file| file == name))
}

/// Checks that a table takes files of these columns; returns the version of its schema that they are of.
pub(super) fn check<'a>(table: &'a TableMetadata, columns: &TableSchema) -> Result<&'a Schema, SinkError> {
    if table.format_version != FORMAT_VERSION {
        let found = table.format_version;
        let message =
            format!("the table has version {found} of Iceberg's format, {FORMAT_VERSION} is written");
        return Err(misconfigured(message));
    }
    if table.partitioning().1 {
        return Err(misconfigured("the table is partitioned, and rows are added to tables that are not"));
    }
    let Some(version) = version_of(table, columns) else {
        // Its columns are known by other ids, or it is another table by now.
        let message = "the table has not the columns that the batch was closed under";
        return Err(misconfigured(message));
    };
    match version.requires_within {
        None => Ok(version.schema),
        Some(column) => {
            let message = format!(
                "within the column '{column}' there are values that must not be null, which cannot be kept to"
            );
            Err(misconfigured(message))
        }
    }
}

/// A folder of a table, by the setting that may name it or by its name below the table's own, and the scheme of its
/// address.
pub(super) fn folder(
    table: &TableMetadata,
    setting: &str,
    name: &str,
) -> Result<(String, ObjectTarget), SinkError> {
    let own = format!("{}/{name}", table.location.trim_end_matches('/'));
    let address = table.properties.get(setting).unwrap_or(&own);
    let (scheme, target) = split(address)?;
    Ok((scheme.to_owned(), target))
}

/// Scheme and place of an address in an object store.
pub(super) fn split(address: &str) -> Result<(&str, ObjectTarget), SinkError> {
    let found = address.split_once("://").and_then(|(scheme, rest)| {
        let (bucket, key) = rest.split_once('/')?;
        let key = key.trim_end_matches('/').to_owned();
        matches!(scheme, "s3" | "s3a" | "s3n" | "gs")
            .then(|| (scheme, ObjectTarget { bucket: bucket.to_owned(), key }))
    });
    found.ok_or_else(|| misconfigured(format!("the table has files at {address}, which is in no bucket")))
}

/// What the snapshot says of itself.
pub(super) fn summary(
    table: &TableMetadata,
    file: &AddedFile,
    name: &str,
    delivery: &Delivery,
) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::from([
        ("operation".to_owned(), "append".to_owned()),
        (FILE.to_owned(), name.to_owned()),
        ("standpipe.stream".to_owned(), delivery.stream.to_string()),
        ("standpipe.batch".to_owned(), delivery.batch.to_string()),
    ]);
    let earlier = |name: &str| match table.current() {
        Some(current) => current.summary.get(name).and_then(|text| text.parse::<i64>().ok()),
        None => Some(0),
    };
    for (name, added) in [("data-files", 1), ("records", file.rows), ("files-size", file.bytes)] {
        summary.insert(format!("added-{name}"), added.to_string());
        let total = format!("total-{name}");
        if let Some(before) = earlier(&total) {
            summary.insert(total, (before + added).to_string());
        }
    }
    for total in ["total-delete-files", "total-position-deletes", "total-equality-deletes"] {
        summary.extend(earlier(total).map(|before| (total.to_owned(), before.to_string())));
    }
    summary
}

/// The change that makes a snapshot the latest, if the one that it follows is that still.
pub(super) fn commit(table: &TableMetadata, snapshot: i64, added: Value) -> Value {
    let mut latest = table.refs.get(MAIN).cloned().unwrap_or_default();
    latest.insert("action".to_owned(), "set-snapshot-ref".into());
    latest.insert("ref-name".to_owned(), MAIN.into());
    latest.insert("type".to_owned(), "branch".into());
    latest.insert("snapshot-id".to_owned(), snapshot.into());
    let parent = table.current_id();
    json!({
        "requirements": [
            {"type": "assert-table-uuid", "uuid": table.table_uuid},
            {"type": "assert-ref-snapshot-id", "ref": MAIN, "snapshot-id": parent},
        ],
        "updates": [{"action": "add-snapshot", "snapshot": added}, latest],
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn table(more: &Value) -> TableMetadata {
        let mut metadata = json!({
            "format-version": 2, "table-uuid": "u", "location": "s3://b/t/", "last-updated-ms": 1,
            "current-schema-id": 0,
            "schemas": [{"schema-id": 0, "fields": [{"id": 1, "name": "a", "required": false, "type": "int"}]}],
        });
        let more = more.as_object().unwrap().clone();
        metadata.as_object_mut().unwrap().extend(more);
        serde_json::from_value(metadata).unwrap()
    }

    fn columns(id: i32) -> TableSchema {
        serde_json::from_value(json!([{"name": "a", "type": "int", "ids": [id]}])).unwrap()
    }

    #[test]
    fn a_table_takes_files_of_its_own_columns_without_partitions() {
        assert_eq!(check(&table(&json!({})), &columns(1)).unwrap().id, 0);
        let partitioned = json!({"default-spec-id": 1, "partition-specs": [{"spec-id": 1, "fields": [{}]}]});
        let required = json!({"schemas": [{"schema-id": 0, "fields": [
            {"id": 1, "name": "a", "required": false, "type": {
                "type": "list", "element-id": 2, "element": "int", "element-required": true,
            }},
        ]}]});
        let lists =
            serde_json::from_value(json!([{"name": "a", "type": "array<int>", "ids": [1, 2]}])).unwrap();
        for (more, columns, words) in [
            (json!({"format-version": 3}), columns(1), "the table has version 3 of Iceberg's format"),
            (partitioned, columns(1), "the table is partitioned"),
            (json!({}), columns(2), "the table has not the columns that the batch was closed under"),
            (required, lists, "within the column 'a' there are values that must not be null"),
        ] {
            let error = check(&table(&more), &columns).unwrap_err();
            assert_eq!(error.class, ErrorClass::Misconfigured);
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn files_go_below_the_table_or_where_it_says() {
        let (scheme, data) = folder(&table(&json!({})), "write.data.path", "data").unwrap();
        assert_eq!((scheme.as_str(), data.bucket.as_str(), data.key.as_str()), ("s3", "b", "t/data"));
        let elsewhere = table(&json!({"properties": {"write.data.path": "s3a://c/d/e/"}}));
        let (scheme, data) = folder(&elsewhere, "write.data.path", "data").unwrap();
        assert_eq!((scheme.as_str(), data.bucket.as_str(), data.key.as_str()), ("s3a", "c", "d/e"));
        for address in ["file:///t", "s3://b", "/t"] {
            assert_eq!(split(address).unwrap_err().class, ErrorClass::Misconfigured, "{address}");
        }
    }

    #[test]
    fn a_commit_requires_the_snapshot_that_it_follows_and_leaves_the_branchs_settings() {
        let before = json!({
            "refs": {"main": {"snapshot-id": 7, "type": "branch", "min-snapshots-to-keep": 3}},
            "snapshots": [{"snapshot-id": 7, "summary": {"standpipe.file": "f", "total-records": "5"}}],
        });
        let table = table(&before);
        assert!(has(&table, "f") && !has(&table, "g"));
        let change = commit(&table, 8, json!({}));
        assert_eq!(change["requirements"][1]["snapshot-id"], 7);
        assert_eq!(
            change["updates"][1],
            json!({"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 8,
                "min-snapshots-to-keep": 3})
        );
    }
}
