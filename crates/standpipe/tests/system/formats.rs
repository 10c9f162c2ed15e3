//! Rows that are converted on their way, through the daemon into a real S3 server, read there by another reader.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use standpipe_testkit::clients::{Python, finish};

use crate::flights::FLIGHTS;
use crate::lake::Lake;
use crate::support::{SOON, all_settled, start};
use crate::transform::{failures, put, raw};

const WEATHER: u64 = 26_115;

/// Saves what lies below a prefix of the bucket under the same names.
pub(crate) fn download(lake: &Lake, prefix: &str, folder: &Path) {
    download_from(lake, "lake", prefix, folder);
}

pub(crate) fn download_from(lake: &Lake, bucket: &str, prefix: &str, folder: &Path) {
    for key in lake.keys(bucket).iter().filter(|key| key.starts_with(prefix)) {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, lake.get(bucket, key)).unwrap();
    }
}

fn put_table(endpoint: &str, table: &str, rows: u64) {
    let python = Python::installed().unwrap();
    let put = finish(python.put(endpoint, table, &[table, "--processes", "2"])).unwrap();
    assert_eq!((put["acknowledged"].as_u64(), put["raised"].as_u64()), (Some(rows), Some(0)), "{put}");
}

fn sums(table: &str, folder: &Path, partition: &str, columns: &[&str]) -> Value {
    let mut sums = Python::installed().unwrap().program("sums.py");
    sums.arg(table).arg(folder.join(table)).arg(partition).args(columns);
    finish(sums).unwrap()
}

/// What a query finds in a folder, which it calls `{}`.
pub(crate) fn duckdb(select: &str, folder: &Path) -> Value {
    let mut python = Command::new(Python::installed().unwrap().interpreter());
    let program = format!(
        "import duckdb, json; print(json.dumps(duckdb.sql(\"{}\").fetchall()))",
        select.replace("{}", folder.to_str().unwrap())
    );
    python.args(["-c", &program]);
    finish(python).unwrap()
}

#[test]
fn two_tables_arrive_as_parquet_with_the_sums_of_the_source_in_each_partition() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
schemas:
  lake.flights:
    columns: {{ id: bigint, year: int, month: int, day: int, dep_time: int, sched_dep_time: int, dep_delay: int,
      arr_time: int, sched_arr_time: int, arr_delay: int, carrier: string, flight: int, tailnum: string, origin: string,
      dest: string, air_time: int, distance: int, hour: int, minute: int, time_hour: timestamp }}
  lake.weather:
    columns: {{ id: bigint, year: int, month: int, day: int, hour: int, temp: double, dewp: double,
      humid: double, wind_dir: int, wind_speed: double, wind_gust: double, precip: "decimal(9,4)", pressure: double,
      visib: float, time_hour: timestamp }}
streams:
  - name: flights
    format: {{ parquet: {{ schema: lake.flights, compression: snappy }} }}
    destination:
      s3:
        bucket: lake
        prefix: 'flights/month=!{{partitionKeyFromQuery:month}}/'
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        partitioning: {{ keys: {{ month: .month }} }}
        buffering: {{ size: 64MiB, interval: 10s }}
  - name: weather
    format: {{ parquet: {{ schema: lake.weather, compression: zstd }} }}
    destination:
      s3:
        bucket: lake
        prefix: 'weather/origin=!{{partitionKeyFromQuery:origin}}/'
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        partitioning: {{ keys: {{ origin: .origin }} }}
        buffering: {{ size: 64MiB, interval: 5s }}
"#,
        store = lake.yaml()
    ));
    put_table(&daemon.endpoint(), "flights", FLIGHTS);
    put_table(&daemon.endpoint(), "weather", WEATHER);
    for (table, rows) in [("flights", FLIGHTS), ("weather", WEATHER)] {
        let balance = all_settled(&daemon, table, SOON);
        assert_eq!((balance.accepted, balance.delivered), (rows, rows));
    }
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "", folder.path());
    for (table, rows, partition, partitions, columns) in [
        ("flights", FLIGHTS, "month", 12, ["distance", "dep_delay", "arr_delay", "air_time", "flight"]),
        ("weather", WEATHER, "origin", 3, ["temp", "wind_dir", "precip", "pressure", "visib"]),
    ] {
        let found = sums(table, folder.path(), partition, &columns);
        assert_eq!(found, json!({ "rows": rows, "partitions": partitions }), "{table}");
    }
    let keys = lake.keys("lake");
    assert!(keys.iter().all(|key| key.ends_with(".parquet")), "{keys:?}");
}

