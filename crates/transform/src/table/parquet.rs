//! Tables in Parquet: a row is the object of JSON that it would be in JSON lines, so that it is looked up as one.
//!
//! Whole numbers, decimals (with all their digits), floats and booleans stay what they are; dates and times are text in
//! ISO 8601, bytes are text in hexadecimal digits; lists, structures and maps are JSON. A float that is no number is
//! null.
//!
//! # Limits
//! What the rows come to as JSON, as a small file may hold much, and twice that for what its pages come to by its own
//! account. Few rows are decoded at a time, of pages that are decompressed as a whole. A footer is looked through before
//! it is believed (`footer.rs`); pages are not.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use serde_json::value::RawValue;

use super::{At, Table, TableError, footer, key_text};

/// The most rows that are decoded at a time.
const ROWS_AT_ONCE_MAX: usize = 256;
/// What the rows that are decoded at a time should come to as JSON.
const TEXT_AT_ONCE: usize = 1 << 20;
/// How many times `max` all pages together may come to: binary is rarely more than its JSON.
const PAGES_OVER_MAX: u64 = 2;

impl Table {
    pub(super) fn read_parquet(&mut self, key: &str, file: &Bytes, max: u64) -> Result<(), TableError> {
        footer::check(file).map_err(at(1))?;
        // The types of Parquet itself: what the writer had in its memory makes no other rows of them.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let head = ArrowReaderMetadata::load(file, options).map_err(at(1))?;
        for field in head.schema().fields() {
            self.column(field.name().clone());
        }
        if !self.columns.contains(key) {
            return Err(TableError::NoKeyColumn { key: key.to_owned() });
        }
        let groups = head.metadata().row_groups().iter();
        let pages = groups.fold(0_u64, |pages, group| {
            pages.saturating_add(group.total_byte_size().try_into().unwrap_or(u64::MAX))
        });
        if pages > max.saturating_mul(PAGES_OVER_MAX) {
            return Err(TableError::TooLarge { max });
        }
        self.read_rows(key, file, &head, max)
    }

    fn read_rows(
        &mut self,
        key: &str,
        file: &Bytes,
        head: &ArrowReaderMetadata,
        max: u64,
    ) -> Result<(), TableError> {
        let (mut row, mut left, mut pace) = (1, max, Pace::default());
        'paces: loop {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), head.clone());
            let done = usize::try_from(row - 1).unwrap_or(usize::MAX);
            let reader = builder.with_batch_size(pace.rows).with_offset(done).build().map_err(at(row))?;
            for batch in reader {
                let text = batch.and_then(|batch| json_lines(&batch)).map_err(at(row))?;
                left = left.checked_sub(text.len() as u64).ok_or(TableError::TooLarge { max })?;
                row = self.take_lines(key, &text, row)?;
                if pace.changes(text.len()) {
                    continue 'paces;
                }
            }
            return Ok(());
        }
    }

    /// Takes rows as JSON has them, of which the first is `row`; the row after them.
    fn take_lines(&mut self, key: &str, text: &[u8], mut row: u64) -> Result<u64, TableError> {
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
        Ok(row)
    }
}

/// How many rows are decoded at a time: one at first, as a dictionary can make each of them as large as a page; then
/// more while they are small, and fewer for good once they were not.
struct Pace {
    rows: usize,
    may_grow: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: 1, may_grow: true }
    }
}

impl Pace {
    /// Whether it is another one after rows that came to so much.
    fn changes(&mut self, text: usize) -> bool {
        let rows = match text {
            text if text > TEXT_AT_ONCE => {
                self.may_grow = false;
                (self.rows / 2).max(1)
            }
            text if text < TEXT_AT_ONCE / 4 && self.may_grow => (self.rows * 2).min(ROWS_AT_ONCE_MAX),
            _ => self.rows,
        };
        std::mem::replace(&mut self.rows, rows) != rows
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
        let bytes = Bytes::from(bytes);
        let read = |max| Table::read_within("t", TableFormat::Parquet, "k", &bytes, max);
        assert!(matches!(read(90 << 20), Err(TableError::TooLarge { .. })));
        assert_eq!(read(120 << 20).unwrap().len(), 100_000);
    }
    #[test]
    fn pages_that_say_to_be_larger_than_the_limit_are_not_decompressed() {
        let blobs: ArrayRef = Arc::new(BinaryArray::from(vec![&vec![7; 1 << 20][..]; 1]));
        let bytes = Bytes::from(file(vec![("k", ints(&[Some(1)])), ("blob", blobs)]));
        let read = |max| Table::read_within("t", TableFormat::Parquet, "k", &bytes, max);
        assert!(matches!(read(300 << 10), Err(TableError::TooLarge { .. })));
        assert_eq!(read(3 << 20).unwrap().len(), 1, "it is twice as much in hexadecimal digits");
    }

    #[test]
    fn rows_of_many_sizes_are_all_read_in_their_order() {
        let sizes = (0..3000_usize).map(|row| if row % 700 == 699 { 100_000 } else { row % 50 });
        let texts: Vec<String> = sizes.map(|size| "x".repeat(size)).collect();
        let ids: Vec<_> = (0..3000).map(Some).collect();
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let table = read("k", &file(vec![("k", ints(&ids)), ("text", texts)])).unwrap();
        assert_eq!(table.len(), 3000);
        for (key, size) in [("0", 0), ("49", 49), ("699", 100_000), ("2999", 49)] {
            let mut written = Vec::new();
            table.get(key).unwrap().write_json("text", &mut written);
            assert_eq!(written.len(), size + 2, "{key}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]
        #[test]
        fn a_damaged_footer_ends_in_an_error_or_in_rows(
            damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..6),
        ) {
            let mut list = ListBuilder::new(Int64Builder::new());
            list.append_value([Some(1), None]);
            let part: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
            let field = Arc::new(Field::new("a", DataType::Utf8, true));
            let mut bytes = file(vec![
                ("id", ints(&[Some(1)])),
                ("list", Arc::new(list.finish())),
                ("struct", Arc::new(StructArray::from(vec![(field, part)]))),
            ]);
            let end = bytes.len() - 8;
            let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
            for (place, byte) in damage {
                bytes[end - length + place.index(length)] = byte;
            }
            // What is wrong beyond its structure may make the reader panic, which its caller catches.
            drop(std::panic::catch_unwind(|| read("id", &bytes).is_ok()));
        }
    }
}
