//! Tables of an Iceberg REST catalog: their columns.

use standpipe_convert::{Column, TableSchema, Type};
use standpipe_model::Timestamp;
use standpipe_sinks::ClientOptions;
use standpipe_sinks::iceberg::{FieldType, Nested, RestCatalog, RestError, RestOptions, TableMetadata};

use crate::config::IcebergConfig;
use crate::spec::{CatalogTable, LATEST};
use crate::worker::chain;

/// The columns of a table could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IcebergError {
    /// The catalog has no answer.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// The table has no such schema.
    #[error("the table has no schema with the id '{0}'")]
    NoVersion(String),
    /// The table's columns are none that rows can be converted to.
    #[error("the columns that the Iceberg catalog has cannot be used: {0}")]
    Columns(String),
}

/// A client of a catalog. `Debug` shows no secret.
#[derive(Debug)]
pub(crate) struct Iceberg(RestCatalog);

impl Iceberg {
    /// A client by these settings. Nothing is connected yet; blocking where there is a file.
    ///
    /// # Errors
    /// [`RestError::Settings`].
    pub(crate) fn new(config: &IcebergConfig) -> Result<Self, IcebergError> {
        let wrong = |error| IcebergError::from(RestError::Settings(chain(&error)));
        let ca_pem = config.ca_file.as_ref().map(std::fs::read).transpose().map_err(wrong)?;
        let (connect_timeout, request_timeout) = (config.timeout, config.timeout);
        Ok(Self(RestCatalog::new(RestOptions {
            uri: config.uri.clone(),
            warehouse: config.warehouse.clone(),
            auth: config.auth.clone(),
            client: ClientOptions { ca_pem, connect_timeout, request_timeout, ..ClientOptions::default() },
        })?))
    }

    /// The columns of a table, at the version of its schema that is asked for.
    ///
    /// # Errors
    /// [`IcebergError`].
    pub(crate) async fn columns(
        &self,
        of: &CatalogTable,
        now: Timestamp,
    ) -> Result<TableSchema, IcebergError> {
        let namespace: Vec<_> = of.database.split('.').collect();
        columns(&self.0.table(&namespace, &of.table, now).await?, &of.version_id)
    }
}

fn columns(table: &TableMetadata, version: &str) -> Result<TableSchema, IcebergError> {
    let no_version = || IcebergError::NoVersion(version.to_owned());
    let id = match version {
        LATEST => None,
        version => Some(version.parse().map_err(|_| no_version())?),
    };
    let schema = table.schema(id).ok_or_else(no_version)?;
    let columns = schema.fields.iter().map(|field| {
        let wrong = |why: String| IcebergError::Columns(format!("{}: {why}", field.name));
        let kind = in_hives_words(&field.kind).map_err(wrong)?;
        let kind = kind.parse().map_err(|error| wrong(format!("{error}")))?;
        Ok(Column { name: field.name.clone(), kind, required: field.required })
    });
    let columns = columns.collect::<Result<Vec<_>, IcebergError>>()?;
    TableSchema::new(columns).map_err(|error| IcebergError::Columns(error.to_string()))
}

