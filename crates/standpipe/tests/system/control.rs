//! The control plane as boto3 and the AWS CLI use it, and what the streams made through it deliver.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Python, finish};

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, start};

fn yaml(lake: &Lake) -> String {
    format!(
        "stores:\n  lake: {}\ndefault_store: lake\nstreams:\n  - name: fixed\n    destination:\n      s3: {{ bucket: \
         lake, prefix: fixed/ }}\n",
        lake.yaml()
    )
}

/// Runs a phase of `control.py`.
fn control(daemon: &Daemon, phase: &str) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/control.py");
    let mut command = Command::new(Python::installed().unwrap().interpreter());
    command.arg(program).args([&daemon.endpoint(), phase]).envs([
        ("AWS_ACCESS_KEY_ID", Daemon::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", Daemon::SECRET_ACCESS_KEY),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]);
    finish(command).unwrap()
}

/// Puts the rows `ids` as records that are lines.
fn put(daemon: &Daemon, stream: &str, ids: std::ops::Range<u64>) {
    let rows = ids.map(|id| format!("{{\"id\":{id}}}\n").into_bytes());
    let answer = Client::of(daemon).call("PutRecordBatch", batch_of(stream, rows));
    assert_eq!((answer.status, &answer.body["FailedPutCount"]), (200, &json!(0)), "{answer:?}");
}

#[test]
fn streams_made_with_boto3_deliver_survive_a_restart_change_and_go() {
    let lake = Lake::with(&["lake", "raw"]);
    let mut daemon = start(yaml(&lake));
    let created = control(&daemon, "create");
    assert_eq!(created["versions"], json!(["1", "1"]));
    let fixed = created["fixed"].as_str().unwrap();
    assert!(fixed.contains("fixed") && fixed.contains("configuration file"), "{fixed}");
    put(&daemon, "plain", 0..10);
    put(&daemon, "extended", 10..20);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    let checked = control(&daemon, "check");
    assert_eq!(checked["created"], created["created"], "a restart makes no stream anew");
    for stream in ["plain", "extended"] {
        all_settled(&daemon, stream, SOON);
    }
    assert_eq!(control(&daemon, "update")["version"], "2");
    put(&daemon, "extended", 20..30);
    all_settled(&daemon, "extended", SOON);

    let keys = lake.keys("lake");
    let begin_of = |prefix: &str, version: u32| {
        let stream = if prefix == "plain" { "plain" } else { "extended" };
        keys.iter().any(|key| {
            key.starts_with(&format!("{prefix}/")) && key.contains(&format!("/{stream}-{version}-"))
        })
    };
    assert!(begin_of("plain", 1) && begin_of("extended", 1) && begin_of("changed", 2), "{keys:?}");
    assert_eq!(keys.iter().filter(|key| key.ends_with(".gz")).count(), 2, "{keys:?}");
    lake.assert_rows("lake", 30, |_| 1..=1);
    // The backup gets the records of its stream as they came.
    assert!(lake.keys("raw").iter().all(|key| key.starts_with("copy/") && !key.ends_with(".gz")));
    lake.assert_rows("raw", 30, |id| if id < 10 { 0..=0 } else { 1..=1 });

    control(&daemon, "delete");
    daemon.restart().unwrap();
    let streams = daemon.get("/streams").unwrap().body;
    assert!(streams.contains("\"extended\"") && !streams.contains("\"plain\""), "{streams}");
}

#[test]
fn the_aws_cli_creates_a_stream_and_puts_to_it() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake));
    let python = Python::installed().unwrap();
    let aws = |args: &[&str]| python.aws_firehose(&daemon.endpoint(), args).unwrap();
    let destination = "RoleARN=arn:aws:iam::000000000000:role/r,BucketARN=arn:aws:s3:::lake,Prefix=cli/,\
         BufferingHints={SizeInMBs=1,IntervalInSeconds=0}";
    let name = ["--delivery-stream-name", "cli"];
    let create =
        ["create-delivery-stream", name[0], name[1], "--extended-s3-destination-configuration", destination];
    assert!(aws(&create)["DeliveryStreamARN"].as_str().unwrap().ends_with("deliverystream/cli"));
    let record = ["--record", "{\"Data\":\"{\\\"id\\\":0}\\n\"}"];
    let put = aws(&[&["put-record", name[0], name[1]], &record[..]].concat());
    assert!(put["RecordId"].is_string(), "{put}");
    let described = aws(&["describe-delivery-stream", name[0], name[1]]);
    assert_eq!(described["DeliveryStreamDescription"]["DeliveryStreamStatus"], "ACTIVE");
    assert_eq!(aws(&["list-delivery-streams"])["DeliveryStreamNames"], json!(["cli", "fixed"]));
    all_settled(&daemon, "cli", SOON);
    assert!(lake.keys("lake").iter().all(|key| key.starts_with("cli/")));
    lake.assert_rows("lake", 1, |_| 1..=1);
    aws(&["delete-delivery-stream", name[0], name[1]]);
    let error = python
        .aws_firehose(&daemon.endpoint(), &["delete-delivery-stream", "--delivery-stream-name", "fixed"]);
    assert!(format!("{:#}", error.unwrap_err()).contains("InvalidArgumentException"));
}

#[test]
fn members_that_have_no_effect_here_are_refused_by_name_and_make_no_stream() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake));
    let client = Client::of(&daemon);
    let destination =
        json!({"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::lake"});
    let good = json!({"DeliveryStreamName": "new", "ExtendedS3DestinationConfiguration": destination});
    let lambda = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for (member, value) in [
        ("DynamicPartitioningConfiguration", json!({"Enabled": true})),
        (
            "DataFormatConversionConfiguration",
            json!({
                "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
                "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
                "SchemaConfiguration": {"RoleARN": "r", "DatabaseName": "d", "TableName": "t"},
            }),
        ),
        (
            "ProcessingConfiguration",
            json!({"Enabled": true, "Processors": [{"Type": "Lambda", "Parameters": [
                {"ParameterName": "LambdaArn", "ParameterValue": lambda}]}]}),
        ),
    ] {
        let mut wanted = good.clone();
        if member == "DynamicPartitioningConfiguration" {
            wanted["ExtendedS3DestinationConfiguration"]["Prefix"] = json!("!{partitionKeyFromQuery:k}/");
        }
        wanted["ExtendedS3DestinationConfiguration"][member] = value;
        let answer = client.call("CreateDeliveryStream", wanted.to_string().into());
        assert_eq!((answer.status, answer.error()), (400, "InvalidArgumentException"), "{answer:?}");
        assert!(answer.body.to_string().contains(member), "{answer:?}");
    }
    let listed = client.call("ListDeliveryStreams", "{}".into());
    assert_eq!(listed.body["DeliveryStreamNames"], json!(["fixed"]));
    // What is no member of the API at all is passed over, as AWS does.
    let mut good = good;
    good["Colour"] = json!("blue");
    assert_eq!(client.call("CreateDeliveryStream", good.to_string().into()).status, 200);
}
