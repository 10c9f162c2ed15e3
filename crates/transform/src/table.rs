//! Reference tables: rows by key, read once, never changed, known by the hash of what they were read from.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A row: its columns and their values, in the order of the table. Values that are no text are as JSON writes them.
pub type TableRow = Arc<[(Arc<str>, Box<str>)]>;

/// Rows by key. A new version of the data is a new table.
pub struct Table {
    name: String,
    version: String,
    rows: HashMap<Box<str>, TableRow>,
}

/// What a table is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated values (RFC 4180); the first line names the columns.
    Csv,
    /// An object on every line. Columns that are `null` are left out.
    JsonLines,
}

/// A table could not be read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The key is none of the columns.
    #[error("the table has no column '{key}'")]
    NoKeyColumn {
        /// The column that was to be the key.
        key: String,
    },
    /// A row without a key.
    #[error("line {line} has no value for the key '{key}'")]
    NoKey {
        /// The line.
        line: u64,
        /// The key's column.
        key: String,
    },
    /// Two rows with the same key.
    #[error("line {line} has a key that came before: '{value}'")]
    DuplicateKey {
        /// The line of the second one.
        line: u64,
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
}

impl Table {
    /// Reads a table whose rows are known by the column `key`.
    ///
    /// # Errors
    /// [`TableError`] names the line; the data has to be corrected.
    pub fn read(name: &str, format: TableFormat, key: &str, bytes: &[u8]) -> Result<Self, TableError> {
        let rows = match format {
            TableFormat::Csv => csv_rows(key, bytes)?,
            TableFormat::JsonLines => json_rows(key, bytes)?,
        };
        Ok(Self { name: name.to_owned(), version: hex::encode(Sha256::digest(bytes)), rows })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of what it was read from, in hexadecimal.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The row with this key.
    pub fn get(&self, key: &str) -> Option<&TableRow> {
        self.rows.get(key)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
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

type Rows = HashMap<Box<str>, TableRow>;

fn insert(rows: &mut Rows, line: u64, key: &str, row: TableRow) -> Result<(), TableError> {
    match rows.insert(key.into(), row) {
        None => Ok(()),
        Some(_) => Err(TableError::DuplicateKey { line, value: key.to_owned() }),
    }
}

fn csv_rows(key: &str, bytes: &[u8]) -> Result<Rows, TableError> {
    let mut reader = csv::Reader::from_reader(bytes);
    let columns: Vec<Arc<str>> = reader.headers()?.iter().map(Into::into).collect();
    let no_column = || TableError::NoKeyColumn { key: key.to_owned() };
    let key_at = columns.iter().position(|column| **column == *key).ok_or_else(no_column)?;
    let mut rows = Rows::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let value = record.get(key_at).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| TableError::NoKey { line, key: key.to_owned() })?;
        let row = columns.iter().cloned().zip(record.iter().map(Into::into)).collect();
        insert(&mut rows, line, value, row)?;
    }
    Ok(rows)
}

fn json_rows(key: &str, bytes: &[u8]) -> Result<Rows, TableError> {
    // The columns of all rows are few; each name is kept once.
    let mut columns: HashMap<String, Arc<str>> = HashMap::new();
    let mut rows = Rows::new();
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    for (text, line) in lines.filter(|(text, _)| !text.trim_ascii().is_empty()) {
        let object: Map<String, Value> =
            serde_json::from_slice(text).map_err(|source| TableError::Json { line, source })?;
        let value = object.get(key).and_then(text_of).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| TableError::NoKey { line, key: key.to_owned() })?;
        let cells = object.into_iter().filter_map(|(column, cell)| {
            let column = columns.entry(column).or_insert_with_key(|column| column.as_str().into());
            Some((Arc::clone(column), text_of(&cell)?.into()))
        });
        let row = cells.collect();
        insert(&mut rows, line, &value, row)?;
    }
    Ok(rows)
}

/// A value as a column of a row holds it.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: &Table, key: &str) -> Vec<(String, String)> {
        let row = table.get(key).into_iter().flat_map(|row| row.iter());
        row.map(|(name, value)| (name.to_string(), value.to_string())).collect()
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
    }

    #[test]
    fn other_data_is_another_version() {
        let read = |text: &[u8]| Table::read("t", TableFormat::Csv, "k", text).unwrap().version().to_owned();
        assert_eq!(read(b"k\na\n"), read(b"k\na\n"));
        assert_ne!(read(b"k\na\n"), read(b"k\nb\n"));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_line() {
        let told = |format, text: &str| {
            Table::read("t", format, "k", text.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(told(TableFormat::Csv, "a,b\n1,2\n"), "the table has no column 'k'");
        assert_eq!(told(TableFormat::Csv, "k,b\n1,2\n,3\n"), "line 3 has no value for the key 'k'");
        assert_eq!(told(TableFormat::Csv, "k\n1\n1\n"), "line 3 has a key that came before: '1'");
        assert_eq!(told(TableFormat::Csv, "k,b\n1\n"), "not CSV");
        assert_eq!(told(TableFormat::JsonLines, "{\"k\":1}\nno\n"), "line 2 is no JSON object");
        assert_eq!(told(TableFormat::JsonLines, "{\"k\":null}"), "line 1 has no value for the key 'k'");
    }
}
