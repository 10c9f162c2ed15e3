//! Rows of any types: made from a seed, put into Arrow's arrays, taken out of them again, and told to other readers.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, ListArray, MapArray, PrimitiveArray, RecordBatch, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use serde_json::json;

/// A value of any type. Integers are days and microseconds as well, floats are their bits as doubles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(u64),
    Decimal(i128),
    Text(String),
    Binary(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
    Struct(Vec<Value>),
}

/// Draws types and values.
pub(crate) struct Source {
    state: u64,
    /// How the next integers are drawn, so that every encoding has its turn.
    pattern: u64,
    drawn: i64,
    /// One value in so many is null; 0 for none.
    nulls: u64,
}

impl Source {
    pub(crate) fn new(seed: u64, nulls: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, pattern: 0, drawn: 0, nulls }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// A schema of columns that are nested up to `depth`.
    pub(crate) fn schema(&mut self, columns: u64, depth: u32) -> Schema {
        Schema::new((0..columns).map(|at| self.field(&format!("c{at}"), depth)).collect::<Vec<_>>())
    }

    fn field(&mut self, name: &str, depth: u32) -> Field {
        let plain = plain_types();
        let data_type = match self.below(if depth == 0 { 4 } else { 7 }) {
            4 => list(self.field("element", depth - 1)),
            5 => map(self.field("value", depth - 1)),
            6 => {
                let members = self.below(3) + 1;
                DataType::Struct((0..members).map(|at| self.field(&format!("m{at}"), depth - 1)).collect())
            }
            _ => plain[self.below(plain.len() as u64) as usize].clone(),
        };
        Field::new(name, data_type, true)
    }

    pub(crate) fn rows(&mut self, schema: &Schema, count: usize) -> Vec<Vec<Value>> {
        (0..count)
            .map(|_| schema.fields().iter().map(|field| self.value(field.data_type())).collect())
            .collect()
    }

    pub(crate) fn value(&mut self, data_type: &DataType) -> Value {
        if self.nulls > 0 && self.below(self.nulls) == 0 {
            return Value::Null;
        }
        match data_type {
            DataType::Boolean => Value::Boolean(self.below(3) == 0),
            DataType::Int8 => Value::Integer(i64::from(self.integer() as i8)),
            DataType::Int16 => Value::Integer(i64::from(self.integer() as i16)),
            DataType::Int32 => Value::Integer(i64::from(self.integer() as i32)),
            DataType::Int64 => Value::Integer(self.integer()),
            // Years 1 to 9999, and such timestamps as nanoseconds can say: what Python's types hold.
            DataType::Date32 => Value::Integer(self.integer().rem_euclid(3_652_059) - 719_162),
            DataType::Timestamp(..) => Value::Integer(self.timestamp()),
            DataType::Float32 => Value::Float(f64::from(self.float() as f32).to_bits()),
            DataType::Float64 => Value::Float(self.float().to_bits()),
            DataType::Decimal128(precision, _) => {
                let digits = self.below(u64::from(*precision)) as u32 + 1;
                let value = i128::from(self.integer()) * i128::from(self.integer());
                Value::Decimal(value % 10i128.pow(digits))
            }
            DataType::Utf8 => Value::Text(self.text()),
            DataType::Binary => Value::Binary(self.bytes()),
            DataType::List(item) => {
                Value::List((0..self.below(5)).map(|_| self.value(item.data_type())).collect())
            }
            DataType::Map(entry, _) => {
                let value = map_value(entry);
                Value::Map((0..self.below(4)).map(|at| (format!("k{at}"), self.value(value))).collect())
            }
            DataType::Struct(fields) => {
                Value::Struct(fields.iter().map(|field| self.value(field.data_type())).collect())
            }
            other => panic!("no values of {other}"),
        }
    }

    fn integer(&mut self) -> i64 {
        if self.below(60) == 0 {
            self.pattern = self.below(8);
            self.drawn = self.next() as i64 >> self.below(64);
        }
        let (step, often) = (self.below(100) as i64, self.below(4) > 0);
        self.drawn = match self.pattern {
            0 => self.next() as i64,
            1 => self.drawn,
            2 => self.drawn.wrapping_add(7),
            3 => self.drawn.wrapping_add(step),
            4 => self.drawn.wrapping_sub(step),
            5 => self.below(4) as i64,
            6 if often => self.drawn,
            _ => self.next() as i64 >> self.below(64),
        };
        self.drawn
    }

    fn timestamp(&mut self) -> i64 {
        let unit = [1, 1000, 1_000_000, 86_400_000_000][self.below(4) as usize];
        let micros =
            (self.integer().rem_euclid(17_000_000_000_000_000) - 8_500_000_000_000_000) / unit * unit;
        if standpipe_convert::orc::is_exact(micros) { micros } else { 0 }
    }

