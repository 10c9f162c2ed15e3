//! Rows into tables of the real Iceberg catalog, read there by pyiceberg: each one once, whatever fails.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::guests::redact_lambda;
use standpipe_testkit::servers::Iceberg;
use standpipe_testkit::{Daemon, http_send};
use tempfile::TempDir;

use crate::client::Client;
use crate::double::{Answer, Asked, Double, Listening};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, balance, eventually, start};
use crate::transform::{failures, put};

/// Rows of the table of weather.
const WEATHER: u64 = 26_115;

/// A store, and a catalog with the namespace `lake` whose tables are there.
pub(crate) fn servers() -> (Lake, Iceberg) {
    let lake = Lake::with(&["lake"]);
    let catalog = Iceberg::start(lake.server.access(), "lake").unwrap();
    catalog.create_namespace("lake").unwrap();
    (lake, catalog)
}

/// A stream into the table of its name.
pub(crate) fn yaml(lake: &Lake, catalog: &str, stream: &str, buffering: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
catalogs: {{ iceberg: {{ uri: "{uri}", refresh: 1s, timeout: 30s }} }}
streams:
  - name: {stream}
    destination:
      iceberg:
        database: lake
        table: {stream}
        buffering: {buffering}
        error_output: {{ bucket: lake, error_output_prefix: "errors/!{{firehose:error-output-type}}/" }}
"#,
        store = lake.yaml(),
        uri = catalog,
    )
}

/// What a query finds in a table, which it calls `t`.
pub(crate) fn rows(lake: &Lake, catalog: &Iceberg, table: &str, query: &str) -> Value {
    let mut python = Python::installed().unwrap().program("iceberg.py");
    let store = lake.server.access();
    python.args([&catalog.endpoint(), &store.endpoint, &store.access_key_id, &store.secret_access_key]);
    python.args([table, query]);
    finish(python).unwrap()
}

/// The files that the snapshots of a table say to have added, one for each.
pub(crate) fn added(catalog: &Iceberg, table: &str) -> Vec<String> {
    let path = format!("namespaces/lake/tables/{table}");
    let found = catalog.call("GET", &path, &Value::Null).unwrap();
    let snapshots = found["metadata"]["snapshots"].as_array().cloned().unwrap_or_default();
    let file = |snapshot: &Value| snapshot["summary"]["standpipe.file"].as_str().unwrap().to_owned();
    snapshots.iter().map(file).collect()
}

#[test]
fn what_boto3_puts_is_in_the_table_once_through_kills_of_the_daemon_and_stops_of_the_catalog() {
    let (lake, mut catalog) = servers();
    let columns = [
        ("id", true, json!("long")),
        ("origin", false, json!("string")),
        ("temp", false, json!("double")),
        ("time_hour", false, json!("timestamp")),
    ];
    catalog.create_table("lake", "weather", &columns).unwrap();
    let mut daemon = start(yaml(&lake, &catalog.endpoint(), "weather", "{ size: 256KiB, interval: 1s }"));
    let putting =
        Python::installed().unwrap().put(&daemon.endpoint(), "weather", &["weather", "--processes", "2"]);
    let put = finish(putting).unwrap();
    assert_eq!((put["acknowledged"].as_u64(), put["raised"].as_u64()), (Some(WEATHER), Some(0)), "{put}");
    for round in 0..10_u64 {
        let before = balance(&daemon, "weather").in_journal;
        eventually("some rows are delivered", SOON, || {
            let left = balance(&daemon, "weather").in_journal;
            (left < before || left == 0).then_some(())
        });
        thread::sleep(Duration::from_millis(23 * round % 100));
        daemon.kill9().unwrap();
        if round == 4 {
            catalog.kill().unwrap();
        }
        daemon.restart().unwrap();
        if round == 4 {
            thread::sleep(Duration::from_millis(500));
            catalog.restart().unwrap();
        }
    }
    let settled = all_settled(&daemon, "weather", SOON + SOON);
    assert_eq!((settled.accepted, settled.delivered), (WEATHER, WEATHER));
    let query = "SELECT count(*), count(DISTINCT id), count(temp), count(time_hour) FROM t";
    assert_eq!(
        rows(&lake, &catalog, "lake.weather", query),
        json!([[WEATHER, WEATHER, WEATHER - 1, WEATHER]])
    );
    let origins = "SELECT origin, count(*) FROM t GROUP BY 1 ORDER BY 1";
    assert_eq!(
        rows(&lake, &catalog, "lake.weather", origins),
        json!([["EWR", 8703], ["JFK", 8706], ["LGA", 8706]])
    );
    let files = added(&catalog, "weather");
    assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len(), "a file was added twice");
    assert!(lake.keys("lake").iter().all(|key| !key.starts_with("errors/")), "nothing was refused");
}

