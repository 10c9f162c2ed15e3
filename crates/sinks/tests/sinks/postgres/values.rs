//! Values arrive as they are.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use standpipe_model::RequestSink as _;
use standpipe_sinks::PostgresSink;
use standpipe_sinks::postgres::PostgresFormat;

use super::{Place, refused, request};

const EVERY_TYPE: &str = "CREATE TABLE t (id serial PRIMARY KEY, small smallint, big bigint, num numeric, flag boolean, \
    dbl double precision, txt text, short varchar(5), \"Odd \"\"name\" text, day date, at timestamptz, local timestamp, \
    doc jsonb, raw json, ints int[], grid int[], docs jsonb[], words text[], bin bytea, guid uuid, addr inet, \
    half bigint GENERATED ALWAYS AS (big / 2) STORED)";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_takes_what_the_server_reads_for_it() {
    let place = Place::new("every_type", EVERY_TYPE);
    let row = json!({
        "small": -32768, "big": 9_223_372_036_854_775_807_i64, "flag": true, "dbl": "NaN", "txt": "tab\t, \"quote\", \\N, \n☃",
        "short": "fünf5", "Odd \"name": "\\.", "day": "2024-02-29", "at": "2026-01-02T03:04:05.678901+02:00",
        "local": "2026-01-02 03:04:05", "doc": {"a": [1, null, "x\ty"]}, "raw": "text", "ints": [1, null, -3],
        "grid": [[1, 2], [3, 4]], "docs": [{"k": "a,b"}, [1], "s"], "words": ["a,b", "\"", "\\", "", "NULL", null],
        "bin": "\\x00ff10", "guid": "6F9619FF-8B86-D011-B42D-00CF4FC964FF", "addr": "10.0.0.0/8", "id": 77, "more": 1
    });
    // More digits than a double has.
    let row = row.to_string().replacen('{', r#"{"num":123456789012345678901234567890.123456789,"#, 1);
    assert_eq!(refused(&place.sink("t"), &request(1, 0, &[row])).await, []);
    let stored: Value =
        serde_json::from_str(&place.sql("SELECT to_jsonb(t) - 'num' - 'dbl' FROM t")).unwrap();
    let expect = json!({
        "id": 1, "small": -32768, "big": 9_223_372_036_854_775_807_i64, "half": 4_611_686_018_427_387_903_i64, "flag": true,
        "txt": "tab\t, \"quote\", \\N, \n☃", "short": "fünf5", "Odd \"name": "\\.", "day": "2024-02-29",
        "at": "2026-01-02T01:04:05.678901+00:00", "local": "2026-01-02T03:04:05", "doc": {"a": [1, null, "x\ty"]},
        "raw": "text", "ints": [1, null, -3], "grid": [[1, 2], [3, 4]], "docs": [{"k": "a,b"}, [1], "s"],
        "words": ["a,b", "\"", "\\", "", "NULL", null], "bin": "\\x00ff10",
        "guid": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "addr": "10.0.0.0/8"
    });
    assert_eq!(stored, expect);
    assert_eq!(place.sql("SELECT num, dbl FROM t"), "123456789012345678901234567890.123456789|NaN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_without_a_zone_is_utc_whatever_the_role_has_set() {
    let place = Place::new("zones", "CREATE TABLE t (at timestamptz, day date)");
    place.sql("ALTER DATABASE zones SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE zones SET DateStyle = 'German, DMY'");
    let rows = [r#"{"at":"2026-01-02 03:04:05","day":"03/04/2026"}"#];
    assert_eq!(refused(&place.sink("t"), &request(1, 0, &rows)).await, []);
    assert_eq!(
        place.sql("SELECT to_char(at AT TIME ZONE 'UTC', 'HH24:MI'), to_char(day, 'YYYY-MM-DD') FROM t"),
        "03:04|2026-03-04"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_filled_by_paths_and_csv_by_position() {
    let place = Place::new(
        "mapped",
        "CREATE TABLE t (id int, amount numeric, whole jsonb, note text DEFAULT 'none')",
    );
    let mut options = place.options("Public.T");
    let column = |name: &str, path: &str| (name.to_owned(), Some(path.to_owned()));
    options.columns =
        vec![("ID".to_owned(), None), column("amount", ".order.lines[0].amount"), column("whole", ".")];
    let sink = PostgresSink::new(&options).unwrap();
    let row = r#"{"ID":5,"order":{"lines":[{"amount":1.10}]}}"#;
    assert_eq!(refused(&sink, &request(1, 0, &[row])).await, []);
    assert_eq!(
        place.sql(
            "SELECT id, amount, whole = $1::jsonb, note FROM t".replace("$1", &format!("'{row}'")).as_str()
        ),
        "5|1.10|t|none"
    );

    options.columns = vec![("note".to_owned(), None), ("id".to_owned(), None)];
    options.format = PostgresFormat::Csv { delimiter: ';', null: String::new() };
    let sink = PostgresSink::new(&options).unwrap();
    let rows = ["\"a;b\n\";7\n", ";8", "\"\";9", "x", "y;z"];
    let codes = refused(&sink, &request(2, 0, &rows)).await;
    assert_eq!(codes, [(3, "Postgres.InvalidRecord".to_owned()), (4, "Postgres.22P02".to_owned())]);
    assert_eq!(
        place.sql("SELECT id, coalesce(quote_literal(note), 'NULL') FROM t WHERE id > 5 ORDER BY id"),
        "7|'a;b\n'\n8|NULL\n9|''"
    );
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Parts of 64, which every reader of numbers has exactly.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 64.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(text(), inner, 0..4)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Any text that the server can store.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "\\", "\\N", "\t", "\n", "\r", "\"", "{", "}", ",", "NULL", "\\.", "'", "", "☃",
    ]);
    prop::collection::vec(prop_oneof![odd.prop_map(str::to_owned), "[^\\x00]{0,6}"], 0..5)
        .prop_map(|parts| parts.concat())
}

/// A row for the columns of the property below.
fn row() -> impl Strategy<Value = Value> {
    let maybe = |values: BoxedStrategy<Value>| prop_oneof![4 => values, 1 => Just(Value::Null)];
    let words = prop::collection::vec(prop::option::of(text()), 0..5);
    (
        maybe(any::<i64>().prop_map(Value::from).boxed()),
        maybe(text().prop_map(Value::from).boxed()),
        maybe(documents().boxed()),
        maybe(words.prop_map(Value::from).boxed()),
        maybe(any::<bool>().prop_map(Value::from).boxed()),
    )
        .prop_map(|(n, s, d, w, b)| json!({ "n": n, "s": s, "d": d, "w": w, "b": b }))
}

#[test]
fn any_rows_of_json_come_back_as_they_were() {
    let place =
        Place::new("any_rows", "CREATE TABLE t (at serial, n bigint, s text, d jsonb, w text[], b boolean)");
    let sink = place.sink("t");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let batches = std::cell::Cell::new(0_u64);
    runner
        .run(&prop::collection::vec(row(), 1..40), |rows| {
            batches.set(batches.get() + 1);
            place.sql("TRUNCATE t");
            let sent: Vec<String> = rows.iter().map(Value::to_string).collect();
            let asked = request(1, batches.get() * 1000, &sent);
            let answer = runtime.block_on(sink.attempt(&asked)).expect("the attempt goes well");
            prop_assert!(!answer.existed);
            prop_assert_eq!(&answer.refused, &[]);
            // psql leaves characters out that are none by Unicode, such as U+2FFFE.
            let stored = place.sql(
                "SELECT encode(convert_to(jsonb_agg(to_jsonb(t) - 'at' ORDER BY at)::text, 'UTF8'), 'hex') FROM t",
            );
            let stored: Vec<Value> = serde_json::from_slice(&hex::decode(stored).unwrap()).unwrap();
            prop_assert_eq!(stored, rows);
            Ok(())
        })
        .unwrap();
}
