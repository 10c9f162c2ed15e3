//! A fixed set of files, read by Python.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use serde_json::json;
use standpipe_convert::orc::{Compression, FormatVersion, OrcOptions, TYPE_KEY};
use standpipe_testkit::cache::run;
use standpipe_testkit::clients::Python;

use super::rows::{Source, Value, list, map, plain_types, to_json};
use super::{cut, metadata, write};

fn python() -> Command {
    Command::new(Python::installed().expect("the readers install").interpreter())
}

/// Writes a file and what is in it.
fn add(
    folder: &Path,
    name: &str,
    schema: &Schema,
    options: &OrcOptions,
    rows: &[Vec<Value>],
    stripe: usize,
) -> serde_json::Value {
    let file = write(schema, options, &cut(schema, rows, stripe, stripe.div_ceil(3)));
    fs::write(folder.join(format!("{name}.orc")), file).expect("writes");
    let types = || schema.fields().iter().map(|field| field.data_type());
    let row = |row: &Vec<Value>| {
        row.iter().zip(types()).map(|(value, kind)| to_json(value, kind)).collect::<Vec<_>>()
    };
    let compression = match options.compression {
        Compression::None => "UNCOMPRESSED",
        Compression::Zlib => "ZLIB",
        Compression::Snappy => "SNAPPY",
        Compression::Lz4 => "LZ4",
        Compression::Zstd => "ZSTD",
    };
    json!({
        "schema": hive(&DataType::Struct(schema.fields().clone()), &HashMap::new()),
        "file": {
            "compression": compression,
            "row_index_stride": options.row_index_stride,
            "file_version": if options.format_version == FormatVersion::V0_11 { "0.11" } else { "0.12" },
            "metadata": metadata().into_iter().collect::<HashMap<_, _>>(),
            "stripes": rows.chunks(stripe).map(<[_]>::len).collect::<Vec<_>>(),
        },
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn tell(folder: &Path, name: &str, expected: &serde_json::Value) {
    fs::write(folder.join(format!("{name}.json")), expected.to_string()).expect("writes");
}

/// The type in Hive's words.
fn hive(data_type: &DataType, metadata: &HashMap<String, String>) -> String {
    let inner = |field: &Field| hive(field.data_type(), field.metadata());
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 => metadata.get(TYPE_KEY).cloned().unwrap_or_else(|| "string".to_owned()),
        DataType::Binary => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::List(item) => format!("array<{}>", inner(item)),
        DataType::Map(entry, _) => {
            let DataType::Struct(fields) = entry.data_type() else { panic!("an entry is a struct") };
            format!("map<string,{}>", inner(&fields[1]))
        }
        DataType::Struct(fields) => {
            let members: Vec<_> =
                fields.iter().map(|field| format!("{}:{}", field.name(), inner(field))).collect();
            format!("struct<{}>", members.join(","))
        }
        other => panic!("no type for {other}"),
    }
}

/// Every plain type, and every way to nest them.
fn schema_of_all() -> Schema {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let limited = |limit: &str| {
        field("", DataType::Utf8).with_metadata([(TYPE_KEY.to_owned(), limit.to_owned())].into())
    };
    let pair =
        Fields::from(vec![field("a", DataType::Int32), field("b", list(field("element", DataType::Utf8)))]);
    let mut fields: Vec<Field> = plain_types().into_iter().map(|data_type| field("", data_type)).collect();
    fields.extend([
        limited("varchar(2100)"),
        field("", list(field("element", DataType::Int64))),
        field("", list(field("element", list(field("element", DataType::Boolean))))),
        field("", list(field("element", DataType::Struct(pair.clone())))),
        field("", map(field("value", DataType::Decimal128(38, 10)))),
        field("", map(field("value", list(field("element", DataType::Date32))))),
        field("", DataType::Struct(pair)),
        field(
            "",
            DataType::Struct(
                plain_types()
                    .into_iter()
                    .enumerate()
                    .map(|(at, kind)| field(&format!("m{at}"), kind))
                    .collect(),
            ),
        ),
    ]);
    Schema::new(
        fields
            .into_iter()
            .enumerate()
            .map(|(at, field)| field.with_name(format!("c{at}")))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn pyarrow_and_pyorc_read_every_type_in_every_compression_and_version() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let schema = schema_of_all();
    let compressions =
        [Compression::None, Compression::Zlib, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (at, compression) in compressions.into_iter().enumerate() {
        for format_version in [FormatVersion::V0_11, FormatVersion::V0_12] {
            let options = OrcOptions {
                compression,
                format_version,
                row_index_stride: [100, 250, 0, 1000, 333][at],
                dictionary_key_threshold: [0.0, 0.5, 1.0][at % 3],
                enable_padding: at % 2 == 0,
                padding_tolerance: 1.0,
                block_size_bytes: 100_000,
                ..OrcOptions::default()
            };
            let rows = Source::new(at as u64 + 1, [0, 5, 2][at % 3]).rows(&schema, 700);
            let name = format!("{compression:?}-{format_version:?}");
            tell(folder.path(), &name, &add(folder.path(), &name, &schema, &options, &rows, 300));
        }
    }
    // Row groups and whole columns of a stripe in which every row is null.
    let options = OrcOptions { row_index_stride: 100, ..OrcOptions::default() };
    let mut rows = Source::new(9, 0).rows(&schema, 700);
    rows[150..430].iter_mut().flatten().for_each(|value| *value = Value::Null);
    rows[600..].iter_mut().flatten().for_each(|value| *value = Value::Null);
    let mut expected = add(folder.path(), "gaps", &schema, &options, &rows, 600);
    // The library cannot skip within a row group without texts, not even in files of its own.
    expected["seek_step"] = json!(options.row_index_stride);
    tell(folder.path(), "gaps", &expected);
    check(folder.path());
}

#[test]
fn pyarrow_and_pyorc_read_many_row_groups_and_chunks_of_the_defaults() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let field = |at: usize, data_type| Field::new(format!("c{at}"), data_type, true);
    let types = [DataType::Int64, DataType::Utf8, DataType::Float64, DataType::Boolean, DataType::Binary];
    let schema =
        Schema::new(types.into_iter().enumerate().map(|(at, kind)| field(at, kind)).collect::<Vec<_>>());
    for (name, nulls) in [("full", 0), ("sparse", 7)] {
        let rows = Source::new(11, nulls).rows(&schema, 95_000);
        tell(folder.path(), name, &add(folder.path(), name, &schema, &OrcOptions::default(), &rows, 60_000));
    }
    let nothing = add(folder.path(), "empty", &schema, &OrcOptions::default(), &[], 1);
    assert_eq!(nothing["rows"], json!([]));
    let mut opened = python();
    opened.args(["-c", "import sys; from pyarrow import orc; print(len(orc.ORCFile(sys.argv[1]).read()))"]);
    assert_eq!(run(opened.arg(folder.path().join("empty.orc"))).expect("reads").trim(), "0");
    fs::remove_file(folder.path().join("empty.orc")).expect("removes");
    check(folder.path());
}

#[test]
fn readers_leave_out_row_groups_by_statistics_and_bloom_filters_and_lose_no_row() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("c0", DataType::Int64),
        field("c1", DataType::Int64),
        field("c2", DataType::Utf8),
        field("c3", DataType::Decimal128(18, 4)),
        field("c4", DataType::Timestamp(TimeUnit::Microsecond, None)),
        field("c5", DataType::Float64),
        field("c6", DataType::Date32),
    ]);
    const ROWS: i64 = 20_000;
    // A prime step shuffles; halves are never drawn.
    let shuffled = |row: i64| row * 7919 % ROWS * 2;
    let row = |row: i64| {
        let drawn = shuffled(row);
        vec![
            Value::Integer(row),
            Value::Integer(drawn),
            Value::Text(format!("text {drawn}")),
            Value::Decimal(i128::from(drawn) * 100),
            Value::Integer(drawn * 1_000_000 + 17),
            Value::Float((drawn as f64 / 8.0).to_bits()),
            Value::Integer(drawn),
        ]
    };
    let rows: Vec<Vec<Value>> = (0..ROWS).map(row).collect();
    let options = OrcOptions {
        row_index_stride: 1000,
        bloom_filter_columns: (1..=6).map(|at| format!("C{at}")).collect(),
        bloom_filter_fpp: 0.01,
        ..OrcOptions::default()
    };
    let mut expected = add(folder.path(), "predicates", &schema, &options, &rows, 10_000);
    let at = 12_345;
    let predicate = |kind: &str, column: &str, value: String, present: Option<i64>, groups: u32| json!({"kind": kind, "column": column, "value": value, "present": present, "groups": groups});
    let (there, absent) = (shuffled(at), shuffled(at) + 1);
    let mut predicates = vec![predicate("LONG", "c0", at.to_string(), Some(at), 1)];
    for (drawn, present, groups) in [(there, Some(at), 3), (absent, None, 3)] {
        let mut add = |kind, column, value| predicates.push(predicate(kind, column, value, present, groups));
        add("LONG", "c1", drawn.to_string());
        add("STRING", "c2", format!("text {drawn}"));
        add("DECIMAL", "c3", format!("{}.{:02}", drawn * 100 / 10_000, drawn * 100 % 10_000 / 100));
        add("TIMESTAMP", "c4", (drawn * 1_000_000 + 17).to_string());
        add("DOUBLE", "c5", (drawn as f64 / 8.0).to_string());
        add("DATE", "c6", drawn.to_string());
    }
    expected["predicates"] = json!(predicates);
    expected["bloom_filters"] = json!([1, 2, 3, 4, 5, 6].map(|column| column + 1));
    tell(folder.path(), "predicates", &expected);
    check(folder.path());
}

fn check(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/orc/read.py");
    let files = fs::read_dir(folder).expect("lists").count() / 2;
    let printed = run(python().arg("-B").arg(script).arg(folder)).expect("all is the same");
    let checked: usize =
        printed.trim().strip_prefix("checked ").and_then(|count| count.parse().ok()).expect("a count");
    // Each file as a whole by both readers, and its statistics and stripes beside.
    assert!(checked > files * 4, "{checked} checks of {files} files");
}
