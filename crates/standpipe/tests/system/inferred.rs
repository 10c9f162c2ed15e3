//! Streams whose rows say themselves what their columns are.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::servers::Toxiproxy;

use crate::formats::{download, duckdb};
use crate::lake::Lake;
use crate::reload::{reload, shown as shown_stream};
use crate::support::{SOON, STANDPIPE, all_settled, eventually, files_below, metric, start};
use crate::transform::{failures, put, raw};

/// A stream `rows` that goes to a store with this format.
fn yaml(store: &str, format: &str, rest: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: rows
    format: {format}
    destination:
      s3:
        bucket: lake
        prefix: rows/
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        buffering: {{ interval: 1s }}
{rest}"#
    )
}

fn put_rows(daemon: &Daemon, rows: &[Value]) {
    put(daemon, "rows", rows.iter().map(|row| row.to_string().into_bytes()));
}

fn shown(daemon: &Daemon) -> Value {
    serde_json::from_str(&daemon.get("/streams/rows/schema").unwrap().body).unwrap()
}

fn columns(daemon: &Daemon) -> Vec<String> {
    let text =
        |column: &Value| format!("{} {}", column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
    shown(daemon)["columns"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn the_first_batch_says_what_the_columns_are_and_later_ones_add_what_readers_take() {
    let lake = Lake::with(&["lake"]);
    let mut daemon = start(yaml(&lake.yaml(), "{ parquet: { schema: infer } }", ""));
    put_rows(
        &daemon,
        &[
            json!({"ID": 1, "day": "2020-01-02", "s": {"a": 1}, "later": null}),
            json!({"id": 2, "tags": ["x"]}),
        ],
    );
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 2);
    assert_eq!(columns(&daemon), ["id int", "day date", "s struct<a:int>", "tags array<string>"]);

    let bad =
        [json!({"id": "one", "day": "2020-01-03"}), json!({"id": 4, "day": "someday"}), json!({"id": 1.5})];
    put_rows(&daemon, &bad);
    put_rows(&daemon, &[json!({"id": 3_000_000_000_u64, "later": 0.5, "s": {"b": true, "a": 2}})]);
    let balance = all_settled(&daemon, "rows", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (6, 3, 3));
    let evolved =
        ["id bigint", "day date", "s struct<a:int,b:boolean>", "tags array<string>", "later double"];
    assert_eq!(columns(&daemon), evolved);
    let mut lines = failures(&lake, "errors/").remove("format-conversion-failed").unwrap();
    lines.sort_by_key(raw);
    for line in &lines {
        assert_eq!(line["lastErrorCode"], "DataFormatConversion.MalformedData");
        assert_eq!(line["dataCatalogTable"]["tableName"], "rows");
    }
    let mut expected: Vec<Vec<u8>> = bad.iter().map(|row| row.to_string().into_bytes()).collect();
    expected.sort();
    assert_eq!(lines.iter().map(raw).collect::<Vec<_>>(), expected);

    let folder = tempfile::tempdir().unwrap();
    download(&lake, "rows/", folder.path());
    let select = "SELECT id, CAST(day AS VARCHAR), s.a, s.b, tags, later FROM read_parquet('{}/**/*.parquet', \
                  union_by_name = true) ORDER BY id";
    let expected = json!([
        [1, "2020-01-02", 1, null, null, null],
        [2, null, null, null, ["x"], null],
        [3_000_000_000_u64, null, 2, true, null, 0.5],
    ]);
    assert_eq!(duckdb(select, folder.path()), expected);

    // Frozen as it is shown.
    let mut show = Command::new(STANDPIPE);
    show.args(["schema", "show", "rows", "--table", "lake.rows", "--admin", &daemon.admin()]);
    let printed = show.output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let schemas = String::from_utf8(printed.stdout).unwrap();
    reload(&mut daemon, yaml(&lake.yaml(), "{ parquet: { schema: lake.rows } }", &schemas));
    eventually("the columns are those of the file", SOON, || {
        (shown(&daemon)["name"] == "lake.rows").then_some(())
    });
    put_rows(&daemon, &[json!({"id": 7, "stranger": 1})]);
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 4);
    assert_eq!(columns(&daemon), evolved);
}

#[test]
fn a_recorded_schema_that_is_damaged_holds_the_batches_that_need_it_and_nothing_else() {
    let (lake, toxiproxy) = (Lake::with(&["lake"]), Toxiproxy::start().unwrap());
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let store = lake.server.access().through(proxy.endpoint()).store_yaml();
    let mut daemon = start(yaml(&store, "{ parquet: { schema: infer } }", ""));
    let file =
        |daemon: &Daemon, version: u64| daemon.data_dir().join(format!("streams/rows/schema-{version}.json"));
    proxy.cut().unwrap();
    for (version, row) in [(1, json!({"id": 1})), (2, json!({"id": 2, "name": "x"}))] {
        put_rows(&daemon, &[row]);
        eventually("a schema is recorded", SOON, || file(&daemon, version).exists().then_some(()));
    }
    daemon.kill9().unwrap();
    fs::write(file(&daemon, 1), "{").unwrap();
    daemon.restart().unwrap();
    let told = daemon.get("/readyz").unwrap();
    assert!(
        told.status == 200 && told.body.contains("alarm: rows: schema_damaged: batches"),
        "{}",
        told.body
    );
    proxy.heal().unwrap();
    put_rows(&daemon, &[json!({"id": 3, "name": "y"})]);
    eventually("the others are delivered", SOON, || (lake.keys("lake").len() == 2).then_some(()));
    let held = eventually("its batch is held", SOON, || {
        let open: Value = serde_json::from_str(&daemon.get("/streams/rows/batches").unwrap().body).unwrap();
        let misconfigured = daemon.get("/readyz").unwrap().body.contains("alarm: rows: misconfigured");
        misconfigured.then(|| open[0]["batch"].as_str().unwrap().to_owned())
    });
    let rebound = daemon.post(&format!("/streams/rows/batches/{held}/rebind"), "").unwrap();
    assert_eq!(rebound.status, 200, "{}", rebound.body);
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 3);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    let told = daemon.get("/readyz").unwrap().body;
    assert!(told.contains("alarm: rows: schema_damaged: it was set aside"), "{told}");
    assert!(!file(&daemon, 1).exists() && file(&daemon, 1).with_extension("json.damaged").exists());
    assert_eq!(columns(&daemon), ["id int", "name string"]);
}