/// Makes a stream through the API, into the table `readings`, whose failures it bears for so long; what it is then.
pub(crate) fn create(daemon: &Daemon, stream: &str, retry_secs: u64) -> Value {
    let role = "arn:aws:iam::000000000000:role/r";
    let destination = json!({
        "RoleARN": role, "CatalogConfiguration": {}, "AppendOnly": true,
        "DestinationTableConfigurationList": [{
            "DestinationDatabaseName": "lake", "DestinationTableName": "readings",
            "S3ErrorOutputPrefix": "called/!{firehose:error-output-type}/",
        }],
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0},
        "RetryOptions": {"DurationInSeconds": retry_secs},
        "S3Configuration": {"RoleARN": role, "BucketARN": "arn:aws:s3:::lake", "ErrorOutputPrefix": "elsewhere/!{firehose:error-output-type}/"},
    });
    let wanted = json!({"DeliveryStreamName": stream, "IcebergDestinationConfiguration": destination});
    let client = Client::of(daemon);
    let answer = client.call("CreateDeliveryStream", wanted.to_string().into());
    assert_eq!(answer.status, 200, "{answer:?}");
    described(daemon, stream)
}

/// How a stream's table is described.
pub(crate) fn described(daemon: &Daemon, stream: &str) -> Value {
    let shown = json!({"DeliveryStreamName": stream}).to_string();
    let mut shown = Client::of(daemon).call("DescribeDeliveryStream", shown.into()).body;
    shown["DeliveryStreamDescription"]["Destinations"][0]["IcebergDestinationDescription"].take()
}

#[test]
fn two_streams_add_to_one_table_that_changes_and_what_does_not_fit_goes_to_the_error_output() {
    let (lake, catalog) = servers();
    let member =
        |id: u32, name: &str, kind: &str| json!({"id": id, "name": name, "required": false, "type": kind});
    let place =
        json!({"type": "struct", "fields": [member(11, "x", "double"), member(12, "tags", "string")]});
    let list = json!({"type": "list", "element-id": 13, "element": "long", "element-required": false});
    let map = json!({"type": "map", "key-id": 14, "key": "string", "value-id": 15, "value": "decimal(9,2)", "value-required": false});
    let columns = [
        ("id", true, json!("long")),
        ("place", false, place),
        ("counts", false, list),
        ("prices", false, map),
        ("day", false, json!("date")),
    ];
    catalog.create_table("lake", "readings", &columns).unwrap();
    let daemon = start(yaml(&lake, &catalog.endpoint(), "readings", "{ interval: 0s }"));
    let described = create(&daemon, "called", 300);
    assert_eq!(
        described["DestinationTableConfigurationList"][0]["DestinationTableName"], "readings",
        "{described}"
    );

    let record = |id: u64| match id % 10 {
        3 => format!(r#"{{"id": {id}, "day": "tomorrow"}}"#),
        7 => r#"{"day": "2026-01-31"}"#.to_owned(),
        _ => format!(
            r#"{{"id": {id}, "place": {{"x": {id}.5}}, "counts": [1, {id}], "prices": {{"a": 1.25}}, "day": "2026-01-31", "more": 1}}"#
        ),
    };
    for first in (0..400).step_by(40) {
        let (even, odd): (Vec<u64>, Vec<u64>) = (first..first + 40).partition(|id| id % 2 == 0);
        put(&daemon, "readings", even.into_iter().map(|id| record(id).into_bytes()));
        put(&daemon, "called", odd.into_iter().map(|id| record(id).into_bytes()));
    }
    let (one, two) = (all_settled(&daemon, "readings", SOON), all_settled(&daemon, "called", SOON));
    assert_eq!((one.delivered, one.backed_up, two.delivered, two.backed_up), (200, 0, 120, 80));
    assert_eq!(failures(&lake, "called/").remove("format-conversion-failed").unwrap().len(), 80);

    catalog.add_columns("lake", "readings", &[("more", false, json!("int"))]).unwrap();
    let columns = || {
        let shown = daemon.get("/streams/readings/schema").unwrap().body;
        serde_json::from_str::<Value>(&shown).unwrap()["columns"].as_array().map_or(0, Vec::len)
    };
    eventually("the change is seen", SOON, || (columns() == 6).then_some(()));
    put(&daemon, "readings", [record(400).into_bytes()]);
    all_settled(&daemon, "readings", SOON);
    let query = "SELECT count(*), count(DISTINCT id), sum(place.x - id), sum(counts[2] - id), sum(prices['a'])::VARCHAR, \
                 min(day)::VARCHAR, sum(more) FROM t";
    assert_eq!(
        rows(&lake, &catalog, "lake.readings", query),
        json!([[321, 321, 160.5, 0, "401.25", "2026-01-31", 1]])
    );
    let files = added(&catalog, "readings");
    assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len(), "a file was added twice");
}

