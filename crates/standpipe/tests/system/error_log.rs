//! The error log of destinations: what failed, by code, as CloudWatch Logs would have it, and the counters beside it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use standpipe_testkit::guests::probe_component;

use crate::double::Answer;
use crate::lake::Lake;
use crate::receiver::Receiver;
use crate::support::{SOON, all_settled, eventually, metric, start};
use crate::transform::put;

/// The events of a log stream, each with its message, by code.
fn events(dir: &Path, stream: &str) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(dir.join(format!("aws/firehose/{stream}.log"))).unwrap_or_default();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| (event["errorCode"].as_str().unwrap().to_owned(), event)).collect()
}

fn yaml(lake: &Lake, receiver: &Receiver, dir: &Path, probe: &Path) -> String {
    let s3 = |bucket: &str, stream: &str| {
        format!(
            "s3: {{ bucket: {bucket}, error_output_prefix: \"errors-{stream}/!{{firehose:error-output-type}}/\", \
             buffering: {{ size: 64MiB, interval: 1s }}, logging: {{ group: /aws/firehose, stream: {stream} }} }}"
        )
    };
    format!(
        r#"stores: {{ lake: {store} }}
delivery_log_dir: {dir}
functions: {{ probe: {{ path: {probe}, retries: 0 }} }}
schemas: {{ lake.readings: {{ columns: {{ id: int }} }} }}
streams:
  - {{ name: called, processors: [ wasm: probe ], destination: {{ {called} }} }}
  - {{ name: converted, format: {{ parquet: {{ schema: lake.readings }} }}, destination: {{ {converted} }} }}
  - {{ name: missing, destination: {{ {missing} }} }}
  - name: clicks
    destination:
      http:
        url: {url}
        retry: 0s
        buffering: {{ size: 64MiB, interval: 1s }}
        error_output: {{ bucket: lake, error_output_prefix: errors-clicks/, logging: {{ group: /aws/firehose, stream: clicks }} }}
"#,
        store = lake.yaml(),
        dir = dir.display(),
        probe = probe.display(),
        url = receiver.url(),
        called = s3("lake", "called"),
        converted = s3("lake", "converted"),
        missing = s3("not-there", "missing"),
    )
}

#[test]
fn what_fails_is_told_by_code_in_the_log_of_its_destination_and_counted() {
    let (lake, receiver) = (Lake::with(&["lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(500));
    let folder = tempfile::tempdir().unwrap();
    let (dir, probe) = (folder.path().join("logs"), folder.path().join("probe.wasm"));
    std::fs::write(&probe, probe_component()).unwrap();
    let daemon = start(yaml(&lake, &receiver, &dir, &probe));
    put(&daemon, "called", ["fine", "fail", "fail"].map(|order| order.as_bytes().to_vec()));
    put(&daemon, "converted", [r#"{"id":1}"#, r#"{"id":"x"}"#, "{"].map(|row| row.as_bytes().to_vec()));
    put(&daemon, "clicks", (0..7).map(|id| format!("click {id}").into_bytes()));
    put(&daemon, "missing", [b"held".to_vec()]);

    let missing =
        eventually("the attempt is told of", SOON, || events(&dir, "missing").remove("S3.NoSuchBucket"));
    assert_eq!(missing["destination"], "arn:aws:s3:::not-there");
    assert!(missing.get("processor").is_none(), "{missing}");

    // A function, a conversion, an endpoint: how many records, and in what words.
    let failed = [
        ("called", "Lambda.ProcessingFailedStatus", "2 records of batch"),
        ("converted", "DataFormatConversion.ParseError", "1 records of batch"),
        ("converted", "DataFormatConversion.MalformedData", "1 records of batch"),
        ("clicks", "HttpEndpoint.DestinationException", "7 records of batch"),
    ];
    for (stream, code, words) in failed {
        all_settled(&daemon, stream, SOON);
        let event = eventually(code, SOON, || events(&dir, stream).remove(code));
        let message = event["message"].as_str().unwrap();
        assert!(message.starts_with(words), "{event}");
        let arn = event["deliveryStreamARN"].as_str().unwrap();
        assert!(arn.ends_with(&format!(":deliverystream/{stream}")), "{event}");
        assert_eq!(event["deliveryStreamVersionId"], 1);
        let (stream, code) = (format!("stream=\"{stream}\""), format!("code=\"{code}\""));
        let count = |name| metric(&daemon, name, &[&stream, &code]);
        let records: u64 = words.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(count("standpipe_records_failed_total"), records, "{stream} {code}");
        assert_eq!(count("standpipe_delivery_errors_total"), 1, "{stream} {code}");
    }
    assert_eq!(events(&dir, "called")["Lambda.ProcessingFailedStatus"]["processor"], "probe");
    let of_endpoint = &events(&dir, "clicks")["HttpEndpoint.DestinationException"]["destination"];
    assert_eq!(of_endpoint, &receiver.listening.url(), "without what may be a secret");
}