#[test]
fn a_kill_between_the_record_of_a_schema_and_the_delivery_changes_neither() {
    let (lake, toxiproxy) = (Lake::with(&["lake"]), Toxiproxy::start().unwrap());
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let store = lake.server.access().through(proxy.endpoint()).store_yaml();
    let mut daemon = start(yaml(&store, "{ parquet: { schema: infer } }", ""));
    let recorded = |daemon: &Daemon, version: u64| {
        let path = daemon.data_dir().join(format!("streams/rows/schema-{version}.json"));
        eventually("a schema is recorded", SOON, || fs::read(&path).ok())
    };
    proxy.cut().unwrap();
    put_rows(&daemon, &[json!({"id": 1})]);
    let first = recorded(&daemon, 1);
    eventually("it is tried to deliver it", SOON, || {
        (metric(&daemon, "standpipe_delivery_attempts_total", &["stream=\"rows\""]) > 0).then_some(())
    });
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    // The batch after it has another, while the first still waits.
    put_rows(&daemon, &[json!({"id": 2, "name": "x"})]);
    recorded(&daemon, 2);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(recorded(&daemon, 1), first, "it is kept for the batch that was closed under it");
    proxy.heal().unwrap();
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 2);
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "rows/", folder.path());
    let select = "SELECT name FROM parquet_schema('{}/**/*.parquet') WHERE num_children IS NULL ORDER BY file_name, \
                  column_id";
    let names = duckdb(select, folder.path());
    assert_eq!(lake.keys("lake").len(), 2);
    let mut names: Vec<&str> = names.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["id", "id", "name"]);
}

