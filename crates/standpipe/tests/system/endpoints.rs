//! Destinations that take records in requests: each record reaches the endpoint or the error output, whatever fails.

use std::time::Duration;

use serde_json::Value;
use standpipe_testkit::Daemon;
use standpipe_testkit::guests::probe_component;
use standpipe_testkit::servers::Telegraf;

use crate::double::Answer;
use crate::lake::Lake;
use crate::receiver::Receiver;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};
use crate::transform::{failures, put, raw};

fn yaml(lake: &Lake, url: &str, more: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: clicks
    destination:
      http:
        url: {url}
        access_key: sekrit
        records_max: 50
        buffering: {{ size: 4KiB, interval: 1s }}
        error_output: {{ bucket: lake, error_output_prefix: "errors/!{{firehose:error-output-type}}/" }}
        {more}
"#,
        store = lake.yaml()
    )
}

pub(crate) fn record(id: u64) -> String {
    format!("record {id:06}")
}

pub(crate) fn put_all(daemon: &Daemon, ids: std::ops::Range<u64>) {
    let (mut first, end) = (ids.start, ids.end);
    while first < end {
        let next = end.min(first + 250);
        put(daemon, "clicks", (first..next).map(|id| record(id).into_bytes()));
        first = next;
    }
}

pub(crate) fn records(ids: impl Iterator<Item = u64>) -> Vec<String> {
    ids.map(record).collect()
}

/// What stands in the error output.
fn undelivered(lake: &Lake) -> Vec<Value> {
    let mut parts = failures(lake, "errors/");
    let lines = parts.remove("http-endpoint-failed").unwrap_or_default();
    assert!(parts.is_empty(), "{parts:?}");
    lines
}

#[test]
fn each_record_reaches_an_endpoint_that_fails_in_every_way_once_through_kills() {
    const COUNT: u64 = 4_000;
    let (lake, receiver) = (Lake::with(&["lake"]), Receiver::start());
    // Not for ever: a batch that were always unlucky would wait ever longer.
    receiver.obey(|number| match number % 7 {
        _ if number >= 120 => Answer::Take,
        1 => Answer::Status(503),
        2 => Answer::HangUp,
        3 => Answer::TakeAndHangUp,
        5 => Answer::Status(500),
        _ => Answer::Take,
    });
    let mut daemon = start(yaml(&lake, &receiver.url(), "gzip: true"));
    for (round, first) in (0..COUNT).step_by(1_000).enumerate() {
        put_all(&daemon, first..first + 1_000);
        if round < 3 {
            let before = receiver.requests();
            eventually("some requests come", SOON, || (receiver.requests() > before + 5).then_some(()));
            daemon.kill9().unwrap();
            daemon.restart().unwrap();
        }
    }
    let balance = all_settled(&daemon, "clicks", SOON);
    assert_eq!((balance.accepted, balance.delivered), (COUNT, COUNT));
    assert_eq!(receiver.records(), records(0..COUNT), "each record is in one request");
    assert!(receiver.repeated() > 0, "an answer that was lost makes the same request come again");
    assert_eq!(receiver.header("x-amz-firehose-access-key").as_deref(), Some("sekrit"));
    let arn = receiver.header("x-amz-firehose-source-arn").unwrap();
    assert!(arn.ends_with(":deliverystream/clicks"), "{arn}");
    assert!(lake.keys("lake").is_empty(), "nothing failed for good");
    assert!(!daemon.log().contains("hidden") && !daemon.log().contains("sekrit"), "a secret is in the log");
}

#[test]
fn a_third_partys_receiver_takes_what_is_sent_and_knows_us_by_the_key() {
    let (lake, telegraf) = (Lake::with(&["lake"]), Telegraf::start().unwrap());
    let url = format!("http://{}{}", telegraf.address(), Telegraf::PATH);
    let wrong = yaml(&lake, &url, "gzip: true").replace("sekrit", "mistyped");
    let mut daemon = start(wrong);
    put(&daemon, "clicks", (0..500).map(|id| format!("{{\"id\":{id}}}").into_bytes()));
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"clicks\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(&daemon, "clicks").in_journal, 500);
    let right = yaml(&lake, &url, "gzip: true").replace("sekrit", Telegraf::ACCESS_KEY);
    daemon.reconfigure(right).unwrap();
    daemon.signal(rustix::process::Signal::HUP).unwrap();
    assert_eq!(all_settled(&daemon, "clicks", SOON).delivered, 500);
    let ids = eventually("everything is written", SOON, || {
        let records = telegraf.records().unwrap();
        // It keeps numbers as floating point.
        let ids = records.iter().map(|record| record["id"].as_f64().unwrap() as u64);
        let mut ids: Vec<u64> = ids.collect();
        ids.sort_unstable();
        (ids.len() >= 500).then_some(ids)
    });
    assert_eq!(ids, (0..500).collect::<Vec<_>>());
}

