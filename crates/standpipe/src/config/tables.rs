//! The `tables` section: reference data that functions and `enrich` look up, by name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_transform::TableFormat;

use super::check::known;
use super::compound::{Map, Named, Sub};
use super::problem::Spot;
use super::reader::Section;
use super::shapes::{Choice, FilePath, Size, Span, text};
use super::stores::StoreConfig;

/// A reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// Where it is.
    pub from: TableSource,
    /// What is in it.
    pub format: TableFormat,
    /// The column that rows are known by.
    pub key: String,
    /// How often it is looked at again; only at a reload where absent.
    pub refresh: Option<Duration>,
    /// The most bytes that it may have.
    pub max_bytes: u64,
}

impl TableConfig {
    /// The object that it is, if it is no file.
    pub(crate) fn object(&self) -> Option<&TableObject> {
        match &self.from {
            TableSource::File(_) => None,
            TableSource::Object(object) => Some(object),
        }
    }
}

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableSource {
    /// A file.
    File(PathBuf),
    /// An object of a store.
    Object(TableObject),
}

/// An object that is a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableObject {
    /// The store's name.
    pub store: String,
    /// The bucket; empty for a store that has none.
    pub bucket: String,
    /// The object's key.
    pub object: String,
}

/// Reads `tables`.
pub(super) fn tables(section: &mut Section<'_, '_>) -> Vec<Named<TableConfig>> {
    let tables = section.optional(
        "tables",
        Map(Sub(table)),
        "Reference tables, by the names that `enrich` processors and functions look rows up by.",
    );
    tables.unwrap_or_default()
}

fn table(section: &mut Section<'_, '_>) -> Option<TableConfig> {
    let from = source(section);
    let format = section.optional(
        "format",
        Choice(&[
            ("csv", TableFormat::Csv),
            ("jsonl", TableFormat::JsonLines),
            ("parquet", TableFormat::Parquet),
        ]),
        "`csv` with a line of names, `jsonl`: a JSON object on each line, or `parquet`. Where absent, `parquet` if the \
         name ends in `.parquet`, `jsonl` if it ends in `.jsonl`, and else `csv`.",
    );
    let key =
        section.required("key", text(1..=256), "The column that rows are known by; no two have the same.");
    let refresh = section.optional(
        "refresh",
        Span(Duration::from_secs(1)..=Duration::from_hours(24)),
        "How often it is looked at again. Where absent, it is read at a reload only.",
    );
    let max_bytes = section.or(
        "max",
        Size(1..=1 << 30),
        "64MiB",
        "The most bytes that it may have; a larger one is refused. Of Parquet, also what its rows come to as JSON lines.",
    );
    let from = from?;
    let format = format.unwrap_or_else(|| by_name(&from));
    Some(TableConfig { from, format, key: key?, refresh, max_bytes })
}

fn source(section: &mut Section<'_, '_>) -> Option<TableSource> {
    let path = section.optional("path", FilePath, "The file; or else `store` and `object`.");
    let store = section.optional("store", text(1..=256), "The store that has it as an object.");
    let bucket = section.optional(
        "bucket",
        text(1..=256),
        "The object's bucket or container; in a local folder, the folder below it. Where absent, the only one of the \
         store's `buckets`; a local folder needs none.",
    );
    let object = section.optional("object", text(1..=1024), "The object's key.");
    if section.given("path") {
        for beside in ["store", "bucket", "object"] {
            section.exclusive("path", beside);
        }
        return path.map(TableSource::File);
    }
    if !(section.given("store") && section.given("object")) {
        section.refuse("", "give its \"path\", or \"store\" and \"object\"");
    }
    let (store, object) = (store?, object?);
    Some(TableSource::Object(TableObject { store, bucket: bucket.unwrap_or_default(), object }))
}

/// What a table is by the name of its file or object.
fn by_name(from: &TableSource) -> TableFormat {
    let name = match from {
        TableSource::File(path) => path.as_path(),
        TableSource::Object(object) => Path::new(&object.object),
    };
    match name.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => TableFormat::Parquet,
        Some("jsonl") => TableFormat::JsonLines,
        _ => TableFormat::Csv,
    }
}

/// Finds the stores of tables that are objects, and puts in the bucket where its store leaves no choice. What is wrong
/// with a table comes with its place.
pub(super) fn find_objects<'a>(
    tables: &'a mut [Named<TableConfig>],
    stores: &[Named<StoreConfig>],
) -> Vec<(&'a Spot, String)> {
    let find = |object: &mut TableObject| {
        known("store", &object.store, stores)?;
        let store = stores.iter().find(|(name, ..)| *name == object.store);
        let Some((.., Some(store))) = store else { return Ok(()) };
        if object.bucket.is_empty() && !matches!(store, StoreConfig::File(_)) {
            let [only] = store.buckets() else {
                return Err(
                    "give its \"bucket\": not exactly one is under \"buckets\" of its store".to_owned()
                );
            };
            object.bucket.clone_from(only);
        }
        Ok(())
    };
    let wrong = tables.iter_mut().filter_map(|(_, spot, table)| {
        let TableSource::Object(object) = &mut table.as_mut()?.from else { return None };
        Some((&*spot, find(object).err()?))
    });
    wrong.collect()
}
