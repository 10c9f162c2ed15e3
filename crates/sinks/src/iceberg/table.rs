//! A table's metadata, as far as it is looked at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The branch that everyone reads.
pub const MAIN: &str = "main";

/// What a table is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableMetadata {
    /// The version of its format.
    pub format_version: u32,
    /// What it is known by, whatever it is called.
    pub table_uuid: String,
    /// Where its files are.
    pub location: String,
    /// The number of its latest change.
    #[serde(default)]
    pub last_sequence_number: i64,
    /// When that was, in milliseconds since 1970.
    pub last_updated_ms: i64,
    current_schema_id: i32,
    schemas: Vec<Schema>,
    #[serde(default)]
    default_spec_id: i32,
    #[serde(default)]
    partition_specs: Vec<PartitionSpec>,
    /// Its settings.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    current_snapshot_id: Option<i64>,
    /// Its snapshots that are kept.
    #[serde(default)]
    pub snapshots: Vec<Snapshot>,
    /// Its branches and tags, by name.
    #[serde(default)]
    pub refs: BTreeMap<String, Map<String, Value>>,
}

impl TableMetadata {
    /// A version of the schema; the one in force where none is named.
    pub fn schema(&self, id: Option<i32>) -> Option<&Schema> {
        let id = id.unwrap_or(self.current_schema_id);
        self.schemas.iter().find(|schema| schema.id == id)
    }

    /// Every version of the schema.
    pub fn schemas(&self) -> &[Schema] {
        &self.schemas
    }

    /// How new files are partitioned: the id of the specification, and whether it has any fields.
    pub fn partitioning(&self) -> (i32, bool) {
        let spec = self.partition_specs.iter().find(|spec| spec.spec_id == self.default_spec_id);
        (self.default_spec_id, spec.is_some_and(|spec| !spec.fields.is_empty()))
    }

    /// The id of the snapshot that everyone reads, where there is one.
    pub fn current_id(&self) -> Option<i64> {
        let of_branch = self.refs.get(MAIN).and_then(|branch| branch.get("snapshot-id")?.as_i64());
        // Metadata of before there were branches; some have a number for none.
        of_branch.or(self.current_snapshot_id.filter(|id| *id != -1))
    }

    /// That snapshot, where it is told of.
    pub fn current(&self) -> Option<&Snapshot> {
        let id = self.current_id()?;
        self.snapshots.iter().find(|snapshot| snapshot.snapshot_id == id)
    }
}

/// A version of a table's schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Schema {
    /// Its id.
    pub id: i32,
    /// The columns.
    pub fields: Vec<Field>,
    /// All of it, in JSON.
    pub json: String,
}

impl TryFrom<Value> for Schema {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Parts {
            schema_id: i32,
            fields: Vec<Field>,
        }
        let json = value.to_string();
        let Parts { schema_id, fields } = serde_json::from_value(value)?;
        Ok(Self { id: schema_id, fields, json })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PartitionSpec {
    spec_id: i32,
    fields: Vec<Value>,
}

/// A state of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its id.
    pub snapshot_id: i64,
    /// Where the list of its manifests is.
    #[serde(default)]
    pub manifest_list: Option<String>,
    /// What is said of it.
    #[serde(default)]
    pub summary: BTreeMap<String, String>,
}

/// A column, or a member of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Field {
    /// What it is known by, whatever it is called.
    pub id: i32,
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
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "kebab-case")]
pub enum Nested {
    /// Members by name.
    Struct {
        /// The members.
        fields: Vec<Field>,
    },
    /// Elements of one type.
    List {
        /// What elements are known by.
        element_id: i32,
        /// The elements' type.
        element: Box<FieldType>,
        /// Whether each is a value.
        #[serde(default)]
        element_required: bool,
    },
    /// Values by key.
    Map {
        /// What keys are known by.
        key_id: i32,
        /// The keys' type.
        key: Box<FieldType>,
        /// What values are known by.
        value_id: i32,
        /// The values' type.
        value: Box<FieldType>,
        /// Whether each key has one.
        #[serde(default)]
        value_required: bool,
    },
}

impl FieldType {
    /// Whether something within it must be a value where it is one itself.
    pub fn requires(&self) -> bool {
        match self {
            Self::Primitive(_) => false,
            Self::Nested(Nested::Struct { fields }) => {
                fields.iter().any(|field| field.required || field.kind.requires())
            }
            Self::Nested(Nested::List { element, element_required, .. }) => {
                *element_required || element.requires()
            }
            Self::Nested(Nested::Map { value, value_required, .. }) => *value_required || value.requires(),
        }
    }

    /// Appends what is within it is known by, in the order of the type.
    pub fn ids(&self, ids: &mut Vec<i32>) {
        match self {
            Self::Primitive(_) => {}
            Self::Nested(Nested::Struct { fields }) => fields.iter().for_each(|field| {
                ids.push(field.id);
                field.kind.ids(ids);
            }),
            Self::Nested(Nested::List { element_id, element, .. }) => {
                ids.push(*element_id);
                element.ids(ids);
            }
            Self::Nested(Nested::Map { key_id, value_id, value, .. }) => {
                // Keys are strings, with nothing within.
                ids.extend([*key_id, *value_id]);
                value.ids(ids);
            }
        }
    }
}
