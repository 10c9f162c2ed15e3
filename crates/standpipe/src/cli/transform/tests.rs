//! What `transform run` says of records, and what it takes them through.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_testkit::guests::saying;

use super::run::{Format, RunArgs, Target, Totals, Trial};
use crate::config::Config;

const YAML: &str = r#"stores: { disk: { type: file, path: ./delivered } }
functions:
  clean: { path: ./clean.wasm }
  both: { path: ./clean.wasm }
  lost: { path: ./lost.wasm }
streams:
  - name: readings
    processors:
      - jq: { program: 'if .drop then empty elif .rows then .rows[] else . end' }
      - append_delimiter: "\n"
    destination:
      s3:
        bucket: lake
        prefix: 'readings/device=!{partitionKeyFromQuery:device}/part-'
        error_output_prefix: errors/!{firehose:error-output-type}/
        partitioning: { keys: { device: .device } }
        buffering: { interval: 60s }
  - name: called
    processors: [ wasm: clean ]
    destination: { s3: { bucket: lake } }
  - name: both
    destination: { s3: { bucket: lake } }
  - name: raw
    destination: { s3: { bucket: lake } }
  - name: packed
    processors: [ decompress: {} ]
    destination: { s3: { bucket: lake } }
"#;

/// What is named in a configuration, or why it is not found.
fn find(name: &str, [function, stream]: [bool; 2]) -> Result<Target, String> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("standpipe.yaml");
    fs::write(&config, YAML).unwrap();
    fs::write(folder.path().join("clean.wasm"), saying("is clean")).unwrap();
    let args = RunArgs {
        destination: None,
        name: name.to_owned(),
        function,
        stream,
        input: "-".into(),
        config: "standpipe.yaml".into(),
        limit: None,
        keep_newline: false,
        output: Format::Text,
    };
    let config = Config::load(&config, &|_| None).unwrap();
    Target::find(&args, &config).map_err(|error| format!("{error:#}"))
}

/// What is shown of records, line by line, without what differs from run to run.
fn shown(name: &str, records: &[&[u8]], format: Format, limit: Option<u64>) -> Vec<String> {
    let mut trial = Trial::new(find(name, [false, false]).unwrap(), format, limit);
    let mut text: String = records.iter().map(|record| trial.push(record)).collect();
    text += &trial.end();
    text.lines().map(|line| line.split("; ").next().unwrap().to_owned()).collect()
}

const RECORDS: [&[u8]; 6] = [
    br#"{"device":"a"}"#,
    br#"{"drop":true}"#,
    br#"{"rows":[{"device":"b","n":1},{"device":"c"}]}"#,
    br#"{"rows":[{"device":"b"},{"n":2}]}"#,
    b"\x1b[2J",
    br#"{"device":"\u001b"}"#,
];

#[test]
fn each_record_is_kept_with_its_prefix_or_dropped_or_failed_as_a_whole() {
    let lines = shown("readings", &RECORDS, Format::Text, None);
    assert_eq!(lines[0], r#"1 kept readings/device=a/part- {"device":"a"}\n"#);
    assert_eq!(lines[1], "2 dropped");
    assert_eq!(lines[2], r#"3 kept readings/device=b/part- {"device":"b","n":1}\n"#);
    assert_eq!(lines[3], r#"3 kept readings/device=c/part- {"device":"c"}\n"#);
    let code = "DynamicPartitioning.MetadataExtractionFailed";
    assert_eq!(lines[4], format!("4 failed {code}: partitionKeys values must not be null or empty"));
    assert!(lines[5].starts_with("5 failed Jq.MalformedRecord: "), "{}", lines[5]);
    assert!(lines[6].starts_with(&format!("6 failed {code}: ")), "{}", lines[6]);
    assert_eq!(lines[7], "6 records: 3 rows, 1 dropped, 3 failed");
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "a terminal obeys records: {lines:?}");
}

#[test]
fn json_has_an_object_for_each_record_and_one_for_all() {
    let lines = shown("readings", &RECORDS[..4], Format::Json, None);
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |device: &str, data: &str| {
        let prefix = format!("readings/device={device}/part-");
        json!({ "data": data, "prefix": prefix, "query_keys": { "device": device } })
    };
    let rows = [row("b", "{\"device\":\"b\",\"n\":1}\n"), row("c", "{\"device\":\"c\"}\n")];
    assert_eq!(lines[1], json!({ "record": 2, "outcome": "dropped" }));
    assert_eq!(lines[2], json!({ "record": 3, "outcome": "kept", "rows": rows }));
    let code = "DynamicPartitioning.MetadataExtractionFailed";
    let message = "partitionKeys values must not be null or empty";
    assert_eq!(
        lines[3],
        json!({ "record": 4, "outcome": "failed", "error_output_type": "processing-failed",
            "code": code, "message": message, "attempts": 1 })
    );
    let totals = &lines[4]["totals"];
    let counted =
        ["records", "rows", "dropped", "failed", "too_long"].map(|name| totals[name].as_u64().unwrap());
    assert_eq!((counted, &totals["memory_bytes"]), ([4, 3, 1, 1, 0], &Value::Null));
}

#[test]
fn data_that_are_no_text_are_in_base64() {
    let lines = shown("raw", &[b"\xff"], Format::Json, None);
    let row = json!({ "record": 1, "outcome": "kept", "rows": [{ "data_base64": "/w==" }] });
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap(), row);
}

#[test]
fn no_more_records_are_taken_than_was_said() {
    let lines = shown("readings", &RECORDS, Format::Text, Some(2));
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], "2 records: 1 row, 1 dropped, 0 failed");
}

