//! Columns that grow row by row and can be cut back to where a row began.

use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef};

use crate::types::Type;

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Growing {
    len: usize,
    /// Whether each row has a value; nothing while all have.
    present: Option<BooleanBufferBuilder>,
    pub(crate) values: Values,
}

/// The values of a column; a row that has none has a default in its place, or no items.
#[derive(Debug)]
pub(crate) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    /// Strings and binary: the end of each, and all bytes.
    Bytes {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    List {
        ends: Vec<i32>,
        items: Box<Growing>,
    },
    Map {
        ends: Vec<i32>,
        keys: Box<Growing>,
        values: Box<Growing>,
    },
    Struct(Vec<Growing>),
}

/// The bytes or items of a column have outgrown what offsets of 32 bits reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMuch;

fn end_of(len: usize) -> Result<i32, TooMuch> {
    i32::try_from(len).map_err(|_| TooMuch)
}

impl Growing {
    pub(crate) fn new(kind: &Type) -> Self {
        let values = match kind {
            Type::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            Type::TinyInt => Values::Int8(Vec::new()),
            Type::SmallInt => Values::Int16(Vec::new()),
            Type::Int => Values::Int32(Vec::new()),
            Type::BigInt => Values::Int64(Vec::new()),
            Type::Float => Values::Float32(Vec::new()),
            Type::Double => Values::Float64(Vec::new()),
            Type::Decimal { .. } => Values::Decimal(Vec::new()),
            Type::Date => Values::Date(Vec::new()),
            Type::Timestamp => Values::Timestamp(Vec::new()),
            Type::String | Type::Char(_) | Type::Varchar(_) | Type::Binary => {
                Values::Bytes { ends: Vec::new(), bytes: Vec::new() }
            }
            Type::Array(item) => Values::List { ends: Vec::new(), items: Box::new(Self::new(item)) },
            Type::Map(value) => Values::Map {
                ends: Vec::new(),
                keys: Box::new(Self::new(&Type::String)),
                values: Box::new(Self::new(value)),
            },
            Type::Struct(members) => {
                Values::Struct(members.iter().map(|(_, member)| Self::new(member)).collect())
            }
        };
        Self { len: 0, present: None, values }
    }

    /// Its rows.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Says that the value of the next row is there; the caller has added it, or its items.
    pub(crate) fn present(&mut self) {
        self.len += 1;
        if let Some(present) = &mut self.present {
            present.append(true);
        }
    }

