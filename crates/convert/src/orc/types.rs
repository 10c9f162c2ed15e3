//! ORC's types: a tree, counted in the order of reading, of which Arrow's schema is the pattern.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::proto::Message;

/// The key of a field's metadata under which a text column says that it is a `char(n)` or `varchar(n)`.
pub const TYPE_KEY: &str = "hive.type";

/// A type that cannot be written as ORC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column '{column}' is of type {data_type}, which cannot be written as ORC")]
pub struct UnsupportedType {
    /// The column, with the members that lead to it.
    pub column: String,
    /// Its type.
    pub data_type: DataType,
}

/// The kind of a column; the numbers are the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean = 0,
    Byte = 1,
    Short = 2,
    Int = 3,
    Long = 4,
    Float = 5,
    Double = 6,
    String = 7,
    Binary = 8,
    Timestamp = 9,
    List = 10,
    Map = 11,
    Struct = 12,
    Decimal = 14,
    Date = 15,
    Varchar = 16,
    Char = 17,
}

impl Kind {
    /// Whether the values of such a column can be in a bloom filter.
    pub(super) fn has_bloom_filter(self) -> bool {
        !matches!(self, Self::Boolean | Self::List | Self::Map | Self::Struct)
    }

    /// The kind by which a column of the Arrow type is written.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::Byte,
            DataType::Int16 => Self::Short,
            DataType::Int32 => Self::Int,
            DataType::Int64 => Self::Long,
            DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Utf8 => Self::String,
            DataType::Binary => Self::Binary,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            DataType::Date32 => Self::Date,
            DataType::Decimal128(precision, scale) if (0..=*precision as i8).contains(scale) => Self::Decimal,
            DataType::List(_) => Self::List,
            DataType::Map(..) => Self::Map,
            DataType::Struct(_) => Self::Struct,
            _ => return None,
        })
    }
}

/// The kinds of all columns by their Arrow types alone.
pub(super) fn kinds(schema: &Schema) -> Result<Vec<Kind>, UnsupportedType> {
    let plain = |kind| if matches!(kind, Kind::Varchar | Kind::Char) { Kind::String } else { kind };
    Ok(types(schema)?.iter().map(|column| plain(column.kind)).collect())
}

/// A column of the file, nested ones counted too.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) kind: Kind,
    /// The names that lead to it, with dots between them.
    pub(super) path: String,
    /// How the footer describes it.
    pub(super) message: Message,
}

/// The fields of the members of a type.
pub(super) fn members(data_type: &DataType) -> Vec<Arc<Field>> {
    match data_type {
        DataType::List(item) => vec![Arc::clone(item)],
        // Keys and values are a struct in Arrow, and the map's own members here.
        DataType::Map(entry, _) => members(entry.data_type()),
        DataType::Struct(fields) => fields.to_vec(),
        _ => Vec::new(),
    }
}

/// The path of a member: items of lists, keys and values have no name of their own.
pub(super) fn member_path(of: Kind, path: &str, member: &str) -> String {
    match (of, path) {
        (Kind::Struct, "") => member.to_owned(),
        (Kind::Struct, _) => format!("{path}.{member}"),
        _ => path.to_owned(),
    }
}

/// All columns of a schema, the root first.
pub(super) fn types(schema: &Schema) -> Result<Vec<Column>, UnsupportedType> {
    let mut columns = Vec::new();
    add(&Field::new("", DataType::Struct(schema.fields().clone()), false), String::new(), &mut columns)?;
    Ok(columns)
}

fn add(field: &Field, path: String, columns: &mut Vec<Column>) -> Result<(), UnsupportedType> {
    let data_type = field.data_type();
    let Some(mut kind) = Kind::of(data_type) else {
        return Err(UnsupportedType { column: path, data_type: data_type.clone() });
    };
    let length =
        if kind == Kind::String { field.metadata().get(TYPE_KEY).and_then(|text| limit(text)) } else { None };
    if let Some((limited, _)) = length {
        kind = limited;
    }
    let id = columns.len();
    columns.push(Column { kind, path: path.clone(), message: Message::default() });
    let members = members(data_type);
    let mut ids = Vec::with_capacity(members.len());
    for member in &members {
        ids.push(columns.len() as u64);
        add(member, member_path(kind, &path, member.name()), columns)?;
    }
    let mut message = Message::default().uint(1, kind as u64).packed(2, ids);
    if kind == Kind::Struct {
        message = members.iter().fold(message, |message, member| message.bytes(3, member.name()));
    }
    if let Some((_, length)) = length {
        message = message.uint(4, length);
    }
    if let DataType::Decimal128(precision, scale) = data_type {
        message = message.uint(5, u64::from(*precision)).uint(6, *scale as u64);
    }
    columns[id].message = message;
    Ok(())
}

/// What `char(n)` and `varchar(n)` are.
fn limit(text: &str) -> Option<(Kind, u64)> {
    let (name, rest) = text.split_once('(')?;
    let length = rest.strip_suffix(')')?.parse().ok()?;
    match name {
        "char" => Some((Kind::Char, length)),
        "varchar" => Some((Kind::Varchar, length)),
        _ => None,
    }
}
