//! A schema that was proposed takes what it was proposed from.

use proptest::prelude::*;
use serde_json::Value;
use standpipe_convert::infer::Inferred;
use standpipe_convert::{Deserializer, RowReader};

use crate::rows::{objects, table_and_rows};

/// Proposes a schema, and converts the rows by it.
fn check(rows: &[Value]) {
    let records: Vec<String> = rows.iter().map(Value::to_string).collect();
    let mut inferred = Inferred::default();
    for record in &records {
        assert_eq!(inferred.add(record.as_bytes()), Ok(1));
    }
    let schema = match inferred.schema() {
        Ok(schema) => schema,
        Err(_) => {
            assert!(rows.iter().all(|row| row.as_object().unwrap().keys().all(String::is_empty)));
            return;
        }
    };
    for column in schema.columns() {
        assert_eq!(column.kind.to_string().parse().as_ref(), Ok(&column.kind));
    }
    let mut reader = RowReader::new(&schema, &Deserializer::default());
    for record in &records {
        assert_eq!(reader.push(record.as_bytes()), Ok(1), "{record} as {schema:?}");
    }
    assert_eq!(reader.finish().unwrap().num_rows(), rows.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_a_table_are_taken_by_the_schema_that_they_propose((_, rows) in table_and_rows(12)) {
        check(&rows);
    }

    #[test]
    fn any_objects_are_taken_by_the_schema_that_they_propose(rows in objects(6)) {
        check(&rows);
    }
}