    /// Adds a row without a value.
    pub(crate) fn push_null(&mut self) {
        let present = self.present.get_or_insert_with(|| {
            let mut present = BooleanBufferBuilder::new(self.len + 1);
            present.append_n(self.len, true);
            present
        });
        present.append(false);
        self.len += 1;
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Bytes { ends, .. } | Values::List { ends, .. } | Values::Map { ends, .. } => {
                ends.push(ends.last().copied().unwrap_or_default());
            }
            Values::Struct(members) => members.iter_mut().for_each(Self::push_null),
        }
    }

    /// Whether the row has no value.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.present.as_ref().is_some_and(|present| !present.get_bit(row))
    }

    pub(crate) fn push_bool(&mut self, value: bool) {
        if let Values::Boolean(values) = &mut self.values {
            values.append(value);
            self.present();
        }
    }

    /// Adds a date, in days.
    pub(crate) fn push_date(&mut self, value: i32) {
        if let Values::Date(values) = &mut self.values {
            values.push(value);
            self.present();
        }
    }

    /// Adds a timestamp, in microseconds.
    pub(crate) fn push_timestamp(&mut self, value: i64) {
        if let Values::Timestamp(values) = &mut self.values {
            values.push(value);
            self.present();
        }
    }

    /// Adds a string or binary.
    pub(crate) fn push_bytes(&mut self, value: &[u8]) -> Result<(), TooMuch> {
        if let Values::Bytes { ends, bytes } = &mut self.values {
            let end = end_of(bytes.len() + value.len())?;
            bytes.extend_from_slice(value);
            ends.push(end);
            self.present();
        }
        Ok(())
    }

    /// The string or binary of a row.
    pub(crate) fn bytes_of(&self, row: usize) -> &[u8] {
        let Values::Bytes { ends, bytes } = &self.values else { return &[] };
        let end = |row: Option<usize>| row.and_then(|row| ends.get(row)).map_or(0, |end| *end as usize);
        bytes.get(end(row.checked_sub(1))..end(Some(row))).unwrap_or_default()
    }

    /// Ends the list or map of a row, whose items have been added.
    pub(crate) fn end_items(&mut self) -> Result<(), TooMuch> {
        match &mut self.values {
            Values::List { ends, items } => ends.push(end_of(items.len())?),
            Values::Map { ends, keys, .. } => ends.push(end_of(keys.len())?),
            _ => {}
        }
        self.present();
        Ok(())
    }

    /// Forgets all rows from `len` on, and items that were begun behind them.
    pub(crate) fn truncate(&mut self, len: usize) {
        let start = |ends: &[i32]| match len {
            0 => 0,
            len => ends.get(len - 1).or(ends.last()).copied().unwrap_or_default() as usize,
        };
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int8(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) | Values::Date(values) => values.truncate(len),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Bytes { ends, bytes } => {
                bytes.truncate(start(ends));
                ends.truncate(len);
            }
            Values::List { ends, items } => {
                items.truncate(start(ends));
                ends.truncate(len);
            }
            Values::Map { ends, keys, values } => {
                let start = start(ends);
                keys.truncate(start);
                values.truncate(start);
                ends.truncate(len);
            }
            Values::Struct(members) => members.iter_mut().for_each(|member| member.truncate(len)),
        }
        self.len = self.len.min(len);
        if let Some(present) = &mut self.present {
            present.truncate(self.len);
        }
    }

    /// The array that it has become; it is empty afterwards.
    ///
    /// # Errors
    /// The rows of a required field lack values.
    pub(crate) fn finish(&mut self, kind: &DataType) -> Result<ArrayRef, ArrowError> {
        let len = std::mem::take(&mut self.len);
        let nulls = self.present.take().map(|mut present| NullBuffer::new(present.finish()));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, nulls)?,
            Values::Int16(values) => primitive::<Int16Type>(values, nulls)?,
            Values::Int32(values) => primitive::<Int32Type>(values, nulls)?,
            Values::Date(values) => primitive::<Date32Type>(values, nulls)?,
            Values::Int64(values) => primitive::<Int64Type>(values, nulls)?,
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls)?,
            Values::Float32(values) => primitive::<Float32Type>(values, nulls)?,
            Values::Float64(values) => primitive::<Float64Type>(values, nulls)?,
            Values::Decimal(values) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                let array = PrimitiveArray::<Decimal128Type>::try_new(values, nulls)?;
                Arc::new(array.with_data_type(kind.clone()))
            }
            Values::Bytes { ends, bytes } => {
                let (offsets, bytes) = (offsets(ends), Buffer::from_vec(std::mem::take(bytes)));
                match kind {
                    DataType::Binary => Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?),
                    _ => Arc::new(StringArray::try_new(offsets, bytes, nulls)?),
                }
            }
            Values::List { ends, items } => {
                let item = element(kind)?;
                let items = items.finish(item.data_type())?;
                Arc::new(ListArray::try_new(item, offsets(ends), items, nulls)?)
            }
            Values::Map { ends, keys, values } => {
                let entry = element(kind)?;
                let DataType::Struct(fields) = entry.data_type() else { return Err(mismatch(kind)) };
                let columns =
                    vec![keys.finish(fields[0].data_type())?, values.finish(fields[1].data_type())?];
                let entries = StructArray::try_new(fields.clone(), columns, None)?;
                Arc::new(MapArray::try_new(entry, offsets(ends), entries, nulls, false)?)
            }
            Values::Struct(members) => {
                let DataType::Struct(fields) = kind else { return Err(mismatch(kind)) };
                let columns =
                    members.iter_mut().zip(fields).map(|(member, field)| member.finish(field.data_type()));
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, len)?)
            }
        })
    }
}

fn mismatch(kind: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column is not of the type {kind}"))
}

fn element(kind: &DataType) -> Result<FieldRef, ArrowError> {
    match kind {
        DataType::List(item) | DataType::Map(item, _) => Ok(Arc::clone(item)),
        _ => Err(mismatch(kind)),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let values = ScalarBuffer::from(std::mem::take(values));
    let array = PrimitiveArray::<T>::try_new(values, nulls)?;
    debug_assert_eq!(array.data_type(), &T::DATA_TYPE);
    Ok(Arc::new(array))
}

/// The offsets that ends come to: a zero in front.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = std::mem::take(ends);
    offsets.insert(0, 0);
    OffsetBuffer::new(offsets.into())
}
