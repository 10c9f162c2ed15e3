//! Reference tables that are objects of a real S3 store, and tables in Parquet: what counts when an object is replaced,
//! removed or forbidden, and what waits while there is none.

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::guests::example;

use crate::client::Client;
use crate::double::Held;
use crate::formats::duckdb;
use crate::lake::Lake;
use crate::reload::{reload, wait_for_an_open_batch};
use crate::support::{SOON, all_settled, eventually, metric, sdk_put, start};
use crate::tables::{reading, rows, stream, versions};

const WHERE: &str = "enrich: { table: devices, key: .device, columns: [site] }";
const KEY: &str = "ref/devices.csv";

fn table(site: &str) -> Vec<u8> {
    format!("device,site\nd1,{site}\n").into_bytes()
}

/// A store with the table and one to deliver to; the table is looked at every second.
fn yaml(tables: &Lake, lake: &Lake, rest: &str) -> String {
    format!(
        "stores:\n  lake: {}\n  tables: {}\ndefault_store: lake\ntables: {{ devices: {{ store: tables, bucket: lake, object: {KEY}, \
         key: device, refresh: 1s }} }}\n{rest}",
        lake.yaml(),
        tables.yaml()
    )
}

fn reads(daemon: &Daemon, kind: &str) -> u64 {
    metric(daemon, "standpipe_table_reads_total", &[&format!("kind=\"{kind}\"")])
}

