//! Splunk as a destination, against a double of its HTTP Event Collector.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;

use crate::double::Answer;
use crate::endpoints::{all_to_the_lake, create};
use crate::hec::{Hec, TOKEN};
use crate::lake::Lake;
use crate::outages::attempts;
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

pub(crate) fn put_events(daemon: &Daemon, ids: std::ops::Range<u64>) {
    put(daemon, "events", ids.map(|id| json!({ "event": { "id": id } }).to_string().into_bytes()));
}

fn ids(events: &[Value]) -> BTreeSet<u64> {
    events.iter().map(|event| event["id"].as_u64().unwrap()).collect()
}

#[test]
fn each_event_is_indexed_through_lost_answers_and_ten_kills_and_what_is_none_is_set_aside() {
    const COUNT: u64 = 1_000;
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    let failures_of_all_kinds = [
        Answer::Take,
        Answer::Status(503),
        Answer::HangUp,
        Answer::TakeAndHold,
        Answer::TakeAndHangUp,
        Answer::Status(500),
        Answer::Hold,
    ];
    hec.obey(failures_of_all_kinds.into_iter().cycle());
    let mut daemon = start(yaml(&lake, &hec, ""));
    put(&daemon, "events", [b"no event".to_vec(), br#"{"message":"nor this"}"#.to_vec()]);
    let mut before = 0;
    for (round, first) in (0..COUNT).step_by(100).enumerate() {
        put_events(&daemon, first..first + 100);
        let what = "an attempt waits for its answer or its acknowledgement";
        eventually(what, SOON, || (hec.held() > before).then_some(()));
        daemon.kill9().unwrap();
        before = hec.held();
        // Acknowledgements come in every other round, and in the end.
        hec.index(round % 2 == 1);
        if round == 9 {
            hec.obey([]);
        }
        daemon.restart().unwrap();
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
fn a_collector_that_is_away_slow_or_busy_only_delays() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    let daemon = start(yaml(&lake, &hec, "request_timeout: 1s"));
    hec.listening.stop();
    put_events(&daemon, 0..20);
    eventually("attempts find nobody", SOON, || (attempts(&daemon, "transient") > 2).then_some(()));
    let away = attempts(&daemon, "transient");
    hec.obey([Answer::TakeAndHold, Answer::Hold]);
    hec.listening.resume();
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 20);
    assert!(attempts(&daemon, "transient") >= away + 2, "no answer comes in time");
    hec.obey([Answer::Status(429), Answer::Later(503, 1)]);
    put_events(&daemon, 20..40);
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 40);
    assert_eq!(attempts(&daemon, "throttled"), 2);
    assert_eq!(ids(&hec.events()), (0..40).collect());
}

#[test]
fn text_goes_to_the_raw_endpoint_as_it_is_acknowledged_or_not() {
    let lake = Lake::with(&["lake"]);
    for acknowledged in [true, false] {
        let hec = Hec::start();
        hec.index(acknowledged);
        let more = format!("acknowledgement: {acknowledged}");
        let daemon = start(yaml(&lake, &hec, &more).replace("endpoint: event", "endpoint: raw"));
        put(&daemon, "events", (0..100).map(|id| format!("line {id:02}\n").into_bytes()));
        let settled = all_settled(&daemon, "events", SOON);
        assert_eq!((settled.accepted, settled.delivered), (100, 100));
        let requests = hec.events();
        let mut lines: Vec<&str> =
            requests.iter().flat_map(|request| request.as_str().unwrap().lines()).collect();
        lines.sort_unstable();
        assert_eq!(lines, (0..100).map(|id| format!("line {id:02}")).collect::<Vec<_>>());
        assert_eq!(hec.asked() > 0, acknowledged, "{} times", hec.asked());
    }
    assert!(lake.keys("lake").is_empty(), "no text is refused");
}

#[test]
fn a_stream_of_the_api_keeps_a_copy_of_all_events() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    let daemon = start(format!("stores: {{ lake: {} }}\ndefault_store: lake\n", lake.yaml()));
    let splunk = json!({
        "HECEndpoint": hec.url(), "HECEndpointType": "Event", "HECToken": TOKEN,
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
        "S3BackupMode": "AllEvents", "S3Configuration": all_to_the_lake(),
    });
    create(&daemon, json!({"DeliveryStreamName": "events", "SplunkDestinationConfiguration": splunk}));
    put_events(&daemon, 0..20);
    put(&daemon, "events", [b"no event".to_vec()]);
    let settled = all_settled(&daemon, "events", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (42, 41, 1));
    assert_eq!(ids(&hec.events()), (0..20).collect());
    let keys = lake.keys("lake");
    let (failed, copies): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.contains("splunk-failed"));
    assert_eq!(failed.len(), 1, "{keys:?}");
    let copy: String = copies.iter().map(|key| String::from_utf8(lake.get("lake", key)).unwrap()).collect();
    let of_all: String = (0..20).map(|id| json!({ "event": { "id": id } }).to_string()).collect();
    assert_eq!(copy, of_all + "no event");
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

#[test]
fn a_token_without_acknowledgement_gets_each_event_once_until_it_has_that() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    hec.acknowledge(false);
    let daemon = start(yaml(&lake, &hec, "retry: 0s"));
    put_events(&daemon, 0..20);
    eventually("attempts are held", SOON, || (attempts(&daemon, "misconfigured") >= 3).then_some(()));
    assert_eq!((hec.events().len(), balance(&daemon, "events").in_journal), (20, 20));
    hec.acknowledge(true);
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 20);
    assert_eq!(hec.events().len(), 40, "once more, as nobody knows whether the first were indexed");
}

#[test]
fn events_that_name_a_wrong_index_are_set_aside_and_hold_no_others() {
    let (lake, hec) = (Lake::with(&["lake"]), Hec::start());
    let daemon = start(yaml(&lake, &hec, "retry: 0s"));
    let index = |id: u64| ["main", "mian", "other"][usize::from(id == 7) + 2 * usize::from(id == 11)];
    let event = |id: u64| json!({ "event": { "id": id }, "index": index(id) }).to_string().into_bytes();
    put(&daemon, "events", (0..20).map(event));
    let settled = all_settled(&daemon, "events", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (18, 2));
    assert_eq!(ids(&hec.events()), (0..20).filter(|id| ![7, 11].contains(id)).collect());
    let lines = failures(&lake, "errors/").remove("splunk-failed").unwrap();
    assert!(lines.iter().all(|line| line["errorCode"] == "Splunk.InvalidIndex"), "{lines:?}");
    assert_eq!(metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\""]), 0);
}
