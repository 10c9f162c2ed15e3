//! The values of a column of one kind, without the nulls: to streams, and into the statistics of the row group.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ByteArrayType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, GenericByteArray, StringArray};
use arrow_buffer::ToByteSlice;
use arrow_schema::DataType;

use super::bloom::BloomFilter;
use super::column::Rows;
use super::statistics::{Summary, decimal_text, widen, widen_text};
use super::stream::{BitStream, ByteStream, IntegerStream, Stream, StreamKind};
use super::text::Texts;
use super::timestamp::write_timestamps;
use super::types::Kind;
use super::{FormatVersion, OrcOptions};
use crate::varint::put_signed_varint;

/// Floats are copied as they are in memory, which is how the format has them.
const _: () = assert!(cfg!(target_endian = "little"));

/// What is written of a stripe's values.
pub(super) enum Values {
    Boolean(BitStream),
    Byte(ByteStream),
    Integer(IntegerStream),
    /// Floats and doubles as they are in memory.
    Float(Stream),
    Decimal {
        unscaled: Stream,
        scales: IntegerStream,
        scale: u8,
    },
    Timestamp {
        seconds: IntegerStream,
        nanos: IntegerStream,
    },
    Text {
        texts: Texts,
        version: FormatVersion,
        threshold: Option<f64>,
    },
    /// How many items a list or a map has.
    Lengths(IntegerStream),
    Struct,
}

impl Values {
    pub(super) fn new(kind: Kind, scale: u8, options: &OrcOptions) -> Self {
        let version = options.format_version;
        let integers = |kind, signed| IntegerStream::new(kind, version, signed);
        match kind {
            Kind::Boolean => Self::Boolean(BitStream::new(StreamKind::Data)),
            Kind::Byte => Self::Byte(ByteStream::new(StreamKind::Data)),
            Kind::Short | Kind::Int | Kind::Long | Kind::Date => {
                Self::Integer(integers(StreamKind::Data, true))
            }
            Kind::Float | Kind::Double => Self::Float(Stream::new(StreamKind::Data)),
            Kind::Decimal => Self::Decimal {
                unscaled: Stream::new(StreamKind::Data),
                scales: integers(StreamKind::Secondary, true),
                scale,
            },
            Kind::Timestamp => Self::Timestamp {
                seconds: integers(StreamKind::Data, true),
                nanos: integers(StreamKind::Secondary, false),
            },
            Kind::String | Kind::Varchar | Kind::Char | Kind::Binary => {
                let threshold = options.dictionary_key_threshold;
                let threshold = (kind != Kind::Binary && threshold > 0.0).then_some(threshold);
                Self::Text { texts: Texts::default(), version, threshold }
            }
            Kind::List | Kind::Map => Self::Lengths(integers(StreamKind::Length, false)),
            Kind::Struct => Self::Struct,
        }
    }

    /// Adds the values of rows, none of which is null.
    pub(super) fn write(
        &mut self,
        array: &dyn Array,
        rows: &Rows,
        summary: &mut Summary,
        bloom_filter: Option<&mut BloomFilter>,
    ) {
        match self {
            Self::Boolean(bits) => write_booleans(array, rows, bits, summary),
            Self::Byte(bytes) => {
                let values = integers(array, rows);
                bytes.pending.extend(values.iter().map(|value| *value as u8));
                summarise(&values, summary, bloom_filter);
            }
            Self::Integer(stream) => {
                let start = stream.pending.len();
                gather_integers(array, rows, &mut stream.pending);
                summarise(&stream.pending[start..], summary, bloom_filter);
                stream.settle();
            }
            Self::Float(stream) => match array.data_type() {
                DataType::Float32 => write_floats::<Float32Type>(array, rows, stream, summary, bloom_filter),
                _ => write_floats::<Float64Type>(array, rows, stream, summary, bloom_filter),
            },
            Self::Decimal { unscaled, scales, scale } => {
                let count = write_decimals(array, rows, &mut unscaled.bytes, *scale, summary, bloom_filter);
                scales.pending.resize(scales.pending.len() + count, i64::from(*scale));
                scales.settle();
            }
            Self::Timestamp { seconds, nanos } => {
                let micros = integers(array, rows);
                write_timestamps(&micros, seconds, nanos);
                summarise(&micros, summary, bloom_filter);
            }
            Self::Text { texts, .. } => match array.data_type() {
                DataType::Utf8 => {
                    let array = array.as_string::<i32>();
                    let added = write_bytes(array, rows, texts, bloom_filter);
                    summarise_texts(array, rows, added, summary);
                }
                _ => {
                    let added = write_bytes(array.as_binary::<i32>(), rows, texts, bloom_filter);
                    if let Summary::Binary { bytes } = summary {
                        *bytes += added;
                    }
                }
            },
            Self::Lengths(stream) => write_lengths(array, rows, stream, summary),
            Self::Struct => {}
        }
    }

