//! Tables whose columns are in a catalog: a real server of Glue's API, and the REST catalog of Iceberg.

use std::thread;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::servers::{Iceberg, Moto, Toxiproxy};

use crate::client::{Client, batch_of};
use crate::double::Held;
use crate::formats::{download, download_from, duckdb};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, eventually, metric, start};

fn table(columns: &[[&str; 2]]) -> Value {
    let columns: Vec<_> = columns.iter().map(|[name, kind]| json!({"Name": name, "Type": kind})).collect();
    json!({"DatabaseName": "lake", "TableInput": {
        "Name": "flights", "StorageDescriptor": {"Columns": columns},
        "PartitionKeys": [{"Name": "carrier", "Type": "string"}],
    }})
}

fn create(daemon: &Daemon, table: &str) -> (u16, Value) {
    let role = "arn:aws:iam::000000000000:role/r";
    let conversion = json!({
        "SchemaConfiguration": {"RoleARN": role, "DatabaseName": "lake", "TableName": table},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    });
    let destination = json!({
        "RoleARN": role, "BucketARN": "arn:aws:s3:::lake", "Prefix": "called/",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 0},
        "DataFormatConversionConfiguration": conversion,
    });
    let wanted = json!({"DeliveryStreamName": "called", "ExtendedS3DestinationConfiguration": destination});
    let answer = Client::of(daemon).call("CreateDeliveryStream", wanted.to_string().into());
    (answer.status, answer.body)
}

/// Puts a row, and waits until it is delivered.
fn deliver(daemon: &Daemon, stream: &str, row: Value) {
    let answer = Client::of(daemon).call("PutRecordBatch", batch_of(stream, [row.to_string().into_bytes()]));
    assert_eq!(answer.status, 200, "{answer:?}");
    let balance = all_settled(daemon, stream, SOON);
    assert_eq!(balance.accepted, balance.delivered);
}

fn columns(daemon: &Daemon, stream: &str) -> usize {
    let shown: Value =
        serde_json::from_str(&daemon.get(&format!("/streams/{stream}/schema")).unwrap().body).unwrap();
    shown["columns"].as_array().map_or(0, Vec::len)
}

/// Waits until the alarm of the stream `called` says this of its table.
fn told(daemon: &Daemon, words: &str) {
    let alarm = format!("alarm: called: catalog_failed: lake.flights: {words}");
    eventually("an alarm tells of it", SOON, || ready(daemon).contains(&alarm).then_some(()));
}

fn untold(daemon: &Daemon) {
    eventually("the alarm ends", SOON, || (!ready(daemon).contains("alarm: called")).then_some(()));
}

fn ready(daemon: &Daemon) -> String {
    daemon.get("/readyz").unwrap().body
}

/// Checks that `CreateDeliveryStream` is told that there is no such table.
fn has_no_table(daemon: &Daemon) {
    let (status, told) = create(daemon, "flights");
    assert_eq!((status, &told["__type"]), (400, &json!("InvalidArgumentException")), "{told}");
    let words = "The specified table/database could not be found.";
    assert!(told["message"].as_str().unwrap().starts_with(words), "{told}");
}

