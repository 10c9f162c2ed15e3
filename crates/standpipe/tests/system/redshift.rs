//! Records into a table of Redshift's double: through a real bucket into a real PostgreSQL, each one once in the table or
//! named by a manifest of errors, whatever fails.

use std::io::Read as _;
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::servers::Redshift;

use crate::client::{Answer, Client};
use crate::lake::Lake;
use crate::reload::reload;
use crate::support::{SOON, all_settled, balance, eventually, metric, options, start};
use crate::transform::{failures, put, raw};

const SECRET: &str = "loader-secret";

/// A stream into the table of its name, with `more` beside what all of them have.
fn yaml(lake: &Lake, server: &Redshift, stream: &str, more: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: {stream}
    destination:
      redshift:
        host: localhost
        port: {port}
        database: postgres
        user: loader
        password: {SECRET}
        table: {stream}
        credentials: {{ access_key_id: {key}, secret_access_key: {secret} }}
        buffering: {{ size: 64KiB, interval: 1s }}
        {more}
"#,
        store = lake.yaml(),
        port = server.port(),
        key = lake.server.access().access_key_id,
        secret = lake.server.access().secret_access_key,
    )
}

const STAGING: &str = "staging: { bucket: lake, prefix: staged/, error_output_prefix: \"lines/!{firehose:error-output-type}/\" }";

/// A server with a role that may load into the table that `ddl` makes, and do nothing else.
fn server(lake: &Lake, table: &str, ddl: &str) -> Redshift {
    let server = Redshift::start(lake.server.access()).unwrap();
    let role =
        format!("CREATE ROLE loader LOGIN PASSWORD '{SECRET}'; GRANT CREATE ON SCHEMA public TO loader");
    sql(&server, &format!("{role}; {ddl}; GRANT INSERT ON {table} TO loader"));
    server
}

fn sql(server: &Redshift, statement: &str) -> String {
    server.sql(statement).unwrap()
}

fn row(id: u64) -> Vec<u8> {
    format!("{{\"id\":{id},\"name\":\"row {id} \\\"é\\\"\",\"even\":{}}}", id.is_multiple_of(2)).into_bytes()
}

fn put_rows(daemon: &Daemon, stream: &str, rows: std::ops::Range<u64>) {
    for first in rows.clone().step_by(500) {
        put(daemon, stream, (first..rows.end.min(first + 500)).map(row));
    }
}

/// Holds that each of the rows is there, once and as it was put.
fn all_are_there(server: &Redshift, table: &str, rows: u64) {
    let seen = sql(
        server,
        &format!(
            "SELECT count(*), count(DISTINCT id), min(id), max(id), bool_and(name = 'row ' || id || ' \"é\"'), \
             bool_and(even = (id % 2 = 0)) FROM {table}"
        ),
    );
    assert_eq!(seen, format!("{rows}|{rows}|0|{}|t|t", rows - 1));
}

fn alarms(daemon: &Daemon) -> u64 {
    metric(daemon, "standpipe_alarm", &["kind=\"misconfigured\""])
}

fn no_secret_in(daemon: &Daemon, lake: &Lake) {
    for secret in [SECRET, &lake.server.access().secret_access_key] {
        assert!(!daemon.log().contains(secret), "a secret is in the log");
    }
}

