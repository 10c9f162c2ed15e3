//! Rows of JSON into columns, by the rules of the two deserializers that AWS has.
//!
//! A record is one or more documents, each a row. The parser is pulled by the schema: what no column asks for is passed
//! over, and no tree is built.

pub mod infer;
mod joda;
mod number;
mod plan;
mod text;
mod time;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use jiter::{Jiter, JiterError, Peek};
use serde::{Deserialize, Serialize};

use crate::growing::Growing;
use crate::schema::TableSchema;
pub use joda::{JodaError, TimestampFormat};
use plan::Members;

/// The characters of a value that an error shows.
const SHOWN_CHARS: usize = 200;

/// How rows are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deserializer {
    /// `OpenXJsonSerDe`: lenient.
    OpenX(OpenX),
    /// `HiveJsonSerDe`: strict.
    Hive {
        /// The formats of timestamps, tried in order; JDBC's (`yyyy-MM-dd HH:mm:ss[.f…]`) where there is none.
        timestamp_formats: Vec<TimestampFormat>,
    },
}

impl Default for Deserializer {
    fn default() -> Self {
        Self::OpenX(OpenX::default())
    }
}

/// Settings of `OpenXJsonSerDe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenX {
    /// The case of keys does not matter; keys are in lower case wherever they are kept (`CaseInsensitive`).
    pub case_insensitive: bool,
    /// A dot in a key is an underscore in the column's name (`ConvertDotsInJsonKeysToUnderscores`).
    pub dots_to_underscores: bool,
    /// The keys of columns that are called otherwise, by column (`ColumnToJsonKeyMappings`).
    pub mappings: BTreeMap<String, String>,
}

impl Default for OpenX {
    fn default() -> Self {
        Self { case_insensitive: true, dots_to_underscores: false, mappings: BTreeMap::new() }
    }
}

/// A record does not become rows. No other attempt would change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError(Box<Fault>);

/// Behind a pointer, as every value that is read may give one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    is_json: bool,
    what: String,
    /// From the innermost member to the column; empty for the record itself.
    path: Vec<String>,
}

impl RowError {
    /// The code in the error output.
    pub fn code(&self) -> &'static str {
        match self.0.is_json {
            true => "DataFormatConversion.MalformedData",
            false => "DataFormatConversion.ParseError",
        }
    }

    /// What is no JSON.
    fn parse(what: impl fmt::Display) -> Self {
        let what = format!("Encountered malformed JSON. {what}");
        Self(Box::new(Fault { is_json: false, what, path: Vec::new() }))
    }

    /// A record that is no row at all.
    fn record(what: impl Into<String>) -> Self {
        Self(Box::new(Fault { is_json: true, what: what.into(), path: Vec::new() }))
    }

    /// A value that does not fit its column.
    pub(crate) fn value(what: impl fmt::Display) -> Self {
        Self::record(format!("Data does not match the schema. {what}"))
    }

    /// A text that is no value of the column.
    fn input(text: &str) -> Self {
        Self::value(format_args!("For input string: {:?}", shown(text)))
    }

    /// The same, within a member.
    fn within(mut self, member: &str) -> Self {
        if self.0.is_json {
            self.0.path.push(member.to_owned());
        }
        self
    }
}

/// A text, cut to what an error shows.
fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARS).map_or(text, |(end, _)| &text[..end])
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if self.0.path.is_empty() {
            return Ok(());
        }
        let path: Vec<&str> = self.0.path.iter().rev().map(String::as_str).collect();
        write!(f, " (column {})", path.join("."))
    }
}

impl std::error::Error for RowError {}

impl From<JiterError> for RowError {
    fn from(error: JiterError) -> Self {
        Self::parse(format_args!("{} at byte {}", error.error_type, error.index))
    }
}

impl From<crate::growing::TooMuch> for RowError {
    fn from(_: crate::growing::TooMuch) -> Self {
        Self::value("There is too much of it for one part of a file.")
    }
}

/// Keys and columns do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A column that does not exist is mapped.
    #[error("mappings: there is no column '{0}'")]
    NoColumn(String),
    /// One key would be two columns.
    #[error("the key '{key}' would be column '{one}' and column '{other}'")]
    Twice {
        /// The key, as it is compared.
        key: String,
        /// A column.
        one: String,
        /// Another one.
        other: String,
    },
}

/// How the rows of a table are read, worked out once for all readers of it.
#[derive(Debug)]
pub struct RowPlan {
    table: TableSchema,
    schema: SchemaRef,
    members: Members,
    rules: value::Rules,
}

/// Reads records into the columns of a table.
#[derive(Debug)]
pub struct RowReader {
    plan: Arc<RowPlan>,
    columns: Vec<Growing>,
    rows: usize,
    met_strangers: bool,
}