    fn float(&mut self) -> f64 {
        match self.below(8) {
            0 => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0][self.below(5) as usize],
            _ => self.integer() as f64 / 1024.0,
        }
    }

    fn text(&mut self) -> String {
        match self.below(40) {
            0 => "ß€😀".repeat(self.below(700) as usize),
            1..20 => format!("word {}", self.below(12)),
            _ => String::from_utf8(self.bytes().iter().map(|byte| byte & 0x7f).collect()).expect("ASCII"),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| self.next() as u8).collect()
    }
}

pub(crate) fn plain_types() -> Vec<DataType> {
    vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(10, 0),
        DataType::Decimal128(18, 4),
        DataType::Decimal128(38, 10),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ]
}

pub(crate) fn list(item: Field) -> DataType {
    DataType::List(Arc::new(item))
}

pub(crate) fn map(value: Field) -> DataType {
    let entry = DataType::Struct(Fields::from(vec![Field::new("key", DataType::Utf8, false), value]));
    DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
}

fn map_value(entry: &Field) -> &DataType {
    let DataType::Struct(fields) = entry.data_type() else { panic!("an entry is a struct") };
    fields[1].data_type()
}

pub(crate) fn batch(schema: &Schema, rows: &[Vec<Value>]) -> RecordBatch {
    let column = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>();
    let columns = schema.fields().iter().enumerate();
    let columns = columns.map(|(at, field)| array(field.data_type(), &column(at))).collect();
    RecordBatch::try_new(Arc::new(schema.clone()), columns).expect("columns of the schema")
}

/// An array of the values; where one is null, what lies beneath it is not.
fn array(data_type: &DataType, values: &[Value]) -> ArrayRef {
    let nulls = NullBuffer::from_iter(values.iter().map(|value| *value != Value::Null));
    match data_type {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            for value in values {
                builder.append_option(if let Value::Boolean(value) = value { Some(*value) } else { None });
            }
            Arc::new(builder.finish())
        }
        DataType::Int8 => primitive::<Int8Type>(values, |value| value.integer() as i8),
        DataType::Int16 => primitive::<Int16Type>(values, |value| value.integer() as i16),
        DataType::Int32 => primitive::<Int32Type>(values, |value| value.integer() as i32),
        DataType::Int64 => primitive::<Int64Type>(values, Value::integer),
        DataType::Date32 => primitive::<Date32Type>(values, |value| value.integer() as i32),
        DataType::Timestamp(..) => primitive::<TimestampMicrosecondType>(values, Value::integer),
        DataType::Float32 => primitive::<Float32Type>(values, |value| value.float() as f32),
        DataType::Float64 => primitive::<Float64Type>(values, Value::float),
        DataType::Decimal128(precision, scale) => {
            let decimal = |value: &Value| if let Value::Decimal(value) = value { *value } else { 77 };
            let array =
                PrimitiveArray::<Decimal128Type>::new(values.iter().map(decimal).collect(), Some(nulls));
            Arc::new(array.with_precision_and_scale(*precision, *scale).expect("digits"))
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for value in values {
                builder.append_option(if let Value::Text(value) = value { Some(value) } else { None });
            }
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            for value in values {
                builder.append_option(if let Value::Binary(value) = value { Some(value) } else { None });
            }
            Arc::new(builder.finish())
        }
        _ => nested(data_type, values),
    }
}