#[test]
fn each_row_is_loaded_once_through_ten_kills_of_the_daemon_and_a_stop_of_the_server() {
    const ROWS: u64 = 24_000;
    let lake = Lake::with(&["lake"]);
    let mut server = server(&lake, "rows", "CREATE TABLE rows (id bigint, name varchar(100), even boolean)");
    let yaml = yaml(&lake, &server, "rows", STAGING);
    let mut daemon = options(yaml).env("STANDPIPE_LOG", "debug").start().unwrap();
    // Slow enough to be hit.
    sql(
        &server,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.15); RETURN NULL; END'; \
         CREATE TRIGGER slow AFTER INSERT ON rows FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    put_rows(&daemon, "rows", 0..ROWS);
    let loaded = |server: &Redshift| sql(server, "SELECT count(*) FROM rows").parse::<u64>().unwrap();
    for round in 0..10_u64 {
        let before = loaded(&server);
        eventually("some rows come", SOON, || (loaded(&server) > before || before == ROWS).then_some(()));
        thread::sleep(Duration::from_millis(23 * (round % 7)));
        daemon.kill9().unwrap();
        if round == 4 {
            server.stop();
        }
        daemon.restart().unwrap();
        if round == 4 {
            thread::sleep(Duration::from_millis(500));
            server.resume().unwrap();
        }
    }
    let balance = all_settled(&daemon, "rows", SOON + SOON);
    assert_eq!((balance.accepted, balance.delivered), (ROWS, ROWS));
    all_are_there(&server, "rows", ROWS);
    let noted = sql(&server, "SELECT sum(loaded), count(*) FROM standpipe_ledger");
    let requests: usize = noted.strip_prefix(&format!("{ROWS}|")).unwrap().parse().unwrap();
    let keys = lake.keys("lake");
    let below = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert_eq!((below("manifests/"), below("staged/"), keys.len()), (requests, requests, 2 * requests));
    no_secret_in(&daemon, &lake);
}

#[test]
fn what_is_not_loaded_is_named_by_a_manifest_of_errors_and_the_stream_goes_on() {
    let lake = Lake::with(&["lake"]);
    let server = server(&lake, "readings", "CREATE TABLE readings (id int, celsius float8)");
    let more = format!("{STAGING}\n        keep_staged: false\n        retry: 2s");
    let mut daemon = start(yaml(&lake, &server, "readings", &more));
    let good =
        |first: u64| (first..first + 100).map(|id| format!("{{\"id\":{id},\"celsius\":1.5}}").into_bytes());
    put(&daemon, "readings", good(0));
    assert_eq!(all_settled(&daemon, "readings", SOON).delivered, 100);
    assert!(lake.keys("lake").is_empty(), "what was loaded is gone");

    let bad = ["{\"id\":100,\"celsius\":2}", "{\"id\":101,\"celsius\":\"warm\"}"]
        .map(|text| text.as_bytes().to_vec());
    put(&daemon, "readings", bad.clone());
    eventually("the batch of the bad one is closed", SOON, || {
        (metric(&daemon, "standpipe_delivery_open_batches", &[]) > 0).then_some(())
    });
    put(&daemon, "readings", good(200));
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (202, 200, 2));
    assert_eq!(sql(&server, "SELECT count(*), count(DISTINCT id), max(id) FROM readings"), "200|200|299");

    let keys = lake.keys("lake");
    let [manifest, _, staged] = keys.as_slice() else { panic!("{keys:?}") };
    assert!(manifest.starts_with("errors/manifests/"), "{keys:?}");
    let manifest: Value = serde_json::from_slice(&lake.get("lake", manifest)).unwrap();
    assert_eq!(manifest, json!({"entries": [{"url": format!("s3://lake/{staged}"), "mandatory": true}]}));
    let mut lines = failures(&lake, "lines/");
    let lines = lines.remove("redshift-failed").unwrap();
    assert_eq!(lines.iter().map(raw).collect::<Vec<_>>(), bad);
    for line in lines {
        assert_eq!(line["errorCode"], "Redshift.DataLoadFailed", "{line}");
        assert!(line["errorMessage"].as_str().unwrap().contains("stl_load_errors"), "{line}");
    }
    no_secret_in(&daemon, &lake);
}