#[test]
fn a_schema_that_was_recorded_and_not_yet_named_by_a_second_close_is_in_force_after_the_crash() {
    let (lake, toxiproxy) = (Lake::with(&["lake"]), Toxiproxy::start().unwrap());
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let store = lake.server.access().through(proxy.endpoint()).store_yaml();
    let mut daemon = start(yaml(&store, "{ parquet: { schema: infer } }", ""));
    proxy.cut().unwrap();
    put_rows(&daemon, &[json!({"id": 1, "name": "x"})]);
    eventually("it is tried to deliver it", SOON, || {
        (metric(&daemon, "standpipe_delivery_attempts_total", &["stream=\"rows\""]) > 0).then_some(())
    });
    daemon.kill9().unwrap();
    lose_from_the_second_close_on(&daemon.data_dir().join("streams/rows"));
    daemon.restart().unwrap();
    proxy.heal().unwrap();
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 1);
    assert_eq!(columns(&daemon), ["id int", "name string"]);
    assert!(!daemon.data_dir().join("streams/rows/schema-2.json").exists(), "it says nothing new");
    assert_eq!(lake.keys("lake").len(), 1);
}

/// Makes the journal what it would be had the power gone before that frame was written.
fn lose_from_the_second_close_on(stream: &Path) {
    let mut inspect = Command::new(STANDPIPE);
    let output = inspect.args(["journal", "inspect", "--frames", "--json"]).arg(stream).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let frames = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let second = frames.filter(|line| line["frame"]["kind"] == "CLOSE").nth(1).expect("a second CLOSE");
    let file = fs::OpenOptions::new().write(true).open(second["path"].as_str().unwrap()).unwrap();
    let (offset, len) = (second["frame"]["offset"].as_u64().unwrap(), file.metadata().unwrap().len());
    file.set_len(offset).unwrap();
    file.set_len(len).unwrap();
}

#[test]
fn a_producer_cannot_make_a_schema_grow_without_end_and_rows_that_say_nothing_are_set_aside() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake.yaml(), "{ orc: { schema: infer, columns_max: 3 } }", ""));
    put(&daemon, "rows", ["nonsense", "{}", r#"{"a":null}"#].map(|row| row.as_bytes().to_vec()));
    let balance = all_settled(&daemon, "rows", SOON);
    assert_eq!((balance.delivered, balance.backed_up), (0, 3));
    assert!(columns(&daemon).is_empty());

    put_rows(&daemon, &[json!({"a": 1, "b": {"c": 1, "d": 1, "e": 1}, "f": 1, "g": 1, "h": 1})]);
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 1);
    assert_eq!(columns(&daemon), ["a int", "f int", "g int"]);
    assert_eq!(metric(&daemon, "standpipe_schema_keys_left_out_total", &["stream=\"rows\""]), 2);
    let told = daemon.get("/readyz").unwrap().body;
    assert!(told.contains("alarm: rows: schema_full: 2 times a key"), "{told}");

    put_rows(&daemon, &[json!({"a": 2}), json!({})]);
    let balance = all_settled(&daemon, "rows", SOON);
    assert_eq!((balance.delivered, balance.backed_up), (3, 3));
    assert!(!daemon.get("/readyz").unwrap().body.contains("schema_full"));
}

/// What is recorded of the rows of the stream's destinations, in order.
fn recorded(daemon: &Daemon) -> Vec<String> {
    let files = files_below(&daemon.data_dir().join("streams/rows")).into_iter();
    let files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("schema-"));
    let of = |path| {
        serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()["of"].as_str().unwrap().to_owned()
    };
    let mut all: Vec<String> = files.map(of).collect();
    all.sort_unstable();
    all
}

