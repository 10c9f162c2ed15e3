//! Parquet files read back.

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use serde_json::Value;
use standpipe_convert::parquet::{Compression, ParquetFormat, ParquetOptions, Statistics};
use standpipe_convert::{Deserializer, RowReader, TableSchema};

use crate::rows::table_and_rows;

/// The rows as columns, in parts of so many.
pub(crate) fn parts(table: &TableSchema, rows: &[Value], of: usize) -> Vec<RecordBatch> {
    let mut reader = RowReader::new(table, &Deserializer::default());
    rows.chunks(of)
        .map(|rows| {
            rows.iter().for_each(|row| assert_eq!(reader.push(row.to_string().as_bytes()), Ok(1)));
            reader.finish().unwrap()
        })
        .collect()
}

/// A file with a row group for every two parts.
fn file(table: &TableSchema, options: &ParquetOptions, parts: &[RecordBatch]) -> Bytes {
    let format = ParquetFormat::new(table.to_arrow(), options).unwrap();
    let (mut joiner, head) = format.start().unwrap();
    let mut file = head.to_vec();
    for group in parts.chunks(2) {
        file.extend(joiner.push(format.encode(group).unwrap()).unwrap());
    }
    file.extend(joiner.finish(&[("standpipe.stream".to_owned(), "s".to_owned())]).unwrap());
    file.into()
}

fn options() -> impl Strategy<Value = ParquetOptions> {
    let compression = prop_oneof![
        Just(Compression::Uncompressed),
        Just(Compression::Gzip),
        Just(Compression::Snappy),
        Just(Compression::Zstd),
        Just(Compression::Lz4Raw),
    ];
    let statistics = prop_oneof![Just(Statistics::None), Just(Statistics::Chunk), Just(Statistics::Page)];
    (compression, any::<bool>(), 1u8..3, statistics).prop_map(
        |(compression, dictionary, writer_version, statistics)| ParquetOptions {
            compression,
            dictionary,
            writer_version,
            statistics,
            ..ParquetOptions::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back_from_a_file_as_they_were((table, rows) in table_and_rows(40), options in options()) {
        let parts = parts(&table, &rows, 7);
        let file = file(&table, &options, &parts);
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        prop_assert_eq!(reader.metadata().num_row_groups(), parts.len().div_ceil(2));
        let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
        prop_assert!(metadata.iter().any(|pair| pair.key == "standpipe.stream" && pair.value.as_deref() == Some("s")));
        let read: Vec<RecordBatch> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
        let schema = table.to_arrow();
        prop_assert_eq!(concat_batches(&schema, &read).unwrap(), concat_batches(&schema, &parts).unwrap());
    }
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let table = TableSchema::new(vec![standpipe_convert::Column::parse("id", "bigint").unwrap()]).unwrap();
    let rows: Vec<Value> = (0..1000).map(|id| serde_json::json!({ "id": id })).collect();
    let once = || file(&table, &ParquetOptions::default(), &parts(&table, &rows, 100));
    assert_eq!(once(), once());
}

#[test]
fn rows_are_sorted_and_filtered_where_that_is_asked_for() {
    let columns = [("id", "bigint"), ("name", "string")];
    let columns = columns.map(|(name, kind)| standpipe_convert::Column::parse(name, kind).unwrap());
    let table = TableSchema::new(columns.into()).unwrap();
    let rows: Vec<Value> =
        (0..100).map(|id| serde_json::json!({ "id": id * 37 % 100, "name": "n" })).collect();
    let options = ParquetOptions {
        sort_columns: vec![("id".to_owned(), true)],
        bloom_filters: vec!["name".to_owned()],
        ..ParquetOptions::default()
    };
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file(&table, &options, &parts(&table, &rows, 100))).unwrap();
    let group = reader.metadata().row_group(0);
    assert!(group.sorting_columns().unwrap()[0].descending);
    assert!(
        group.column(1).bloom_filter_offset().is_some() && group.column(0).bloom_filter_offset().is_none()
    );
    let read = reader.build().unwrap().next().unwrap().unwrap();
    let ids = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(read.column(0));
    assert!(ids.values().iter().copied().eq((0..100).rev()));
    for (setting, columns) in [("sort_columns", "sort"), ("bloom_filters", "bloom")] {
        let mut wrong = ParquetOptions::default();
        match columns {
            "sort" => wrong.sort_columns.push(("other".to_owned(), false)),
            _ => wrong.bloom_filters.push("other".to_owned()),
        }
        let error = ParquetFormat::new(table.to_arrow(), &wrong).unwrap_err().to_string();
        assert_eq!(error, format!("{setting}: there is no column 'other'"));
    }
}
