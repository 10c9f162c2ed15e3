//! `standpipe transform run`: functions and streams tried out on files, without a daemon.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use standpipe_testkit::guests::{probe_component, redact_lambda};
use tempfile::TempDir;

use crate::support::STANDPIPE;

const YAML: &str = r#"stores: { disk: { type: file, path: ./delivered } }
functions:
  redact: { path: ./redact.wasm, deadline: 20s }
  probe: { path: ./probe.wasm, deadline: 2s, retries: 1, batch: 1KiB }
streams:
  - name: people
    processors: [ {csv_to_json: {header: [id, email]}}, {wasm: redact}, {append_delimiter: "\n"} ]
    destination:
      s3:
        bucket: lake
        prefix: people/id=!{partitionKeyFromQuery:id}/
        error_output_prefix: errors/!{firehose:error-output-type}/
        partitioning: { keys: { id: .id } }
        buffering: { interval: 60s }
"#;

/// A configuration with functions beside it.
fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("standpipe.yaml"), YAML).unwrap();
    fs::write(folder.path().join("redact.wasm"), redact_lambda()).unwrap();
    fs::write(folder.path().join("probe.wasm"), probe_component()).unwrap();
    folder
}

/// Runs what is named over an input, given as a file or piped.
fn run(place: &TempDir, input: &str, is_piped: bool, args: &[&str]) -> Output {
    let mut command = Command::new(STANDPIPE);
    command.current_dir(place.path()).args(["transform", "run", "--config", "standpipe.yaml"]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if !is_piped {
        fs::write(place.path().join("records"), input).unwrap();
        return command.args(["--input", "records"]).output().unwrap();
    }
    let mut running = command.args(["--input", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_stream_with_a_function_shows_each_row_with_its_partition() {
    let place = place();
    let input = "1,a@example.org\n2,b@example.org\n,nobody\n3\n";
    for is_piped in [false, true] {
        let output = run(&place, input, is_piped, &["people"]);
        let shown = lines(&output);
        assert_eq!(shown[0], r#"1 kept people/id=1/ {"email":"***","id":"1"}\n"#, "{output:?}");
        assert_eq!(shown[1], r#"2 kept people/id=2/ {"email":"***","id":"2"}\n"#);
        assert!(
            shown[2].starts_with("3 failed DynamicPartitioning.MetadataExtractionFailed: "),
            "{}",
            shown[2]
        );
        assert!(shown[3].starts_with("4 failed CsvToJson.MalformedRecord: "), "{}", shown[3]);
        assert!(shown[4].starts_with("4 records: 2 rows, 0 dropped, 2 failed; "), "{}", shown[4]);
        assert!(shown[4].contains(" KiB of memory"), "{}", shown[4]);
        assert_eq!((shown.len(), output.status.code()), (5, Some(1)));
    }
    let good = run(&place, "1,a@example.org\n", false, &["people"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "neither data nor objects: {left:?}");
}

#[test]
fn a_function_shows_what_becomes_of_each_record_and_its_log() {
    let place = place();
    // Each of them in a call of its own: what is between them fills one.
    let input = ["well", "drop", "fail", "panic", "spin"].join(&format!("\n{}\n", "x".repeat(1 << 10)));
    let output = run(&place, &input, false, &["probe", "--output", "json"]);
    let shown: Vec<Value> = lines(&output).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = shown[..9].iter().step_by(2);
    let outcomes: Vec<_> = told.map(|one| (&one["outcome"], &one["code"], &one["attempts"])).collect();
    let (none, failed) = (Value::Null, json!("failed"));
    assert_eq!(
        outcomes,
        [
            (&json!("kept"), &none, &none),
            (&json!("dropped"), &none, &none),
            (&failed, &json!("Lambda.ProcessingFailedStatus"), &json!(1)),
            (&failed, &json!("Lambda.FunctionError"), &json!(2)),
            (&failed, &json!("Lambda.FunctionTimedOut"), &json!(2)),
        ],
        "{output:?}"
    );
    let totals = &shown[9]["totals"];
    assert_eq!((&totals["records"], &totals["failed"]), (&json!(9), &json!(3)));
    assert!(totals["memory_bytes"].as_u64().unwrap() > 0, "{totals}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("function's log") && log.contains("panicked"), "{log}");
}
