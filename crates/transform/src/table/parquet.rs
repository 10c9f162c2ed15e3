//! Tables in Parquet: a row is the object of JSON that it would be in JSON lines, so that it is looked up as one.
//!
//! Whole numbers, decimals (with all their digits), floats and booleans stay what they are; dates and times are text in
//! ISO 8601, bytes are text in hexadecimal digits; lists, structures and maps are JSON. A float that is no number is
//! null.
//!
//! # Limits
//! What the rows come to as JSON, as a small file may hold much. A few rows are decoded at a time, of pages that are
//! decompressed as a whole.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde_json::value::RawValue;

use super::{At, Table, TableError, key_text};

/// How many rows are decoded at a time.
const ROWS_AT_ONCE: usize = 256;

impl Table {
    pub(super) fn read_parquet(&mut self, key: &str, bytes: &[u8], max: u64) -> Result<(), TableError> {
        let (mut row, mut left) = (1, max);
        // The types of Parquet itself: what the writer had in its memory makes no other rows of them.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let file = Bytes::copy_from_slice(bytes);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(at(row))?;
        let columns = builder.schema().fields().iter().map(|field| field.name().clone());
        for column in columns {
            self.column(column);
        }
        if !self.columns.contains(key) {
            return Err(TableError::NoKeyColumn { key: key.to_owned() });
        }
        for batch in builder.with_batch_size(ROWS_AT_ONCE).build().map_err(at(row))? {
            let text = batch.and_then(|batch| json_lines(&batch)).map_err(at(row))?;
            left = left.checked_sub(text.len() as u64).ok_or(TableError::TooLarge { max })?;
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let object: BTreeMap<String, &RawValue> = serde_json::from_slice(line).map_err(at(row))?;
                let value = object.get(key).and_then(|value| key_text(value.get().as_bytes()));
                let cells = object.into_iter().map(|(column, cell)| match cell.get() {
                    "null" => (column, None),
                    text if text.starts_with('"') => {
                        (column, serde_json::from_str(text).ok().map(|text| (text, true)))
                    }
                    text => (column, Some((text.into(), false))),
                });
                self.insert_cells(At::Row(row), key, value, cells)?;
                row += 1;
            }
        }
        Ok(())
    }
}

fn json_lines(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn at<E: Into<Box<dyn std::error::Error + Send + Sync>>>(row: u64) -> impl Fn(E) -> TableError {
    move |source| TableError::Parquet { row, source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::types::Int64Type;
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
        Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
    };
    use arrow_schema::{DataType, Field};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::table::{TableFormat, TableRow};

    fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        );
        let (batch, mut file) = (batch.unwrap(), Vec::new());
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn read(key: &str, bytes: &[u8]) -> Result<Table, TableError> {
        Table::read("t", TableFormat::Parquet, key, bytes)
    }

    fn told(error: TableError) -> String {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    }

    fn ints(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn each_type_is_what_it_is_in_json() {
        let mut list = ListBuilder::new(Int64Builder::new());
        list.append_value([Some(1), None]);
        let part: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let plain: DictionaryArray<Int64Type> = ["said \"so\""].into_iter().collect();
        let micros = TimestampMicrosecondArray::from(vec![1_700_000_000_000_001]);
        let decimal = Decimal128Array::from(vec![12_345_678_901_234_567_890_123_456_789_i128]);
        let all: Vec<(&str, ArrayRef, &str)> = vec![
            ("id", ints(&[Some(i64::MAX)]), "9223372036854775807"),
            ("text", Arc::new(plain), r#""said \"so\"""#),
            ("truth", Arc::new(BooleanArray::from(vec![true])), "true"),
            ("float", Arc::new(Float64Array::from(vec![0.1])), "0.1"),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN])), "null"),
            (
                "money",
                Arc::new(decimal.with_precision_and_scale(38, 2).unwrap()),
                "123456789012345678901234567.89",
            ),
            ("day", Arc::new(Date32Array::from(vec![20_000])), r#""2024-10-04""#),
            ("at", Arc::new(micros.clone().with_timezone("UTC")), r#""2023-11-14T22:13:20.000001Z""#),
            ("local", Arc::new(micros), r#""2023-11-14T22:13:20.000001""#),
            ("bytes", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])), r#""00ff""#),
            ("list", Arc::new(list.finish()), "[1,null]"),
            (
                "struct",
                Arc::new(StructArray::from(vec![(
                    Arc::new(Field::new("a", DataType::Utf8, true)),
                    Arc::clone(&part),
                )])),
                r#"{"a":"x"}"#,
            ),
            ("none", ints(&[None]), "null"),
        ];
        let bytes = file(all.iter().map(|(name, array, _)| (*name, Arc::clone(array))).collect());
        let table = read("id", &bytes).unwrap();
        let row: &TableRow = table.get("9223372036854775807").unwrap();
        for (column, _, expected) in all {
            let mut written = Vec::new();
            row.write_json(column, &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), expected, "{column}");
        }
        assert!(table.columns().any(|column| column == "none"), "it may be asked for");
    }

    #[test]
    fn what_is_wrong_with_parquet_is_told_with_its_row() {
        let bad = |key: &str, bytes: &[u8]| told(read(key, bytes).unwrap_err());
        let rows = file(vec![("k", ints(&[Some(1), None])), ("d", ints(&[Some(1), Some(1)]))]);
        assert_eq!(bad("x", &rows), "the table has no column 'x'");
        assert_eq!(bad("k", &rows), "row 2 has no value for the key 'k'");
        assert_eq!(bad("d", &rows), "row 2 has a key that came before: '1'");
        let unread = bad("k", b"k\n1\n");
        assert!(unread.starts_with("the Parquet cannot be read from row 1 on: "), "{unread}");
        let mut broken = rows;
        broken[4..40].fill(0xff);
        let unread = bad("k", &broken);
        assert!(unread.starts_with("the Parquet cannot be read from row 1 on: "), "{unread}");
    }

    #[test]
    fn a_small_file_of_many_rows_ends_at_the_limit() {
        let ids: Vec<_> = (0..100_000).map(Some).collect();
        let same: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000); ids.len()]));
        let bytes = file(vec![("k", ints(&ids)), ("same", same)]);
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
        let read = |max| Table::read_within("t", TableFormat::Parquet, "k", &bytes, max);
        assert!(matches!(read(90 << 20), Err(TableError::TooLarge { .. })));
        assert_eq!(read(120 << 20).unwrap().len(), 100_000);
    }
}
