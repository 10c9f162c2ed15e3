//! What clients do by themselves when the daemon fails, when a put is refused for now, and when its answer is lost: they
//! come again, and the records are stored once.

use std::fs;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::servers::{Toxic, Toxiproxy};

use super::check::{Outcome, differences};
use super::table::Step;
use super::{Bench, YAML, to_run};
use crate::client::{Client, batch_of};
use crate::support::{SOON, all_settled, balance, eventually, metric};

/// Enough for any wait here; the clients' own three may be over before the test has seen two.
const MANY: u32 = 10;

/// A path that leads through a file, so that nothing can be stored below it.
const NOWHERE: &str = "./standpipe.yaml/nowhere";

/// The stream `blocked`, whose journal is small and whose store is at `path`, and the stream `answers`.
pub(super) fn with_streams(path: &str) -> String {
    let store = format!("stores:\n  blocked: {{ type: file, path: {path} }}\n");
    let streams = "  - name: answers
    destination:
      s3: { bucket: lake, prefix: answers/, buffering: { size: 16MiB, interval: 2s } }
  - name: blocked
    journal_limit: 4MiB
    destination:
      s3: { store: blocked, bucket: lake, prefix: blocked/, buffering: { size: 512KiB, interval: 1s } }
";
    YAML.replace("stores:\n", &store) + streams
}

/// The configuration to begin with.
pub(super) fn yaml() -> String {
    with_streams(NOWHERE)
}

fn put(stream: &str, attempts: u32) -> Step {
    let records =
        ["one", "two", "three"].map(|data| json!({ "Data": base64_simd::STANDARD.encode_to_string(data) }));
    let input = json!({ "DeliveryStreamName": stream, "Records": records });
    Step { attempts: Some(attempts), ..Step::of("PutRecordBatch", input) }
}

fn answers(daemon: &Daemon, code: &str) -> u64 {
    let code = format!("code=\"{code}\"");
    metric(daemon, "standpipe_ingest_requests_total", &["operation=\"PutRecordBatch\"", &code])
}

/// Runs a put beside `meanwhile`; it has to succeed.
fn put_while(bench: &mut Bench, endpoint: &str, stream: &str, meanwhile: impl FnOnce()) -> Outcome {
    let step = put(stream, MANY);
    let run = to_run(&step, endpoint);
    let sdk = &mut bench.sdk;
    let answer: Value = thread::scope(|scope| {
        let putting = scope.spawn(move || sdk.call(&run));
        meanwhile();
        putting.join().unwrap()
    });
    let outcome: Outcome = serde_json::from_value(answer).unwrap();
    assert_eq!(differences(&step, bench.client, &outcome), Vec::<String>::new(), "{}", bench.client);
    bench.note_puts(&step, &outcome);
    outcome
}

/// A failure of the daemon's own is told without its cause, and clients come again.
pub(super) fn a_failure_of_the_daemon(bench: &mut Bench, daemon: &Daemon) {
    let in_the_way = daemon.dir().join("data/streams/in-the-way");
    fs::create_dir(&in_the_way).unwrap();
    fs::write(in_the_way.join("definition-1.json"), "no definition").unwrap();
    let s3 =
        json!({ "RoleARN": "arn:aws:iam::000000000000:role/firehose", "BucketARN": "arn:aws:s3:::lake" });
    let input = json!({ "DeliveryStreamName": "in-the-way", "S3DestinationConfiguration": s3 });
    let create = Step::of("CreateDeliveryStream", input);
    bench.meets(&Step {
        attempts: Some(2),
        error: Some("InternalFailure".to_owned()),
        message: Some("The request processing has failed because of an unknown error.".into()),
        sent: Some(2.into()),
        ..create.clone()
    });
    fs::remove_dir_all(in_the_way).unwrap();
    bench.meets(&create);
}

/// A journal that is full has the client come again until there is room.
pub(super) fn a_refusal_that_passes(bench: &mut Bench, daemon: &mut Daemon) {
    let filler = Client::of(daemon);
    let row = || vec![b'x'; 1000];
    while filler.call("PutRecordBatch", batch_of("blocked", (0..200).map(|_| row()))).status == 200 {}

    bench.meets(&Step {
        error: Some("ServiceUnavailableException".to_owned()),
        message: Some("Slow down.".into()),
        sent: Some(2.into()),
        ..put("blocked", 2)
    });

    let refused = answers(daemon, "ServiceUnavailableException");
    let endpoint = daemon.endpoint();
    let outcome = put_while(bench, &endpoint, "blocked", || {
        eventually("a put is refused", SOON, || {
            (answers(daemon, "ServiceUnavailableException") > refused).then_some(())
        });
        daemon.reconfigure(with_streams("./delivered")).unwrap();
        daemon.signal(Signal::HUP).unwrap();
    });
    assert!(outcome.attempts > 1, "{}: {outcome:?}", bench.client);
    // What filled it is no put of a table's.
    bench.acknowledged.remove("blocked");
    assert_eq!(all_settled(daemon, "blocked", SOON).accepted % 200, 3, "nothing of a refused put is kept");
}

/// A put whose answer is lost comes again under the same invocation id and is stored once.
pub(super) fn an_answer_that_is_lost(bench: &mut Bench, daemon: &Daemon) {
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("answers", &daemon.endpoint()).unwrap();
    // Not a byte of an answer: one client takes a status line that is cut short at its word.
    proxy.poison(Toxic::Limit(0)).unwrap();
    let answered = answers(daemon, "OK");
    let outcome = put_while(bench, &proxy.endpoint(), "answers", || {
        // The first answer may pass while the proxy is being healed, the second cannot come before the first was lost.
        eventually("a put comes again", SOON, || (answers(daemon, "OK") > answered + 1).then_some(()));
        proxy.heal().unwrap();
    });
    assert!(outcome.attempts > 1, "{}: {outcome:?}", bench.client);
    assert_eq!(balance(daemon, "answers").accepted, 3, "{}: stored once", bench.client);
}
