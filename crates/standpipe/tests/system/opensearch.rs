//! OpenSearch as a destination: each document is in the real node once, or in the error output with what the node said.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::servers::{OpenSearch, Toxic, Toxiproxy};

use crate::busy_node::BusyNode;
use crate::endpoints::create;
use crate::lake::Lake;
use crate::outages::attempts;
use crate::support::{SOON, all_settled, balance, eventually, flights_file, metric, start};
use crate::transform::{failures, put, raw};

fn yaml(lake: &Lake, endpoints: &str, more: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
default_store: lake
streams:
  - name: clicks
    destination:
      opensearch:
        endpoints: {endpoints}
        index: clicks
        documents_max: 40
        buffering: {{ size: 4KiB, interval: 1s }}
        error_output: {{ bucket: lake, error_output_prefix: "errors/!{{firehose:error-output-type}}/" }}
        {more}
"#,
        store = lake.yaml()
    )
}

/// Every tenth does not fit the mapping; every tenth again is no JSON.
fn record(id: u64) -> String {
    match id % 10 {
        3 => format!(r#"{{"id":{id},"when":"never"}}"#),
        7 => format!("not JSON {id}"),
        _ => format!("{{\"id\":{id},\n \"when\":\"2026-01-01T00:00:00Z\"}}"),
    }
}

fn put_all(daemon: &Daemon, ids: Range<u64>) {
    for first in ids.clone().step_by(250) {
        put(daemon, "clicks", (first..ids.end.min(first + 250)).map(|id| record(id).into_bytes()));
    }
}

/// How often each `id` is in the node.
fn indexed(node: &OpenSearch, pattern: &str) -> BTreeMap<u64, u32> {
    let mut ids = BTreeMap::new();
    for document in node.documents(pattern).unwrap() {
        *ids.entry(document["_source"]["id"].as_u64().unwrap()).or_default() += 1;
    }
    ids
}

/// How many documents the node has indexed since it started.
fn indexed_ever(node: &OpenSearch) -> u64 {
    let stats = node.call("GET", "_stats/indexing", &Value::Null).unwrap();
    stats["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or_default()
}

fn once(ids: impl Iterator<Item = u64>) -> BTreeMap<u64, u32> {
    ids.map(|id| (id, 1)).collect()
}

#[test]
fn each_document_is_there_once_or_in_the_error_output_through_kills_of_the_node_and_ten_of_the_daemon() {
    const COUNT: u64 = 3_000;
    let (lake, mut node) = (Lake::with(&["lake"]), OpenSearch::start(&[]).unwrap());
    let template = json!({"index_patterns": ["clicks-*"], "template": {
        "settings": {"number_of_replicas": 0}, "mappings": {"properties": {"when": {"type": "date"}}}}});
    node.call("PUT", "_index_template/clicks", &template).unwrap();
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("node", &node.address()).unwrap();
    // What the node has indexed is not answered yet when it shows.
    proxy.poison(Toxic::Latency(Duration::from_millis(700))).unwrap();
    let mut daemon = start(yaml(&lake, &proxy.endpoint(), "gzip: true"));
    let mut before = 0;
    for (round, first) in (0..COUNT).step_by(300).enumerate() {
        put_all(&daemon, first..first + 300);
        eventually("documents come", SOON, || (indexed_ever(&node) > before).then_some(()));
        daemon.kill9().unwrap();
        if round == 4 {
            node.kill().unwrap();
            daemon.restart().unwrap();
            let failed = || (attempts(&daemon, "transient") > 0).then_some(());
            eventually("an attempt finds no node", SOON, failed);
            node.restart().unwrap();
            before = 0;
        } else {
            before = indexed_ever(&node);
            daemon.restart().unwrap();
        }
    }
    proxy.heal().unwrap();
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (COUNT, COUNT / 5 * 4, COUNT / 5));
    assert_eq!(indexed(&node, "clicks-*"), once((0..COUNT).filter(|id| !matches!(id % 10, 3 | 7))));

    let mut parts = failures(&lake, "errors/");
    let lines = parts.remove("AmazonOpenSearchService-failed").unwrap();
    assert!(parts.is_empty() && lines.len() as u64 == COUNT / 5, "{} lines, {parts:?}", lines.len());
    let mut refused: Vec<String> = lines.iter().map(|line| String::from_utf8(raw(line)).unwrap()).collect();
    refused.sort();
    let mut expected: Vec<String> = (0..COUNT).filter(|id| matches!(id % 10, 3 | 7)).map(record).collect();
    expected.sort();
    assert_eq!(refused, expected);
    for line in &lines {
        let (code, message) = (line["errorCode"].as_str().unwrap(), line["errorMessage"].as_str().unwrap());
        match raw(line).starts_with(b"{") {
            true => assert!(
                code == "400" && message.starts_with("mapper_parsing_exception: failed to parse"),
                "{line}"
            ),
            false => assert_eq!(code, "OpenSearch.InvalidRecord"),
        }
        let (id, index) = (line["esDocumentId"].as_str().unwrap(), line["esIndexName"].as_str().unwrap());
        assert!(id.len() > 34 && index.starts_with("clicks-20") && line["esTypeName"] == "", "{line}");
    }
}

#[test]
fn an_index_that_may_not_be_made_holds_the_data_until_it_is_there() {
    let node = OpenSearch::start(&["action.auto_create_index=false"]).unwrap();
    let lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake, &node.endpoint(), "rotation: none\n        retry: 0s"));
    put(&daemon, "clicks", (0..2).map(|id| record(id).into_bytes()));
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"clicks\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(&daemon, "clicks").in_journal, 2, "'retry' does not run meanwhile");
    node.call("PUT", "clicks", &Value::Null).unwrap();
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (2, 0));
    assert_eq!(indexed(&node, "clicks"), once(0..2));
    eventually("the alarm is cleared", SOON, || (alarm() == 0).then_some(()));
}