fn nested(data_type: &DataType, values: &[Value]) -> ArrayRef {
    let nulls = NullBuffer::from_iter(values.iter().map(|value| *value != Value::Null));
    match data_type {
        DataType::List(item) => {
            let items = |value: &Value| match value {
                Value::List(items) => items.clone(),
                _ => vec![Source::new(1, 0).value(item.data_type())],
            };
            let items: Vec<Vec<Value>> = values.iter().map(items).collect();
            let ends = OffsetBuffer::from_lengths(items.iter().map(Vec::len));
            Arc::new(ListArray::new(
                Arc::clone(item),
                ends,
                array(item.data_type(), &items.concat()),
                Some(nulls),
            ))
        }
        DataType::Map(entry, _) => {
            let entries = |value: &Value| match value {
                Value::Map(entries) => entries.clone(),
                _ => vec![("beneath a null".to_owned(), Source::new(1, 0).value(map_value(entry)))],
            };
            let entries: Vec<Vec<(String, Value)>> = values.iter().map(entries).collect();
            let ends = OffsetBuffer::from_lengths(entries.iter().map(Vec::len));
            let entries = entries.concat().into_iter();
            let entries = entries.map(|(key, value)| Value::Struct(vec![Value::Text(key), value]));
            let entries = array(entry.data_type(), &entries.collect::<Vec<_>>());
            Arc::new(MapArray::new(Arc::clone(entry), ends, entries.as_struct().clone(), Some(nulls), false))
        }
        DataType::Struct(fields) => {
            let member = |value: &Value, at: usize| match value {
                Value::Struct(members) => members[at].clone(),
                _ => Source::new(1, 0).value(fields[at].data_type()),
            };
            let column = |at: usize| values.iter().map(|value| member(value, at)).collect::<Vec<_>>();
            let columns = fields.iter().enumerate();
            let columns = columns.map(|(at, field)| array(field.data_type(), &column(at))).collect();
            let nulls = nulls.inner().clone().into();
            Arc::new(
                StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), values.len())
                    .expect("members"),
            )
        }
        other => panic!("no arrays of {other}"),
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &[Value], of: impl Fn(&Value) -> T::Native) -> ArrayRef {
    let nulls = NullBuffer::from_iter(values.iter().map(|value| *value != Value::Null));
    Arc::new(PrimitiveArray::<T>::new(values.iter().map(of).collect(), Some(nulls)))
}

impl Value {
    /// The number; where there is none, one that would be noticed.
    fn integer(&self) -> i64 {
        if let Self::Integer(value) = self { *value } else { 77 }
    }

    fn float(&self) -> f64 {
        if let Self::Float(bits) = self { f64::from_bits(*bits) } else { 77.0 }
    }

    /// The value of a row of an array, whatever the members are called there.
    pub(crate) fn of(array: &dyn Array, row: usize) -> Self {
        if array.is_null(row) {
            return Self::Null;
        }
        let items = |items: ArrayRef| (0..items.len()).map(|at| Self::of(&items, at)).collect::<Vec<_>>();
        match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().value(row)),
            DataType::Int8 => Self::Integer(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => Self::Integer(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Self::Integer(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Self::Integer(array.as_primitive::<Int64Type>().value(row)),
            DataType::Date32 => Self::Integer(array.as_primitive::<Date32Type>().value(row).into()),
            DataType::Timestamp(..) => {
                Self::Integer(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Float32 => {
                Self::Float(f64::from(array.as_primitive::<Float32Type>().value(row)).to_bits())
            }
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().value(row).to_bits()),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().value(row).to_owned()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>().value(row).to_owned()),
            DataType::List(_) => Self::List(items(array.as_list::<i32>().value(row))),
            DataType::Map(..) => {
                let entries = array.as_map().value(row);
                let entry = |at| {
                    (
                        entries.column(0).as_string::<i32>().value(at).to_owned(),
                        Self::of(entries.column(1), at),
                    )
                };
                Self::Map((0..entries.len()).map(entry).collect())
            }
            DataType::Struct(_) => {
                Self::Struct(array.as_struct().columns().iter().map(|member| Self::of(member, row)).collect())
            }
            other => panic!("no values of {other}"),
        }
    }

    /// The value in JSON, as the Python readers say it too.
    pub(crate) fn to_json(&self, scale: i8) -> serde_json::Value {
        match self {
            Self::Null => json!(null),
            Self::Boolean(value) => json!(value),
            Self::Integer(value) => json!(value.to_string()),
            Self::Float(bits) if f64::from_bits(*bits).is_nan() => json!("nan"),
            Self::Float(bits) => json!(format!("{bits:016x}")),
            Self::Decimal(value) => json!(format!("{value}e-{scale}")),
            Self::Text(value) => json!(value),
            Self::Binary(value) => json!(value.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            Self::List(_) | Self::Map(_) | Self::Struct(_) => panic!("nested values have types of their own"),
        }
    }
}

/// [`Value::to_json`] of a value of a type.
pub(crate) fn to_json(value: &Value, data_type: &DataType) -> serde_json::Value {
    match (value, data_type) {
        (Value::List(items), DataType::List(item)) => {
            json!(items.iter().map(|value| to_json(value, item.data_type())).collect::<Vec<_>>())
        }
        (Value::Map(entries), DataType::Map(entry, _)) => {
            let entries = entries.iter().map(|(key, value)| json!([key, to_json(value, map_value(entry))]));
            json!({"map": entries.collect::<Vec<_>>()})
        }
        (Value::Struct(members), DataType::Struct(fields)) => {
            let members = members.iter().zip(fields);
            json!({"struct": members.map(|(value, field)| to_json(value, field.data_type())).collect::<Vec<_>>()})
        }
        (value, DataType::Decimal128(_, scale)) => value.to_json(*scale),
        (value, _) => value.to_json(0),
    }
}
