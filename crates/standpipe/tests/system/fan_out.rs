//! One stream, several destinations: each gets every record once, at its own pace and in its own form.

use std::process::{Command, Output};

use serde_json::{Value, json};
use standpipe_testkit::Daemon;

use crate::client::Client;
use crate::double::Answer;
use crate::lake::Lake;
use crate::receiver::Receiver;
use crate::reload::{reload, shown, wait_for_an_open_batch};
use crate::support::{SOON, STANDPIPE, eventually, metric, start};
use crate::transform::{failures, put};

const RAW: &str = "{ id: archive, s3: { bucket: raw, delimiter: newline, buffering: { interval: 1s } } }";

/// A stream to a bucket, which gets rows of JSON, and to what else is given.
fn yaml(lake: &Lake, others: &[&str]) -> String {
    let others: String = others.iter().map(|other| format!("      - {other}\n")).collect();
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: readings
    destinations:
      - id: rows
        processors: [ {{ csv_to_json: {{ header: [id, device], types: {{ id: int }} }} }} ]
        s3: {{ bucket: rows, compression: gzip, delimiter: newline, buffering: {{ size: 8KiB, interval: 1s }} }}
{others}"#,
        store = lake.yaml()
    )
}

/// A receiver as a destination.
fn hook(receiver: &Receiver, more: &str) -> String {
    format!(
        "{{ id: hook, http: {{ url: \"{}\", buffering: {{ size: 8KiB, interval: 1s }}, {more} error_output: {{ bucket: lake, \
         error_output_prefix: \"errors/!{{firehose:error-output-type}}/\" }} }} }}",
        receiver.url()
    )
}

fn line(id: u64) -> String {
    format!("{id},device-{}", id % 7)
}

fn put_lines(daemon: &Daemon, ids: std::ops::Range<u64>) {
    put(daemon, "readings", ids.map(|id| line(id).into_bytes()));
}

/// What became of the records at one destination, by the name of the metric's middle part.
fn at(daemon: &Daemon, destination: &str, what: &str) -> u64 {
    let label = format!("destination=\"{destination}\"");
    metric(daemon, &format!("standpipe_records_{what}"), &["stream=\"readings\"", &label])
}

fn delivered(daemon: &Daemon, destination: &str, count: u64) {
    eventually("the destination has them", SOON, || {
        (at(daemon, destination, "delivered_total") == count).then_some(())
    });
}