    /// Starts a row group.
    pub(super) fn mark(&mut self) {
        match self {
            Self::Boolean(bits) => bits.mark(),
            Self::Byte(bytes) => bytes.mark(),
            Self::Integer(stream) | Self::Lengths(stream) => stream.mark(),
            Self::Float(stream) => stream.mark(),
            Self::Decimal { unscaled, scales, .. } => {
                unscaled.mark();
                scales.mark();
            }
            Self::Timestamp { seconds, nanos } => {
                seconds.mark();
                nanos.mark();
            }
            Self::Text { texts, .. } => texts.mark(),
            Self::Struct => {}
        }
    }

    /// The streams, and the size of the dictionary if there is one.
    pub(super) fn finish(self) -> (Vec<Stream>, Option<usize>) {
        let streams = match self {
            Self::Boolean(bits) => vec![bits.finish()],
            Self::Byte(bytes) => vec![bytes.finish()],
            Self::Integer(stream) | Self::Lengths(stream) => vec![stream.finish()],
            Self::Float(stream) => vec![stream],
            Self::Decimal { unscaled, scales, .. } => vec![unscaled, scales.finish()],
            Self::Timestamp { seconds, nanos } => vec![seconds.finish(), nanos.finish()],
            Self::Text { texts, version, threshold } => return texts.finish(version, threshold),
            Self::Struct => Vec::new(),
        };
        (streams, None)
    }
}

fn integers(array: &dyn Array, rows: &Rows) -> Vec<i64> {
    let mut values = Vec::new();
    gather_integers(array, rows, &mut values);
    values
}

fn gather_integers(array: &dyn Array, rows: &Rows, out: &mut Vec<i64>) {
    match array.data_type() {
        DataType::Int8 => gather::<Int8Type>(array, rows, out),
        DataType::Int16 => gather::<Int16Type>(array, rows, out),
        DataType::Int32 => gather::<Int32Type>(array, rows, out),
        DataType::Date32 => gather::<Date32Type>(array, rows, out),
        DataType::Timestamp(..) => gather::<TimestampMicrosecondType>(array, rows, out),
        _ => gather::<Int64Type>(array, rows, out),
    }
}

fn gather<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, rows: &Rows, out: &mut Vec<i64>) {
    let values = array.as_primitive::<T>().values();
    for rows in rows {
        out.extend(values[rows.clone()].iter().map(|value| (*value).into()));
    }
}

/// Takes integers, days or microseconds into the statistics and the bloom filter.
fn summarise(values: &[i64], summary: &mut Summary, bloom_filter: Option<&mut BloomFilter>) {
    let Some(found) = values.iter().copied().min().zip(values.iter().copied().max()) else { return };
    let mut unit = 1;
    match summary {
        Summary::Integer { range, sum } => {
            widen(range, found);
            // No more than 2^64 values of 64 bits: there is room for their sum.
            let added: i128 = values.iter().copied().map(i128::from).sum();
            *sum = sum.and_then(|sum| i64::try_from(added + i128::from(sum)).ok());
        }
        Summary::Date { range } => widen(range, found),
        Summary::Timestamp { range } => {
            widen(range, found);
            unit = 1000;
        }
        _ => {}
    }
    if let Some(filter) = bloom_filter {
        values.iter().for_each(|value| filter.add_integer(value.div_euclid(unit)));
    }
}

