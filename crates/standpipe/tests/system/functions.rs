//! Functions through the daemon into a real S3 server: named in the configuration and by ARNs of Lambda functions,
//! replaced while batches wait, and hostile ones beside streams that work.

use std::fs;
use std::path::{Path, PathBuf};

use aws_sdk_firehose::error::ProvideErrorMetadata as _;
use aws_sdk_firehose::types::{
    BufferingHints, ExtendedS3DestinationConfiguration, ProcessingConfiguration, Processor,
    ProcessorParameter, ProcessorParameterName, ProcessorType,
};
use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::guests::{example, probe_component, redact_lambda, saying, saying_after};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::lake::Lake;
use crate::reload::{refused, reload, shown, wait_for_an_open_batch};
use crate::support::{
    Balance, SOON, all_settled, default_credentials, eventually, files_below, metric, sdk_config, sdk_put,
    start,
};
use crate::transform::{failures, raw};

/// A folder with functions in it, which are files beside no configuration.
struct Files(TempDir);

impl Files {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, wasm) in files {
            fs::write(folder.path().join(name), wasm).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn destination(prefix: &str) -> String {
    format!(
        "destination: {{ s3: {{ bucket: lake, prefix: {prefix}/, error_output_prefix: \
         \"errors-{prefix}/!{{firehose:error-output-type}}/\", buffering: {{ size: 1MiB, interval: 1s }} }} }}"
    )
}

/// The rows below a prefix, a line each.
fn lines(lake: &Lake, prefix: &str) -> Vec<String> {
    let keys = lake.keys("lake").into_iter().filter(|key| key.starts_with(prefix));
    let objects: Vec<u8> = keys.flat_map(|key| lake.get("lake", &key)).collect();
    String::from_utf8(objects).unwrap().lines().map(str::to_owned).collect()
}

fn records(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_function_between_other_processors_gets_their_rows_and_gives_them_on() {
    let lake = Lake::with(&["lake"]);
    let files = Files::with(&[("clean.wasm", &redact_lambda())]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
functions: {{ clean: {{ path: {clean}, config: {{k: v}}, memory: 64MiB, deadline: 1s }} }}
streams:
  - name: people
    processors: [ {{csv_to_json: {{header: true}}}}, {{wasm: clean}}, {{append_delimiter: "\n"}} ]
    {destination}
"#,
        store = lake.yaml(),
        clean = files.path("clean.wasm").display(),
        destination = destination("people"),
    ));
    let sent = ["id,email\n1,a@example.org\n2,b@example.org", "id,email", "id,email\n3"];
    sdk_put(&daemon, "people", records(&sent));
    let balance = all_settled(&daemon, "people", SOON);
    assert_eq!((balance.delivered, balance.dropped, balance.backed_up), (1, 1, 1));
    assert_eq!(lines(&lake, "people/"), [r#"{"email":"***","id":"1"}"#, r#"{"email":"***","id":"2"}"#]);
    let failed = &failures(&lake, "errors-people/")["processing-failed"];
    assert_eq!((raw(&failed[0]), failed.len()), (sent[2].as_bytes().to_vec(), 1));
    assert!(metric(&daemon, "standpipe_function_calls_total", &[r#"function="clean""#, r#"code="OK""#]) > 0);
}

/// What a probe is told, and what its record ends with; `None` where it is delivered as it is.
const ORDERS: [(&str, Option<&str>); 7] = [
    ("spin", Some("Lambda.FunctionTimedOut")),
    ("panic", Some("Lambda.FunctionError")),
    ("take memory", Some("Lambda.FunctionError")),
    ("answer much", Some("Lambda.FunctionError")),
    ("recurse", Some("Lambda.FunctionError")),
    ("fail", Some("Lambda.ProcessingFailedStatus")),
    ("well", None),
];

#[test]
fn a_hostile_function_fails_its_own_calls_and_no_other_stream_notices() {
    let lake = Lake::with(&["lake"]);
    let files = Files::with(&[("probe.wasm", &probe_component()), ("identity.wasm", &example("identity"))]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
functions:
  hostile: {{ path: {probe}, deadline: 500ms, memory: 16MiB, retries: 1, batch: 1KiB }}
  fine: {{ path: {identity}, deadline: 20s }}
streams:
  - {{ name: hostile, processors: [ wasm: hostile, append_delimiter: "\n" ], {hostile} }}
  - {{ name: fine, processors: [ wasm: fine ], {fine} }}
"#,
        store = lake.yaml(),
        probe = files.path("probe.wasm").display(),
        identity = files.path("identity.wasm").display(),
        hostile = destination("hostile"),
        fine = destination("fine"),
    ));
    // Each of them in a call of its own: what is between them fills one.
    let filler = "x".repeat(1 << 10);
    let between = ORDERS.iter().flat_map(|(order, _)| [*order, &filler]);
    sdk_put(&daemon, "hostile", between.chain(["drop"]).map(|text| text.as_bytes().to_vec()));
    for id in 0..20 {
        let rows = (0..50).map(|row| format!("{{\"id\":{}}}\n", id * 50 + row).into_bytes());
        sdk_put(&daemon, "fine", rows);
    }
    all_settled(&daemon, "fine", SOON);
    let keys = lake.keys("lake");
    assert!(!keys.iter().any(|key| key.starts_with("errors-fine/")), "{keys:?}");
    assert_eq!(lines(&lake, "fine/").len(), 1_000);

    let Balance { accepted, delivered, dropped, backed_up, lost, .. } = all_settled(&daemon, "hostile", SOON);
    assert_eq!((accepted, delivered, dropped, backed_up, lost), (15, 8, 1, 6, 0));
    let failed = failures(&lake, "errors-hostile/").remove("processing-failed").unwrap();
    for (order, code) in ORDERS {
        let told: Vec<&Value> = failed.iter().filter(|line| raw(line) == order.as_bytes()).collect();
        let codes: Vec<_> = told.iter().map(|line| line["errorCode"].as_str().unwrap()).collect();
        assert_eq!(codes, Vec::from_iter(code), "{order}: {told:?}");
        for line in told {
            let attempts = if order == "fail" { 1 } else { 2 };
            assert_eq!(
                (&line["lambdaARN"], &line["attemptsMade"]),
                (&json!("hostile"), &json!(attempts)),
                "{line}"
            );
        }
    }
    let rows = lines(&lake, "hostile/");
    assert_eq!((rows.len(), rows.iter().filter(|row| **row == filler).count()), (8, 7));
    for (code, calls) in [("Lambda.FunctionTimedOut", 2), ("Lambda.FunctionError", 8)] {
        let labels = [r#"function="hostile""#, &format!(r#"code="{code}""#)];
        assert!(metric(&daemon, "standpipe_function_calls_total", &labels) >= calls, "{code}");
    }
    let memory = metric(&daemon, "standpipe_function_memory_bytes", &[r#"function="hostile""#]);
    assert!((1 << 20..=16 << 20).contains(&memory), "{memory}");
}

fn parameter(name: ProcessorParameterName, value: &str) -> ProcessorParameter {
    ProcessorParameter::builder().parameter_name(name).parameter_value(value).build().unwrap()
}

/// A destination whose records go through the function of this ARN.
fn through(arn: &str) -> ExtendedS3DestinationConfiguration {
    let lambda = Processor::builder()
        .r#type(ProcessorType::Lambda)
        .parameters(parameter(ProcessorParameterName::LambdaArn, arn))
        .parameters(parameter(ProcessorParameterName::LambdaNumberOfRetries, "0"))
        .parameters(parameter(ProcessorParameterName::BufferSizeInMb, "0.2"))
        .parameters(parameter(ProcessorParameterName::BufferIntervalInSeconds, "60"))
        .build()
        .unwrap();
    ExtendedS3DestinationConfiguration::builder()
        .role_arn("arn:aws:iam::000000000000:role/r")
        .bucket_arn("arn:aws:s3:::lake")
        .prefix("lambda/")
        .error_output_prefix("errors-lambda/!{firehose:error-output-type}/")
        .buffering_hints(BufferingHints::builder().size_in_mbs(1).interval_in_seconds(0).build())
        .processing_configuration(ProcessingConfiguration::builder().enabled(true).processors(lambda).build())
        .build()
        .unwrap()
}

#[test]
fn the_arn_of_a_lambda_function_leads_to_the_function_of_its_name() {
    let lake = Lake::with(&["lake"]);
    let files = Files::with(&[("probe.wasm", &probe_component())]);
    let mut daemon = start(format!(
        "stores: {{ lake: {} }}\ndefault_store: lake\nfunctions: {{ my-lambda_1: {{ path: {}, deadline: 20s }} }}\n",
        lake.yaml(),
        files.path("probe.wasm").display()
    ));
    let runtime = Runtime::new().unwrap();
    let client =
        aws_sdk_firehose::Client::from_conf(sdk_config(daemon.endpoint(), default_credentials()).build());
    let create = |arn: &str| {
        let create = client.create_delivery_stream().delivery_stream_name("s");
        let create = create.extended_s3_destination_configuration(through(arn));
        runtime.block_on(create.send()).map_err(Box::new)
    };
    let refusal = create("arn:aws:lambda:us-east-1:000000000000:function:other:live").unwrap_err();
    let (code, message) = (refusal.code().unwrap(), refusal.message().unwrap());
    assert_eq!(code, "InvalidArgumentException");
    assert!(message.contains("function:other:live") && message.contains("'functions'"), "{message}");

    let arn = "arn:aws:lambda:us-east-1:000000000000:function:my-lambda_1:live";
    create(arn).unwrap();
    sdk_put(&daemon, "s", records(&["well", "panic"]));
    let balance = all_settled(&daemon, "s", SOON);
    assert_eq!((balance.delivered, balance.backed_up), (0, 2), "all of a call fail together");
    let failed = &failures(&lake, "errors-lambda/")["processing-failed"];
    for line in failed {
        let told = (&line["errorCode"], &line["lambdaARN"], &line["attemptsMade"]);
        assert_eq!(told, (&json!("Lambda.FunctionError"), &json!(arn), &json!(1)), "{line}");
    }
    reload(&mut daemon, format!("stores: {{ lake: {} }}\ndefault_store: lake\n", lake.yaml()));
    eventually("the stream still needs its function", SOON, || {
        let ready = daemon.get("/readyz").unwrap().body;
        (refused(&daemon) && ready.contains("my-lambda_1") && ready.contains("stream 's'")).then_some(())
    });
    sdk_put(&daemon, "s", records(&["well"]));
    assert_eq!(all_settled(&daemon, "s", SOON).delivered, 1);
}

fn one_stream(lake: &Lake, path: &Path) -> String {
    format!(
        "stores: {{ lake: {} }}\nfunctions: {{ say: {{ path: {}, deadline: 60s }} }}\nstreams:\n  - {{ name: s, processors: \
         [ wasm: say, append_delimiter: \"\\n\" ], {} }}\n",
        lake.yaml(),
        path.display(),
        destination("said")
    )
}

/// The versions of functions on disk.
fn versions(daemon: &Daemon) -> usize {
    let files = files_below(&daemon.data_dir().join("functions"));
    files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")).count()
}

#[test]
fn a_batch_is_transformed_by_the_function_that_it_was_closed_with_whatever_dies() {
    let lake = Lake::with(&["lake"]);
    // It takes some seconds, so that the daemon dies in the middle of it.
    let files = Files::with(&[("say.wasm", &saying_after(3 << 30, "at first"))]);
    let yaml = one_stream(&lake, &files.path("say.wasm"));
    let mut daemon = start(yaml);
    sdk_put(&daemon, "s", records(&["1", "2"]));
    wait_for_an_open_batch(&daemon, "s");
    fs::write(files.path("say.wasm"), saying("and then")).unwrap();
    let reloaded = daemon.post("/reload", "").unwrap();
    assert_eq!((reloaded.status, versions(&daemon)), (200, 2), "{reloaded:?}");
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(versions(&daemon), 2, "the open batch still needs the old one");
    sdk_put(&daemon, "s", records(&["3"]));
    all_settled(&daemon, "s", SOON);
    assert_eq!(lines(&lake, "said/"), ["at first", "at first", "and then"]);
    eventually("nothing needs the old version any more", SOON, || (versions(&daemon) == 1).then_some(()));
}

#[test]
fn a_file_with_a_function_that_cannot_be_loaded_is_refused_as_a_whole() {
    let lake = Lake::with(&["lake"]);
    let files = Files::with(&[("say.wasm", &saying("at first")), ("bad.wasm", b"no function")]);
    let yaml = one_stream(&lake, &files.path("say.wasm"));
    let mut daemon = start(yaml.clone());
    fs::write(files.path("say.wasm"), saying("and then")).unwrap();
    let bad = format!("bad: {{ path: {} }}, say", files.path("bad.wasm").display());
    reload(&mut daemon, yaml.replace("{ say", &format!("{{ {bad}")).replace("name: s,", "name: other,"));
    eventually("the reload is refused, and the alarm says why", SOON, || {
        let ready = daemon.get("/readyz").unwrap().body;
        (refused(&daemon) && ready.contains("function 'bad'")).then_some(())
    });
    assert!(shown(&daemon, "other").is_none(), "nothing of the file is in force");
    sdk_put(&daemon, "s", records(&["1"]));
    all_settled(&daemon, "s", SOON);
    assert_eq!(lines(&lake, "said/"), ["at first"]);
}
