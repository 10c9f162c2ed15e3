//! The schema of a table: its columns, in their order.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::types::{Type, TypeError};

/// The most columns of a table.
pub const COLUMNS_MAX: usize = 5_000;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Whether every row has a value for it (`not null`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

impl Column {
    /// A column as it is written: a type, and `not null` where every row has a value.
    ///
    /// # Errors
    /// [`TypeError`].
    pub fn parse(name: &str, text: &str) -> Result<Self, TypeError> {
        let trimmed = text.trim_end();
        let cut = trimmed.len().saturating_sub("not null".len());
        let (kind, required) = match trimmed.get(cut..) {
            Some(end) if end.eq_ignore_ascii_case("not null") => (&trimmed[..cut], true),
            _ => (trimmed, false),
        };
        Ok(Self { name: name.to_owned(), kind: kind.parse()?, required })
    }
}

/// The columns of a table; by default none, of one of which nothing is known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Column>", into = "Vec<Column>")]
pub struct TableSchema(Arc<[Column]>);

/// Columns make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There is none, or there are too many.
    #[error("{0} columns, allowed are 1 to {COLUMNS_MAX}")]
    Columns(usize),
    /// A name is empty, or two are the same; case does not tell them apart.
    #[error("two columns are named '{0}', or one has no name")]
    Name(String),
}

impl TableSchema {
    /// A table of these columns.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn new(columns: Vec<Column>) -> Result<Self, SchemaError> {
        if !(1..=COLUMNS_MAX).contains(&columns.len()) {
            return Err(SchemaError::Columns(columns.len()));
        }
        let mut names = HashSet::new();
        for Column { name, .. } in &columns {
            if name.is_empty() || !names.insert(name.to_lowercase()) {
                return Err(SchemaError::Name(name.clone()));
            }
        }
        Ok(Self(columns.into()))
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.0
    }

    /// The schema in Arrow.
    pub fn to_arrow(&self) -> SchemaRef {
        let fields = self.0.iter().map(|column| column.kind.to_field(&column.name, !column.required));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl From<TableSchema> for Vec<Column> {
    fn from(schema: TableSchema) -> Self {
        schema.0.to_vec()
    }
}

impl TryFrom<Vec<Column>> for TableSchema {
    type Error = SchemaError;

    fn try_from(columns: Vec<Column>) -> Result<Self, SchemaError> {
        if columns.is_empty() {
            return Ok(Self::default());
        }
        Self::new(columns)
    }
}
