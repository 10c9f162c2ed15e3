//! Files read by two other readers each, value by value.

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use standpipe_convert::avro::{self, AvroFormat};
use standpipe_convert::parquet::{Compression, ParquetFormat, ParquetOptions};
use standpipe_convert::{Column, FileFormat, TableSchema};
use standpipe_testkit::clients::Python;

use crate::parquet::parts;
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

/// A file with a part for every two batches of `of` rows.
fn file(format: &FileFormat, table: &TableSchema, rows: &[Value], of: usize) -> Vec<u8> {
    let (mut joiner, head) = format.start(&[("standpipe.stream".to_owned(), "s".to_owned())]).unwrap();
    let mut file = head.to_vec();
    for part in parts(table, rows, of).chunks(2) {
        file.extend(joiner.push(format.encode(part).unwrap()).unwrap());
    }
    file.extend(joiner.finish().unwrap());
    file
}

/// Files for other readers, each beside what is in it.
struct Files {
    folder: tempfile::TempDir,
    count: usize,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), count: 0 }
    }

    fn add(&mut self, extension: &str, file: &[u8], rows: &[Value]) {
        let path = self.folder.path().join(format!("{:03}.json", self.count));
        fs::write(path.with_extension(extension), file).unwrap();
        fs::write(path, Value::from(rows).to_string()).unwrap();
        self.count += 1;
    }

    /// Has all of them read and compared.
    fn check(&self) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/read.py");
        let python = Python::installed().unwrap().interpreter();
        let run = Command::new(python).arg(program).arg(self.folder.path()).output().unwrap();
        let (out, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert_eq!(out.trim(), self.count.to_string(), "{errors}");
    }
}

/// Random tables and rows of them, the same each time.
fn random(count: usize) -> impl Iterator<Item = (TableSchema, Vec<Value>)> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(move |_| table_and_rows(60).new_tree(&mut runner).unwrap().current())
}

#[test]
fn pyarrow_and_duckdb_see_every_value_of_every_type() {
    let mut files = Files::new();
    let parquet = |options: &ParquetOptions, table: &TableSchema, rows: &[Value], of| {
        let format = ParquetFormat::new(table.to_arrow(), options).unwrap();
        file(&FileFormat::Parquet(format), table, rows, of)
    };
    let (table, rows) = every_type();
    let codecs = [
        Compression::Uncompressed,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Zstd,
        Compression::Lz4Raw,
    ];
    for (compression, version) in codecs.into_iter().flat_map(|codec| [(codec, 1), (codec, 2)]) {
        let options = ParquetOptions { compression, writer_version: version, ..ParquetOptions::default() };
        files.add("parquet", &parquet(&options, &table, &rows, 2), &rows);
    }
    for (table, rows) in random(40) {
        files.add("parquet", &parquet(&ParquetOptions::default(), &table, &rows, 25), &rows);
    }
    files.check();
}

#[test]
fn fastavro_and_avro_of_python_see_every_value_of_every_type() {
    use avro::Compression::{Deflate, None, Snappy, Zstandard};
    let mut files = Files::new();
    let avro = |compression, table: &TableSchema, rows: &[Value]| {
        let format = AvroFormat::new(&table.to_arrow(), "lake.rows", compression).unwrap();
        let once = || file(&FileFormat::Avro(format.clone()), table, rows, 25);
        assert!(once() == once(), "the same rows give the same bytes");
        once()
    };
    let (table, rows) = every_type();
    for compression in [None, Deflate, Snappy, Zstandard] {
        files.add("avro", &avro(compression, &table, &rows), &rows);
    }
    // More than a block, in more than a part, in each compression.
    let many: Vec<Value> = rows.iter().cycle().take(2_000).cloned().collect();
    for compression in [None, Deflate, Snappy, Zstandard] {
        files.add("avro", &avro(compression, &table, &many), &many);
    }
    for (table, rows) in random(40) {
        files.add("avro", &avro(Deflate, &table, &rows), &rows);
    }
    let required = TableSchema::new(vec![Column::parse("id", "bigint not null").unwrap()]).unwrap();
    let rows: Vec<Value> = (0..1000).map(|id| json!({ "id": id })).collect();
    files.add("avro", &avro(Snappy, &required, &rows), &rows);
    files.check();
}
