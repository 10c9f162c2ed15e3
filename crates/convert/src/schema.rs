//! The schema of a table: its columns, in their order.

use std::collections::{HashMap, HashSet};
use std::slice::Iter;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
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
    /// What its table knows it by, and then each member, element, key and value within it, in the order of the type;
    /// nothing where names are all there is. Files of Parquet say it of their columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<i32>,
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
        Ok(Self { name: name.to_owned(), kind: kind.parse()?, required, ids: Vec::new() })
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
        let fields = self.0.iter().map(|column| {
            let field = column.kind.to_field(&column.name, !column.required);
            if column.ids.is_empty() { field } else { identified(&field, &mut column.ids.iter()) }
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// A field that says what it is known by, and so on within it.
fn identified(field: &Field, ids: &mut Iter<'_, i32>) -> Field {
    let id = ids.next().map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string()));
    let mut metadata: HashMap<_, _> = field.metadata().clone();
    metadata.extend(id);
    let mut below = |child: &FieldRef| Arc::new(identified(child, ids));
    let kind = match field.data_type() {
        DataType::List(element) => DataType::List(below(element)),
        DataType::Struct(members) => DataType::Struct(members.iter().map(below).collect()),
        DataType::Map(entry, sorted) => match entry.data_type() {
            // The pair of key and value is none of the table's own.
            DataType::Struct(pair) => {
                let pair = DataType::Struct(pair.iter().map(below).collect());
                DataType::Map(Arc::new(entry.as_ref().clone().with_data_type(pair)), *sorted)
            }
            other => other.clone(),
        },
        other => other.clone(),
    };
    field.clone().with_data_type(kind).with_metadata(metadata)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_what_columns_and_all_within_them_are_known_by() {
        let kind = "struct<a:array<map<string,int>>,b:int>".parse().expect("a type");
        let (name, ids) = ("c".to_owned(), vec![9, 8, 7, 6, 5, 4]);
        let schema =
            TableSchema::new(vec![Column { name, kind, required: true, ids }]).expect("a table").to_arrow();
        let mut found = Vec::new();
        let mut fields: Vec<&Field> = vec![schema.field(0)];
        while let Some(field) = fields.pop() {
            found.push((
                field.name().as_str(),
                field.metadata().get(PARQUET_FIELD_ID_META_KEY).map(String::as_str),
            ));
            match field.data_type() {
                DataType::List(child) | DataType::Map(child, _) => fields.push(child),
                DataType::Struct(members) => fields.extend(members.iter().rev().map(AsRef::as_ref)),
                _ => {}
            }
        }
        let expected = [("c", Some("9")), ("a", Some("8")), ("element", Some("7")), ("key_value", None)];
        let within = [("key", Some("6")), ("value", Some("5")), ("b", Some("4"))];
        assert_eq!(found, [&expected[..], &within[..]].concat());
    }
}