#[test]
fn two_destinations_that_infer_have_each_the_columns_of_its_own_rows_until_one_is_forgotten() {
    let lake = Lake::with(&["lake"]);
    let entry = |id: &str, program: &str| {
        format!(
            r#"      - id: {id}
        processors: [ {{ jq: {{ program: "{program}" }} }} ]
        format: {{ parquet: {{ schema: infer }} }}
        s3: {{ bucket: lake, prefix: {id}/, error_output_prefix: "errors/{id}/!{{firehose:error-output-type}}/", buffering: {{ interval: 1s }} }}
"#
        )
    };
    let yaml = |entries: &[String]| {
        let head = "streams:\n  - name: rows\n    destinations:\n";
        format!("stores: {{ lake: {} }}\n{head}{}", lake.yaml(), entries.concat())
    };
    let both = yaml(&[entry("whole", "."), entry("names", "{name, size: (.id | tostring)}")]);
    let mut daemon = start(&*both);
    let columns = |daemon: &Daemon, id: &str| {
        let shown = daemon.get(&format!("/streams/rows/schema?destination={id}")).unwrap().body;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let text = |column: &Value| ["name", "type"].map(|part| column[part].as_str().unwrap()).join(" ");
        shown["columns"].as_array().unwrap().iter().map(text).collect::<Vec<_>>()
    };
    put_rows(&daemon, &[json!({"id": 1, "name": "one"})]);
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 2);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    put_rows(&daemon, &[json!({"id": 3_000_000_000_u64, "name": "many", "day": "2020-01-02"})]);
    assert_eq!(all_settled(&daemon, "rows", SOON).delivered, 4);
    assert_eq!(columns(&daemon, "whole"), ["id bigint", "name string", "day date"]);
    assert_eq!(columns(&daemon, "names"), ["name string", "size string"]);
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "", folder.path());
    let rows = |of: &str| {
        format!("SELECT * FROM read_parquet('{{}}/{of}/**/*.parquet', union_by_name = true) ORDER BY name")
    };
    let day = "SELECT id, name, CAST(day AS VARCHAR) FROM read_parquet('{}/whole/**/*.parquet', union_by_name = true) ORDER BY id";
    assert_eq!(
        duckdb(day, folder.path()),
        json!([[1, "one", null], [3_000_000_000_u64, "many", "2020-01-02"]])
    );
    assert_eq!(duckdb(&rows("names"), folder.path()), json!([["many", "3000000000"], ["one", "1"]]));

    assert_eq!(recorded(&daemon), ["rows of names", "rows of whole"]);
    reload(&mut daemon, yaml(&[entry("whole", ".")]));
    eventually("one is taken out", SOON, || (shown_stream(&daemon, "rows")?["version"] == 2).then_some(()));
    assert_eq!(recorded(&daemon), ["rows of names", "rows of whole"], "it may come back");
    let forget = || {
        let mut forget = Command::new(STANDPIPE);
        forget.args(["streams", "forget", "rows", "--destination", "names", "--admin", &daemon.admin()]);
        forget.output().unwrap()
    };
    assert_eq!(forget().stdout, b"0 records given up\n");
    assert_eq!(recorded(&daemon), ["rows of whole"]);
    assert!(!forget().status.success(), "nothing is held any more");
    reload(&mut daemon, both);
    eventually("it is there anew", SOON, || (shown_stream(&daemon, "rows")?["version"] == 3).then_some(()));
    assert!(columns(&daemon, "names").is_empty());
    put_rows(&daemon, &[json!({"id": 5, "name": "five"})]);
    all_settled(&daemon, "rows", SOON);
    assert_eq!(columns(&daemon, "names"), ["name string", "size string"]);
    assert_eq!(columns(&daemon, "whole").len(), 3);
}