fn is_alarmed(daemon: &Daemon) -> bool {
    metric(daemon, "standpipe_alarm", &[r#"kind="table_refused""#]) == 1
}

/// Puts a reading, and says what its site was.
fn site_now(daemon: &Daemon, lake: &Lake) -> Value {
    let before = rows(lake, "s").len();
    sdk_put(daemon, "s", [reading("d1")]);
    all_settled(daemon, "s", SOON);
    let mut sites: Vec<Value> = rows(lake, "s").iter().map(|row| row["site"].clone()).collect();
    assert_eq!(sites.len(), before + 1);
    // They are sorted, and each site is further in the alphabet than the one before.
    sites.pop().unwrap()
}

#[test]
fn a_table_in_a_bucket_counts_when_it_is_replaced_and_stays_when_it_is_gone_or_forbidden() {
    let (tables, mut lake) = (Lake::with(&["lake"]), Lake::with(&["lake"]));
    tables.put("lake", KEY, &table("a"));
    let yaml = yaml(&tables, &lake, &format!("streams:\n{}", stream("s", WHERE)));
    let mut daemon = start(yaml.clone());
    eventually("it is read", SOON, || (reads(&daemon, "ok") == 1).then_some(()));
    assert_eq!(site_now(&daemon, &lake), "a");

    lake.server.kill().unwrap();
    sdk_put(&daemon, "s", [reading("d1")]);
    wait_for_an_open_batch(&daemon, "s");
    tables.put("lake", KEY, &table("b"));
    eventually("the new one is read", SOON, || (reads(&daemon, "ok") == 2).then_some(()));
    lake.server.restart().unwrap();
    all_settled(&daemon, "s", SOON);
    assert_eq!(rows(&lake, "s").iter().filter(|row| row["site"] == "a").count(), 2, "it was closed before");
    assert_eq!(site_now(&daemon, &lake), "b");

    tables.put("lake", KEY, b"device,site\nd1,x\nd1,y\n");
    eventually("it is refused", SOON, || is_alarmed(&daemon).then_some(()));
    assert_eq!((reads(&daemon, "refused"), reads(&daemon, "failed")), (1, 0));
    tables.remove("lake", KEY);
    eventually("it is gone", SOON, || (reads(&daemon, "failed") > 0).then_some(()));
    let ready = daemon.get("/readyz").unwrap().body;
    assert!(ready.contains("table 'devices'") && ready.contains("NoSuchKey"), "{ready}");
    assert_eq!(site_now(&daemon, &lake), "b");

    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    eventually("a start notices too", SOON, || is_alarmed(&daemon).then_some(()));
    assert_eq!(site_now(&daemon, &lake), "b", "it is what it was before");

    let secret = &tables.server.access().secret_access_key;
    reload(&mut daemon, yaml.replace(secret, "wrong-wrong-wrong"));
    eventually("the store forbids it", SOON, || {
        daemon.get("/readyz").unwrap().body.contains("SignatureDoesNotMatch").then_some(())
    });
    reload(&mut daemon, yaml);
    tables.put("lake", KEY, &table("c"));
    eventually("it is there again", SOON, || {
        (!is_alarmed(&daemon) && reads(&daemon, "ok") == 1).then_some(())
    });
    assert_eq!(site_now(&daemon, &lake), "c");
}

#[test]
fn what_needs_a_table_that_cannot_be_had_yet_is_held_until_it_is_there_and_nothing_else_is() {
    let (tables, lake) = (Lake::with(&["lake"]), Lake::with(&["lake"]));
    let folder = tempfile::tempdir().unwrap();
    let wasm = folder.path().join("enrich.wasm");
    std::fs::write(&wasm, example("enrich")).unwrap();
    let functions = format!(
        "functions: {{ enrich: {{ path: {}, tables: [devices], deadline: 60s }} }}\nstreams:\n",
        wasm.display()
    );
    let streams = stream("s", WHERE) + &stream("f", "wasm: enrich") + &stream("other", "jq: { program: . }");
    let yaml = yaml(&tables, &lake, &(functions + &streams));
    let mut daemon = start(yaml.clone());
    for name in ["s", "f", "other"] {
        sdk_put(&daemon, name, [reading("d1")]);
    }
    all_settled(&daemon, "other", SOON);
    eventually("alarms say what is missing", SOON, || {
        let ready = daemon.get("/readyz").unwrap().body;
        let told =
            ["NoSuchKey", "table 'devices' could not be read yet", "function 'enrich' is not configured, or"];
        told.iter().all(|told| ready.contains(told)).then_some(())
    });
    assert!(rows(&lake, "s").is_empty() && rows(&lake, "f").is_empty());

    tables.put("lake", KEY, &table("bern"));
    for name in ["s", "f"] {
        let balance = all_settled(&daemon, name, SOON);
        assert_eq!((balance.accepted, balance.delivered), (1, 1), "{name}");
        assert_eq!(rows(&lake, name)[0]["site"], "bern", "{name}");
    }
    eventually("the alarms end", SOON, || {
        (metric(&daemon, "standpipe_alarm", &[r#"kind="misconfigured""#]) == 0 && !is_alarmed(&daemon))
            .then_some(())
    });

    daemon.kill9().unwrap();
    daemon.reconfigure(yaml.replace("columns: [site]", "columns: [site, model]")).unwrap();
    daemon.restart().unwrap();
    sdk_put(&daemon, "s", [reading("d1")]);
    eventually("what the table was before is not what is asked of it now", SOON, || {
        let ready = daemon.get("/readyz").unwrap().body;
        (ready.contains("stream 's'") && ready.contains("model")).then_some(())
    });
    assert_eq!(rows(&lake, "s").len(), 1);
    tables.put("lake", KEY, b"device,site,model\nd1,bern,T100\n");
    all_settled(&daemon, "s", SOON);
    assert_eq!(rows(&lake, "s")[0]["model"], "T100");
}

#[test]
fn a_batch_that_waits_for_its_table_keeps_the_definition_that_it_was_closed_under() {
    let (tables, lake) = (Lake::with(&["lake"]), Lake::with(&["lake"]));
    let yaml = yaml(&tables, &lake, &format!("streams:\n{}", stream("s", WHERE)));
    let mut daemon = start(yaml.clone());
    sdk_put(&daemon, "s", [reading("d1")]);
    wait_for_an_open_batch(&daemon, "s");
    reload(&mut daemon, yaml.replace("prefix: s/", "prefix: later/"));
    tables.put("lake", KEY, &table("bern"));
    all_settled(&daemon, "s", SOON);
    assert_eq!(rows(&lake, "s")[0]["site"], "bern");
    sdk_put(&daemon, "s", [reading("d1")]);
    all_settled(&daemon, "s", SOON);
    assert_eq!((rows(&lake, "s").len(), rows(&lake, "later").len()), (1, 1));
}

#[test]
fn a_reload_that_waits_for_a_store_keeps_no_other_change_waiting() {
    let lake = Lake::with(&["lake"]);
    let (slow, port) = Held::start(json!({"device": "d1", "site": "bern"}));
    let store = lake.server.access().through(format!("http://127.0.0.1:{port}")).store_yaml();
    let yaml = |tables: &str| {
        format!(
            "stores: {{ lake: {}, slow: {store} }}\ndefault_store: lake\n{tables}streams:\n{}",
            lake.yaml(),
            stream("s", "jq: { program: . }")
        )
    };
    let mut daemon = start(yaml(""));
    let table = "tables: { devices: { store: slow, bucket: lake, object: devices.jsonl, key: device } }\n";
    daemon.reconfigure(yaml(table)).unwrap();
    slow.waits_for(1);
    let destination =
        json!({"BucketARN": "arn:aws:s3:::lake", "RoleARN": "arn:aws:iam::000000000000:role/r"});
    let wanted = json!({"DeliveryStreamName": "called", "S3DestinationConfiguration": destination});
    let created = Client::of(&daemon).call("CreateDeliveryStream", wanted.to_string().into());
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(versions(&daemon), 0, "the store has not answered yet");
    slow.answer(true);
    eventually("the table is in force", SOON, || (versions(&daemon) == 1).then_some(()));
}

#[test]
fn a_table_that_was_refused_is_not_read_again_before_it_is_another_one() {
    let (tables, lake) = (Lake::with(&["lake"]), Lake::with(&["lake"]));
    let other = "ref/other.csv";
    tables.put("lake", KEY, &table("a"));
    tables.put("lake", other, &table("a"));
    let also =
        format!(", other: {{ store: tables, bucket: lake, object: {other}, key: device, refresh: 1s }} }}\n");
    let text = yaml(&tables, &lake, &format!("streams:\n{}", stream("s", WHERE)));
    let daemon = start(text.replace("refresh: 1s } }\n", &format!("refresh: 1s }}{also}")));
    eventually("both are read", SOON, || (reads(&daemon, "ok") == 2).then_some(()));
    tables.put("lake", KEY, b"device,site\nd1,x\nd1,y\n");
    eventually("it is refused", SOON, || is_alarmed(&daemon).then_some(()));
    for (round, site) in (3..).zip(["b", "c", "d"]) {
        tables.put("lake", other, &table(site));
        eventually("the other one is read", SOON, || (reads(&daemon, "ok") == round).then_some(()));
    }
    assert_eq!(reads(&daemon, "refused"), 1, "it was looked at each time");
    // What it was before is no news either.
    tables.put("lake", KEY, &table("a"));
    eventually("it is good again", SOON, || (!is_alarmed(&daemon)).then_some(()));
}

#[test]
fn a_table_in_parquet_by_another_writer_gives_its_columns_with_their_types() {
    let lake = Lake::with(&["lake"]);
    let folder = tempfile::tempdir().unwrap();
    let copy = "COPY (SELECT 'd' || i AS device, i AS number, i / 4 AS part, i % 2 = 0 AS even, \
                CAST(i AS DECIMAL(12,2)) AS price, DATE '2026-11-01' + CAST(i AS INTEGER) AS day, \
                TIMESTAMPTZ '2026-11-01 00:00:00+00' AS seen, [i, i + 1] AS list, NULL AS nothing \
                FROM range(1000) t(i)) TO '{}/devices.parquet' (FORMAT parquet)";
    assert_eq!(duckdb(copy, folder.path()), json!([[1000]]));
    let path = folder.path().join("devices.parquet");
    let daemon = start(format!(
        "stores: {{ lake: {} }}\ntables: {{ devices: {{ path: {}, key: device }} }}\nstreams:\n{}",
        lake.yaml(),
        path.display(),
        stream("s", "enrich: { table: devices, key: .device }")
    ));
    sdk_put(&daemon, "s", [reading("d7"), reading("d1000")]);
    all_settled(&daemon, "s", SOON);
    let full = json!({"device": "d7", "celsius": 21.5, "number": 7, "part": 1.75, "even": false, "price": 7.0,
        "day": "2026-11-08", "seen": "2026-11-01T00:00:00Z", "list": [7, 8], "nothing": null});
    let miss: Value = serde_json::from_slice(&reading("d1000")).unwrap();
    let mut found = rows(&lake, "s");
    found.sort_by_key(|row| row["device"] != "d7");
    assert_eq!(found, [full, miss]);
}
