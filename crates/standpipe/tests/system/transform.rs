//! Records that processors change, drop and fail, through the daemon into a real S3 server: each ends in one place.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;

use base64_simd::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use standpipe_testkit::Daemon;

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::reload::{reload, shown, wait_for_an_open_batch};
use crate::support::{Balance, SOON, all_settled, eventually, files_below, start};
use crate::tables::{rows, stream};

/// How many records a test puts.
const COUNT: u64 = 3_000;

fn yaml(lake: &Lake) -> String {
    format!(
        r#"stores:
  lake: {store}
streams:
  - name: readings
    processors:
      - csv_to_json: {{ header: [id, device, celsius], types: {{ id: int, celsius: float }} }}
      - jq: {{ program: 'select(.device != "test") | .fahrenheit = .celsius * 2 + 30' }}
      - append_delimiter: "\n"
    destination:
      s3:
        bucket: lake
        prefix: readings/
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        compression: gzip
        buffering: {{ size: 16KiB, interval: 1s }}
    backup:
      s3: {{ bucket: raw, delimiter: newline, buffering: {{ interval: 1s }} }}
"#,
        store = lake.yaml()
    )
}

/// Record `id`: every fifth is a test, which is dropped, every seventh of the others no number, which fails.
fn record(id: u64) -> String {
    match (id % 5, id % 7) {
        (0, _) => format!("{id},test,1"),
        (_, 0) => format!("{id},sensor,warm"),
        _ => format!("{id},sensor,{}", id % 40),
    }
}

pub(crate) fn put(daemon: &Daemon, stream: &str, records: impl IntoIterator<Item = Vec<u8>>) {
    let answer = Client::of(daemon).call("PutRecordBatch", batch_of(stream, records));
    assert_eq!((answer.status, &answer.body["FailedPutCount"]), (200, &json!(0)), "{answer:?}");
}

/// The lines of the error output, by the part of it.
pub(crate) fn failures(lake: &Lake, prefix: &str) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for key in lake.keys("lake").into_iter().filter(|key| key.starts_with(prefix)) {
        let part = key.split('/').nth(1).unwrap().to_owned();
        let text = String::from_utf8(lake.get("lake", &key)).unwrap();
        found.entry(part).or_default().extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    found
}

pub(crate) fn raw(line: &Value) -> Vec<u8> {
    STANDARD.decode_to_vec(line["rawData"].as_str().unwrap()).unwrap()
}

#[test]
fn every_record_is_delivered_dropped_or_set_aside_once_through_kills() {
    let lake = Lake::with(&["lake", "raw"]);
    let mut daemon = start(yaml(&lake));
    for first in (0..COUNT).step_by(250) {
        put(&daemon, "readings", (first..first + 250).map(|id| record(id).into_bytes()));
        if first % 1_000 == 750 {
            daemon.kill9().unwrap();
            daemon.restart().unwrap();
        }
    }
    all_settled(&daemon, "readings", SOON);

    let (tests, bad): (Vec<u64>, Vec<u64>) = (
        (0..COUNT).filter(|id| id % 5 == 0).collect(),
        (0..COUNT).filter(|id| id % 5 != 0 && id % 7 == 0).collect(),
    );
    let kept = COUNT - (tests.len() + bad.len()) as u64;
    let rows: Vec<Value> = lake
        .keys("lake")
        .iter()
        .filter(|key| key.starts_with("readings/"))
        .flat_map(|key| {
            assert!(key.ends_with(".gz"), "{key}");
            let mut plain = String::new();
            let object = lake.get("lake", key);
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&object[..]), &mut plain)
                .unwrap();
            plain.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect();
    let mut ids: Vec<u64> = rows.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    let expect: Vec<u64> = (0..COUNT).filter(|id| id % 5 != 0 && id % 7 != 0).collect();
    assert_eq!(ids, expect, "each row that is to be delivered is there once");
    for row in &rows {
        let id = row["id"].as_u64().unwrap();
        assert_eq!(row["fahrenheit"].as_f64(), Some((id % 40) as f64 * 2.0 + 30.0), "{row}");
    }

    let failed = failures(&lake, "errors/");
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["processing-failed"]);
    let mut set_aside: Vec<Vec<u8>> = failed["processing-failed"].iter().map(raw).collect();
    set_aside.sort_unstable();
    let mut expect: Vec<Vec<u8>> = bad.iter().map(|id| record(*id).into_bytes()).collect();
    expect.sort_unstable();
    assert_eq!(set_aside, expect, "each record that failed is set aside once, as it was put");

    let metrics = daemon.get("/metrics").unwrap().body;
    let of = |name: &str| -> u64 {
        let series = format!(
            r#"standpipe_records_{name}{{stream="readings",destination="destinationId-000000000001"}}"#
        );
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap();
        line.trim().parse().unwrap()
    };
    assert_eq!(
        (of("delivered_total"), of("dropped_total"), of("backed_up_total"), of("lost_total")),
        (kept, tests.len() as u64, bad.len() as u64, 0)
    );
    // The backup has every record as it was put.
    let copies: usize = lake
        .keys("raw")
        .iter()
        .map(|key| lake.get("raw", key).split(|byte| *byte == b'\n').count() - 1)
        .sum();
    assert_eq!(copies as u64, COUNT);
}

