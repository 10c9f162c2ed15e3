//! Rows as lines of JSON again.

use proptest::prelude::*;
use serde_json::Value;
use standpipe_convert::{Deserializer, JsonLines, RowReader, TableSchema, Type};

use crate::parquet::parts;
use crate::rows::table_and_rows;

fn has_binary(kind: &Type) -> bool {
    match kind {
        Type::Binary => true,
        Type::Array(item) | Type::Map(item) => has_binary(item),
        Type::Struct(members) => members.iter().any(|(_, member)| has_binary(member)),
        _ => false,
    }
}

/// A row as it can be compared with its line: without members that are null, and without decimals, which are numbers in the
/// one and texts in the other.
fn comparable(value: &mut Value, kind: &Type) {
    match (value, kind) {
        (Value::Array(items), Type::Array(kind)) => items.iter_mut().for_each(|item| comparable(item, kind)),
        (Value::Object(entries), Type::Map(kind)) => {
            entries.values_mut().for_each(|entry| comparable(entry, kind));
        }
        (Value::Object(values), Type::Struct(members)) => {
            values.retain(|_, value| !value.is_null());
            for (name, kind) in members {
                values.get_mut(name).into_iter().for_each(|value| comparable(value, kind));
            }
        }
        (value, Type::Decimal { .. }) => *value = Value::Null,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_the_rows_and_read_back_as_the_same_columns((table, rows) in table_and_rows(40)) {
        prop_assume!(table.columns().iter().all(|column| !has_binary(&column.kind)));
        let batch = &parts(&table, &rows, rows.len())[0];
        let mut text = Vec::new();
        let lines = JsonLines::of(batch).unwrap();
        (0..rows.len()).for_each(|row| lines.put(row, &mut text, usize::MAX).unwrap());
        let text = String::from_utf8(text).unwrap();
        let kind = Type::Struct(table.columns().iter().map(|c| (c.name.clone(), c.kind.clone())).collect());
        for (line, row) in text.lines().zip(&rows) {
            let (mut read, mut row): (Value, _) = (serde_json::from_str(line).unwrap(), row.clone());
            [&mut read, &mut row].into_iter().for_each(|value| comparable(value, &kind));
            prop_assert_eq!(read, row);
        }
        for deserializer in [Deserializer::default(), Deserializer::Hive { timestamp_formats: Vec::new() }] {
            prop_assert_eq!(&read(&table, &deserializer, &text), batch);
        }
    }
}

fn read(table: &TableSchema, deserializer: &Deserializer, text: &str) -> standpipe_convert::RecordBatch {
    let mut reader = RowReader::new(table, deserializer);
    text.lines().for_each(|line| assert_eq!(reader.push(line.as_bytes()), Ok(1), "{line}"));
    reader.finish().unwrap()
}
