//! Conformance: every operation and every error of the API through the real clients, by tables of cases.
//!
//! Each client runs the same tables against a daemon of its own, with its SDK's own operations and defaults. What an SDK
//! cannot send goes over the wire as it is written (`wire.rs`); what a client does when an answer is lost or a refusal passes
//! is in `retries.rs`.

mod check;
mod retries;
mod rust_sdk;
mod table;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use base64_simd::STANDARD;
use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Go, Java, Node, Python, Runner};
use tempfile::NamedTempFile;

use self::check::{Outcome, differences};
use self::rust_sdk::RustSdk;
use self::table::{Case, Credentials, Step};
use crate::support::{SOON, all_settled, files_below, options};

/// The names of the clients in the tables.
const CLIENTS: [&str; 6] = ["awscli", "boto3", "go", "java", "javascript", "rust"];

const TABLES: [&str; 10] = [
    "streams.yaml",
    "updates.yaml",
    "puts.yaml",
    "tags.yaml",
    "credentials.yaml",
    "access.yaml",
    "encryption.yaml",
    "partitioning.yaml",
    "conversion.yaml",
    "endpoints.yaml",
];

/// How much of an input is shown with a difference.
const SHOWN: usize = 400;

/// How long a change that AWS makes in the background may take here.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);

const YAML: &str = "credentials:
  - { access_key_id: standpipe, secret_access_key: standpipe-secret }
  - { access_key_id: temporary, secret_access_key: temporary-secret, session_token: a/token+= }
  - { access_key_id: late, secret_access_key: late-secret, session_token: late-token, expires: 2026-01-01T00:00:00Z }
  - { access_key_id: producer, secret_access_key: producer-secret, policy: puts }
  - { access_key_id: onlooker, secret_access_key: onlooker-secret, policy: [looks, looks-not] }
  - access_key_id: slow
    secret_access_key: slow-secret
    limits: { bytes_per_second: 1, calls_per_second: 1 }
policies:
  puts:
    Statement:
      Effect: Allow
      Action: firehose:PutRecord*
      Resource: arn:aws:firehose:*:*:deliverystream/fixed
  looks:
    Statement: { Effect: Allow, Action: ['firehose:Describe*', 'firehose:List*'], Resource: '*' }
  looks-not:
    Statement:
      Effect: Deny
      Action: firehose:Describe*
      Resource: arn:aws:firehose:*:*:deliverystream/fixed
keys:
  local: { type: file, path: '${KEY_FILE}', arns: ['arn:aws:kms:us-east-1:000000000000:key/0123-abcd'] }
default_key: local
schemas:
  lake.flights: { columns: { year: int, carrier: string } }
stores:
  disk: { type: file, path: ./delivered }
default_store: disk
streams:
  - name: fixed
    destination:
      s3: { bucket: lake, prefix: fixed/, buffering: { size: 16MiB, interval: 2s } }
";

/// A client that runs a step and tells of its outcome.
pub(crate) trait Sdk: Send {
    fn call(&mut self, step: &Value) -> Value;
}

impl Sdk for Runner {
    fn call(&mut self, step: &Value) -> Value {
        self.send(step).unwrap();
        self.receive().unwrap()
    }
}

/// Starts a client by its name.
fn sdk(client: &str) -> Box<dyn Sdk> {
    let runner = match client {
        "awscli" | "boto3" => Python::installed().unwrap().conformance(client),
        "go" => Go::installed().unwrap().conformance(),
        "java" => Java::installed().unwrap().conformance(),
        "javascript" => Node::installed().unwrap().conformance(),
        "rust" => return Box::new(RustSdk::new()),
        _ => panic!("there is no client {client}"),
    };
    Box::new(runner.unwrap())
}

/// A client with the daemon it talks to.
struct Bench {
    client: &'static str,
    sdk: Box<dyn Sdk>,
    endpoint: String,
    /// The data of acknowledged records by stream, in the order of the puts.
    acknowledged: BTreeMap<String, Vec<u8>>,
    report: String,
}

impl Bench {
    fn new(client: &'static str, endpoint: String) -> Self {
        Self { client, sdk: sdk(client), endpoint, acknowledged: BTreeMap::new(), report: String::new() }
    }

    fn run(&mut self, case: &Case) {
        assert!(case.except.keys().all(|name| CLIENTS.contains(&name.as_str())), "{}", case.case);
        if case.except.contains_key(self.client) {
            return;
        }
        for (number, step) in (1..).zip(&case.steps) {
            let (outcome, found) = self.settled(step);
            self.note_puts(step, &outcome);
            if !found.is_empty() {
                let input: String = step.input.to_string().chars().take(SHOWN).collect();
                let (client, name) = (self.client, &case.case);
                writeln!(
                    self.report,
                    "\n{client}: {name}\n  step {number}, {} {input}\n  {}",
                    step.operation,
                    found.join("\n  ")
                )
                .unwrap();
                return;
            }
        }
    }

