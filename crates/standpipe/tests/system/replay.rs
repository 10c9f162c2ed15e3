//! What is kept is delivered once more: exactly the range that is asked for, under other keys or into another stream, each
//! record once, whatever is killed meanwhile, and without a trace in the stream's own numbers.

use std::process::{Command, Output};

use serde_json::Value;
use standpipe_model::{Clock as _, OsClock};
use standpipe_testkit::Daemon;

use crate::double::Answer;
use crate::endpoints::{put_all, record, records};
use crate::lake::Lake;
use crate::receiver::Receiver;
use crate::support::{SOON, STANDPIPE, all_settled, balance, eventually, metric, start};

/// A stream to a bucket that keeps what it has delivered, and another one beside it.
fn yaml(lake: &Lake, retention: &str, size: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: clicks
    retention: {retention}
    destination:
      s3: {{ bucket: clicks, delimiter: newline, compression: gzip, buffering: {{ size: {size}, interval: 1s }} }}
  - name: views
    destination:
      s3: {{ bucket: views, delimiter: newline, buffering: {{ interval: 1s }} }}
"#,
        store = lake.yaml()
    )
}

fn lake() -> Lake {
    Lake::with(&["clicks", "views"])
}

fn replay(daemon: &Daemon, args: &[&str]) -> Output {
    let mut command = Command::new(STANDPIPE);
    command.args(["replay", "clicks"]).args(args).args(["--admin", &daemon.admin()]).output().unwrap()
}