fn lines(lake: &Lake, bucket: &str) -> Vec<String> {
    let objects = lake.keys(bucket).into_iter().map(|key| String::from_utf8(lake.get(bucket, &key)).unwrap());
    let mut all: Vec<String> =
        objects.flat_map(|object| object.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.sort_unstable();
    all
}

fn sorted(ids: std::ops::Range<u64>) -> Vec<String> {
    let mut all: Vec<String> = ids.map(line).collect();
    all.sort_unstable();
    all
}

pub(crate) fn failed(daemon: &Daemon, args: &[&str]) -> Output {
    Command::new(STANDPIPE).arg("failed").args(args).args(["--admin", &daemon.admin()]).output().unwrap()
}

#[test]
fn each_destination_gets_every_record_once_and_waits_for_no_other_through_kills() {
    let (lake, receiver) = (Lake::with(&["rows", "raw", "lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(503));
    let mut daemon = start(yaml(&lake, &[RAW, &hook(&receiver, "retry: 1h,")]));
    for round in 0..4 {
        put_lines(&daemon, round * 250..(round + 1) * 250);
        if round % 2 == 1 {
            daemon.kill9().unwrap();
            daemon.restart().unwrap();
        }
    }
    delivered(&daemon, "rows", 1_000);
    delivered(&daemon, "archive", 1_000);
    assert_eq!((at(&daemon, "hook", "delivered_total"), at(&daemon, "hook", "in_journal")), (0, 1_000));
    lake.assert_rows("rows", 1_000, |_| 1..=1);
    assert_eq!(lines(&lake, "raw"), sorted(0..1_000), "the archive has them as they were put");

    receiver.obey(|_| Answer::Take);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    delivered(&daemon, "hook", 1_000);
    assert_eq!(receiver.records(), sorted(0..1_000));
    lake.assert_rows("rows", 1_000, |_| 1..=1);
    assert_eq!(lines(&lake, "raw").len(), 1_000, "what was settled is not delivered again");
    assert!(failures(&lake, "errors/").is_empty());
}

#[test]
fn a_destination_that_comes_later_begins_there_and_keeps_its_place_when_the_list_is_sorted_anew() {
    let (lake, receiver) = (Lake::with(&["rows", "raw", "lake"]), Receiver::start());
    let mut daemon = start(yaml(&lake, &[&hook(&receiver, "")]));
    put_lines(&daemon, 0..100);
    delivered(&daemon, "rows", 100);
    delivered(&daemon, "hook", 100);
    reload(&mut daemon, yaml(&lake, &[RAW, &hook(&receiver, "")]));
    eventually("the new destination is there", SOON, || {
        let text = daemon.get("/metrics").unwrap().body;
        text.contains("destination=\"archive\"").then_some(())
    });
    put_lines(&daemon, 100..200);
    for (destination, count) in [("rows", 200), ("hook", 200), ("archive", 100)] {
        delivered(&daemon, destination, count);
    }
    assert_eq!(lines(&lake, "raw"), sorted(100..200));
    assert_eq!((receiver.records(), receiver.repeated()), (sorted(0..200), 0), "it was not disturbed");
    lake.assert_rows("rows", 200, |_| 1..=1);
}

#[test]
fn what_a_destination_had_not_delivered_is_held_when_it_is_taken_out_until_it_is_back_or_forgotten() {
    let (lake, receiver) = (Lake::with(&["rows", "lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(503));
    let both = yaml(&lake, &[&hook(&receiver, "retry: 1h,")]);
    let mut daemon = start(&*both);
    put_lines(&daemon, 0..100);
    delivered(&daemon, "rows", 100);
    // Taken out while the daemon is away: nothing tells it but the file.
    daemon.kill9().unwrap();
    daemon.reconfigure(yaml(&lake, &[])).unwrap();
    daemon.restart().unwrap();
    let told = |daemon: &Daemon| daemon.get("/readyz").unwrap().body;
    let words = "destination_removed: destination hook was taken out and had 100 records to deliver";
    assert!(told(&daemon).contains(words), "{}", told(&daemon));
    put_lines(&daemon, 100..150);
    delivered(&daemon, "rows", 150);
    receiver.obey(|_| Answer::Take);
    reload(&mut daemon, both);
    delivered(&daemon, "hook", 150);
    assert_eq!(receiver.records(), sorted(0..150), "it goes on where it was");
    assert!(!told(&daemon).contains("destination_removed"));

    receiver.obey(|_| Answer::Status(503));
    put_lines(&daemon, 150..200);
    delivered(&daemon, "rows", 200);
    reload(&mut daemon, yaml(&lake, &[]));
    eventually("the alarm is raised", SOON, || told(&daemon).contains("had 50 records").then_some(()));
    let forget = |destination: &str| {
        let mut forget = Command::new(STANDPIPE);
        forget.args([
            "streams",
            "forget",
            "readings",
            "--destination",
            destination,
            "--admin",
            &daemon.admin(),
        ]);
        forget.output().unwrap()
    };
    assert!(!forget("rows").status.success(), "one that the stream has is not forgotten");
    assert_eq!(forget("hook").stdout, b"50 records given up\n");
    assert_eq!(metric(&daemon, "standpipe_records_discarded_total", &["stream=\"readings\""]), 50);
    assert!(!told(&daemon).contains("destination_removed"));
    assert_eq!(at(&daemon, "hook", "in_journal"), 0);
    assert_eq!(receiver.repeated(), 0);
}

#[test]
fn a_single_destination_and_its_backup_go_on_where_they_were_as_two_of_several_and_back() {
    let (mut lake, receiver) = (Lake::with(&["rows", "lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(503));
    let several = yaml(
        &lake,
        &[
            &hook(&receiver, "retry: 1h,").replace("id: hook", "id: destinationId-000000000001"),
            &RAW.replace("id: archive", "id: backup-000000000001"),
        ],
    );
    let error_output =
        "error_output: { bucket: lake, error_output_prefix: \"errors/!{firehose:error-output-type}/\" }";
    let single = format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: readings
    destination:
      http: {{ url: "{url}", buffering: {{ size: 8KiB, interval: 1s }}, retry: 1h, {error_output} }}
    backup: {{ s3: {{ bucket: raw, delimiter: newline, buffering: {{ interval: 1s }} }} }}
"#,
        store = lake.yaml(),
        url = receiver.url()
    );
    const BOTH: [&str; 2] = ["destinationId-000000000001", "backup-000000000001"];
    // The bucket of the backup is not there yet.
    let wait = |daemon: &Daemon, count: u64| BOTH.map(|id| at(daemon, id, "in_journal")) == [count; 2];
    let version = |daemon: &Daemon, version: u64| {
        eventually("the new version is in force", SOON, || {
            (shown(daemon, "readings")?["version"] == version).then_some(())
        });
    };
    let mut daemon = start(&*single);
    put_lines(&daemon, 0..100);
    wait_for_an_open_batch(&daemon, "readings");
    put_lines(&daemon, 100..150);
    reload(&mut daemon, several);
    version(&daemon, 2);
    assert!(wait(&daemon, 150));
    put_lines(&daemon, 150..250);
    delivered(&daemon, "rows", 100);
    lake.make("raw");
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    delivered(&daemon, BOTH[1], 250);
    lake.server.kill().unwrap();
    put_lines(&daemon, 250..300);
    assert_eq!(BOTH.map(|id| at(&daemon, id, "in_journal")), [300, 50]);
    assert_eq!(at(&daemon, "rows", "in_journal"), 50);

    reload(&mut daemon, single);
    version(&daemon, 3);
    put_lines(&daemon, 300..350);
    assert_eq!(BOTH.map(|id| at(&daemon, id, "in_journal")), [350, 100]);
    let alarm = "destination_removed: destination rows was taken out and had 50 records to deliver";
    assert!(
        daemon.get("/readyz").unwrap().body.contains(alarm),
        "the one that is not the single one is held"
    );
    lake.server.restart().unwrap();
    receiver.obey(|_| Answer::Take);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    BOTH.iter().for_each(|id| delivered(&daemon, id, 350));
    assert_eq!((receiver.records(), receiver.repeated()), (sorted(0..350), 0));
    assert_eq!(lines(&lake, "raw"), sorted(0..350));
    assert!(failures(&lake, "errors/").is_empty());
}

#[test]
fn one_that_may_lag_only_so_far_gives_up_and_holds_the_journal_no_longer() {
    let (lake, receiver) = (Lake::with(&["rows", "lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(401));
    let daemon = start(yaml(&lake, &[&hook(&receiver, "max_lag: 3s, retry: 1s,")]));
    put_lines(&daemon, 0..100);
    delivered(&daemon, "rows", 100);
    eventually("it gives them up", SOON, || (at(&daemon, "hook", "backed_up_total") == 100).then_some(()));
    assert_eq!((at(&daemon, "hook", "delivered_total"), at(&daemon, "hook", "in_journal")), (0, 0));
    let parts = failures(&lake, "errors/");
    let lines = &parts["http-endpoint-failed"];
    assert_eq!(lines.len(), 100, "{parts:?}");

    // What one destination did not take is found by its id, and goes nowhere twice without being asked to.
    let listed = failed(&daemon, &["list", "readings", "--destination", "hook", "--json"]);
    assert!(listed.status.success() && !listed.stdout.is_empty(), "{listed:?}");
    let unnamed = failed(&daemon, &["list", "readings"]);
    let told = String::from_utf8(unnamed.stderr).unwrap();
    assert!(told.contains("several destinations") && told.contains("rows, hook"), "{told}");
    let twice = failed(&daemon, &["redrive", "readings", "--destination", "hook"]);
    assert!(String::from_utf8(twice.stderr).unwrap().contains("all 2 destinations"), "{:?}", twice.stdout);
    receiver.obey(|_| Answer::Take);
    let done = failed(&daemon, &["redrive", "readings", "--destination", "hook", "--everywhere", "--json"]);
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["records"], 100, "{done}");
    delivered(&daemon, "hook", 100);
    assert_eq!(receiver.records(), sorted(0..100));
}

#[test]
fn one_that_hangs_beyond_its_lag_is_not_asked_for_each_request_that_is_left() {
    let (lake, receiver) = (Lake::with(&["rows", "lake"]), Receiver::start());
    receiver.obey(|_| Answer::Hold);
    let more = "max_lag: 3s, retry: 1s, request_timeout: 1s, records_max: 1,";
    let daemon = start(yaml(&lake, &[&hook(&receiver, more)]));
    put_lines(&daemon, 0..200);
    eventually("it gives them up", SOON, || (at(&daemon, "hook", "backed_up_total") == 200).then_some(()));
    // Some four at once before their time was over, and once more behind it.
    assert!(receiver.requests() < 50, "{} requests hung", receiver.requests());
    assert_eq!(failures(&lake, "errors/")["http-endpoint-failed"].len(), 200);
}

#[test]
fn one_that_keeps_up_closes_no_batch_early_while_another_fills_the_journal() {
    let (lake, receiver) = (Lake::with(&["rows", "lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(503));
    let both = yaml(&lake, &[&hook(&receiver, "retry: 1h,")]);
    let daemon = start(format!("{both}    journal_limit: 4MiB\n"));
    let is_scarce = || {
        let of = |what| metric(&daemon, &format!("standpipe_journal_{what}_bytes"), &[]);
        of("used") * 100 >= of("limit") * 85
    };
    let mut count = 0;
    while !is_scarce() {
        let padded = |id| format!("{id},{}", "x".repeat(1_000)).into_bytes();
        put(&daemon, "readings", (count..count + 100).map(padded));
        count += 100;
    }
    delivered(&daemon, "rows", count);
    for id in count..count + 20 {
        put_lines(&daemon, id..id + 1);
    }
    delivered(&daemon, "rows", count + 20);
    assert!(is_scarce() && at(&daemon, "hook", "in_journal") == count + 20, "it is still down");
    let early = ["destination=\"rows\"", "kind=\"pressure\""];
    assert_eq!(metric(&daemon, "standpipe_delivery_batches_total", &early), 0);
    lake.assert_rows("rows", count + 20, |_| 1..=1);
}

#[test]
fn what_is_wrong_with_one_that_has_nothing_to_deliver_is_told_until_it_is_taken_out() {
    let lake = Lake::with(&["rows"]);
    let mistyped = "{ id: copy, s3: { bucket: no-such-bucket } }";
    let mut daemon = start(yaml(&lake, &[mistyped]));
    let alarms = |daemon: &Daemon| metric(daemon, "standpipe_alarm", &["kind=\"misconfigured\""]);
    eventually("the look finds no bucket", SOON, || (alarms(&daemon) == 1).then_some(()));
    reload(&mut daemon, yaml(&lake, &[]));
    eventually("nobody asks for it any more", SOON, || (alarms(&daemon) == 0).then_some(()));
    put_lines(&daemon, 0..10);
    delivered(&daemon, "rows", 10);
}

#[test]
fn the_api_describes_all_of_them() {
    let (lake, receiver) = (Lake::with(&["rows", "raw", "lake"]), Receiver::start());
    let daemon = start(yaml(&lake, &[RAW, &hook(&receiver, "")]));
    let describe = |more: Value| {
        let mut input = json!({ "DeliveryStreamName": "readings" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = Client::of(&daemon).call("DescribeDeliveryStream", input.to_string().into());
        answer.body["DeliveryStreamDescription"]["Destinations"].as_array().unwrap().clone()
    };
    let all = describe(json!({}));
    let ids: Vec<_> = all.iter().map(|one| one["DestinationId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["archive", "hook", "rows"]);
    assert_eq!(all[0]["ExtendedS3DestinationDescription"]["BucketARN"], "arn:aws:s3:::raw");
    assert!(all[1]["HttpEndpointDestinationDescription"].is_object(), "{}", all[1]);
    assert_eq!(describe(json!({ "ExclusiveStartDestinationId": "hook" })), all[2..]);
    assert_eq!(describe(json!({ "ExclusiveStartDestinationId": "archive", "Limit": 1 })), all[1..2]);
}