impl RowPlan {
    /// The rows of a table.
    pub fn new(table: &TableSchema, deserializer: &Deserializer) -> Self {
        Self::by(table, value::Rules::new(deserializer))
    }

    fn by(table: &TableSchema, rules: value::Rules) -> Self {
        let columns = table.columns().iter();
        let members = columns.map(|column| (column.name.as_str(), &column.kind, column.required));
        let members = Members::new(members, &rules, true);
        Self { table: table.clone(), schema: table.to_arrow(), members, rules }
    }

    /// A reader that has no rows yet.
    pub fn reader(self: &Arc<Self>) -> RowReader {
        let columns = self.table.columns().iter().map(|column| Growing::new(&column.kind)).collect();
        RowReader { plan: Arc::clone(self), columns, rows: 0, met_strangers: false }
    }

    /// About how many bytes of columns a row takes, whatever it says.
    pub fn row_bytes(&self) -> usize {
        self.members.width()
    }
}

impl RowReader {
    /// A reader that has no rows yet.
    pub fn new(table: &TableSchema, deserializer: &Deserializer) -> Self {
        Arc::new(RowPlan::new(table, deserializer)).reader()
    }

    /// Checks that each key of a row is one column.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn check(table: &TableSchema, deserializer: &Deserializer) -> Result<(), KeyError> {
        let rules = value::Rules::new(deserializer);
        if let Deserializer::OpenX(OpenX { mappings, .. }) = deserializer {
            let known = |column: &&String| table.columns().iter().any(|known| known.name == **column);
            if let Some(column) = mappings.keys().find(|column| !known(column)) {
                return Err(KeyError::NoColumn(column.clone()));
            }
        }
        let mut keys = BTreeMap::new();
        for column in table.columns() {
            let key = rules.key_of(&column.name, true);
            if let Some(other) = keys.insert(key.clone(), column.name.clone()) {
                return Err(KeyError::Twice { key, one: other, other: column.name.clone() });
            }
        }
        Ok(())
    }

    /// Whether the record that was last added had keys with values that are no columns or members.
    pub fn met_strangers(&self) -> bool {
        self.met_strangers
    }

    /// The rows that it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the rows of a record; returns how many there are.
    ///
    /// # Errors
    /// [`RowError`]: nothing was added.
    pub fn push(&mut self, record: &[u8]) -> Result<usize, RowError> {
        let before = self.rows;
        self.documents(record).inspect_err(|_| self.truncate(before))
    }

    /// Forgets all rows from the number `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        // Also of a row that was begun and not added.
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        self.rows = self.rows.min(rows);
    }

    /// The rows as columns; the reader has none afterwards.
    ///
    /// # Errors
    /// The columns do not fit together, which would be a fault of this crate.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let fields = self.plan.schema.fields();
        if fields.is_empty() {
            return Ok(RecordBatch::new_empty(self.plan.schema.clone()));
        }
        let arrays =
            self.columns.iter_mut().zip(fields).map(|(column, field)| column.finish(field.data_type()));
        RecordBatch::try_new(self.plan.schema.clone(), arrays.collect::<Result<_, _>>()?)
    }

    fn documents(&mut self, record: &[u8]) -> Result<usize, RowError> {
        let Self { plan, columns, rows, met_strangers } = self;
        let (members, rules) = (&plan.members, &value::Reading::by(&plan.rules));
        let read = documents(record, |json, peek| {
            match peek {
                Peek::Object => value::object(json, members, columns, *rows, rules)?,
                Peek::Array if rules.is_lenient() => value::positions(json, members, columns, *rows, rules)?,
                Peek::Array => return Err(RowError::value("Start of Object expected")),
                _ => return Err(no_row(json, peek)),
            }
            members.check_required(columns, *rows)?;
            *rows += 1;
            Ok(())
        });
        *met_strangers = rules.met_strangers();
        read
    }
}

/// Has every document of a record read, which is a row each; returns how many there are.
fn documents(
    record: &[u8],
    mut row: impl FnMut(&mut Jiter<'_>, Peek) -> Result<(), RowError>,
) -> Result<usize, RowError> {
    let mut json = Jiter::new(record);
    let is_over = |json: &Jiter<'_>| {
        let rest = record.get(json.current_index()..).unwrap_or_default();
        rest.iter().all(u8::is_ascii_whitespace)
    };
    if is_over(&json) {
        return Err(RowError::record("The record was empty or contained only whitespace."));
    }
    let mut rows = 0;
    while !is_over(&json) {
        let peek = json.peek()?;
        row(&mut json, peek)?;
        rows += 1;
    }
    Ok(rows)
}

/// What is said of a document that is neither an object nor an array.
fn no_row(json: &mut Jiter<'_>, peek: Peek) -> RowError {
    match json.known_skip(peek) {
        Err(error) => error.into(),
        Ok(()) => RowError::record(
            "The input JSON contained a primitive at the top level. The top level must be an object or array.",
        ),
    }
}
