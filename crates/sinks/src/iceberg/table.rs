//! A table's metadata, as far as it is looked at.

use serde::Deserialize;

/// What a table is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableMetadata {
    schemas: Vec<Schema>,
    current_schema_id: i32,
}

impl TableMetadata {
    /// A version of the schema; the one in force where none is named.
    pub fn schema(&self, id: Option<i32>) -> Option<&Schema> {
        let id = id.unwrap_or(self.current_schema_id);
        self.schemas.iter().find(|schema| schema.schema_id == id)
    }
}

/// A version of a table's schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Schema {
    schema_id: i32,
    /// The columns.
    pub fields: Vec<Field>,
}

/// A column, or a member of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Whether there is always a value.
    pub required: bool,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum FieldType {
    /// By its name, as `decimal(9,2)`.
    Primitive(String),
    /// Of other types.
    Nested(Nested),
}

/// A type that is made of others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Nested {
    /// Members by name.
    Struct {
        /// The members.
        fields: Vec<Field>,
    },
    /// Elements of one type.
    List {
        /// The elements' type.
        element: Box<FieldType>,
    },
    /// Values by key.
    Map {
        /// The keys' type.
        key: Box<FieldType>,
        /// The values' type.
        value: Box<FieldType>,
    },
}
