//! ORC files read back by readers that share no code with the writer: orc-rust for random rows, and pyarrow and pyorc,
//! which are both Apache's C++ library, for a fixed set.

mod python;
mod rows;

use std::sync::Arc;
use std::thread;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use orc_rust::TimestampPrecision;
use orc_rust::arrow_reader::ArrowReaderBuilder;
use proptest::prelude::*;
use standpipe_convert::orc::{
    Compression, EncodeError, FormatVersion, JoinError, Joiner, OptionsError, OrcOptions, encode_stripe,
};

use rows::{Source, Value, batch};

pub(crate) fn metadata() -> Vec<(String, String)> {
    [("stream", "flüge"), ("positions", "1-2")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A file of stripes, each of which is given as its batches.
pub(crate) fn write(schema: &Schema, options: &OrcOptions, stripes: &[Vec<RecordBatch>]) -> Bytes {
    let (mut joiner, header) = Joiner::start(schema, options).expect("options fit");
    let mut file = header.to_vec();
    for batches in stripes {
        file.extend_from_slice(
            &joiner.push(encode_stripe(batches, options).expect("encodes")).expect("joins"),
        );
    }
    file.extend_from_slice(&joiner.finish(&metadata()).expect("ends"));
    file.into()
}

/// Cuts rows into stripes of batches.
pub(crate) fn cut(
    schema: &Schema,
    rows: &[Vec<Value>],
    stripe: usize,
    rows_of_batch: usize,
) -> Vec<Vec<RecordBatch>> {
    let batches = |rows: &[Vec<Value>]| rows.chunks(rows_of_batch).map(|rows| batch(schema, rows)).collect();
    rows.chunks(stripe).map(batches).collect()
}

fn read(file: Bytes) -> Vec<Vec<Value>> {
    let reader = ArrowReaderBuilder::try_new(file)
        .expect("a file")
        .with_timestamp_precision(TimestampPrecision::Microsecond);
    let batches = reader.build().collect::<Result<Vec<_>, _>>().expect("reads");
    let row =
        |batch: &RecordBatch, row| batch.columns().iter().map(|column| Value::of(column, row)).collect();
    batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>())
        .collect()
}

fn options() -> impl Strategy<Value = OrcOptions> {
    let compression = prop::sample::select(vec![
        Compression::None,
        Compression::Zlib,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ]);
    let version = prop::sample::select(vec![FormatVersion::V0_11, FormatVersion::V0_12]);
    let strides = prop::sample::select(vec![0, 1, 7, 100, 10_000]);
    let thresholds = prop::sample::select(vec![0.0, 0.3, 1.0]);
    (compression, version, strides, thresholds, any::<bool>(), any::<bool>()).prop_map(
        |(compression, format_version, row_index_stride, dictionary_key_threshold, enable_padding, bloom)| {
            let bloom = bloom && row_index_stride > 0;
            OrcOptions {
                compression,
                format_version,
                row_index_stride,
                dictionary_key_threshold,
                enable_padding,
                padding_tolerance: 1.0,
                block_size_bytes: 5_000,
                bloom_filter_columns: if bloom { vec!["ID".to_owned()] } else { vec![] },
                ..OrcOptions::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_of_any_schema_read_back_as_themselves(
        seed: u64,
        columns in 1u64..6,
        count in 0usize..400,
        nulls in prop::sample::select(vec![0, 1, 2, 10]),
        (stripe, rows_of_batch) in (1usize..300, 1usize..200),
        options in options(),
    ) {
        let mut source = Source::new(seed, nulls);
        let drawn = source.schema(columns, 3);
        let mut fields = drawn.fields().to_vec();
        fields.push(Arc::new(Field::new("id", DataType::Int32, true)));
        let schema = Schema::new(fields);
        let rows = source.rows(&schema, count);
        let file = write(&schema, &options, &cut(&schema, &rows, stripe, rows_of_batch));
        let found = read(file.clone());
        prop_assert_eq!(found.len(), rows.len());
        for (at, (found, expect)) in found.iter().zip(&rows).enumerate() {
            prop_assert_eq!(found, expect, "row {}", at);
        }
        prop_assert!(write(&schema, &options, &cut(&schema, &rows, stripe, rows_of_batch)) == file);
    }
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
}

#[test]
fn stripes_encoded_at_once_give_the_same_file_as_one_after_another() {
    let schema = schema(&[("n", DataType::Int64), ("s", DataType::Utf8)]);
    let options = OrcOptions { dictionary_key_threshold: 0.5, ..OrcOptions::default() };
    let stripes = cut(&schema, &Source::new(5, 4).rows(&schema, 20_000), 2_500, 1_000);
    let (mut joiner, header) = Joiner::start(&schema, &options).expect("options fit");
    let mut file = header.to_vec();
    thread::scope(|scope| {
        let options = &options;
        let running: Vec<_> =
            stripes.iter().map(|batches| scope.spawn(move || encode_stripe(batches, options))).collect();
        for thread in running {
            file.extend_from_slice(
                &joiner.push(thread.join().expect("ends").expect("encodes")).expect("joins"),
            );
        }
    });
    assert_eq!(joiner.rows(), 20_000);
    file.extend_from_slice(&joiner.finish(&metadata()).expect("ends"));
    assert!(file == write(&schema, &options, &stripes));
}

#[test]
fn a_stripe_is_aligned_to_a_block_if_it_would_cross_its_end_and_the_padding_is_within_the_tolerance() {
    let schema = schema(&[("n", DataType::Int64)]);
    let stripe = |options: &OrcOptions| {
        let batch = batch(&schema, &Source::new(3, 0).rows(&schema, 100));
        encode_stripe(&[batch], options).expect("encodes")
    };
    let plain = OrcOptions { compression: Compression::None, ..OrcOptions::default() };
    let bytes = stripe(&plain).bytes().len() as u64;
    for (enable_padding, block_size_bytes, tolerance_bytes, padding) in [
        (false, 3 + bytes + 10, 11, 0),
        (true, 3 + bytes + 10, 10, 0),
        (true, 3 + bytes + 10, 11, 10),
        (true, 3 + bytes + bytes, bytes + 1, 0),
    ] {
        let options = OrcOptions {
            enable_padding,
            block_size_bytes,
            stripe_size_bytes: 1 << 20,
            padding_tolerance: tolerance_bytes as f64 / (1 << 20) as f64,
            ..plain.clone()
        };
        let (mut joiner, _) = Joiner::start(&schema, &options).expect("options fit");
        assert_eq!(joiner.push(stripe(&options)).expect("joins").len() as u64, bytes);
        let second = joiner.push(stripe(&options)).expect("joins");
        assert_eq!(second.len() as u64, padding + bytes, "{options:?}");
        assert!(second[padding as usize..] == *stripe(&options).bytes());
    }
}

#[test]
fn a_stripe_without_rows_leaves_no_trace_and_one_of_another_table_is_refused() {
    let table = schema(&[("n", DataType::Int64)]);
    let options = OrcOptions::default();
    let (mut joiner, _) = Joiner::start(&table, &options).expect("options fit");
    assert!(joiner.push(encode_stripe(&[], &options).expect("encodes")).expect("joins").is_empty());
    let one = |schema: &Schema, options: &OrcOptions| {
        encode_stripe(&[batch(schema, &Source::new(1, 0).rows(schema, 1))], options).expect("encodes")
    };
    let other = schema(&[("n", DataType::Int32)]);
    assert_eq!(joiner.push(one(&other, &options)), Err(JoinError::OtherSchema));
    let zlib = OrcOptions { compression: Compression::Zlib, ..OrcOptions::default() };
    assert_eq!(joiner.push(one(&table, &zlib)), Err(JoinError::OtherOptions));
    assert!(joiner.push(one(&table, &options)).is_ok());
    assert_eq!(joiner.rows(), 1);

    let batches = [&table, &other].map(|schema| batch(schema, &Source::new(1, 0).rows(schema, 1)));
    assert!(matches!(encode_stripe(&batches, &options), Err(EncodeError::OtherSchema { batch: 1 })));
}

#[test]
fn what_no_file_can_be_written_by_is_refused_by_its_name() {
    let inner =
        Fields::from(vec![Field::new("b", DataType::Int32, true), Field::new("u", DataType::Boolean, true)]);
    let table = schema(&[("n", DataType::Int64), ("s", DataType::Struct(inner))]);
    let default = OrcOptions::default();
    let bloom = |columns: &[&str]| OrcOptions {
        bloom_filter_columns: columns.iter().map(|&column| column.to_owned()).collect(),
        ..OrcOptions::default()
    };
    for (options, expect) in [
        (
            OrcOptions { padding_tolerance: 1.1, ..default.clone() },
            "padding_tolerance is 1.1, allowed are 0 to 1",
        ),
        (
            OrcOptions { dictionary_key_threshold: f64::NAN, ..default.clone() },
            "dictionary_key_threshold is NaN, allowed are 0 to 1",
        ),
        (
            OrcOptions { enable_padding: true, block_size_bytes: 0, ..default.clone() },
            "block_size_bytes is 0, and padding aligns to blocks",
        ),
        (
            OrcOptions { row_index_stride: 0, ..bloom(&["n"]) },
            "bloom filters need a row index: row_index_stride is 0",
        ),
        (
            OrcOptions { bloom_filter_fpp: 1.0, ..bloom(&["n"]) },
            "bloom filters of 10000 rows and a false positive probability of 1 take 0 bits, allowed are 1 to 64000000",
        ),
        (
            OrcOptions { bloom_filter_fpp: 0.0, ..bloom(&["n"]) },
            "bloom filters of 10000 rows and a false positive probability of 0 take inf bits, allowed are 1 to 64000000",
        ),
        (bloom(&["N", "x"]), "there is no column 'x' that can have a bloom filter"),
        (bloom(&["s.u"]), "there is no column 's.u' that can have a bloom filter"),
    ] {
        assert_eq!(options.validate(&table).expect_err("refused").to_string(), expect);
        assert!(Joiner::start(&table, &options).is_err());
    }
    for options in [bloom(&["n", "S"]), bloom(&["s.B"]), default.clone()] {
        assert_eq!(options.validate(&table), Ok(()));
    }
    let unsigned = schema(&[("a", rows::list(Field::new("element", DataType::UInt64, true)))]);
    let error = default.validate(&unsigned).expect_err("refused");
    assert!(matches!(&error, OptionsError::Type(found) if found.column == "a"), "{error}");
    assert_eq!(error.to_string(), "column 'a' is of type UInt64, which cannot be written as ORC");
}
