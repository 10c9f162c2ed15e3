//! Columns looked at value by value, for formats that are written row by row.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};

/// A column.
pub(crate) struct Cells<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_nullable: bool,
    nulls: Option<&'a NullBuffer>,
    pub(crate) kind: Kind<'a>,
}

/// Its values.
pub(crate) enum Kind<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, u8),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    List(&'a ListArray, Box<Cells<'a>>),
    Map(&'a MapArray, &'a StringArray, Box<Cells<'a>>),
    Struct(Vec<Cells<'a>>),
}

impl<'a> Cells<'a> {
    /// The columns of a batch.
    ///
    /// # Errors
    /// A column has a type that no table's has.
    pub(crate) fn of(rows: &'a RecordBatch) -> Result<Vec<Self>, ArrowError> {
        Self::all(rows.schema_ref().fields(), rows.columns())
    }

    /// Whether a row has no value.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    fn all(
        fields: &'a arrow_schema::Fields,
        arrays: &'a [arrow_array::ArrayRef],
    ) -> Result<Vec<Self>, ArrowError> {
        fields.iter().zip(arrays).map(|(field, array)| Self::new(field, array.as_ref())).collect()
    }

    fn new(field: &'a Field, array: &'a dyn Array) -> Result<Self, ArrowError> {
        let kind = match array.data_type() {
            DataType::Boolean => Kind::Boolean(array.as_boolean()),
            DataType::Int8 => Kind::Int8(array.as_primitive()),
            DataType::Int16 => Kind::Int16(array.as_primitive()),
            DataType::Int32 => Kind::Int32(array.as_primitive()),
            DataType::Int64 => Kind::Int64(array.as_primitive()),
            DataType::Float32 => Kind::Float32(array.as_primitive()),
            DataType::Float64 => Kind::Float64(array.as_primitive()),
            DataType::Decimal128(_, scale) => Kind::Decimal(array.as_primitive(), scale.unsigned_abs()),
            DataType::Date32 => Kind::Date(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Kind::Timestamp(array.as_primitive()),
            DataType::Utf8 => Kind::Text(array.as_string()),
            DataType::Binary => Kind::Binary(array.as_binary()),
            DataType::List(item) => {
                let list = array.as_list();
                Kind::List(list, Box::new(Self::new(item, list.values().as_ref())?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let DataType::Struct(fields) = map.entries().data_type() else { return Err(unknown(array)) };
                let keys = map.keys().as_string_opt().ok_or_else(|| unknown(array))?;
                Kind::Map(map, keys, Box::new(Self::new(&fields[1], map.values().as_ref())?))
            }
            DataType::Struct(fields) => Kind::Struct(Self::all(fields, array.as_struct().columns())?),
            _ => return Err(unknown(array)),
        };
        Ok(Self { name: field.name(), is_nullable: field.is_nullable(), nulls: array.nulls(), kind })
    }
}

/// What is said of a type that no table's column has.
fn unknown(array: &dyn Array) -> ArrowError {
    ArrowError::SchemaError(format!("a table has no columns of the type {}", array.data_type()))
}
