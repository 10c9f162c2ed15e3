//! Reference tables: rows by key, read once, never changed, known by the hash of what they were read from. Functions
//! look them up as text, `enrich` adds their columns as JSON.

mod footer;
mod parquet;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::processors::json;

/// The columns of a row and their values as text, in the order of the table. Columns without a value are left out.
pub(crate) type Cells = Arc<[(Arc<str>, Box<str>)]>;

/// Rows by key. A new version of the data is a new table.
pub struct Table {
    name: String,
    version: String,
    columns: BTreeSet<Arc<str>>,
    rows: HashMap<Box<str>, TableRow>,
}

/// A row of a table.
#[derive(Debug)]
pub(crate) struct TableRow {
    cells: Cells,
    /// Which of them are strings; the others are as JSON writes them.
    strings: Box<[bool]>,
}

impl TableRow {
    /// The row as text.
    pub(crate) fn cells(&self) -> Cells {
        Arc::clone(&self.cells)
    }

    /// Writes a column as JSON; `null` if the row does not have it.
    pub(crate) fn write_json(&self, column: &str, out: &mut Vec<u8>) {
        let mut cells = self.cells.iter().zip(&self.strings);
        match cells.find(|((name, _), _)| **name == *column) {
            Some(((_, text), true)) => {
                serde_json::to_writer(out, text).expect("a string is written into memory");
            }
            Some(((_, text), false)) => out.extend_from_slice(text.as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// What a table is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Comma-separated values (RFC 4180); the first line names the columns.
    Csv,
    /// An object on every line. Columns that are `null` are left out.
    JsonLines,
    /// Apache Parquet. Its rows are taken as JSON has them; columns that are null are left out.
    Parquet,
}

/// Where a row is, counting from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In text.
    Line(u64),
    /// In what has no lines.
    Row(u64),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// A table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The key is none of the columns.
    #[error("the table has no column '{key}'")]
    NoKeyColumn {
        /// The column that was to be the key.
        key: String,
    },
    /// A row without a key.
    #[error("{at} has no value for the key '{key}'")]
    NoKey {
        /// The row.
        at: At,
        /// The key's column.
        key: String,
    },
    /// Two rows with the same key.
    #[error("{at} has a key that came before: '{value}'")]
    DuplicateKey {
        /// The second one.
        at: At,
        /// The key.
        value: String,
    },
    /// It is no CSV.
    #[error("not CSV")]
    Csv(#[from] csv::Error),
    /// A line is no JSON object.
    #[error("line {line} is no JSON object")]
    Json {
        /// The line.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is no Parquet, or what is in it cannot be told as JSON.
    #[error("the Parquet cannot be read from row {row} on")]
    Parquet {
        /// The first row that was not read.
        row: u64,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its rows are larger than they may be.
    #[error("its rows come to more than {max} bytes as JSON, which is its max")]
    TooLarge {
        /// What they may come to.
        max: u64,
    },
}

impl Table {
    /// Reads a table whose rows are known by the column `key`.
    ///
    /// # Errors
    /// [`TableError`] names the row; the data has to be corrected.
    pub fn read(name: &str, format: TableFormat, key: &str, bytes: &[u8]) -> Result<Self, TableError> {
        Self::read_within(name, format, key, &Bytes::copy_from_slice(bytes), u64::MAX)
    }

    /// As [`Self::read`], but what is compressed may come to at most `max` bytes.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn read_within(
        name: &str,
        format: TableFormat,
        key: &str,
        bytes: &Bytes,
        max: u64,
    ) -> Result<Self, TableError> {
        let version = hex::encode(Sha256::digest(bytes));
        let mut table =
            Self { name: name.to_owned(), version, columns: BTreeSet::new(), rows: HashMap::new() };
        match format {
            TableFormat::Csv => table.read_csv(key, bytes)?,
            TableFormat::JsonLines => table.read_json(key, bytes)?,
            TableFormat::Parquet => table.read_parquet(key, bytes, max)?,
        }
        table.columns.remove(key);
        Ok(table)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of what it was read from, in hexadecimal.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The names of its columns but that of the keys.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| &**column)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&TableRow> {
        self.rows.get(key)
    }

    fn read_csv(&mut self, key: &str, bytes: &[u8]) -> Result<(), TableError> {
        let mut reader = csv::Reader::from_reader(bytes);
        let columns: Vec<Arc<str>> = reader.headers()?.iter().map(Into::into).collect();
        let no_column = || TableError::NoKeyColumn { key: key.to_owned() };
        let key_at = columns.iter().position(|column| **column == *key).ok_or_else(no_column)?;
        for record in reader.records() {
            let record = record?;
            let at = At::Line(record.position().map_or(0, csv::Position::line));
            let value = record.get(key_at).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| TableError::NoKey { at, key: key.to_owned() })?;
            let cells: Cells = columns.iter().cloned().zip(record.iter().map(Into::into)).collect();
            let strings = cells.iter().map(|_| true).collect();
            self.insert(at, value, TableRow { cells, strings })?;
        }
        self.columns.extend(columns);
        Ok(())
    }

    fn read_json(&mut self, key: &str, bytes: &[u8]) -> Result<(), TableError> {
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
        for (text, line) in lines.filter(|(text, _)| !text.trim_ascii().is_empty()) {
            let object: Map<String, Value> =
                serde_json::from_slice(text).map_err(|source| TableError::Json { line, source })?;
            let value = object.get(key).and_then(|value| key_text(value.to_string().as_bytes()));
            let cells = object.into_iter().map(|(column, cell)| match cell {
                Value::Null => (column, None),
                Value::String(text) => (column, Some((text.into(), true))),
                other => (column, Some((other.to_string().into(), false))),
            });
            self.insert_cells(At::Line(line), key, value, cells)?;
        }
        Ok(())
    }

    /// Takes a row whose columns it tells itself, each with its text and whether that is a
    /// string, where it has a value.
    fn insert_cells(
        &mut self,
        at: At,
        key: &str,
        value: Option<String>,
        all: impl Iterator<Item = (String, Option<(Box<str>, bool)>)>,
    ) -> Result<(), TableError> {
        let value = value.ok_or_else(|| TableError::NoKey { at, key: key.to_owned() })?;
        let (mut cells, mut strings) = (Vec::new(), Vec::new());
        for (column, cell) in all {
            let column = self.column(column);
            if let Some((text, is_string)) = cell {
                cells.push((column, text));
                strings.push(is_string);
            }
        }
        self.insert(at, &value, TableRow { cells: cells.into(), strings: strings.into() })
    }

    /// The name of a column, which is kept once for all rows.
    fn column(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.columns.get(&*name) {
            return Arc::clone(known);
        }
        let column: Arc<str> = name.into();
        self.columns.insert(Arc::clone(&column));
        column
    }

    fn insert(&mut self, at: At, key: &str, row: TableRow) -> Result<(), TableError> {
        match self.rows.insert(key.into(), row) {
            None => Ok(()),
            Some(_) => Err(TableError::DuplicateKey { at, value: key.to_owned() }),
        }
    }
}

/// A key that is written as JSON, as text: as that of a record is.
fn key_text(written: &[u8]) -> Option<String> {
    let (value, _) = json::values(written).ok()?.next()?.ok()?;
    json::key_text(&value)
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("rows", &self.rows.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: &Table, key: &str) -> Vec<(String, String)> {
        let cells = table.get(key).map(TableRow::cells).unwrap_or_default();
        cells.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn csv_gives_rows_by_key() {
        let text = b"device,site\nd1,\"Bern, roof\"\nd2,\n";
        let table = Table::read("devices", TableFormat::Csv, "device", text).unwrap();
        assert_eq!(row(&table, "d1"), [pair("device", "d1"), pair("site", "Bern, roof")]);
        assert_eq!(row(&table, "d2"), [pair("device", "d2"), pair("site", "")]);
        assert!(table.get("d3").is_none());
        assert_eq!((table.len(), table.version().len()), (2, 64));
    }

    #[test]
    fn json_lines_give_rows_whose_values_are_text() {
        let text = b"{\"id\": 7, \"on\": true, \"tags\": [1], \"no\": null}\n\n{\"id\": \"x\"}\n";
        let table = Table::read("t", TableFormat::JsonLines, "id", text).unwrap();
        assert_eq!(row(&table, "7"), [pair("id", "7"), pair("on", "true"), pair("tags", "[1]")]);
        assert_eq!(row(&table, "x"), [pair("id", "x")]);
        let mut written = Vec::new();
        for column in table.columns() {
            table.get("7").unwrap().write_json(column, &mut written);
            written.push(b' ');
        }
        assert_eq!(written, b"null true [1] ");
    }

    #[test]
    fn other_data_is_another_version() {
        let read = |text: &[u8]| Table::read("t", TableFormat::Csv, "k", text).unwrap().version().to_owned();
        assert_eq!(read(b"k\na\n"), read(b"k\na\n"));
        assert_ne!(read(b"k\na\n"), read(b"k\nb\n"));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_line() {
        let told =
            |format, text: &str| Table::read("t", format, "k", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told(TableFormat::Csv, "a,b\n1,2\n"), "the table has no column 'k'");
        assert_eq!(told(TableFormat::Csv, "k,b\n1,2\n,3\n"), "line 3 has no value for the key 'k'");
        assert_eq!(told(TableFormat::Csv, "k\n1\n1\n"), "line 3 has a key that came before: '1'");
        assert_eq!(told(TableFormat::Csv, "k,b\n1\n"), "not CSV");
        assert_eq!(told(TableFormat::JsonLines, "{\"k\":1}\nno\n"), "line 2 is no JSON object");
        assert_eq!(told(TableFormat::JsonLines, "{\"k\":null}"), "line 1 has no value for the key 'k'");
    }
}
