//! The configuration changes under a running daemon: what is closed keeps its shape, what is wrong changes nothing.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use standpipe_testkit::Daemon;

use crate::client::{Answer, Client, batch_of};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, eventually, metric, start};

/// A configuration with these streams as (name, store, prefix).
fn yaml(stores: &[(&str, String)], streams: &[(&str, &str, &str)]) -> String {
    let stores: String = stores.iter().map(|(name, store)| format!("  {name}: {store}\n")).collect();
    let stream = |(name, store, prefix): &(&str, &str, &str)| {
        format!(
            "  - name: {name}\n    destination:\n      s3: {{ store: {store}, bucket: lake, prefix: {prefix}, buffering: \
             {{ size: 1MiB, interval: 1s }} }}\n"
        )
    };
    format!("stores:\n{stores}streams:\n{}", streams.iter().map(stream).collect::<String>())
}

fn put(daemon: &Daemon, stream: &str, ids: std::ops::Range<u64>) -> Answer {
    let rows = ids.map(|id| format!("{{\"id\":{id}}}\n").into_bytes());
    Client::of(daemon).call("PutRecordBatch", batch_of(stream, rows))
}

/// The stream as the admin port shows it; `None` once it is gone.
pub(crate) fn shown(daemon: &Daemon, stream: &str) -> Option<Value> {
    let all: Value = serde_json::from_str(&daemon.get("/streams").unwrap().body).unwrap();
    all.as_array().unwrap().iter().find(|shown| shown["name"] == stream).cloned()
}

pub(crate) fn reload(daemon: &mut Daemon, yaml: String) {
    daemon.reconfigure(yaml).unwrap();
    daemon.signal(Signal::HUP).unwrap();
}

pub(crate) fn refused(daemon: &Daemon) -> bool {
    metric(daemon, "standpipe_alarm", &["kind=\"reload_refused\""]) > 0
}

pub(crate) fn wait_for_an_open_batch(daemon: &Daemon, stream: &str) {
    let label = format!("stream=\"{stream}\"");
    let open = || metric(daemon, "standpipe_delivery_open_batches", &[&label]);
    eventually("a batch is closed", SOON, || (open() > 0).then_some(()));
}

#[test]
fn a_new_prefix_is_for_new_batches_and_those_that_are_closed_keep_the_old_one() {
    let mut lake = Lake::with(&["lake"]);
    let stores = [("lake", lake.yaml())];
    let mut daemon = start(yaml(&stores, &[("s", "lake", "one/")]));
    lake.server.kill().unwrap();
    assert_eq!(put(&daemon, "s", 0..10).status, 200);
    wait_for_an_open_batch(&daemon, "s");
    reload(&mut daemon, yaml(&stores, &[("s", "lake", "two/")]));
    eventually("the new version is in force", SOON, || (shown(&daemon, "s")?["version"] == 2).then_some(()));
    assert_eq!(put(&daemon, "s", 10..20).status, 200);
    lake.server.restart().unwrap();
    all_settled(&daemon, "s", SOON);
    let keys = lake.keys("lake");
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys[0].starts_with("one/") && keys[0].contains("/s-1-"), "{keys:?}");
    assert!(keys[1].starts_with("two/") && keys[1].contains("/s-2-"), "{keys:?}");
    lake.assert_rows("lake", 20, |_| 1..=1);
}

#[test]
fn a_bad_file_changes_nothing_and_raises_an_alarm_until_it_is_right_again() {
    let lake = Lake::with(&["lake"]);
    let stores = [("lake", lake.yaml())];
    let mut daemon = start(yaml(&stores, &[("s", "lake", "one/")]));
    let bad = yaml(&stores, &[("s", "lake", "two/")]).replace("interval: 1s", "interval: soon");
    reload(&mut daemon, bad);
    eventually("the reload is refused, and the alarm says why", SOON, || {
        let ready = daemon.get("/readyz").unwrap();
        assert!(ready.is_ok(), "{ready:?}");
        (refused(&daemon) && ready.body.contains("reload_refused") && ready.body.contains("soon"))
            .then_some(())
    });
    assert_eq!(shown(&daemon, "s").unwrap()["version"], 1);
    assert_eq!(put(&daemon, "s", 0..10).status, 200);
    all_settled(&daemon, "s", SOON);
    assert!(lake.keys("lake").iter().all(|key| key.starts_with("one/")));
    reload(&mut daemon, yaml(&stores, &[("s", "lake", "two/")]));
    eventually("the alarm is cleared", SOON, || (!refused(&daemon)).then_some(()));
    assert_eq!(shown(&daemon, "s").unwrap()["version"], 2);
}