    /// The outcome of a step and what is wrong with it, made again where it may take a while.
    fn settled(&mut self, step: &Step) -> (Outcome, Vec<String>) {
        let started = Instant::now();
        loop {
            let outcome = self.call(step);
            let found = differences(step, self.client, &outcome);
            if found.is_empty() || !step.until_settled || started.elapsed() > SETTLES_WITHIN {
                return (outcome, found);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes a step of a test's own; its outcome has to be as the step says.
    fn meets(&mut self, step: &Step) {
        let (_, found) = self.settled(step);
        assert!(found.is_empty(), "{}: {step:?}\n{found:?}", self.client);
    }

    fn call(&mut self, step: &Step) -> Outcome {
        let answer = self.sdk.call(&to_run(step, &self.endpoint));
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("{}: {error} in {answer}", self.client))
    }

    fn note_puts(&mut self, step: &Step, outcome: &Outcome) {
        let records = match step.operation.as_str() {
            _ if outcome.output.is_none() => return,
            "PutRecord" => vec![&step.input["Record"]],
            "PutRecordBatch" => step.input["Records"].as_array().unwrap().iter().collect(),
            _ => return,
        };
        let stream = step.input["DeliveryStreamName"].as_str().unwrap();
        let acknowledged = self.acknowledged.entry(stream.to_owned()).or_default();
        for record in records {
            acknowledged.extend(STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap());
        }
    }

    /// Reads back what was put: streams to which a table puts have their name as prefix.
    fn read_back(&self, daemon: &Daemon) {
        for (stream, acknowledged) in &self.acknowledged {
            all_settled(daemon, stream, SOON);
            let files = files_below(&daemon.dir().join("delivered/lake").join(stream));
            let delivered: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
            assert!(delivered == *acknowledged, "{}: {stream} delivered what was not put so", self.client);
        }
    }
}

/// A step as a client's program reads it.
fn to_run(step: &Step, endpoint: &str) -> Value {
    let credentials = step.credentials.clone().unwrap_or_else(|| Credentials {
        access_key_id: Daemon::ACCESS_KEY_ID.to_owned(),
        secret_access_key: Daemon::SECRET_ACCESS_KEY.to_owned(),
        session_token: None,
    });
    json!({
        "client": {
            "endpoint": endpoint,
            "access_key_id": credentials.access_key_id,
            "secret_access_key": credentials.secret_access_key,
            "session_token": credentials.session_token,
            "attempts": step.attempts,
        },
        "operation": step.operation,
        "input": step.input,
    })
}

/// Starts a daemon whose master key is in the file beside it.
fn started(yaml: impl Into<String>) -> (Daemon, NamedTempFile) {
    let key = NamedTempFile::new().unwrap();
    fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    let daemon = options(yaml).env("KEY_FILE", key.path().to_str().unwrap()).start().unwrap();
    (daemon, key)
}

/// A stream is being deleted for as long as it cannot go into the trash.
fn a_deletion_that_takes_a_while(bench: &mut Bench, daemon: &Daemon) {
    let trash = daemon.dir().join("data/trash");
    let aside = trash.with_extension("aside");
    fs::rename(&trash, &aside).unwrap();
    for case in table::load("deleting.yaml") {
        bench.run(&case);
    }
    fs::rename(aside, trash).unwrap();
}

/// Runs every table through `client`.
fn conforms(client: &'static str) {
    let (mut daemon, _key) = started(retries::yaml());
    let mut bench = Bench::new(client, daemon.endpoint());
    retries::a_failure_of_the_daemon(&mut bench, &daemon);
    retries::a_refusal_that_passes(&mut bench, &mut daemon);
    retries::an_answer_that_is_lost(&mut bench, &daemon);
    a_deletion_that_takes_a_while(&mut bench, &daemon);
    for case in TABLES.into_iter().flat_map(table::load) {
        bench.run(&case);
    }
    bench.meets(&Step {
        error: Some("ResourceNotFoundException".to_owned()),
        until_settled: true,
        ..Step::of("DescribeDeliveryStream", json!({ "DeliveryStreamName": "leaving" }))
    });
    assert!(bench.report.is_empty(), "{}", bench.report);
    assert!(!bench.acknowledged.is_empty());
    bench.read_back(&daemon);
}

#[test]
fn boto3_gets_what_the_tables_say() {
    conforms("boto3");
}

#[test]
fn the_aws_cli_gets_what_the_tables_say() {
    conforms("awscli");
}

#[test]
fn the_sdk_for_javascript_gets_what_the_tables_say() {
    conforms("javascript");
}

#[test]
fn the_sdk_for_go_gets_what_the_tables_say() {
    conforms("go");
}

#[test]
fn the_sdk_for_java_gets_what_the_tables_say() {
    conforms("java");
}

#[test]
fn the_sdk_for_rust_gets_what_the_tables_say() {
    conforms("rust");
}