/// Stands before a catalog: what becomes of the next commits and of their answers, the last first. A commit that is to
/// hang up is carried out, and then nothing is answered any more.
pub(crate) struct Between {
    catalog: String,
    script: Mutex<Vec<Answer>>,
    is_cut: AtomicBool,
}

impl Between {
    /// One that does so.
    pub(crate) fn start(catalog: &Iceberg, script: Vec<Answer>) -> (Arc<Self>, String) {
        let (catalog, script) = (catalog.endpoint(), Mutex::new(script));
        let between = Arc::new(Self { catalog, script, is_cut: AtomicBool::new(false) });
        let url = Listening::start(Arc::clone(&between), None).url();
        (between, url)
    }

    /// Whether every commit was made as it was told.
    pub(crate) fn is_through(&self) -> bool {
        self.script.lock().unwrap().is_empty()
    }

    /// Whether nothing is answered.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// It answers again, and does no more than hand on.
    pub(crate) fn resume(&self) {
        self.script.lock().unwrap().clear();
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Double for Between {
    fn decide(&self, _path: &str) -> Answer {
        if self.is_cut() { Answer::HangUp } else { Answer::Take }
    }

    fn reply(&self, asked: Asked, _answer: Answer) -> Option<(u16, Value)> {
        let is_commit = !asked.body.is_empty();
        let answer = is_commit.then(|| self.script.lock().unwrap().pop()).flatten();
        if let Some(Answer::Status(status)) = answer {
            let error =
                json!({"message": "others were quicker", "type": "CommitFailedException", "code": status});
            return Some((status, json!({ "error": error })));
        }
        let (method, body) = (if is_commit { "POST" } else { "GET" }, String::from_utf8(asked.body).unwrap());
        let reply = http_send(method, &format!("{}{}", self.catalog, asked.path), &body).ok()?;
        let answered = serde_json::from_str(&reply.body).unwrap_or_default();
        self.is_cut.fetch_or(answer == Some(Answer::HangUp), Ordering::SeqCst);
        let is_lost = matches!(answer, Some(Answer::TakeAndHangUp | Answer::HangUp));
        (!is_lost).then_some((reply.status, answered))
    }
}

/// Puts rows, one a batch, through commits that are overtaken, refused or whose answers are lost.
fn check_commits(prepare: impl Fn(String) -> String) {
    let (lake, catalog) = servers();
    let lost = Answer::TakeAndHangUp;
    let script = vec![lost, lost, Answer::Status(409), lost, Answer::Status(503), Answer::Status(409)];
    let (between, before) = Between::start(&catalog, script);
    let daemon = start(prepare(yaml(&lake, &before, "readings", "{ interval: 0s }")));
    // What comes before the table is there waits for it.
    put(&daemon, "readings", [br#"{"id": 0}"#.to_vec()]);
    catalog.create_table("lake", "readings", &[("id", true, json!("long"))]).unwrap();
    for id in 0..6 {
        if id > 0 {
            put(&daemon, "readings", [format!(r#"{{"id": {id}}}"#).into_bytes()]);
        }
        all_settled(&daemon, "readings", SOON);
    }
    assert!(between.is_through(), "every commit was made as it was told");
    let query = "SELECT count(*), count(DISTINCT id) FROM t";
    assert_eq!(rows(&lake, &catalog, "lake.readings", query), json!([[6, 6]]));
    assert_eq!(added(&catalog, "readings").len(), 6);
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_made_again_and_one_that_others_overtook_is() {
    check_commits(|yaml| yaml);
}

#[test]
fn what_functions_have_made_is_added_once_as_well() {
    let folder = tempfile::tempdir().unwrap();
    check_commits(|yaml| with_function(&folder, yaml));
}

/// The stream with a function, so that its rows are kept in a spool before they are delivered.
pub(crate) fn with_function(folder: &TempDir, yaml: String) -> String {
    let function = folder.path().join("redact.wasm");
    fs::write(&function, redact_lambda()).unwrap();
    let functions = format!("functions: {{ redact: {{ path: {} }} }}\ncatalogs:", function.display());
    yaml.replace("catalogs:", &functions)
        .replace("    destination:", "    processors: [ wasm: redact ]\n    destination:")
}