#[test]
fn a_table_arrives_as_orc_with_the_sums_of_the_source_in_each_partition() {
    weather_by_origin(
        "orc: { schema: lake.weather, compression: zlib, bloom_filters: [id], padding: true }",
        ".orc",
    );
}

#[test]
fn a_table_arrives_as_avro_with_the_sums_of_the_source_in_each_partition() {
    weather_by_origin("avro: { schema: lake.weather, compression: deflate }", ".avro");
}

fn weather_by_origin(format: &str, extension: &str) {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
schemas:
  lake.weather:
    columns: {{ id: bigint, year: int, month: int, day: int, hour: int, temp: double, dewp: double, humid: double,
      wind_dir: smallint, wind_speed: double, wind_gust: double, precip: "decimal(9,4)", pressure: double, visib: float,
      time_hour: timestamp }}
streams:
  - name: weather
    format: {{ {format} }}
    destination:
      s3:
        bucket: lake
        prefix: 'weather/origin=!{{partitionKeyFromQuery:origin}}/'
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        partitioning: {{ keys: {{ origin: .origin }} }}
        buffering: {{ size: 64MiB, interval: 5s }}
"#,
        store = lake.yaml()
    ));
    put_table(&daemon.endpoint(), "weather", WEATHER);
    let balance = all_settled(&daemon, "weather", SOON);
    assert_eq!((balance.accepted, balance.delivered), (WEATHER, WEATHER));
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "", folder.path());
    let columns = ["temp", "wind_dir", "precip", "pressure", "hour"];
    let found = sums("weather", folder.path(), "origin", &columns);
    assert_eq!(found, json!({ "rows": WEATHER, "partitions": 3 }));
    let keys = lake.keys("lake");
    assert!(keys.iter().all(|key| key.ends_with(extension)), "{keys:?}");
}

