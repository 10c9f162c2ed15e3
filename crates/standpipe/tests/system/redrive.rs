//! What stands in the error output is listed, shown and put again: each record once, whatever is killed meanwhile.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use standpipe_testkit::Daemon;

use crate::double::Answer;
use crate::endpoints::{put_all, record, records};
use crate::lake::Lake;
use crate::receiver::Receiver;
use crate::support::{SOON, STANDPIPE, all_settled, balance, eventually, metric, start};

/// A stream to an endpoint, which tries once, and one to a bucket.
fn yaml(lake: &Lake, url: &str, processors: &str) -> String {
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: clicks
    processors: [ {processors} ]
    destination:
      http:
        url: {url}
        retry: 0s
        buffering: {{ size: 4KiB, interval: 1s }}
        error_output: {{ bucket: errors, error_output_prefix: "failed/!{{firehose:error-output-type}}/" }}
  - name: views
    destination:
      s3: {{ bucket: views, delimiter: newline, buffering: {{ interval: 1s }} }}
"#,
        store = lake.yaml()
    )
}

fn failed(daemon: &Daemon, args: &[&str]) -> Output {
    let mut command = Command::new(STANDPIPE);
    command.arg("failed").args(args).args(["--admin", &daemon.admin()]).output().unwrap()
}