#[test]
fn a_manifest_of_errors_names_no_rows_that_are_loaded() {
    let lake = Lake::with(&["lake"]);
    let ddl = "CREATE TABLE readings (id int, celsius float8, pad varchar(1000))";
    let server = server(&lake, "readings", ddl);
    let more = format!(
        "{STAGING}\n        retry: 0s\n        bytes_max: 1KiB\n    processors: [{{ jq: {{ program: '.rows // [.] | \
         .[]' }} }}]"
    );
    // What is no folder takes no manifest, so that an attempt is made again.
    lake.put("lake", "errors", b"in the way");
    let daemon = start(yaml(&lake, &server, "readings", &more));
    let row = |id: u64, celsius: Value| json!({"id": id, "celsius": celsius, "pad": "x".repeat(400)});
    let several = json!({"rows": [row(1, 1.into()), row(2, "warm".into())]});
    // The second request has only the row that does not fit, of a record whose first row is in the first.
    put(&daemon, "readings", [row(0, 1.into()), several].map(|record| record.to_string().into_bytes()));
    let failed = || daemon.log().matches("delivery attempt failed").count();
    eventually("attempts fail", SOON, || (failed() >= 3).then_some(()));
    lake.remove("lake", "errors");
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.delivered, balance.backed_up), (1, 1));
    assert_eq!(sql(&server, "SELECT id FROM readings ORDER BY id"), "0\n1");
    let keys = lake.keys("lake");
    let manifests: Vec<&String> = keys.iter().filter(|key| key.starts_with("errors/manifests/")).collect();
    let [manifest] = manifests.as_slice() else { panic!("{keys:?}") };
    let manifest: Value = serde_json::from_slice(&lake.get("lake", manifest)).unwrap();
    let staged = manifest["entries"][0]["url"].as_str().unwrap().strip_prefix("s3://lake/").unwrap();
    let mut text = String::new();
    GzDecoder::new(lake.get("lake", staged).as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), row(2, "warm".into()));
}

#[test]
fn nothing_is_given_up_because_the_bucket_is_away() {
    let mut lake = Lake::with(&["lake"]);
    let server = server(&lake, "calm", "CREATE TABLE calm (id bigint, name varchar(100), even boolean)");
    let daemon = start(yaml(&lake, &server, "calm", &format!("{STAGING}\n        retry: 0s")));
    lake.server.kill().unwrap();
    put_rows(&daemon, "calm", 0..100);
    let failed = || metric(&daemon, "standpipe_delivery_attempts_total", &["kind=\"transient\""]);
    eventually("attempts fail", SOON, || (failed() >= 3).then_some(()));
    assert_eq!(balance(&daemon, "calm").in_journal, 100);
    lake.server.restart().unwrap();
    assert_eq!(all_settled(&daemon, "calm", SOON).delivered, 100);
    all_are_there(&server, "calm", 100);
}

#[test]
fn what_someone_has_to_mend_holds_the_data_until_it_is_mended() {
    let lake = Lake::with(&["lake"]);
    let server = server(&lake, "held", "CREATE TABLE held (id bigint, name varchar(100))");
    sql(&server, "ALTER ROLE loader PASSWORD 'another'");
    let more = format!("{STAGING}\n        retry: 0s\n        columns: [id, name, even]");
    let mut daemon = start(yaml(&lake, &server, "held", &more));
    let held = |daemon: &Daemon, rows: u64| {
        eventually("the alarm is raised", SOON, || (alarms(daemon) > 0).then_some(()));
        assert_eq!(balance(daemon, "held").in_journal, rows);
    };
    put_rows(&daemon, "held", 0..100);
    held(&daemon, 100);
    sql(&server, &format!("ALTER ROLE loader PASSWORD '{SECRET}'"));
    // The next thing to mend.
    eventually("the column is missed", SOON, || {
        daemon.log().contains("column \"even\" of relation \"held\"").then_some(())
    });
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    held(&daemon, 100);
    sql(&server, "ALTER TABLE held ADD even boolean");
    assert_eq!(all_settled(&daemon, "held", SOON).backed_up, 0);
    eventually("the alarm is cleared", SOON, || (alarms(&daemon) == 0).then_some(()));
    all_are_there(&server, "held", 100);

    // What COPY is told counts for data that waits.
    let wrong = yaml(&lake, &server, "held", &format!("{more}\n        copy_options: JSON 'auto' NONSENSE"));
    reload(&mut daemon, wrong);
    eventually("it is in force", SOON, || {
        let described = describe(&daemon, "held");
        (described["CopyCommand"]["CopyOptions"] == "JSON 'auto' NONSENSE").then_some(())
    });
    put_rows(&daemon, "held", 100..200);
    held(&daemon, 100);
    reload(&mut daemon, yaml(&lake, &server, "held", &more));
    assert_eq!(all_settled(&daemon, "held", SOON).backed_up, 0);
    all_are_there(&server, "held", 200);
    no_secret_in(&daemon, &lake);
}