/// A type as Hive writes it, where it has it. What else may be wrong with it (depth, keys of maps) is told by who reads
/// that. Members, elements and values that are required are not so there.
fn in_hives_words(kind: &FieldType) -> Result<String, String> {
    Ok(match kind {
        FieldType::Primitive(name) => match name.as_str() {
            "long" => Type::BigInt.to_string(),
            "boolean" | "int" | "float" | "double" | "date" | "timestamp" | "string" | "binary" => {
                name.clone()
            }
            name if name.starts_with("decimal(") => name.to_owned(),
            name => return Err(format!("Iceberg's type '{name}' has no counterpart here")),
        },
        FieldType::Nested(Nested::List { element }) => format!("array<{}>", in_hives_words(element)?),
        FieldType::Nested(Nested::Map { key, value }) => {
            format!("map<{},{}>", in_hives_words(key)?, in_hives_words(value)?)
        }
        FieldType::Nested(Nested::Struct { fields }) => {
            let members = fields.iter().map(|member| match member.name.as_str() {
                name if name.trim() != name || name.contains([':', ',', '<', '>']) => {
                    Err(format!("a member of a struct cannot be called '{name}' here"))
                }
                name => Ok(format!("{name}:{}", in_hives_words(&member.kind)?)),
            });
            format!("struct<{}>", members.collect::<Result<Vec<_>, _>>()?.join(","))
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(fields: &Value) -> TableMetadata {
        let metadata = json!({
            "format-version": 2, "current-schema-id": 1,
            "schemas": [
                {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "old", "required": false, "type": "int"}]},
                {"type": "struct", "schema-id": 1, "fields": fields, "identifier-field-ids": [1]},
            ],
        });
        serde_json::from_value(metadata).unwrap()
    }

    fn of_type(kind: &Value) -> TableMetadata {
        table(&json!([{"id": 1, "name": "a", "required": false, "type": kind, "doc": "x"}]))
    }

    #[test]
    fn columns_are_those_of_the_version_that_is_asked_for() {
        let fields = json!([
            {"id": 1, "name": "id", "required": true, "type": "long"},
            {"id": 2, "name": "old", "required": false, "type": "decimal(9, 2)"},
        ]);
        let text = |version| {
            let found = columns(&table(&fields), version)?;
            Ok::<_, IcebergError>(serde_json::to_value(found).unwrap())
        };
        assert_eq!(text("0").unwrap(), json!([{"name": "old", "type": "int"}]));
        let second = json!([
            {"name": "id", "type": "bigint", "required": true}, {"name": "old", "type": "decimal(9,2)"}
        ]);
        assert_eq!((text(LATEST).unwrap(), text("1").unwrap()), (second.clone(), second));
        for version in ["2", "a"] {
            let told = text(version).unwrap_err().to_string();
            assert_eq!(told, format!("the table has no schema with the id '{version}'"));
        }
    }

    #[test]
    fn every_type_of_iceberg_has_a_counterpart_or_is_refused_by_name() {
        for name in ["boolean", "int", "float", "double", "date", "timestamp", "string", "binary"] {
            assert_eq!(columns(&of_type(&json!(name)), LATEST).unwrap().columns()[0].kind.to_string(), name);
        }
        let nested = json!({"type": "struct", "fields": [
            {"id": 2, "name": "l", "required": true, "type": {
                "type": "list", "element-id": 3, "element": "long", "element-required": true,
            }},
            {"id": 4, "name": "m n", "required": false, "type": {
                "type": "map", "key-id": 5, "key": "string", "value-id": 6, "value": "float", "value-required": false,
            }},
        ]});
        let found = columns(&of_type(&nested), LATEST).unwrap();
        assert_eq!(found.columns()[0].kind.to_string(), "struct<l:array<bigint>,m n:map<string,float>>");
        let others =
            ["time", "timestamptz", "timestamp_ns", "timestamptz_ns", "uuid", "fixed[16]", "variant"];
        for name in others.into_iter().chain(["unknown", "geometry(srid:4326)", "geography"]) {
            let told = columns(&of_type(&json!(name)), LATEST).unwrap_err().to_string();
            let expected = format!(
                "the columns that the Iceberg catalog has cannot be used: a: Iceberg's type '{name}' has no counterpart here"
            );
            assert_eq!(told, expected);
        }
        let member = |name: &str| json!({"type": "struct", "fields": [{"id": 2, "name": name, "required": false, "type": "int"}]});
        let map = json!({"type": "map", "key-id": 2, "key": "int", "value-id": 3, "value": "int", "value-required": true});
        for (kind, words) in [
            (member("a:b"), "a member of a struct cannot be called 'a:b' here"),
            (member(" a"), "a member of a struct cannot be called ' a' here"),
            (member(""), "the name of a member should stand before"),
            (map, "the keys of a map are strings"),
            (json!("decimal(39, 2)"), "the precision of a decimal is 39"),
        ] {
            let told = columns(&of_type(&kind), LATEST).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }
}