/// What a redrive that is over has come to.
fn redrive(daemon: &Daemon, args: &[&str]) -> Value {
    let output = failed(daemon, &[&["redrive", "clicks", "--json"], args].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn list(daemon: &Daemon, args: &[&str]) -> Vec<Value> {
    let output = failed(daemon, &[&["list", "clicks", "--json"], args].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn state(daemon: &Daemon) -> Value {
    serde_json::from_str(&daemon.get("/streams/clicks/failed/redrive").unwrap().body).unwrap()
}

/// What has arrived in the bucket of `views`, in order.
fn views(lake: &Lake) -> Vec<String> {
    let objects =
        lake.keys("views").into_iter().map(|key| String::from_utf8(lake.get("views", &key)).unwrap());
    let mut all: Vec<String> =
        objects.flat_map(|object| object.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.sort_unstable();
    all
}

#[test]
fn what_failed_is_put_again_once_through_kills() {
    const COUNT: u64 = 4_000;
    let (lake, receiver) = (Lake::with(&["errors", "views"]), Receiver::start());
    receiver.obey(|_| Answer::Status(500));
    let mut daemon = start(yaml(&lake, &receiver.url(), ""));
    put_all(&daemon, 0..COUNT);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.backed_up), (COUNT, COUNT));
    receiver.obey(|_| Answer::Take);

    let dry = redrive(&daemon, &["--dry-run"]);
    assert_eq!((&dry["state"], dry["records"].as_u64()), (&"done".into(), Some(COUNT)), "{dry}");
    assert_eq!(balance(&daemon, "clicks").accepted, COUNT, "a dry run puts nothing");
    let objects = list(&daemon, &[]);
    assert!(objects.len() > 5 && objects.iter().all(|object| object["redriven"].is_null()), "{objects:?}");
    assert_eq!(dry["objects"], objects.len());

    for so_far in [500, 1_000, 1_500] {
        let begun = daemon.post("/streams/clicks/failed/redrive?rate=2000", "").unwrap();
        assert!(begun.is_ok(), "{begun:?}");
        let busy = daemon.post("/streams/clicks/failed/redrive", "").unwrap();
        assert_eq!(busy.status, 409, "{busy:?}");
        eventually("some are put", SOON, || {
            (balance(&daemon, "clicks").accepted >= COUNT + so_far).then_some(())
        });
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
    }
    let rest = redrive(&daemon, &[]);
    assert_eq!((&rest["state"], &rest["unreadable"]), (&"done".into(), &0.into()), "{rest}");
    assert!(rest["records"].as_u64() < Some(COUNT), "what was put is not put again: {rest}");
    assert_eq!(metric(&daemon, "standpipe_records_redriven_total", &["stream=\"clicks\""]), rest["records"]);
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (2 * COUNT, COUNT, COUNT));
    assert_eq!(receiver.records(), records(0..COUNT));
    let marked: Vec<Value> =
        list(&daemon, &[]).into_iter().map(|object| object["redriven"].clone()).collect();
    assert!(marked.iter().all(|mark| mark["finished_at"].is_u64() && mark["to"] == "clicks"), "{marked:?}");
    assert_eq!(marked.iter().map(|mark| mark["records"].as_u64().unwrap()).sum::<u64>(), COUNT);

    let nothing = redrive(&daemon, &[]);
    assert_eq!((&nothing["records"], &nothing["skipped"]), (&0.into(), &objects.len().into()), "{nothing}");
    let elsewhere = redrive(&daemon, &["--again", "--to", "views"]);
    assert_eq!(elsewhere["records"], COUNT, "{elsewhere}");
    all_settled(&daemon, "views", SOON);
    assert_eq!(views(&lake), records(0..COUNT));
}

#[test]
fn a_redrive_takes_the_part_that_is_asked_for_and_passes_over_what_it_cannot_read() {
    let (lake, receiver) = (Lake::with(&["errors", "views"]), Receiver::start());
    receiver.obey(|_| Answer::Status(500));
    let program = r#"{ jq: { program: 'if endswith("3") then error("three") else . end' } }"#;
    let daemon = start(yaml(&lake, &receiver.url(), program));
    let text = |id: u64| format!("\"{}\"", record(id));
    crate::transform::put(&daemon, "clicks", (0..100).map(|id| text(id).into_bytes()));
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!(settled.backed_up, 100);
    let suffix = "-1-2026-01-01-00-10-00-0a0b0c0d-0000-4000-8000-000000000000";
    let rubbish = "{\"rawData\":\"Zmlyc3Q=\"}\nrubbish\n{\"rawData\":\"?\"}\n{\"rawData\":\"bGFzdA==\"}";
    let own = format!("failed/processing-failed/clicks{suffix}");
    lake.put("errors", &own, rubbish.as_bytes());
    lake.put("errors", &format!("failed/processing-failed/views{suffix}"), rubbish.as_bytes());

    let parts = |kind: &str| list(&daemon, &["--type", kind]);
    assert_eq!((parts("processing-failed").len(), parts("splunk-failed").len()), (2, 0));
    assert_eq!(list(&daemon, &["--until", "1h"]).len(), 0, "nothing is that old");
    assert_eq!(list(&daemon, &["--since", "1h"]).len(), list(&daemon, &[]).len());
    let unknown = failed(&daemon, &["list", "clicks", "--type", "nonsense"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("processing-failed"), "{unknown:?}");

    let raw = failed(&daemon, &["show", "clicks", &own, "--raw"]);
    assert_eq!((raw.stdout, raw.status.code()), (b"first\nlast\n".to_vec(), Some(1)));
    let told = String::from_utf8(raw.stderr).unwrap();
    assert!(told.contains("line 2: it is not JSON") && told.contains("line 3: its rawData"), "{told}");
    let shown = failed(&daemon, &["show", "clicks", "--type", "http-endpoint-failed"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("HttpEndpoint.DestinationException: ") && shown.contains(&text(1)), "{shown}");
    let other = failed(&daemon, &["show", "clicks", &own.replace("clicks", "views")]);
    assert!(!other.status.success(), "an object of another stream is none of its error output");

    let nowhere = failed(&daemon, &["redrive", "clicks", "--to", "nowhere"]);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("there is no stream 'nowhere'"), "{nowhere:?}");
    let done = redrive(&daemon, &["--type", "processing-failed", "--to", "views"]);
    assert_eq!(
        (&done["state"], &done["records"], &done["unreadable"]),
        (&"done".into(), &12.into(), &2.into())
    );
    assert_eq!(state(&daemon)["state"], "done");
    all_settled(&daemon, "views", SOON);
    let threes = (0..100).filter(|id| id % 10 == 3).map(text);
    let mut expect: Vec<String> = threes.chain(["first".to_owned(), "last".to_owned()]).collect();
    expect.sort_unstable();
    assert_eq!(views(&lake), expect);
    assert_eq!(balance(&daemon, "clicks").accepted, 100);
    assert!(parts("http-endpoint-failed").iter().all(|object| object["redriven"].is_null()));
}

#[test]
fn a_redrive_that_is_stopped_goes_on_from_there_and_only_to_the_same_stream() {
    let (lake, receiver) = (Lake::with(&["errors", "views"]), Receiver::start());
    receiver.obey(|_| Answer::Status(500));
    let mut daemon = start(yaml(&lake, &receiver.url(), "").replace("size: 4KiB", "size: 1MiB"));
    put_all(&daemon, 0..1_000);
    all_settled(&daemon, "clicks", SOON);
    let accepted = |daemon: &Daemon| balance(daemon, "views").accepted;
    for stop in [true, false] {
        let before = accepted(&daemon);
        assert!(daemon.post("/streams/clicks/failed/redrive?rate=50&to=views", "").unwrap().is_ok());
        eventually("some are put", SOON, || (accepted(&daemon) > before).then_some(()));
        if stop {
            let asked = standpipe_testkit::http_send(
                "DELETE",
                &format!("{}/streams/clicks/failed/redrive", daemon.admin()),
                "",
            );
            assert!(asked.unwrap().is_ok());
            eventually("it stops", SOON, || (state(&daemon)["state"] == "stopped").then_some(()));
        } else {
            daemon.terminate().unwrap();
            daemon.restart().unwrap();
        }
    }
    let elsewhere = redrive(&daemon, &[]);
    assert_eq!(elsewhere["state"], "failed");
    assert!(elsewhere["error"].as_str().unwrap().contains("begun for stream 'views'"), "{elsewhere}");
    let rest = redrive(&daemon, &["--to", "views"]);
    assert_eq!(rest["state"], "done", "{rest}");
    all_settled(&daemon, "views", SOON);
    assert_eq!(views(&lake), records(0..1_000));
}

#[test]
fn a_redrive_waits_while_it_cannot_be_noted_how_far_it_is() {
    const COUNT: u64 = 600;
    let (lake, receiver) = (Lake::with(&["errors", "views"]), Receiver::start());
    receiver.obey(|_| Answer::Status(500));
    let daemon = start(yaml(&lake, &receiver.url(), "").replace("size: 4KiB", "size: 1MiB"));
    put_all(&daemon, 0..COUNT);
    all_settled(&daemon, "clicks", SOON);
    receiver.obey(|_| Answer::Take);

    assert!(daemon.post("/streams/clicks/failed/redrive?rate=100", "").unwrap().is_ok());
    eventually("some are put", SOON, || (balance(&daemon, "clicks").accepted > COUNT).then_some(()));
    let [folder, away] =
        ["redriven", "redriven.away"].map(|it| daemon.data_dir().join("streams/clicks").join(it));
    fs::rename(&folder, &away).unwrap();
    fs::write(&folder, "").unwrap();
    let waits = |now: &Value| now["waiting"].as_str().is_some_and(|why| why.contains("could not be noted"));
    eventually("it waits", SOON, || waits(&state(&daemon)).then_some(()));
    assert_eq!(state(&daemon)["state"], "running");
    assert!(daemon.log().contains("a redrive waits"), "the log is told");
    let asked = format!("{}/streams/clicks/failed/redrive", daemon.admin());
    assert!(standpipe_testkit::http_send("DELETE", &asked, "").unwrap().is_ok());
    eventually("it stops", SOON, || (state(&daemon)["state"] == "stopped").then_some(()));
    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();

    let rest = redrive(&daemon, &[]);
    let put_before = balance(&daemon, "clicks").accepted - COUNT - rest["records"].as_u64().unwrap();
    assert_eq!(rest["state"], "done", "{rest}");
    assert!(put_before > 0, "what was put is not put again: {rest}");
    let settled = all_settled(&daemon, "clicks", SOON);
    assert_eq!((settled.accepted, settled.delivered), (2 * COUNT, COUNT));
    assert_eq!(receiver.records(), records(0..COUNT));
}