fn write_booleans(array: &dyn Array, rows: &Rows, bits: &mut BitStream, summary: &mut Summary) {
    let values = array.as_boolean().values();
    for rows in rows {
        let values = values.slice(rows.start, rows.len());
        values.iter().for_each(|value| bits.push(value));
        if let Summary::Boolean { trues } = summary {
            *trues += values.count_set_bits() as u64;
        }
    }
}

fn write_floats<T: ArrowPrimitiveType<Native: Into<f64>>>(
    array: &dyn Array,
    rows: &Rows,
    stream: &mut Stream,
    summary: &mut Summary,
    mut bloom_filter: Option<&mut BloomFilter>,
) {
    let Summary::Double { range, sum } = summary else { return };
    let values = array.as_primitive::<T>().values();
    for rows in rows {
        let values = &values[rows.clone()];
        stream.bytes.extend_from_slice(values.to_byte_slice());
        let (mut min, mut max) = (f64::NAN, f64::NAN);
        for value in values {
            let value: f64 = (*value).into();
            (min, max) = (min.min(value), max.max(value));
            *sum += value;
            bloom_filter.iter_mut().for_each(|filter| filter.add_double(value));
        }
        widen(range, (min, max));
    }
}

fn write_decimals(
    array: &dyn Array,
    rows: &Rows,
    out: &mut Vec<u8>,
    scale: u8,
    summary: &mut Summary,
    mut bloom_filter: Option<&mut BloomFilter>,
) -> usize {
    let Summary::Decimal { range, sum, .. } = summary else { return 0 };
    let values = array.as_primitive::<Decimal128Type>().values();
    let mut count = 0;
    for rows in rows {
        for value in &values[rows.clone()] {
            put_signed_varint(out, *value);
            widen(range, (*value, *value));
            *sum = sum.and_then(|sum| sum.checked_add(*value));
            bloom_filter
                .iter_mut()
                .for_each(|filter| filter.add_bytes(decimal_text(*value, scale).as_bytes()));
        }
        count += rows.len();
    }
    count
}

/// Adds the values of rows and returns how many bytes they take.
fn write_bytes<T: ByteArrayType<Offset = i32>>(
    array: &GenericByteArray<T>,
    rows: &Rows,
    texts: &mut Texts,
    bloom_filter: Option<&mut BloomFilter>,
) -> u64 {
    let mut bytes = 0;
    for rows in rows {
        let ends = &array.value_offsets()[rows.start..=rows.end];
        texts.extend(array.value_data(), ends);
        bytes += (ends[ends.len() - 1] - ends[0]) as u64;
    }
    if let Some(filter) = bloom_filter {
        rows.iter().flat_map(Range::clone).for_each(|row| filter.add_bytes(array.value(row).as_ref()));
    }
    bytes
}

fn summarise_texts(array: &StringArray, rows: &Rows, added: u64, summary: &mut Summary) {
    let Summary::Text { range, bytes } = summary else { return };
    *bytes += added;
    let mut values = rows.iter().flat_map(Range::clone).map(|row| array.value(row));
    if let Some(first) = values.next() {
        let (low, high) = values.fold((first, first), |(low, high), value| (low.min(value), high.max(value)));
        widen_text(range, low, high);
    }
}

fn write_lengths(array: &dyn Array, rows: &Rows, stream: &mut IntegerStream, summary: &mut Summary) {
    let Summary::Items { range, sum } = summary else { return };
    let ends = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_offsets(),
        _ => array.as_map().value_offsets(),
    };
    for rows in rows {
        for pair in ends[rows.start..=rows.end].windows(2) {
            let length = i64::from(pair[1] - pair[0]);
            stream.pending.push(length);
            widen(range, (length, length));
            *sum += length as u64;
        }
    }
    stream.settle();
}
