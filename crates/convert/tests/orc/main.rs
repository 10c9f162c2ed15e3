//! ORC files read back by readers that share no code with the writer: orc-rust for random rows, and pyarrow and pyorc,
//! which are both Apache's C++ library, for a fixed set.

mod python;
mod rows;


use arrow_array::RecordBatch;
use arrow_schema::Schema;
use bytes::Bytes;
use orc_rust::arrow_reader::ArrowReaderBuilder;
use orc_rust::{Predicate, PredicateValue, TimestampPrecision};
use proptest::prelude::*;
use standpipe_convert::orc::{Compression, FormatVersion, Joiner, OrcOptions, encode_stripe};

use rows::{Source, Value, batch};

/// A file of stripes, each of which is given as its batches.
pub(crate) fn write(schema: &Schema, options: &OrcOptions, stripes: &[Vec<RecordBatch>]) -> Bytes {
    let (mut joiner, header) = Joiner::start(schema, options).expect("options fit");
    let mut file = header.to_vec();
    for batches in stripes {
        file.extend_from_slice(
            &joiner.push(encode_stripe(batches, options).expect("encodes")).expect("joins"),
        );
    }
    file.extend_from_slice(&joiner.finish().expect("ends"));
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

fn read(file: Bytes, predicate: Option<Predicate>) -> Vec<Vec<Value>> {
    let mut reader = ArrowReaderBuilder::try_new(file)
        .expect("a file")
        .with_timestamp_precision(TimestampPrecision::Microsecond);
    if let Some(predicate) = predicate {
        reader = reader.with_predicate(predicate);
    }
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
        fields.push(std::sync::Arc::new(arrow_schema::Field::new("id", arrow_schema::DataType::Int32, true)));
        let schema = Schema::new(fields);
        let rows = source.rows(&schema, count);
        let file = write(&schema, &options, &cut(&schema, &rows, stripe, rows_of_batch));
        let found = read(file.clone(), None);
        prop_assert_eq!(found.len(), rows.len());
        for (at, (found, expect)) in found.iter().zip(&rows).enumerate() {
            prop_assert_eq!(found, expect, "row {}", at);
        }
        prop_assert!(write(&schema, &options, &cut(&schema, &rows, stripe, rows_of_batch)) == file);
    }
}