#[test]
fn what_cloudwatch_logs_sends_is_taken_apart_as_the_api_says() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!("stores:\n  lake: {}\ndefault_store: lake\n", lake.yaml()));
    let processors = json!([
        // In whatever order they are listed.
        {"Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}]},
        {"Type": "CloudWatchLogProcessing",
         "Parameters": [{"ParameterName": "DataMessageExtraction", "ParameterValue": "true"}]},
        {"Type": "Decompression", "Parameters": [{"ParameterName": "CompressionFormat", "ParameterValue": "GZIP"}]},
    ]);
    let create = json!({"DeliveryStreamName": "logs", "ExtendedS3DestinationConfiguration": {
        "RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::lake", "Prefix": "logs/",
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0},
        "ProcessingConfiguration": {"Enabled": true, "Processors": processors},
    }});
    let client = Client::of(&daemon);
    assert_eq!(client.call("CreateDeliveryStream", create.to_string().into()).status, 200);
    let described = client.call("DescribeDeliveryStream", r#"{"DeliveryStreamName":"logs"}"#.into());
    let shown =
        &described.body["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"];
    assert_eq!(shown["ProcessingConfiguration"]["Processors"], processors);

    let subscription = |kind: &str, messages: &[&str]| {
        let events = messages.iter().map(|message| json!({"id": "1", "timestamp": 1, "message": message}));
        let whole = json!({"messageType": kind, "owner": "o", "logGroup": "g", "logStream": "s",
            "subscriptionFilters": ["f"], "logEvents": events.collect::<Vec<_>>()});
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(whole.to_string().as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let records = [
        subscription("CONTROL_MESSAGE", &["CWL CONTROL MESSAGE: Checking health of destination Firehose."]),
        subscription("DATA_MESSAGE", &["one", "two"]),
        b"not compressed".to_vec(),
    ];
    put(&daemon, "logs", records);
    let Balance { delivered, dropped, backed_up, .. } = all_settled(&daemon, "logs", SOON);
    assert_eq!((delivered, dropped, backed_up), (1, 1, 1));
    let keys = lake.keys("lake");
    let (wrong, right): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.contains("decompression-failed"));
    assert_eq!((wrong.len(), right.len()), (1, 1), "{keys:?}");
    assert_eq!(lake.get("lake", right[0]), b"one\ntwo\n");
    let line: Value = serde_json::from_slice(&lake.get("lake", wrong[0])).unwrap();
    assert_eq!((raw(&line), &line["attemptsMade"]), (b"not compressed".to_vec(), &json!(1)), "{line}");
}

#[test]
fn a_hash_with_a_key_is_that_of_the_key_that_the_batch_was_closed_with() {
    let mut lake = Lake::with(&["lake"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "the first of the keys\n").unwrap();
    let yaml = format!(
        "stores: {{ lake: {} }}\nstreams:\n{}",
        lake.yaml(),
        stream("s", &format!("redact: {{ paths: [.phone], method: hash, key_file: {} }}", file.display()))
    );
    let mut daemon = start(yaml.clone());
    let put_one = |daemon: &Daemon| put(daemon, "s", [br#"{"phone":"0791234567"}"#.to_vec()]);
    lake.server.kill().unwrap();
    put_one(&daemon);
    wait_for_an_open_batch(&daemon, "s");
    fs::write(&file, "the second of the keys\n").unwrap();
    reload(&mut daemon, yaml);
    eventually("the new key is in force", SOON, || (shown(&daemon, "s")?["version"] == 2).then_some(()));
    put_one(&daemon);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    lake.server.restart().unwrap();
    all_settled(&daemon, "s", SOON);
    let mut found: Vec<Value> = rows(&lake, "s").into_iter().map(|row| row["phone"].clone()).collect();
    let mut expected = ["the first of the keys", "the second of the keys"].map(|key| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
        json!(hex::encode(ring::hmac::sign(&key, b"0791234567")))
    });
    found.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(found, expected);
    assert!(!daemon.log().contains("of the keys"), "a key is logged");
    let all = ["/streams", "/readyz", "/streams/s/batches"].map(|path| daemon.get(path).unwrap().body);
    assert!(all.iter().all(|shown| !shown.contains("of the keys")), "a key is shown");
    for definition in files_below(&daemon.data_dir()) {
        if fs::read(&definition).unwrap().windows(11).any(|part| part == b"of the keys") {
            assert_eq!(fs::metadata(&definition).unwrap().permissions().mode() & 0o077, 0, "{definition:?}");
        }
    }
}