#[test]
fn what_fails_for_too_long_or_is_refused_goes_to_the_error_output_and_the_stream_goes_on() {
    let (lake, receiver) = (Lake::with(&["lake"]), Receiver::start());
    receiver.obey(|number| if number == 0 { Answer::Status(413) } else { Answer::Take });
    let daemon = start(yaml(&lake, &receiver.url(), "retry: 2s"));
    put_all(&daemon, 0..120);
    let settled = all_settled(&daemon, "clicks", SOON);
    // Which of the three requests came first is not certain.
    let taken = receiver.records().len() as u64;
    assert!(taken == 70 || taken == 100, "{taken}");
    assert_eq!((settled.delivered, settled.backed_up), (taken, 120 - taken));

    let alarms = || metric(&daemon, "standpipe_alarm", &["kind=\"retry_exhausted\"", "stream=\"clicks\""]);
    assert_eq!(alarms(), 0, "a refusal is an answer");
    receiver.obey(|_| Answer::Status(500));
    put_all(&daemon, 120..240);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!(alarms(), 1, "it lasts beyond the batch that was given up");
    assert_eq!((settled.delivered, settled.backed_up), (taken, 240 - taken));

    receiver.obey(|_| Answer::Take);
    put_all(&daemon, 240..300);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (300, taken + 60, 240 - taken));
    assert_eq!(alarms(), 0);

    let lines = undelivered(&lake);
    let mut all: Vec<String> = lines.iter().map(|line| String::from_utf8(raw(line)).unwrap()).collect();
    all.extend(receiver.records());
    all.sort_unstable();
    assert_eq!(all, records(0..300), "each record is in one place");
    for line in &lines {
        assert_eq!(line["errorCode"], "HttpEndpoint.DestinationException");
        let message = line["errorMessage"].as_str().unwrap();
        let refused = message.contains("413: {");
        assert!(refused || message.contains("500: {"), "{message}");
        let attempts = line["attemptsMade"].as_u64().unwrap();
        assert_eq!(attempts == 1, refused, "{line}");
    }
}

#[test]
fn an_endpoint_that_does_not_know_us_holds_the_data_until_it_does() {
    let (lake, receiver) = (Lake::with(&["lake"]), Receiver::start());
    receiver.obey(|_| Answer::Status(403));
    let mut daemon = start(yaml(&lake, &receiver.url(), "retry: 0s"));
    put_all(&daemon, 0..100);
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"clicks\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(&daemon, "clicks").in_journal, 100);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    let before = receiver.requests();
    eventually("it is tried on", SOON, || (receiver.requests() > before + 2).then_some(()));
    assert_eq!(balance(&daemon, "clicks").in_journal, 100, "'retry' does not run meanwhile");
    receiver.obey(|_| Answer::Take);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered), (100, 100));
    assert_eq!(receiver.records(), records(0..100));
    let alarms = || metric(&daemon, "standpipe_alarm", &[]);
    eventually("the alarm is cleared", SOON, || (alarms() == 0).then_some(()));
}

#[test]
fn what_a_function_drew_is_sent_as_it_was_drawn_through_a_kill() {
    const COUNT: u64 = 600;
    let (lake, receiver) = (Lake::with(&["lake"]), Receiver::start());
    receiver.obey(|number| if number % 3 == 1 { Answer::TakeAndHangUp } else { Answer::Take });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("draw.wasm");
    std::fs::write(&path, probe_component()).unwrap();
    let functions = format!("functions: {{ draw: {{ path: {}, grant: [random] }} }}\n", path.display());
    let processors = "  - name: clicks\n    processors: [ wasm: draw ]\n";
    let yaml = yaml(&lake, &receiver.url(), "").replace("  - name: clicks\n", processors);
    let mut daemon = start(functions + &yaml);
    put_all(&daemon, 0..COUNT);
    eventually("some requests come", SOON, || (receiver.requests() > 3).then_some(()));
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    let settled = all_settled(&daemon, "clicks", SOON + Duration::from_secs(30));
    assert_eq!((settled.accepted, settled.delivered), (COUNT, COUNT));
    // The receiver has checked that a request that came again held what it had held.
    assert_eq!(receiver.records().len() as u64, COUNT);
    assert!(receiver.repeated() > 0);
}
