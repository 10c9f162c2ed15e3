//! The `tables` section: reference data that functions and `enrich` look up, by name.

use std::path::PathBuf;
use std::time::Duration;

use standpipe_transform::TableFormat;

use super::compound::{Map, Named, Sub};
use super::reader::Section;
use super::shapes::{Choice, FilePath, Size, Span, text};

/// A reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub format: TableFormat,
    /// The column that rows are known by.
    pub key: String,
    /// How often the file is looked at again; only at a reload where absent.
    pub refresh: Option<Duration>,
    /// The most bytes that the file may have.
    pub max_bytes: u64,
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
    let path = section.required("path", FilePath, "The file.");
    let format = section.or(
        "format",
        Choice(&[("csv", TableFormat::Csv), ("jsonl", TableFormat::JsonLines)]),
        "csv",
        "`csv` with a line of names, or `jsonl`: a JSON object on each line.",
    );
    let key =
        section.required("key", text(1..=256), "The column that rows are known by; no two have the same.");
    let refresh = section.optional(
        "refresh",
        Span(Duration::from_secs(1)..=Duration::from_hours(24)),
        "How often the file is looked at again. Where absent, it is read at a reload only.",
    );
    let max_bytes = section.or(
        "max",
        Size(1..=1 << 30),
        "64MiB",
        "The most bytes that the file may have; a larger one is refused.",
    );
    Some(TableConfig { path: path?, format, key: key?, refresh, max_bytes })
}
