//! `csv_to_json`: each line of a record becomes a row, a JSON object with the columns as keys.
//!
//! Records are independent of each other, and so is what is known of a header: with `header: true` the first line of
//! *each record* names the columns of the lines below it, as when whole files are put. A producer that puts a line per
//! record has its columns named in the configuration.
//!
//! # Limits
//! A record comes to at most [`OUTPUT_BYTES_MAX`], as each line repeats the names of the columns.

mod lines;

use std::collections::BTreeMap;

use bytes::Bytes;
use csv_core::Reader;
use serde::{Deserialize, Serialize};

use self::lines::{Line, Lines};
use super::OptionError;
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// The most bytes that a record comes to.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Where the names of the columns come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Header {
    /// `true`: the first line of each record; `false`: the columns are `_1`, `_2` and so on.
    Line(bool),
    /// They are these.
    Names(Vec<String>),
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// Text, as it is.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A number, of which each digit stays.
    Float,
    /// `true`, `t`, `yes`, `1`, or `false`, `f`, `no`, `0`, in any case.
    Bool,
}

/// The options of `csv_to_json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvToJsonOptions {
    /// Where the names of the columns come from.
    pub header: Header,
    /// What is between fields: one ASCII character; `\t` for a tabulator.
    pub delimiter: String,
    /// What is around fields: one ASCII character, twice within a field for itself; empty for none.
    pub quote: String,
    /// What the columns hold that are not strings. An empty field of such a column is null.
    pub types: BTreeMap<String, Column>,
}

impl Default for CsvToJsonOptions {
    fn default() -> Self {
        Self {
            header: Header::Line(true),
            delimiter: ",".to_owned(),
            quote: "\"".to_owned(),
            types: BTreeMap::new(),
        }
    }
}

/// Makes JSON objects of lines.
#[derive(Debug)]
pub struct CsvToJson {
    reader: csv_core::ReaderBuilder,
    types: BTreeMap<String, Column>,
    columns: Columns,
}

/// What is known of the columns ahead.
#[derive(Debug)]
enum Columns {
    InFirstLine,
    Numbered,
    Known(Vec<Named>),
}

/// A column: its name as the beginning of a member (`"name":`), and what it holds.
#[derive(Debug)]
struct Named {
    member: String,
    holds: Column,
}

/// Why a record has no rows.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("The record is not UTF-8: {0}.")]
    Utf8(#[from] std::str::Utf8Error),
    #[error("Line {line} has {fields} fields, and there are {columns} columns.")]
    Fields { line: u64, fields: usize, columns: usize },
    #[error("The column `{0}` is there twice.")]
    Duplicate(String),
    #[error("Line {line}: `{value}` is no {holds:?}, which `{column}` holds.")]
    Type { line: u64, column: String, holds: Column, value: String },
    #[error("The record comes to more than {OUTPUT_BYTES_MAX} bytes.")]
    Long,
}

impl Fault {
    fn code(&self) -> &'static str {
        match self {
            Self::Long => "CsvToJson.LimitExceeded",
            Self::Type { .. } => "CsvToJson.TypeMismatch",
            Self::Utf8(_) | Self::Fields { .. } | Self::Duplicate(_) => "CsvToJson.MalformedRecord",
        }
    }
}

impl CsvToJson {
    /// Takes the options.
    ///
    /// # Errors
    /// A delimiter or quote is not one ASCII character, a name is there twice, or a type is that of no column.
    pub fn new(options: &CsvToJsonOptions) -> Result<Self, OptionError> {
        let wrong = |field, value: &str, reason| OptionError::new("csv_to_json", field, value, reason);
        let delimiter = character(&options.delimiter)
            .ok_or_else(|| wrong("delimiter", &options.delimiter, "must be one ASCII character"))?;
        let quote = match &options.quote[..] {
            "" => None,
            text => Some(character(text).filter(|quote| *quote != delimiter).ok_or_else(|| {
                wrong("quote", text, "must be one ASCII character other than the delimiter, or empty")
            })?),
        };
        let columns = match &options.header {
            Header::Line(true) => Columns::InFirstLine,
            Header::Line(false) => Columns::Numbered,
            Header::Names(names) if names.is_empty() => {
                return Err(wrong("header", "[]", "must name at least one column"));
            }
            Header::Names(names) => Columns::Known(
                named(names.iter().map(String::as_str), &options.types)
                    .map_err(|name| wrong("header", &name, "is there twice"))?,
            ),
        };
        if let Header::Names(names) = &options.header
            && let Some(unknown) = options.types.keys().find(|column| !names.contains(column))
        {
            return Err(wrong("types", unknown, "is not among the columns of `header`"));
        }
        let mut reader = csv_core::ReaderBuilder::new();
        reader.delimiter(delimiter).quoting(quote.is_some()).quote(quote.unwrap_or(b'"'));
        Ok(Self { reader, types: options.types.clone(), columns })
    }