/// A document that fits, however often its mapping changes.
fn put_documents(daemon: &Daemon, ids: Range<u64>) {
    put(daemon, "clicks", ids.map(|id| format!("{{\"id\":{id}}}").into_bytes()));
}

#[test]
fn of_a_bulk_that_is_taken_in_part_only_the_rest_comes_again() {
    const COUNT: u64 = 500;
    let (lake, node) = (Lake::with(&["lake"]), OpenSearch::start(&[]).unwrap());
    let busy = BusyNode::before(&node);
    let daemon = start(yaml(&lake, &busy.listening.url(), "rotation: none"));
    put_documents(&daemon, 0..COUNT);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered), (COUNT, COUNT));
    assert_eq!(indexed(&node, "clicks"), once(0..COUNT));
    assert!(busy.turned_away() > COUNT / 10, "{} documents were turned away", busy.turned_away());
    assert!(attempts(&daemon, "throttled") > 0, "an attempt that brought some of them in asks for patience");

    // What the mapping does not allow any more is refused, and nothing else.
    node.call("PUT", "clicks/_mapping", &json!({"dynamic": "strict"})).unwrap();
    put(&daemon, "clicks", [br#"{"id":1000,"new":1}"#.to_vec()]);
    put_documents(&daemon, COUNT..COUNT + 50);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (COUNT + 50, 1));
    assert_eq!(indexed(&node, "clicks"), once(0..COUNT + 50));
    let lines = failures(&lake, "errors/").remove("AmazonOpenSearchService-failed").unwrap();
    let message = lines[0]["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("strict_dynamic_mapping_exception") && lines.len() == 1, "{lines:?}");
}

#[test]
fn a_password_that_is_wrong_holds_the_data_until_it_is_corrected() {
    let (lake, node) = (Lake::with(&["lake"]), OpenSearch::start_secured().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, node.ca()).unwrap();
    let asking = |password: &str| {
        let user = OpenSearch::ADMIN.0;
        let tls = format!("tls: {{ ca_file: {} }}", ca.display());
        let more =
            format!("username: {user}\n        password: {password}\n        {tls}\n        retry: 0s");
        yaml(&lake, &node.endpoint(), &more)
    };
    let mut daemon = start(asking("mistyped"));
    put_documents(&daemon, 0..100);
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"clicks\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(&daemon, "clicks").in_journal, 100);
    daemon.reconfigure(asking(OpenSearch::ADMIN.1)).unwrap();
    daemon.signal(rustix::process::Signal::HUP).unwrap();
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered), (100, 100));
    assert_eq!(indexed(&node, "clicks-*"), once(0..100));
    assert!(!daemon.log().contains("mistyped"), "a password is in the log");
}

