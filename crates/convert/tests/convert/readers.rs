//! Files read by pyarrow and DuckDB, value by value.

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use standpipe_convert::parquet::{Compression, ParquetOptions};
use standpipe_convert::{Column, TableSchema};
use standpipe_testkit::clients::Python;

use crate::parquet::{file, parts};
use crate::rows::table_and_rows;

/// Each type of the documentation.
const COLUMNS: [(&str, &str); 21] = [
    ("boolean", "boolean"),
    ("tinyint", "tinyint"),
    ("smallint", "smallint"),
    ("int", "int"),
    ("bigint", "bigint"),
    ("float", "float"),
    ("double", "double"),
    ("decimal", "decimal"),
    ("decimal_38", "decimal(38,18)"),
    ("decimal_9", "decimal(9,2)"),
    ("string", "string"),
    ("char", "char(3)"),
    ("varchar", "varchar(5)"),
    ("date", "date"),
    ("timestamp", "timestamp"),
    ("binary", "binary"),
    ("array", "array<array<string>>"),
    ("map", "map<string,array<int>>"),
    ("struct", "struct<a:int,b:struct<c:date,d:map<string,decimal(5,2)>>>"),
    ("structs", "array<struct<x:bigint,y:string>>"),
    ("never", "struct<a:array<int>,b:string>"),
];

fn every_type() -> (TableSchema, Vec<Value>) {
    let columns = COLUMNS.map(|(name, kind)| Column::parse(name, kind).unwrap());
    let full = json!({
        "boolean": true, "tinyint": -128, "smallint": 32767, "int": -2147483648, "bigint": 9223372036854775807_i64,
        "float": 1.5, "double": -2.25e300, "decimal": "1234567890", "decimal_38": "-12345678901234567890.123456789012345678",
        "decimal_9": "1234567.89", "string": "héllo \"w\"\n", "char": "äbc", "varchar": "abcde", "date": "1969-12-31",
        "timestamp": "2038-01-19 03:14:08.123456", "binary": "bytes",
        "array": [["a", null], [], null, ["b"]], "map": {"k": [1, null], "l": [], "m": null},
        "struct": {"a": 1, "b": {"c": "2000-02-29", "d": {"x": "123.45", "y": null}}},
        "structs": [{"x": 1, "y": null}, null, {"x": null, "y": "z"}], "never": null,
    });
    let nulls = || Value::Object(COLUMNS.iter().map(|(name, _)| ((*name).to_owned(), Value::Null)).collect());
    let mut empty = nulls();
    for (name, value) in
        [("array", json!([])), ("map", json!({})), ("string", json!("")), ("structs", json!([]))]
    {
        empty[name] = value;
    }
    empty["struct"] = json!({"a": null, "b": null});
    (TableSchema::new(columns.into()).unwrap(), vec![nulls(), full.clone(), empty, full, nulls()])
}

fn write(
    folder: &Path,
    name: &str,
    options: &ParquetOptions,
    table: &TableSchema,
    rows: &[Value],
    of: usize,
) {
    fs::write(folder.join(name).with_extension("parquet"), file(table, options, &parts(table, rows, of)))
        .unwrap();
    fs::write(folder.join(name).with_extension("json"), Value::from(rows).to_string()).unwrap();
}

#[test]
fn other_readers_see_every_value_of_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let (table, rows) = every_type();
    let codecs = [
        Compression::Uncompressed,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Zstd,
        Compression::Lz4Raw,
    ];
    let mut files = 0;
    for (compression, version) in codecs.into_iter().flat_map(|codec| [(codec, 1), (codec, 2)]) {
        let options = ParquetOptions { compression, writer_version: version, ..ParquetOptions::default() };
        write(folder.path(), &format!("every-{files:02}"), &options, &table, &rows, 2);
        files += 1;
    }
    let mut runner = TestRunner::deterministic();
    for number in 0..40 {
        let (table, rows) = table_and_rows(60).new_tree(&mut runner).unwrap().current();
        write(folder.path(), &format!("random-{number:02}"), &ParquetOptions::default(), &table, &rows, 25);
        files += 1;
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/read.py");
    let python = Python::installed().unwrap().interpreter();
    let run = Command::new(python).arg(program).arg(folder.path()).output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!(out.trim(), files.to_string(), "{errors}");
}