    /// Writes the rows of a record, and gives the end of each.
    fn write(&self, reader: &mut Reader, record: &[u8], out: &mut Vec<u8>) -> Result<Vec<usize>, Fault> {
        std::str::from_utf8(record)?;
        let mut lines = Lines::new(reader, record);
        let mut line = lines.next();
        let found;
        let columns = match (&self.columns, &line) {
            (Columns::Known(columns), _) => columns,
            (Columns::InFirstLine, Some(first)) => {
                found = named(first.fields(), &self.types).map_err(Fault::Duplicate)?;
                line = lines.next();
                &found
            }
            (Columns::Numbered, Some(first)) => {
                let numbers: Vec<String> =
                    first.fields().zip(1..).map(|(_, number)| format!("_{number}")).collect();
                found = named(numbers.iter().map(String::as_str), &self.types).map_err(Fault::Duplicate)?;
                &found
            }
            (_, None) => return Ok(Vec::new()),
        };
        let (begin, mut ends) = (out.len(), Vec::new());
        while let Some(one) = line {
            object(&one, columns, out)?;
            if out.len() - begin > OUTPUT_BYTES_MAX {
                return Err(Fault::Long);
            }
            ends.push(out.len());
            line = lines.next();
        }
        Ok(ends)
    }
}

impl Processor for CsvToJson {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        // One allocation for the chunk, of which each row is a part.
        let mut data = Vec::with_capacity(2 * rows.iter().map(|row| row.data.len()).sum::<usize>());
        let mut kept = Vec::with_capacity(rows.len());
        // To make a reader takes longer than most records do.
        let mut reader = self.reader.build();
        for row in rows {
            let begin = data.len();
            match self.write(&mut reader, &row.data, &mut data) {
                Ok(ends) => kept.push((row, ends)),
                Err(fault) => {
                    data.truncate(begin);
                    let failure = Failure::once(FailureKind::Processing, fault.code(), fault.to_string());
                    out.fail(row.origin, failure);
                }
            }
        }
        let (data, mut begin) = (Bytes::from(data), 0);
        for (row, ends) in kept {
            for end in ends {
                out.keep(row.clone().with_data(data.slice(begin..end)));
                begin = end;
            }
        }
    }
}

/// A character that is written as itself, or `\t`.
fn character(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"\\t" => Some(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Some(*byte),
        _ => None,
    }
}

/// Columns of these names; the name that is there twice as an error.
fn named<'a>(
    names: impl Iterator<Item = &'a str>,
    types: &BTreeMap<String, Column>,
) -> Result<Vec<Named>, String> {
    let mut seen = std::collections::HashSet::new();
    names
        .map(|name| {
            if !seen.insert(name) {
                return Err(name.to_owned());
            }
            let holds = types.get(name).copied().unwrap_or(Column::String);
            let name = serde_json::to_string(name).expect("a string is written into memory");
            Ok(Named { member: name + ":", holds })
        })
        .collect()
}

/// Writes a line as an object.
fn object(line: &Line, columns: &[Named], out: &mut Vec<u8>) -> Result<(), Fault> {
    let number = line.number;
    if line.len() != columns.len() {
        return Err(Fault::Fields { line: number, fields: line.len(), columns: columns.len() });
    }
    out.push(b'{');
    for (place, (column, field)) in columns.iter().zip(line.fields()).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(column.member.as_bytes());
        if !value(field, column.holds, out) {
            return Err(Fault::Type {
                line: number,
                column: column.member.trim_end_matches(':').trim_matches('"').to_owned(),
                holds: column.holds,
                value: field.chars().take(60).collect(),
            });
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes a field, if it is what its column holds.
fn value(field: &str, holds: Column, out: &mut Vec<u8>) -> bool {
    if holds == Column::String {
        serde_json::to_writer(&mut *out, field).expect("a string is written into memory");
        return true;
    }
    let text = field.trim();
    if text.is_empty() {
        out.extend_from_slice(b"null");
        return true;
    }
    match holds {
        Column::String => true,
        Column::Int => text.parse::<i64>().is_ok_and(|number| {
            out.extend_from_slice(number.to_string().as_bytes());
            true
        }),
        Column::Float => float(text, out),
        Column::Bool => match &*text.to_ascii_lowercase() {
            "true" | "t" | "yes" | "1" => {
                out.extend_from_slice(b"true");
                true
            }
            "false" | "f" | "no" | "0" => {
                out.extend_from_slice(b"false");
                true
            }
            _ => false,
        },
    }
}

/// Writes a number, in its own words where they are JSON's.
fn float(text: &str, out: &mut Vec<u8>) -> bool {
    let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else { return false };
    if serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok() {
        out.extend_from_slice(text.as_bytes());
    } else {
        serde_json::to_writer(out, &number).expect("a finite number is written into memory");
    }
    true
}

#[cfg(test)]
mod tests;
