//! OpenSearch as a destination: each document is in the real node once, or in the error output with what the node said.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::servers::OpenSearch;

use crate::lake::Lake;
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

fn once(ids: impl Iterator<Item = u64>) -> BTreeMap<u64, u32> {
    ids.map(|id| (id, 1)).collect()
}

#[test]
fn each_document_is_there_once_or_in_the_error_output_through_kills_of_the_node_and_the_daemon() {
    const COUNT: u64 = 3_000;
    let (lake, mut node) = (Lake::with(&["lake"]), OpenSearch::start(&[]).unwrap());
    let template = json!({"index_patterns": ["clicks-*"], "template": {
        "settings": {"number_of_replicas": 0}, "mappings": {"properties": {"when": {"type": "date"}}}}});
    node.call("PUT", "_index_template/clicks", &template).unwrap();
    let mut daemon = start(yaml(&lake, &node.endpoint(), "gzip: true"));
    let delivered = |daemon: &Daemon| metric(daemon, "standpipe_records_delivered_total", &[]);
    for (round, first) in (0..COUNT).step_by(300).enumerate() {
        put_all(&daemon, first..first + 150);
        eventually("some is delivered", SOON, || (delivered(&daemon) > 0).then_some(()));
        if round == 4 {
            node.kill().unwrap();
        }
        put_all(&daemon, first + 150..first + 300);
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
        if round == 4 {
            let failed = || daemon.log().contains("Connection refused").then_some(());
            eventually("an attempt finds no node", SOON, failed);
            node.restart().unwrap();
        }
    }
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