/// What a replay has come to, or would.
fn replayed(daemon: &Daemon, args: &[&str]) -> Value {
    let output = replay(daemon, &[&["--json"], args].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Why a replay was refused.
fn refusal(daemon: &Daemon, args: &[&str]) -> String {
    let output = replay(daemon, args);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn now() -> String {
    OsClock::start().now().to_rfc3339()
}

fn begin(daemon: &Daemon, query: &str) -> Value {
    let begun = daemon.post(&format!("/streams/clicks/replays?{query}"), "").unwrap();
    assert!(begun.is_ok(), "{begun:?}");
    serde_json::from_str(&begun.body).unwrap()
}

fn under_way(daemon: &Daemon) -> u64 {
    metric(daemon, "standpipe_replays", &["stream=\"clicks\""])
}

/// The lines of the objects in a bucket whose keys are wanted, in order.
fn lines(lake: &Lake, bucket: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let keys = lake.keys(bucket).into_iter().filter(|key| wanted(key));
    let text = |key: String| {
        let object = lake.get(bucket, &key);
        match key.ends_with(".gz") {
            true => std::io::read_to_string(flate2::read::MultiGzDecoder::new(object.as_slice())).unwrap(),
            false => String::from_utf8(object).unwrap(),
        }
    };
    let mut all: Vec<String> =
        keys.map(text).flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.sort_unstable();
    all
}

fn is_replay(key: &str) -> bool {
    key.contains("-replay-")
}

/// Puts and waits until it is delivered; returns a time that lies between that and what is put later.
fn through(daemon: &Daemon, ids: std::ops::Range<u64>) -> String {
    put_all(daemon, ids);
    all_settled(daemon, "clicks", SOON);
    now()
}

#[test]
fn exactly_the_range_is_delivered_once_more_under_keys_of_its_own() {
    let lake = lake();
    let mut daemon = start(yaml(&lake, "1d", "4KiB"));
    let from = through(&daemon, 0..1_000);
    let to = through(&daemon, 1_000..2_500);
    through(&daemon, 2_500..3_000);
    let before = balance(&daemon, "clicks");
    let first_keys = lake.keys("clicks");
    // What is kept is kept through a restart, and so is the way to it.
    daemon.terminate().unwrap();
    daemon.restart().unwrap();

    let range = ["--from", &from, "--to", &to];
    let would = replayed(&daemon, &[&range[..], &["--dry-run"]].concat());
    let bytes = u64::try_from(record(0).len()).unwrap() * 1_500;
    assert_eq!((&would["records"], &would["bytes"]), (&1_500.into(), &bytes.into()), "{would}");
    assert_eq!((&would["first"], &would["last"]), (&1_000.into(), &2_499.into()), "{would}");
    assert!(would["oldest_kept"].as_u64() < would["newest_kept"].as_u64(), "{would}");
    assert_eq!(lake.keys("clicks"), first_keys, "a dry run delivers nothing");

    let done = replayed(&daemon, &range);
    assert_eq!((&done["state"], &done["delivered"]), (&"done".into(), &1_500.into()), "{done}");
    assert_eq!(lines(&lake, "clicks", is_replay), records(1_000..2_500));
    assert_eq!(lines(&lake, "clicks", |key| !is_replay(key)), records(0..3_000));
    let id = done["id"].as_str().unwrap();
    let new = lake.keys("clicks").into_iter().filter(|key| !first_keys.contains(key));
    let wrong: Vec<String> = new.filter(|key| !key.ends_with(&format!("-{id}.gz"))).collect();
    assert_eq!(wrong, Vec::<String>::new(), "{id}");

    assert_eq!(balance(&daemon, "clicks"), before, "the stream's own numbers are as they were");
    assert_eq!(metric(&daemon, "standpipe_records_replayed_total", &["stream=\"clicks\""]), 1_500);
    assert_eq!(under_way(&daemon), 0);
    let listed = String::from_utf8(replay(&daemon, &["--list"]).stdout).unwrap();
    assert!(listed.contains("1500 of 1500 records, done") && listed.contains("records are kept"), "{listed}");
    let all = replayed(&daemon, &["--from-oldest"]);
    assert_eq!(all["delivered"], 3_000, "{all}");
}

#[test]
fn a_replay_goes_on_through_kills_and_delivers_each_record_once_more() {
    const COUNT: u64 = 6_000;
    let lake = lake();
    let mut daemon = start(yaml(&lake, "1d", "1KiB"));
    through(&daemon, 0..COUNT);
    begin(&daemon, "from_oldest=true&rate=1500");
    for so_far in [100, 1_000, 2_000] {
        let delivered = || lines(&lake, "clicks", is_replay).len();
        eventually("some are delivered", SOON, || (delivered() >= so_far).then_some(()));
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
        assert_eq!(under_way(&daemon), 1, "it goes on by itself");
    }
    eventually("it ends", SOON, || (under_way(&daemon) == 0).then_some(()));
    assert_eq!(lines(&lake, "clicks", is_replay), records(0..COUNT));
    assert_eq!(lines(&lake, "clicks", |key| !is_replay(key)), records(0..COUNT));
    let settled = balance(&daemon, "clicks");
    assert_eq!((settled.accepted, settled.delivered, settled.in_journal), (COUNT, COUNT, 0));
}

#[test]
fn a_replay_into_another_stream_puts_each_record_once_through_kills() {
    const COUNT: u64 = 6_000;
    let lake = lake();
    let mut daemon = start(yaml(&lake, "1d", "1MiB"));
    through(&daemon, 0..COUNT);
    begin(&daemon, "from_oldest=true&into=views&rate=1500");
    for so_far in [1, 2_000, 4_000] {
        eventually("some are put", SOON, || (balance(&daemon, "views").accepted >= so_far).then_some(()));
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
    }
    eventually("it ends", SOON, || (under_way(&daemon) == 0).then_some(()));
    let settled = all_settled(&daemon, "views", SOON);
    assert_eq!((settled.accepted, settled.delivered), (COUNT, COUNT));
    assert_eq!(lines(&lake, "views", |_| true), records(0..COUNT));
    assert_eq!(lines(&lake, "clicks", is_replay), Vec::<String>::new());
    let again = replayed(&daemon, &["--from-oldest", "--into", "views"]);
    assert_eq!((&again["delivered"], &again["into"]), (&COUNT.into(), &"views".into()), "{again}");
    assert_eq!(balance(&daemon, "views").accepted, 2 * COUNT, "another replay is another put");
}

#[test]
fn what_cannot_be_replayed_is_refused_by_name() {
    let lake = lake();
    let daemon = start(yaml(&lake, "0s", "64KiB"));
    let early = now();
    through(&daemon, 0..24_000);
    let late = through(&daemon, 24_000..24_001);
    let gone = refusal(&daemon, &["--from", &early]);
    assert!(gone.contains("or later is kept; \"from_oldest\" replays what there is"), "{gone}");
    let nothing = refusal(&daemon, &["--from", &late, "--to", &now()]);
    assert!(nothing.contains("no record arrived in that time"), "{nothing}");
    let future = refusal(&daemon, &["--from", &late, "--to", "2126-01-01T00:00:00Z"]);
    assert!(future.contains("it lies in the future"), "{future}");
    let backwards = refusal(&daemon, &["--from", &late, "--to", &early]);
    assert!(backwards.contains("it ends before it begins"), "{backwards}");
    let nowhere = refusal(&daemon, &["--from-oldest", "--into", "nowhere"]);
    assert!(nowhere.contains("there is no stream 'nowhere'"), "{nowhere}");
    let itself = refusal(&daemon, &["--from-oldest", "--into", "clicks"]);
    assert!(itself.contains("'clicks' is the stream itself"), "{itself}");
    let unknown = refusal(&daemon, &["--from-oldest", "--destination", "other"]);
    assert!(unknown.contains("destination"), "{unknown}");
    let same_ids = refusal(&daemon, &["--from-oldest", "--same-ids"]);
    assert!(same_ids.contains("--same-ids"), "{same_ids}");
    let no_range = refusal(&daemon, &[]);
    assert!(no_range.contains("--from-oldest"), "{no_range}");
    assert_eq!(lines(&lake, "clicks", is_replay), Vec::<String>::new());

    let rest = replayed(&daemon, &["--from-oldest"]);
    assert!(rest["state"] == "done" && rest["records"].as_u64() < Some(24_001), "{rest}");
    assert_eq!(lines(&lake, "clicks", is_replay).last(), Some(&record(24_000)));
}

#[test]
fn a_replay_that_is_stopped_holds_nothing_any_more() {
    let lake = lake();
    let mut daemon = start(yaml(&lake, "1d", "1KiB"));
    through(&daemon, 0..2_000);
    let begun = begin(&daemon, "from_oldest=true&rate=20");
    let id = begun["id"].as_str().unwrap();
    eventually("some are delivered", SOON, || (!lines(&lake, "clicks", is_replay).is_empty()).then_some(()));
    assert_eq!(balance(&daemon, "clicks").in_journal, 0, "it is none of the stream's own");
    let stopped = replayed(&daemon, &["--stop", id]);
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    assert!(refusal(&daemon, &["--stop", id]).contains("no such replay"));
    assert_eq!(under_way(&daemon), 0);
    daemon.terminate().unwrap();
    daemon.restart().unwrap();
    assert_eq!(under_way(&daemon), 0, "it does not come back");
    let delivered = lines(&lake, "clicks", is_replay);
    assert!(delivered.len() < 1_000 && delivered == records(0..delivered.len() as u64), "{delivered:?}");

    // Nor is one there to be waited for when the stream leaves the configuration: it is delivered first.
    begin(&daemon, "from_oldest=true&rate=1000");
    daemon.reconfigure(format!("stores: {{ lake: {} }}\n", lake.yaml())).unwrap();
    assert!(daemon.post("/reload", "").unwrap().is_ok());
    eventually("the stream is archived", SOON, || {
        (!daemon.get("/streams").unwrap().body.contains("\"clicks\"")).then_some(())
    });
    let all = lines(&lake, "clicks", is_replay);
    assert_eq!(all.len(), delivered.len() + 2_000, "the replay was not cut off");
}

#[test]
fn an_endpoint_gets_what_is_replayed_in_requests_of_their_own() {
    let (lake, receiver) = (Lake::with(&["errors"]), Receiver::start());
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: clicks
    retention: 1h
    destination:
      http:
        url: "{url}"
        retry: 1s
        max_lag: 2s
        buffering: {{ size: 4KiB, interval: 1s }}
        error_output: {{ bucket: errors, error_output_prefix: "failed/!{{firehose:error-output-type}}/" }}
"#,
        store = lake.yaml(),
        url = receiver.url()
    ));
    through(&daemon, 0..1_000);
    assert_eq!(receiver.records(), records(0..1_000));
    eventually("all of it is older than it may lag", SOON, || {
        (metric(&daemon, "standpipe_journal_oldest_age_seconds", &["stream=\"clicks\""]) >= 5).then_some(())
    });
    // What is replayed is not late for being old.
    let mut asked = 0;
    receiver.obey(move |_| {
        asked += 1;
        if asked == 1 { Answer::Status(503) } else { Answer::Take }
    });
    let done = replayed(&daemon, &["--from-oldest"]);
    assert_eq!((&done["state"], &done["delivered"]), (&"done".into(), &1_000.into()), "{done}");
    let twice: Vec<String> = (0..1_000).flat_map(|id| [record(id), record(id)]).collect();
    assert_eq!((receiver.records(), receiver.repeated()), (twice, 0));
    let settled = balance(&daemon, "clicks");
    assert_eq!((settled.accepted, settled.delivered), (1_000, 1_000));
}

#[test]
fn one_of_several_destinations_gets_what_is_replayed() {
    let lake = lake();
    let destination = |id: &str| {
        format!("{{ id: {id}, s3: {{ bucket: {id}, delimiter: newline, buffering: {{ interval: 1s }} }} }}")
    };
    let daemon = start(format!(
        "stores: {{ lake: {} }}\nstreams:\n  - {{ name: clicks, retention: 1h, destinations: [ {}, {} ] }}\n",
        lake.yaml(),
        destination("clicks"),
        destination("views")
    ));
    through(&daemon, 0..500);
    let which = refusal(&daemon, &["--from-oldest"]);
    assert!(which.contains("name one with \"destination\": clicks, views"), "{which}");
    let done = replayed(&daemon, &["--from-oldest", "--destination", "views"]);
    assert_eq!((&done["state"], &done["of"]), (&"done".into(), &"views".into()), "{done}");
    assert_eq!(lines(&lake, "views", is_replay), records(0..500));
    assert_eq!(lines(&lake, "clicks", |_| true), records(0..500));
}

#[test]
fn what_is_kept_goes_when_its_time_is_over_and_when_a_put_needs_its_room() {
    let lake = lake();
    let yaml = yaml(&lake, "2s", "64KiB");
    let mut daemon = start(&yaml);
    let kept = |daemon: &Daemon| metric(daemon, "standpipe_journal_retained_bytes", &["stream=\"clicks\""]);
    through(&daemon, 0..2_000);
    // A restart seals the segment.
    daemon.terminate().unwrap();
    daemon.restart().unwrap();
    through(&daemon, 2_000..2_001);
    eventually("it is forgotten without a put", SOON, || (kept(&daemon) == 0).then_some(()));

    daemon.reconfigure(yaml.replace("retention: 2s", "retention: 365d\n    journal_limit: 4MiB")).unwrap();
    daemon.terminate().unwrap();
    daemon.restart().unwrap();
    let large = |number: u64| format!("{number:06}{}", "x".repeat(20_000)).into_bytes();
    for first in (0..900).step_by(10) {
        // 18 MB go through 4 MiB.
        crate::transform::put(&daemon, "clicks", (first..first + 10).map(large));
        if first % 100 == 90 {
            all_settled(&daemon, "clicks", SOON);
        }
    }
    assert!(kept(&daemon) > 1 << 20, "{}", kept(&daemon));
    let cut = "standpipe_journal_retention_cut_segments_total";
    assert!(metric(&daemon, cut, &["stream=\"clicks\""]) > 0);
    assert_eq!(
        metric(&daemon, "standpipe_ingest_requests_total", &["code=\"ServiceUnavailableException\""]),
        0
    );
    assert!(daemon.log().contains("forgotten before their retention is over"));
    let rest = replayed(&daemon, &["--from-oldest"]);
    assert!(rest["state"] == "done" && rest["delivered"].as_u64() > Some(50), "{rest}");
}