/// Records of every kind that do not fit, with code and the beginning of the message.
fn bad_rows() -> Vec<(String, &'static str, &'static str)> {
    let deep = format!(r#"{{"id":1,"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let large = format!(r#"{{"id":"{}"}}"#, "x".repeat(900_000));
    let parse = "DataFormatConversion.ParseError";
    let malformed = "DataFormatConversion.MalformedData";
    let bad = [
        (
            r#"{"id":"one"}"#,
            malformed,
            r#"Data does not match the schema. For input string: "one" (column id)"#,
        ),
        (
            r#"{"id":1,"small":128}"#,
            malformed,
            r#"Data does not match the schema. For input string: "128" (column small)"#,
        ),
        (
            r#"{"id":1,"seen":"noon"}"#,
            malformed,
            r#"Data does not match the schema. For input string: "noon" (column seen)"#,
        ),
        (r#"{"small":1}"#, malformed, "Data does not match the schema. A value is required. (column id)"),
        (r#"{"id":1"#, parse, "Encountered malformed JSON. "),
        ("\n", malformed, "The record was empty or contained only whitespace."),
        ("17", malformed, "The input JSON contained a primitive at the top level."),
        (deep.as_str(), parse, "Encountered malformed JSON. "),
        (large.as_str(), malformed, "Data does not match the schema. For input string: "),
        (r#"{"id":7}{"id":"seven"}"#, malformed, "Data does not match the schema. For input string: "),
    ];
    bad.map(|(row, code, message)| (row.to_owned(), code, message)).into()
}

#[test]
fn rows_that_do_not_convert_are_set_aside_by_themselves() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
schemas: {{ lake.events: {{ columns: {{ id: bigint not null, small: tinyint, seen: timestamp, tags: "array<string>" }} }} }}
streams:
  - name: events
    format: {{ parquet: {{ schema: lake.events }} }}
    destination:
      s3:
        bucket: lake
        prefix: events/
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        buffering: {{ interval: 1s }}
"#,
        store = lake.yaml()
    ));
    let bad = bad_rows();
    let good: Vec<String> = (0..50)
        .map(|id| format!(r#"{{"ID":{id},"small":"{}","seen":1577880000,"tags":"t"}}"#, id % 100))
        .collect();
    put(&daemon, "events", good.iter().take(25).map(|row| row.clone().into_bytes()));
    put(&daemon, "events", bad.iter().map(|(row, ..)| row.clone().into_bytes()));
    put(&daemon, "events", good.iter().skip(25).map(|row| row.clone().into_bytes()));
    let balance = all_settled(&daemon, "events", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (60, 50, 10));

    let mut failed = failures(&lake, "errors/");
    let lines = failed.remove("format-conversion-failed").unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    let reasons: BTreeMap<Vec<u8>, &Value> = lines.iter().map(|line| (raw(line), line)).collect();
    for (row, code, message) in bad {
        let line = reasons[row.as_bytes()];
        assert_eq!(line["lastErrorCode"], code, "{line}");
        assert!(
            line["lastErrorMessage"].as_str().unwrap().starts_with(message),
            "{}",
            line["lastErrorMessage"]
        );
        assert_eq!(
            (&line["dataCatalogTable"]["databaseName"], &line["dataCatalogTable"]["tableName"]),
            (&json!("lake"), &json!("events"))
        );
    }
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "events/", folder.path());
    let select = "SELECT id, small, epoch(seen), tags FROM read_parquet('{}/**/*.parquet') ORDER BY id";
    let read = duckdb(select, folder.path());
    let expected: Vec<Value> = (0..50).map(|id| json!([id, id % 100, 1_577_880_000.0, ["t"]])).collect();
    assert_eq!(read, Value::from(expected));
}

/// The lines of compressed files, sorted.
fn lines(folder: &Path, files: &str) -> Value {
    let select = "SELECT json FROM read_json_objects('{}/FILES', format='newline_delimited') ORDER BY 1";
    duckdb(&select.replace("FILES", files), folder)
}

#[test]
fn rows_become_lines_of_json_in_one_form_and_an_engine_reads_them() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
schemas:
  lake.events: {{ columns: {{ id: bigint not null, small: tinyint, seen: timestamp, tags: "array<string>" }} }}
streams:
  - name: events
    format: {{ json: {{ schema: lake.events }} }}
    destination:
      s3:
        bucket: lake
        prefix: events/
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        buffering: {{ interval: 1s }}
        compression: gzip
  # What is planned is converted once: a second time it would look for the key `ts`.
  - name: parts
    format: {{ json: {{ schema: lake.events }} }}
    deserializer: {{ openx: {{ mappings: {{ seen: ts }} }} }}
    destination:
      s3:
        bucket: lake
        prefix: parts/part=!{{partitionKeyFromQuery:part}}/
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        partitioning: {{ keys: {{ part: .part }} }}
        buffering: {{ size: 64MiB, interval: 1s }}
        compression: zstd
"#,
        store = lake.yaml()
    ));
    let bad = bad_rows();
    let good = [
        r#"{"tags":"t","ID":1,"other":0,"small":"7","seen":1577880000.25}"#,
        r#"{"id":2,"tags":[]} {"id":3,"tags":[null,{"A":1}]}"#,
    ];
    let records = good.iter().copied().chain(bad.iter().map(|(row, ..)| row.as_str()));
    put(&daemon, "events", records.map(|record| record.as_bytes().to_vec()));
    put(
        &daemon,
        "parts",
        ["a", "b"].map(|part| format!(r#"{{"part":"{part}","ts":0,"id":4}}"#).into_bytes()),
    );
    let balance = all_settled(&daemon, "events", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (12, 2, 10));
    assert_eq!(all_settled(&daemon, "parts", SOON).delivered, 2);
    assert_eq!(failures(&lake, "errors/")["format-conversion-failed"].len(), bad.len());

    let keys = lake.keys("lake").into_iter().filter(|key| !key.starts_with("errors/"));
    let ends: Vec<String> = keys.map(|key| key.rsplit_once(".json").unwrap().1.to_owned()).collect();
    assert_eq!(ends, [".gz", ".zst", ".zst"]);
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "", folder.path());
    let expected = [
        r#"{"id":1,"small":7,"seen":"2020-01-01 12:00:00.250000","tags":["t"]}"#,
        r#"{"id":2,"tags":[]}"#,
        r#"{"id":3,"tags":[null,"{\"a\":1}"]}"#,
    ];
    assert_eq!(lines(folder.path(), "events/**/*.json.gz"), json!(expected.map(|line| [line])));
    let expected = r#"{"id":4,"seen":"1970-01-01 00:00:00.000000"}"#;
    assert_eq!(lines(folder.path(), "parts/**/*.json.zst"), json!([[expected], [expected]]));
    let select = "SELECT id, small, epoch(seen), len(tags) FROM read_json('{}/events/**/*.gz') ORDER BY id";
    let expected = json!([[1, 7, 1_577_880_000.25, 1], [2, null, null, 0], [3, null, null, 2]]);
    assert_eq!(duckdb(select, folder.path()), expected);
}