fn call(daemon: &Daemon, operation: &str, body: &Value) -> Answer {
    Client::of(daemon).call(operation, body.to_string().into())
}

fn describe(daemon: &Daemon, stream: &str) -> Value {
    let answer = call(daemon, "DescribeDeliveryStream", &json!({ "DeliveryStreamName": stream }));
    answer.body["DeliveryStreamDescription"]["Destinations"][0]["RedshiftDestinationDescription"].clone()
}

#[test]
fn a_stream_that_the_api_makes_loads_as_it_says_and_shows_no_password() {
    let lake = Lake::with(&["lake", "raw"]);
    let server = server(&lake, "made", "CREATE TABLE made (id bigint, name varchar(100), even boolean)");
    let daemon = start(format!("stores: {{ lake: {} }}\n", lake.yaml()));
    let bucket = |name: &str| {
        json!({"RoleARN": "arn:aws:iam::000000000000:role/firehose", "BucketARN": format!("arn:aws:s3:::{name}"),
            "Prefix": "in/", "CompressionFormat": "GZIP",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1}})
    };
    let mut wanted = json!({"DeliveryStreamName": "made", "RedshiftDestinationConfiguration": {
        "RoleARN": Redshift::ROLE,
        "ClusterJDBCURL": format!("jdbc:redshift://localhost:{}/postgres", server.port()),
        "CopyCommand": {"DataTableName": "made", "DataTableColumns": "id, name,even",
            "CopyOptions": "json 'auto' manifest"},
        "Username": "loader", "Password": "mistyped", "RetryOptions": {"DurationInSeconds": 7},
        "S3Configuration": bucket("lake"), "S3BackupMode": "Enabled", "S3BackupConfiguration": bucket("raw"),
    }});
    let refused = call(&daemon, "CreateDeliveryStream", &wanted);
    assert_eq!((refused.status, refused.error()), (400, "InvalidArgumentException"), "{refused:?}");
    assert!(refused.body.to_string().contains("must not have MANIFEST"), "{refused:?}");
    wanted["RedshiftDestinationConfiguration"]["CopyCommand"]["CopyOptions"] = "json 'auto'".into();
    let created = call(&daemon, "CreateDeliveryStream", &wanted);
    assert_eq!(created.status, 200, "{created:?}");
    eventually("it is there", SOON, || {
        let answer = call(&daemon, "DescribeDeliveryStream", &json!({"DeliveryStreamName": "made"}));
        (answer.body["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE").then_some(())
    });
    put_rows(&daemon, "made", 0..700);
    eventually("the alarm is raised", SOON, || (alarms(&daemon) > 0).then_some(()));
    let update = json!({"DeliveryStreamName": "made", "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": "destinationId-000000000001", "RedshiftDestinationUpdate": {"Password": SECRET}});
    let updated = call(&daemon, "UpdateDestination", &update);
    assert_eq!(updated.status, 200, "{updated:?}");
    all_settled(&daemon, "made", SOON);
    all_are_there(&server, "made", 700);
    assert_eq!(
        lake.keys("lake").iter().filter(|key| key.starts_with("in/") && key.ends_with(".gz")).count(),
        1
    );
    assert!(!lake.keys("raw").is_empty(), "a copy of what came");

    let described = describe(&daemon, "made");
    let given = &wanted["RedshiftDestinationConfiguration"];
    for name in ["RoleARN", "ClusterJDBCURL", "CopyCommand", "Username", "RetryOptions", "S3BackupMode"] {
        assert_eq!(described[name], given[name], "{described}");
    }
    assert!(described.get("Password").is_none() && !described.to_string().contains(SECRET), "{described}");
    no_secret_in(&daemon, &lake);
}