#[test]
fn a_stream_that_the_api_calls_elasticsearch_delivers_and_names_what_fails_so() {
    let (lake, node) = (Lake::with(&["lake"]), OpenSearch::start(&[]).unwrap());
    let daemon = start(format!("stores: {{ lake: {} }}\ndefault_store: lake\n", lake.yaml()));
    let role = "arn:aws:iam::000000000000:role/r";
    let s3 = json!({"RoleARN": role, "BucketARN": "arn:aws:s3:::lake",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/"});
    let cluster = json!({
        "RoleARN": role, "ClusterEndpoint": node.endpoint(), "IndexName": "clicks",
        "IndexRotationPeriod": "OneMonth", "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
        "S3Configuration": s3,
    });
    create(
        &daemon,
        json!({"DeliveryStreamName": "clicks", "ElasticsearchDestinationConfiguration": cluster}),
    );
    put_documents(&daemon, 0..100);
    put(&daemon, "clicks", [b"no JSON".to_vec()]);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (100, 1));
    assert_eq!(indexed(&node, "clicks-20*"), once(0..100));
    let parts = failures(&lake, "errors/");
    let line = &parts["elasticsearch-failed"][0];
    assert_eq!((raw(line), parts.len()), (b"no JSON".to_vec(), 1), "{parts:?}");
}

#[test]
fn a_stream_of_the_api_delivers_what_boto3_puts_and_an_update_names_another_index() {
    const FLIGHTS: usize = 3_007;
    let (lake, node) = (Lake::with(&["lake"]), OpenSearch::start(&[]).unwrap());
    let daemon = start(format!("stores: {{ lake: {} }}\ndefault_store: lake\n", lake.yaml()));
    let python = Python::installed().unwrap();
    let aws = |args: &[&str]| python.aws_firehose(&daemon.endpoint(), args).unwrap();
    let role = "arn:aws:iam::000000000000:role/r";
    let hints = json!({"SizeInMBs": 1, "IntervalInSeconds": 1});
    let s3 =
        json!({"RoleARN": role, "BucketARN": "arn:aws:s3:::lake", "Prefix": "all/", "BufferingHints": hints});
    let cluster = json!({
        "RoleARN": role, "ClusterEndpoint": node.endpoint(), "IndexName": "flights",
        "IndexRotationPeriod": "NoRotation", "BufferingHints": hints,
        "S3BackupMode": "AllDocuments", "S3Configuration": s3,
        "DocumentIdOptions": {"DefaultDocumentIdFormat": "FIREHOSE_DEFAULT"},
    });
    let create =
        json!({"DeliveryStreamName": "flights", "AmazonopensearchserviceDestinationConfiguration": cluster});
    aws(&["create-delivery-stream", "--cli-input-json", &create.to_string()]);
    let name = ["--delivery-stream-name", "flights"];
    let describe =
        || aws(&[&["describe-delivery-stream"][..], &name].concat())["DeliveryStreamDescription"].take();
    let ready = || (describe()["DeliveryStreamStatus"] == "ACTIVE").then_some(());
    eventually("the stream is made", SOON, ready);
    let put_flights = || {
        let put =
            finish(python.put(&daemon.endpoint(), "flights", &[flights_file().to_str().unwrap()])).unwrap();
        assert_eq!(put["acknowledged"], FLIGHTS, "{put}");
        all_settled(&daemon, "flights", SOON)
    };
    put_flights();
    assert_eq!(indexed(&node, "flights"), once(numbers(FLIGHTS)));
    let described = &describe()["Destinations"][0]["AmazonopensearchserviceDestinationDescription"];
    for (member, value) in [
        ("ClusterEndpoint", node.endpoint().as_str()),
        ("IndexName", "flights"),
        ("S3BackupMode", "AllDocuments"),
    ] {
        assert_eq!(described[member], value, "{described}");
    }
    assert!(lake.keys("lake").iter().all(|key| key.starts_with("all/")), "{:?}", lake.keys("lake"));

    let update = json!({"IndexName": "later"}).to_string();
    let first =
        ["--current-delivery-stream-version-id", "1", "--destination-id", "destinationId-000000000001"];
    let member = ["--amazonopensearchservice-destination-update", &update];
    aws(&[&["update-destination"][..], &name, &first, &member].concat());
    let settled = put_flights();
    assert_eq!(settled.delivered as usize, 4 * FLIGHTS, "to the node and to the backup");
    assert_eq!(indexed(&node, "later"), once(numbers(FLIGHTS)));
}

/// The rows' ids are their numbers.
fn numbers(count: usize) -> impl Iterator<Item = u64> {
    0..count as u64
}