#[test]
fn a_stream_that_left_the_file_refuses_puts_delivers_what_it_has_and_is_archived() {
    let mut lake = Lake::with(&["lake"]);
    let stores = [("lake", lake.yaml())];
    let (stays, goes) = (("stays", "lake", "stays/"), ("goes", "lake", "goes/"));
    let mut daemon = start(yaml(&stores, &[stays, goes]));
    lake.server.kill().unwrap();
    assert_eq!(put(&daemon, "goes", 0..10).status, 200);
    reload(&mut daemon, yaml(&stores, &[stays]));
    eventually("it is retired", SOON, || (shown(&daemon, "goes")?["retired"] == true).then_some(()));
    let answer = put(&daemon, "goes", 10..20);
    assert_eq!((answer.status, answer.error()), (400, "ResourceNotFoundException"), "{answer:?}");
    assert!(answer.body.to_string().contains("is not active"), "{answer:?}");
    assert_eq!(put(&daemon, "stays", 10..20).status, 200);
    daemon.restart().unwrap();
    assert_eq!(shown(&daemon, "goes").unwrap()["retired"], true, "it is retired after a restart, too");
    lake.server.restart().unwrap();
    eventually("it is archived", SOON, || shown(&daemon, "goes").is_none().then_some(()));
    all_settled(&daemon, "stays", SOON);
    lake.assert_rows("lake", 20, |_| 1..=1);
    let archive = fs::read_dir(daemon.data_dir().join("archive")).unwrap();
    let archived = archive.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(archived.collect::<Vec<_>>().iter().any(|name| name.starts_with("goes-")));
}

#[test]
fn a_file_without_a_store_that_closed_batches_still_need_is_refused_as_a_whole() {
    let (mut old, new) = (Lake::with(&["lake"]), Lake::with(&["lake"]));
    let both = [("old", old.yaml()), ("new", new.yaml())];
    let mut daemon = start(yaml(&both, &[("s", "old", "one/")]));
    old.server.kill().unwrap();
    assert_eq!(put(&daemon, "s", 0..10).status, 200);
    wait_for_an_open_batch(&daemon, "s");
    reload(&mut daemon, yaml(&both[1..], &[("s", "new", "two/"), ("other", "new", "three/")]));
    eventually("the reload is refused, and the alarm says why", SOON, || {
        let ready = daemon.get("/readyz").unwrap().body;
        (refused(&daemon) && ready.contains("store 'old'") && ready.contains("stream 's'")).then_some(())
    });
    assert_eq!(shown(&daemon, "s").unwrap()["version"], 1);
    assert!(shown(&daemon, "other").is_none(), "nothing of the file is in force");
    old.server.restart().unwrap();
    all_settled(&daemon, "s", SOON);
    daemon.signal(Signal::HUP).unwrap();
    eventually("the same file is taken now", SOON, || (!refused(&daemon)).then_some(()));
    assert_eq!(put(&daemon, "s", 10..20).status, 200);
    all_settled(&daemon, "s", SOON);
    old.assert_rows("lake", 10, |_| 1..=1);
    new.assert_rows("lake", 20, |id| if id < 10 { 0..=0 } else { 1..=1 });
}

#[test]
fn a_stream_that_cannot_be_opened_asks_producers_to_come_again_and_is_opened_by_a_reload() {
    let lake = Lake::with(&["lake"]);
    let stores = [("lake", lake.yaml())];
    let mut daemon = start(yaml(&stores, &[("s", "lake", "one/")]));
    let folder = daemon.data_dir().join("streams/t");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("definition-1.json"), r#"{"format": 99}"#).unwrap();
    let both = yaml(&stores, &[("s", "lake", "one/"), ("t", "lake", "two/")]);
    reload(&mut daemon, both.clone());
    let label = ["stream=\"t\"", "kind=\"not_opened\""];
    eventually("the alarm is raised", SOON, || {
        (metric(&daemon, "standpipe_alarm", &label) > 0).then_some(())
    });
    let answer = put(&daemon, "t", 0..10);
    assert_eq!((answer.status, answer.error()), (503, "ServiceUnavailableException"));
    assert_eq!(daemon.get("/readyz").unwrap().status, 503);
    assert_eq!(put(&daemon, "s", 10..20).status, 200, "the others work");

    fs::remove_file(folder.join("definition-1.json")).unwrap();
    reload(&mut daemon, both);
    eventually("the stream is open", SOON, || (put(&daemon, "t", 0..10).status == 200).then_some(()));
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    all_settled(&daemon, "t", SOON);
    all_settled(&daemon, "s", SOON);
    lake.assert_rows("lake", 20, |_| 1..=1);
}
