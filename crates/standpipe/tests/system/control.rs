//! The control plane as boto3 and the AWS CLI use it, and what the streams made through it deliver.

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Python, finish};

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, eventually, metric, start};

fn yaml(lake: &Lake) -> String {
    format!(
        "stores:\n  lake: {}\ndefault_store: lake\nstreams:\n  - name: fixed\n    destination:\n      s3: {{ bucket: \
         lake, prefix: fixed/ }}\n",
        lake.yaml()
    )
}

/// Runs a phase of `control.py`.
fn control(daemon: &Daemon, phase: &str) -> Value {
    let mut command = Python::installed().unwrap().program("control.py");
    command.args([&daemon.endpoint(), phase]);
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
    let connection = json!({"RoleARN": "arn:aws:iam::000000000000:role/r", "Connectivity": "PUBLIC"});
    let topic =
        json!({"MSKClusterARN": "arn:c", "TopicName": "t", "AuthenticationConfiguration": connection});
    let table = json!({
        "AccountUrl": "account.snowflakecomputing.com", "User": "u", "PrivateKey": "k".repeat(256),
        "Database": "d", "Schema": "s", "Table": "t",
        "RoleARN": "arn:aws:iam::000000000000:role/r", "S3Configuration": destination,
    });
    for (member, beside, value) in [
        ("MSKSourceConfiguration", good.clone(), topic),
        ("SnowflakeDestinationConfiguration", json!({"DeliveryStreamName": "new"}), table),
    ] {
        let mut wanted = beside;
        wanted[member] = value;
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

/// An extended S3 destination in a bucket, with whatever else.
fn to_bucket(name: &str, bucket: &str, beside: Value) -> String {
    let mut destination = json!({
        "RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": format!("arn:aws:s3:::{bucket}"),
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0},
    });
    destination.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    json!({"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": destination}).to_string()
}

#[test]
fn a_deletion_that_was_noted_is_completed_by_the_next_start() {
    let lake = Lake::with(&["lake"]);
    let mut daemon = start(yaml(&lake));
    let tagged = json!([{"Key": "team", "Value": "ours"}]);
    for (name, bucket) in [("doomed", "missing"), ("kept", "lake")] {
        let mut wanted: Value = serde_json::from_str(&to_bucket(name, bucket, json!({}))).unwrap();
        wanted["Tags"] = tagged.clone();
        let created = Client::of(&daemon).call("CreateDeliveryStream", wanted.to_string().into());
        assert_eq!(created.status, 200, "{created:?}");
    }
    put(&daemon, "doomed", 0..10);
    daemon.kill9().unwrap();
    // As a daemon leaves it that dies before it has moved the folder.
    std::fs::write(daemon.data_dir().join("streams/doomed/deleting"), "").unwrap();
    // As one leaves it that dies before a stream has a definition: tags that nobody asked for.
    std::fs::create_dir(daemon.data_dir().join("streams/half")).unwrap();
    std::fs::write(daemon.data_dir().join("streams/half/tags.json"), r#"{"old":"tag"}"#).unwrap();
    daemon.restart().unwrap();
    let client = Client::of(&daemon);
    let tags_of = |name: &str| {
        client.call("ListTagsForDeliveryStream", json!({"DeliveryStreamName": name}).to_string().into())
    };
    let name = r#"{"DeliveryStreamName":"doomed"}"#;
    assert_eq!(client.call("DescribeDeliveryStream", name.into()).error(), "ResourceNotFoundException");
    assert_eq!(tags_of("kept").body["Tags"], tagged, "tags survive a restart");
    let trash = std::fs::read_dir(daemon.data_dir().join("trash")).unwrap().count();
    assert_eq!(trash, 1, "the deleted stream is kept for a week");
    // The names are free, and nothing of the former streams comes with them.
    for name in ["doomed", "half"] {
        let created = client.call("CreateDeliveryStream", to_bucket(name, "lake", json!({})).into());
        assert_eq!((created.status, &tags_of(name).body["Tags"]), (200, &json!([])), "{created:?}");
    }
    put(&daemon, "doomed", 0..1);
    all_settled(&daemon, "doomed", SOON);
    lake.assert_rows("lake", 1, |_| 1..=1);
}

#[test]
fn a_backlog_that_a_deletion_discards_is_counted() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake));
    let client = Client::of(&daemon);
    assert_eq!(
        client.call("CreateDeliveryStream", to_bucket("doomed", "missing", json!({})).into()).status,
        200
    );
    put(&daemon, "doomed", 0..10);
    client.call("DeleteDeliveryStream", r#"{"DeliveryStreamName":"doomed"}"#.into());
    eventually("the backlog is counted as discarded", SOON, || {
        (metric(&daemon, "standpipe_records_discarded_total", &["stream=\"doomed\""]) == 10).then_some(())
    });
    let again = client.call("DeleteDeliveryStream", r#"{"DeliveryStreamName":"doomed"}"#.into());
    assert_eq!(again.error(), "ResourceNotFoundException");
}

#[test]
fn a_role_leads_to_a_store_and_failures_are_told_in_the_log_group() {
    let (lake, other) = (Lake::with(&["lake"]), Lake::with(&["lake"]));
    let logs = tempfile::tempdir().unwrap();
    let daemon = start(format!(
        "{}delivery_log_dir: {}\nroles:\n  arn:aws:iam::123456789012:role/other: other\n",
        yaml(&lake).replacen("stores:\n", &format!("stores:\n  other: {}\n", other.yaml()), 1),
        logs.path().display(),
    ));
    let client = Client::of(&daemon);
    let role = json!({"RoleARN": "arn:aws:iam::123456789012:role/other"});
    assert_eq!(client.call("CreateDeliveryStream", to_bucket("elsewhere", "lake", role).into()).status, 200);
    put(&daemon, "elsewhere", 0..5);
    all_settled(&daemon, "elsewhere", SOON);
    other.assert_rows("lake", 5, |_| 1..=1);
    assert!(lake.keys("lake").is_empty());

    let options = json!({"CloudWatchLoggingOptions":
        {"Enabled": true, "LogGroupName": "/aws/kinesisfirehose/lost", "LogStreamName": "DestinationDelivery"}});
    assert_eq!(client.call("CreateDeliveryStream", to_bucket("lost", "missing", options).into()).status, 200);
    put(&daemon, "lost", 0..1);
    let log = logs.path().join("aws/kinesisfirehose/lost/DestinationDelivery.log");
    let line = eventually("a failure is told", SOON, || {
        let text = std::fs::read_to_string(&log).ok()?;
        Some(text.lines().next()?.to_owned())
    });
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["errorCode"], "S3.NoSuchBucket", "{event}");
    assert_eq!(event["destination"], "arn:aws:s3:::missing");
    assert!(event["deliveryStreamARN"].as_str().unwrap().ends_with("deliverystream/lost"), "{event}");
}
