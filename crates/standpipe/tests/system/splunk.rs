//! Splunk as a destination, against a double of its HTTP Event Collector.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;

use crate::double::Answer;
use crate::hec::{Hec, TOKEN};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};
use crate::transform::{failures, put, raw};

fn yaml(lake: &Lake, hec: &Hec, more: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: events
    destination:
      splunk:
        url: {url}
        endpoint: event
        token: {TOKEN}
        bytes_max: 1KiB
        buffering: {{ size: 4KiB, interval: 1s }}
        error_output: {{ bucket: lake, error_output_prefix: "errors/!{{firehose:error-output-type}}/" }}
        {more}
"#,
        store = lake.yaml(),
        url = hec.url()
    )
}

fn put_events(daemon: &Daemon, ids: std::ops::Range<u64>) {
    put(daemon, "events", ids.map(|id| json!({ "event": { "id": id } }).to_string().into_bytes()));
}

fn ids(events: &[Value]) -> BTreeSet<u64> {
    events.iter().map(|event| event["id"].as_u64().unwrap()).collect()
}

#[test]
fn each_event_is_indexed_through_lost_answers_and_kills_and_what_is_none_is_set_aside() {
    const COUNT: u64 = 1_000;
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    hec.obey([
        Answer::Take,
        Answer::Status(503),
        Answer::HangUp,
        Answer::TakeAndHangUp,
        Answer::Take,
        Answer::Status(500),
    ]);
    let mut daemon = start(yaml(&lake, &hec, ""));
    put(&daemon, "events", [b"no event".to_vec(), br#"{"message":"nor this"}"#.to_vec()]);
    for first in (0..COUNT).step_by(250) {
        put_events(&daemon, first..first + 250);
        if first == 500 {
            eventually("some requests come", SOON, || (hec.requests() > 3).then_some(()));
            daemon.kill9().unwrap();
            daemon.restart().unwrap();
        }
    }
    let settled = all_settled(&daemon, "events", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (COUNT + 2, COUNT, 2));
    let events = hec.events();
    assert_eq!(ids(&events), (0..COUNT).collect());
    assert!(events.len() as u64 >= COUNT, "an answer that was lost brings events twice, never too few");
    assert_eq!(hec.channels().len(), 1, "acknowledgements are counted by channel");
    let mut parts = failures(&lake, "errors/");
    let lines = parts.remove("splunk-failed").unwrap();
    assert!(parts.is_empty(), "{parts:?}");
    let mut data: Vec<Vec<u8>> = lines.iter().map(raw).collect();
    data.sort_unstable();
    assert_eq!(data, [b"no event".to_vec(), br#"{"message":"nor this"}"#.to_vec()]);
    for line in &lines {
        assert_eq!(line["errorCode"], "Splunk.InvalidDataFormat");
        assert!(line["EventId"].as_str().is_some_and(|id| id.ends_with(".0")), "{line}");
    }
    assert!(!daemon.log().contains(TOKEN), "the token is in the log");
}

#[test]
fn what_is_not_acknowledged_in_time_goes_to_the_error_output() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    hec.index(false);
    let daemon = start(yaml(&lake, &hec, "acknowledgement_timeout: 1s\n        retry: 2s"));
    put_events(&daemon, 0..20);
    let settled = all_settled(&daemon, "events", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (0, 20));
    let lines = failures(&lake, "errors/").remove("splunk-failed").unwrap();
    assert!(lines.iter().all(|line| line["errorCode"] == "Splunk.AckTimeout"), "{lines:?}");
    hec.index(true);
    put_events(&daemon, 20..40);
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 20);
}

#[test]
fn events_that_only_splunk_finds_wrong_are_set_aside_without_their_neighbours() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    let wrong = [3, 4, 17, 99];
    hec.refuse(&wrong);
    let mut daemon = start(yaml(&lake, &hec, "retry: 0s"));
    put_events(&daemon, 0..100);
    let settled = all_settled(&daemon, "events", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (100, 96, 4));
    assert_eq!(ids(&hec.events()), (0..100).filter(|id| !wrong.contains(id)).collect());
    let lines = failures(&lake, "errors/").remove("splunk-failed").unwrap();
    let told: BTreeSet<u64> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["errorCode"], "Splunk.InvalidDataFormat");
            assert!(line["errorMessage"].as_str().unwrap().ends_with(": Invalid data format"), "{line}");
            serde_json::from_slice::<Value>(&raw(line)).unwrap()["event"]["id"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(told, wrong.into());
    // What was decided stays decided.
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(balance(&daemon, "events").backed_up, 4);
}

#[test]
fn a_token_that_is_not_known_holds_the_data_until_it_is_corrected() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    hec.know("another");
    let mut daemon = start(yaml(&lake, &hec, "retry: 0s"));
    put_events(&daemon, 0..20);
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"events\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(&daemon, "events").in_journal, 20);
    let corrected = yaml(&lake, &hec, "retry: 0s").replace(TOKEN, "another");
    daemon.reconfigure(corrected).unwrap();
    daemon.signal(rustix::process::Signal::HUP).unwrap();
    let settled = all_settled(&daemon, "events", SOON);
    assert_eq!((settled.accepted, settled.delivered), (20, 20));
    assert_eq!(ids(&hec.events()), (0..20).collect());
}
