//! A table's schema in Avro's words.

use arrow_schema::{DataType, Field, Fields, SchemaRef};
use serde_json::{Value, json};

/// A column or member cannot be called so in Avro.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no name in Avro, which has letters, digits and underscores, and no digit in front")]
pub struct NameError(pub String);

/// The schema of a table that is called `name`. What a table may be called and Avro has no name for has underscores.
pub(super) fn of(schema: &SchemaRef, name: &str) -> Result<Value, NameError> {
    let parts = name.split('.').filter(|part| !part.is_empty());
    let parts: Vec<String> = parts.map(as_name).collect();
    let (namespace, name) = match parts.as_slice() {
        [] => (String::new(), "row".to_owned()),
        [namespace @ .., name] => (namespace.join("."), name.clone()),
    };
    record(&namespace, &name, schema.fields())
}

fn is_name(text: &str) -> bool {
    let is_digit = text.bytes().next().is_none_or(|first| first.is_ascii_digit());
    !is_digit && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn as_name(text: &str) -> String {
    let name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_name(&name) { name } else { format!("_{name}") }
}

fn record(namespace: &str, name: &str, fields: &Fields) -> Result<Value, NameError> {
    // Records must not be called the same: each has those within it in a space of its own.
    let inner = [namespace, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
    let fields = fields.iter().map(|field| {
        let name = field.name();
        let kind = type_of(field, &inner, name)?;
        match is_name(name) {
            true if field.is_nullable() => Ok(json!({"name": name, "type": kind, "default": null})),
            true => Ok(json!({"name": name, "type": kind})),
            false => Err(NameError(name.clone())),
        }
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"type": "record", "name": name, "namespace": namespace, "fields": fields}))
}

/// The type of a column, item or value; `name` is that of the column or member that it belongs to.
fn type_of(field: &Field, namespace: &str, name: &str) -> Result<Value, NameError> {
    let kind = match field.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Decimal128(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::Date32 => json!({"type": "int", "logicalType": "date"}),
        // Few readers know local timestamps; Iceberg's way to say the same is passed over by those that do not know it.
        DataType::Timestamp(..) => {
            json!({"type": "long", "logicalType": "timestamp-micros", "adjust-to-utc": false})
        }
        DataType::List(item) => json!({"type": "array", "items": type_of(item, namespace, name)?}),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => {
                json!({"type": "map", "values": type_of(&fields[1], namespace, name)?})
            }
            _ => json!("null"),
        },
        // A record cannot be called like a type.
        DataType::Struct(fields) => record(namespace, &format!("{name}_record"), fields)?,
        // Integers of up to 32 bits: a table has no other types.
        _ => json!("int"),
    };
    Ok(if field.is_nullable() { json!(["null", kind]) } else { kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, TableSchema};

    fn schema(columns: &[(&str, &str)]) -> SchemaRef {
        let columns = columns.iter().map(|(name, kind)| Column::parse(name, kind).unwrap());
        TableSchema::new(columns.collect()).unwrap().to_arrow()
    }

    #[test]
    fn records_within_records_have_names_of_their_own() {
        let columns = schema(&[("id", "bigint not null"), ("int", "struct<a:array<struct<b:tinyint>>>")]);
        let b = json!({"name": "b", "type": ["null", "int"], "default": null});
        let a_record = json!({
            "type": "record", "name": "a_record", "namespace": "lake.my_table.int_record", "fields": [b],
        });
        let a_type = json!(["null", {"type": "array", "items": ["null", a_record]}]);
        let int_record = json!({
            "type": "record", "name": "int_record", "namespace": "lake.my_table",
            "fields": [{"name": "a", "type": a_type, "default": null}],
        });
        let expected = json!({
            "type": "record", "name": "my_table", "namespace": "lake",
            "fields": [
                {"name": "id", "type": "long"},
                {"name": "int", "type": ["null", int_record], "default": null},
            ],
        });
        assert_eq!(of(&columns, "lake.my-table").unwrap(), expected);
        let named = |name| of(&schema(&[("a", "int")]), name).unwrap();
        for (table, namespace, name) in [("1.2", "_1", "_2"), ("a.", "", "a"), ("", "", "row")] {
            let found = named(table);
            assert_eq!((&found["namespace"], &found["name"]), (&json!(namespace), &json!(name)));
        }
    }

    #[test]
    fn a_column_or_member_that_has_no_name_in_avro_is_refused_by_name() {
        for (columns, name) in [
            ([("a.b", "int")], "a.b"),
            ([("1st", "int")], "1st"),
            ([("a", "map<string,struct<ä:int>>")], "ä"),
        ] {
            assert_eq!(of(&schema(&columns), "t"), Err(NameError(name.to_owned())));
        }
    }
}