#[test]
fn records_go_through_in_pieces_as_large_as_in_the_worker() {
    for (name, piece_bytes) in [("readings", 1 << 20), ("packed", 64 << 10)] {
        let mut trial = Trial::new(find(name, [false, false]).unwrap(), Format::Text, None);
        let half = vec![b'x'; piece_bytes / 2];
        assert_eq!(trial.push(&half), "", "{name}: half a piece waits");
        assert_eq!(trial.push(&half).lines().count(), 2, "{name}: a whole one does not");
    }
}

#[test]
fn a_function_alone_and_in_a_stream_tells_its_memory() {
    for name in ["clean", "called"] {
        let mut trial = Trial::new(find(name, [false, false]).unwrap(), Format::Text, None);
        let text = trial.push(b"a") + &trial.end();
        assert!(text.starts_with("1 kept is clean\n1 record: 1 row, 0 dropped, 0 failed; "), "{text}");
        assert!(text.ends_with(" µs per record, a call took up to 4096 KiB of memory\n"), "{text}");
    }
}

#[test]
fn nothing_comes_to_nothing() {
    let text = Trial::new(find("clean", [false, false]).unwrap(), Format::Text, None).end();
    assert_eq!(text, "0 records: 0 rows, 0 dropped, 0 failed; 0.0 µs per record\n");
}

#[test]
fn who_has_two_of_a_name_says_which() {
    let error = find("both", [false, false]).unwrap_err();
    assert_eq!(error, "\"both\" is the name of a function and of a stream: say --function or --stream");
    for (which, expected) in [([true, false], "1 kept is clean\n"), ([false, true], "1 kept a\n")] {
        let mut trial = Trial::new(find("both", which).unwrap(), Format::Text, None);
        let text = trial.push(b"a") + &trial.end();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    for (name, which, expected) in [
        (
            "reading",
            [false, false],
            "standpipe.yaml has no function or stream \"reading\", did you mean \"readings\"? (it has: both, clean, lost, \
             readings, called, both, raw, packed)",
        ),
        (
            "readings",
            [true, false],
            "standpipe.yaml has no function \"readings\" (it has: both, clean, lost)",
        ),
        (
            "clean",
            [false, true],
            "standpipe.yaml has no stream \"clean\" (it has: readings, called, both, raw, packed)",
        ),
    ] {
        assert_eq!(find(name, which).unwrap_err(), expected);
    }
    let error = find("lost", [false, false]).unwrap_err();
    assert!(error.starts_with("function 'lost': cannot read "), "{error}");
}

#[test]
fn totals_tell_what_took_how_long_and_what_was_too_long() {
    let totals = Totals {
        records: 2_000,
        rows: 1,
        dropped: 1_990,
        failed: 9,
        too_long: 1,
        took: Duration::from_millis(3),
    };
    assert_eq!(
        totals.show(Some(1 << 20), Format::Text),
        "2000 records: 1 row, 1990 dropped, 9 failed, 1 line longer than a record may be; 1.5 µs per record, a call took \
         up to 1024 KiB of memory\n"
    );
    let all = json!({ "records": 2000, "rows": 1, "dropped": 1990, "failed": 9, "too_long": 1,
        "micros_per_record": 1.5, "memory_bytes": 1 << 20 });
    assert_eq!(
        serde_json::from_str::<Value>(&totals.show(Some(1 << 20), Format::Json)).unwrap()["totals"],
        all
    );
    assert!(!Totals { too_long: 1, ..Totals::default() }.is_good());
    assert!(Totals { dropped: 1, ..Totals::default() }.is_good());
}