#[test]
fn the_columns_of_a_table_in_glue_are_followed_and_those_before_stay_while_it_is_away() {
    let (lake, moto, toxiproxy) =
        (Lake::with(&["lake"]), Moto::start().unwrap(), Toxiproxy::start().unwrap());
    let proxy = toxiproxy.proxy("glue", &moto.endpoint()).unwrap();
    let mut daemon = start(format!(
        r#"stores: {{ lake: {store} }}
catalogs:
  glue: {{ endpoint: "{glue}", region: us-east-1, access_key_id: a, secret_access_key: s, refresh: 1s, timeout: 2s }}
streams:
  - name: fixed
    format: {{ parquet: {{ schema: {{ catalog: glue, database: lake, table: flights, version: 1 }} }} }}
    destination: {{ s3: {{ bucket: lake, prefix: fixed/, buffering: {{ interval: 1s }} }} }}
"#,
        store = lake.yaml(),
        glue = proxy.endpoint(),
    ));
    has_no_table(&daemon);
    // What is put before the table is there waits for it.
    let early = Client::of(&daemon).call("PutRecordBatch", batch_of("fixed", [br#"{"id":1}"#.to_vec()]));
    assert_eq!(early.status, 200, "{early:?}");
    moto.glue("create_database", &json!({"DatabaseInput": {"Name": "lake"}})).unwrap();
    let first = [["id", "bigint"], ["delays", "struct<dep:double,arr:double>"]];
    moto.glue("create_table", &table(&first)).unwrap();
    assert_eq!(create(&daemon, "flights").0, 200);
    deliver(&daemon, "called", json!({"id": 1, "delays": {"dep": 2}, "carrier": "AA", "day": "2013-01-01"}));
    assert_eq!(all_settled(&daemon, "fixed", SOON).delivered, 1);

    let second = [first[0], first[1], ["day", "date"]];
    moto.glue("update_table", &table(&second)).unwrap();
    eventually("the change is seen", SOON, || (columns(&daemon, "called") == 3).then_some(()));
    deliver(&daemon, "called", json!({"id": 2, "day": "2013-01-02"}));

    proxy.cut().unwrap();
    told(&daemon, "Glue did not answer");
    deliver(&daemon, "called", json!({"id": 3, "day": "2013-01-03"}));
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    deliver(&daemon, "called", json!({"id": 4, "day": "2013-01-04"}));
    deliver(&daemon, "fixed", json!({"id": 2}));
    told(&daemon, "Glue did not answer");
    assert!(!ready(&daemon).contains("alarm: fixed"), "a fixed version is not asked for again");
    proxy.heal().unwrap();
    untold(&daemon);
    assert_eq!((columns(&daemon, "called"), columns(&daemon, "fixed")), (3, 2));

    check_files(&lake);
}

/// Checks what both streams have delivered.
fn check_files(lake: &Lake) {
    let folder = tempfile::tempdir().unwrap();
    download(lake, "", folder.path());
    let types = "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet('{}/called/**/*.parquet', \
                 union_by_name = true))";
    let expected = json!([["id", "BIGINT"], ["delays", "STRUCT(dep DOUBLE, arr DOUBLE)"], ["day", "DATE"]]);
    assert_eq!(duckdb(types, folder.path()), expected);
    let rows = "SELECT id, CAST(day AS VARCHAR) FROM read_parquet('{}/called/**/*.parquet', union_by_name = true) ORDER BY id";
    let expected = json!([[1, null], [2, "2013-01-02"], [3, "2013-01-03"], [4, "2013-01-04"]]);
    assert_eq!(duckdb(rows, folder.path()), expected);
    assert_eq!(
        duckdb("SELECT count(*) FROM read_parquet('{}/fixed/**/*.parquet')", folder.path()),
        json!([[2]])
    );
}

#[test]
fn two_destinations_with_the_same_table_of_a_catalog_have_its_columns_each_at_its_own_time() {
    let (lake, moto) = (Lake::with(&["lake"]), Moto::start().unwrap());
    moto.glue("create_database", &json!({"DatabaseInput": {"Name": "lake"}})).unwrap();
    moto.glue("create_table", &table(&[["id", "bigint"]])).unwrap();
    let entry = |id: &str, bucket: &str, version: &str| {
        format!(
            r#"      - id: {id}
        format: {{ parquet: {{ schema: {{ catalog: glue, database: lake, table: flights{version} }} }} }}
        s3: {{ bucket: {bucket}, prefix: {id}/, error_output_prefix: "errors/{id}/!{{firehose:error-output-type}}/", buffering: {{ interval: 1s }} }}
"#
        )
    };
    let mut daemon = start(format!(
        r#"stores: {{ lake: {store} }}
catalogs:
  glue: {{ endpoint: "{glue}", region: us-east-1, access_key_id: a, secret_access_key: s, refresh: 1s, timeout: 10s }}
streams:
  - name: shared
    destinations:
{entries}"#,
        store = lake.yaml(),
        glue = moto.endpoint(),
        entries =
            [entry("quick", "lake", ""), entry("late", "later", ""), entry("fixed", "lake", ", version: 1")]
                .concat(),
    ));
    let columns = |daemon: &Daemon, id: &str| {
        let shown = daemon.get(&format!("/streams/shared/schema?destination={id}")).unwrap().body;
        serde_json::from_str::<Value>(&shown).unwrap()["columns"].as_array().map_or(0, Vec::len)
    };
    let delivered = |daemon: &Daemon, id: &str| {
        metric(daemon, "standpipe_records_delivered_total", &[&format!("destination=\"{id}\"")])
    };
    let put = |daemon: &Daemon, row: Value| {
        let body = batch_of("shared", [row.to_string().into_bytes()]);
        assert_eq!(Client::of(daemon).call("PutRecordBatch", body).status, 200);
    };
    let ids = ["quick", "late", "fixed"];
    eventually("all have its columns", SOON, || ids.iter().all(|id| columns(&daemon, id) == 1).then_some(()));
    put(&daemon, json!({"id": 1, "day": "2013-01-01"}));
    let open = || metric(&daemon, "standpipe_delivery_open_batches", &["destination=\"late\""]);
    eventually("those with a bucket have the row, and the other a batch", SOON, || {
        (delivered(&daemon, "quick") + delivered(&daemon, "fixed") + open() == 3).then_some(())
    });
    moto.glue("update_table", &table(&[["id", "bigint"], ["day", "date"]])).unwrap();
    let of_latest = || ids.map(|id| columns(&daemon, id)) == [2, 2, 1];
    eventually("both that follow it see the change", SOON, || of_latest().then_some(()));
    put(&daemon, json!({"id": 2, "day": "2013-01-02"}));
    eventually("the row is there", SOON, || (delivered(&daemon, "quick") == 2).then_some(()));
    // What was closed under the columns before is delivered under them, though the others have forgotten them.
    lake.make("later");
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    eventually("all have both rows", SOON, || ids.iter().all(|id| delivered(&daemon, id) == 2).then_some(()));
    let folder = tempfile::tempdir().unwrap();
    download_from(&lake, "lake", "", folder.path());
    download_from(&lake, "later", "", folder.path());
    let rows = |of: &str| {
        let select = "SELECT id, CAST(day AS VARCHAR) FROM read_parquet('{}/";
        duckdb(&format!("{select}{of}/**/*.parquet', union_by_name = true) ORDER BY id"), folder.path())
    };
    for id in ["quick", "late"] {
        assert_eq!(rows(id), json!([[1, null], [2, "2013-01-02"]]), "{id}");
    }
    assert_eq!(
        duckdb("SELECT count(*) FROM read_parquet('{}/fixed/**/*.parquet')", folder.path()),
        json!([[2]])
    );
}

#[test]
fn a_catalog_that_is_slow_is_asked_for_tables_at_once_and_keeps_no_other_change_waiting() {
    let columns_of_all =
        json!({"Table": {"StorageDescriptor": {"Columns": [{"Name": "id", "Type": "bigint"}]}}});
    let (lake, (slow, port)) = (Lake::with(&["lake"]), Held::start(columns_of_all));
    let stream = |name: &str| {
        format!(
            "  - name: {name}
    format: {{ parquet: {{ schema: {{ catalog: glue, database: lake, table: {name} }} }} }}
    destination: {{ s3: {{ bucket: lake, buffering: {{ interval: 1s }} }} }}\n"
        )
    };
    let daemon = start(format!(
        "stores: {{ lake: {} }}
catalogs:
  glue: {{ endpoint: \"http://127.0.0.1:{port}\", region: us-east-1, access_key_id: a, secret_access_key: s, \
         refresh: 1h, timeout: 60s }}
streams:\n{}{}{}",
        lake.yaml(),
        stream("one"),
        stream("two"),
        stream("three")
    ));
    slow.waits_for(3);
    slow.answer(true);
    let (status, told) = create(&daemon, "flights");
    assert_eq!(status, 200, "{told}");
    eventually("all have their columns", SOON, || {
        ["one", "two", "three", "called"].iter().all(|name| columns(&daemon, name) == 1).then_some(())
    });

    slow.answer(false);
    let update = json!({
        "DeliveryStreamName": "called", "CurrentDeliveryStreamVersionId": "1", "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": "other/"},
    });
    let client = Client::of(&daemon);
    let updating = thread::spawn({
        let client = client.clone();
        move || client.call("UpdateDestination", update.to_string().into())
    });
    slow.waits_for(1);
    let tag = json!({"DeliveryStreamName": "called", "Tags": [{"Key": "k"}]});
    let tagged = client.call("TagDeliveryStream", tag.to_string().into());
    assert_eq!(tagged.status, 200, "{tagged:?}");
    assert!(!updating.is_finished(), "it waits for the catalog");
    slow.answer(true);
    let updated = updating.join().unwrap();
    assert_eq!(updated.status, 200, "{updated:?}");
}

#[test]
fn the_columns_of_a_table_in_an_iceberg_catalog_are_followed_and_those_before_stay_while_it_is_away() {
    let lake = Lake::with(&["lake"]);
    let mut catalog = Iceberg::start(lake.server.access(), "lake").unwrap();
    let mut daemon = start(format!(
        r#"stores: {{ lake: {store} }}
catalogs:
  iceberg: {{ uri: "{uri}", oauth: {{ client_id: me, client_secret: s }}, refresh: 1s, timeout: 30s }}
streams:
  - name: fixed
    format: {{ parquet: {{ schema: {{ catalog: iceberg, database: lake, table: flights, version: 0 }} }} }}
    destination: {{ s3: {{ bucket: lake, prefix: fixed/, buffering: {{ interval: 1s }} }} }}
"#,
        store = lake.yaml(),
        uri = catalog.endpoint(),
    ));
    has_no_table(&daemon);
    // What is put before the table is there waits for it.
    let early = Client::of(&daemon).call("PutRecordBatch", batch_of("fixed", [br#"{"id":1}"#.to_vec()]));
    assert_eq!(early.status, 200, "{early:?}");
    catalog.create_namespace("lake").unwrap();
    let member = |id: u32, name: &str| json!({"id": id, "name": name, "required": false, "type": "double"});
    let delays = json!({"type": "struct", "fields": [member(3, "dep"), member(4, "arr")]});
    catalog
        .create_table("lake", "flights", &[("id", true, json!("long")), ("delays", false, delays)])
        .unwrap();
    assert_eq!(create(&daemon, "flights").0, 200);
    deliver(&daemon, "called", json!({"id": 1, "delays": {"dep": 2}, "carrier": "AA", "day": "2013-01-01"}));
    assert_eq!(all_settled(&daemon, "fixed", SOON).delivered, 1);

    catalog.add_columns("lake", "flights", &[("day", false, json!("date"))]).unwrap();
    eventually("the change is seen", SOON, || (columns(&daemon, "called") == 3).then_some(()));
    deliver(&daemon, "called", json!({"id": 2, "day": "2013-01-02"}));

    catalog.kill().unwrap();
    told(&daemon, "the Iceberg catalog did not answer");
    deliver(&daemon, "called", json!({"id": 3, "day": "2013-01-03"}));
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    deliver(&daemon, "called", json!({"id": 4, "day": "2013-01-04"}));
    deliver(&daemon, "fixed", json!({"id": 2}));
    told(&daemon, "the Iceberg catalog did not answer");
    assert!(!ready(&daemon).contains("alarm: fixed"), "a fixed version is not asked for again");
    catalog.restart().unwrap();
    untold(&daemon);
    catalog.add_columns("lake", "flights", &[("trip", false, json!("uuid"))]).unwrap();
    told(&daemon, "the columns that the Iceberg catalog has cannot be used: trip: Iceberg's type 'uuid'");
    assert_eq!((columns(&daemon, "called"), columns(&daemon, "fixed")), (3, 2));
    check_files(&lake);
}
