//! A store that is away, slow, broken or refuses our key: puts go on, and everything arrives once it is well again.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use standpipe_testkit::Daemon;
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::servers::{Toxic, Toxiproxy};

use crate::lake::Lake;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};

fn yaml(store: &str) -> String {
    format!(
        "stores:\n  lake: {store}\nstreams:\n  - name: flights\n    destination:\n      s3: {{ store: lake, bucket: \
         lake, compression: gzip, delimiter: newline, buffering: {{ size: 1MiB, interval: 1s }} }}\n"
    )
}

/// Puts rows as boto3 does, all of which must be acknowledged at the first call.
fn put(daemon: &Daemon, rows: u64, rate: &str) {
    let python = Python::installed().unwrap();
    let count = rows.to_string();
    let args = ["flights", "--rows", &count, "--processes", "2", "--rate", rate];
    let put = finish(python.put(&daemon.endpoint(), "flights", &args)).unwrap();
    assert_eq!((put["acknowledged"].as_u64(), put["raised"].as_u64()), (Some(rows), Some(0)), "{put}");
}

/// Attempts of this run of the daemon, by what they came to.
pub(crate) fn attempts(daemon: &Daemon, class: &str) -> u64 {
    metric(daemon, "standpipe_delivery_attempts_total", &[&format!("kind=\"{class}\"")])
}

#[test]
fn a_store_that_is_away_for_some_seconds_is_no_concern_of_those_who_put() {
    const ROWS: u64 = 30_000;
    let mut lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake.yaml()));
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| put(&daemon, ROWS, "5000"));
        eventually("an object is delivered", SOON, || (attempts(&daemon, "ok") > 0).then_some(()));
        lake.server.kill().unwrap();
        let away = Instant::now();
        eventually("attempts fail, and puts go on", SOON, || {
            let reply = daemon.get("/readyz").unwrap();
            assert_eq!(reply.status, 200, "{}", reply.body);
            (attempts(&daemon, "transient") >= 3 && away.elapsed() > Duration::from_secs(3)).then_some(())
        });
        assert!(balance(&daemon, "flights").in_journal > 0);
        lake.server.restart().unwrap();
        putting.join().unwrap();
    });
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.accepted, balance.delivered), (ROWS, ROWS));
    assert!(daemon.get("/readyz").unwrap().is_ok());
    lake.assert_rows("lake", ROWS, |_| 1..=1);
    assert!(lake.unfinished_uploads("lake").is_empty());
}

#[test]
fn wrong_credentials_hold_the_data_and_raise_an_alarm_until_they_are_corrected() {
    const ROWS: u64 = 2_000;
    let lake = Lake::with(&["lake"]);
    let wrong = lake.yaml().replace("secret_access_key: standpipe-secret", "secret_access_key: mistyped");
    assert_ne!(wrong, lake.yaml());
    let mut daemon = start(yaml(&wrong));
    put(&daemon, ROWS, "100000");
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"flights\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    let ready = daemon.get("/readyz").unwrap();
    assert_eq!(ready.status, 200, "puts are still taken: {}", ready.body);
    assert!(ready.body.contains("alarm: flights: misconfigured:"), "{}", ready.body);
    assert_eq!(balance(&daemon, "flights").in_journal, ROWS);

    daemon.reconfigure(yaml(&lake.yaml())).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.accepted, balance.delivered), (ROWS, ROWS));
    eventually("the alarm is cleared", SOON, || {
        (metric(&daemon, "standpipe_alarm", &[]) == 0 && daemon.get("/readyz").unwrap().body == "ready\n")
            .then_some(())
    });
    lake.assert_rows("lake", ROWS, |_| 1..=1);
}

#[test]
fn slow_connections_cut_in_the_middle_of_bodies_and_lost_answers_only_delay() {
    const ROWS: u64 = 20_000;
    let lake = Lake::with(&["lake"]);
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let store = lake.server.access().through(proxy.endpoint()).store_yaml();
    let daemon = start(yaml(&store).replace("gzip", "none"));
    // The store gets the beginning of each object of 1 MiB.
    proxy.poison_requests(Toxic::Limit(300_000)).unwrap();
    put(&daemon, ROWS, "100000");
    eventually("attempts fail", SOON, || (attempts(&daemon, "transient") >= 3).then_some(()));
    assert_eq!(attempts(&daemon, "ok"), 0);
    proxy.heal().unwrap();
    // The store gets all of it, but its answer does not come back.
    proxy.poison(Toxic::Reset(Duration::from_millis(300))).unwrap();
    eventually("objects are stored", SOON, || (!lake.keys("lake").is_empty()).then_some(()));
    assert_eq!(attempts(&daemon, "ok"), 0);
    assert!(daemon.get("/readyz").unwrap().is_ok());
    proxy.heal().unwrap();
    proxy.poison(Toxic::Latency(Duration::from_millis(200))).unwrap();
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.accepted, balance.delivered), (ROWS, ROWS));
    lake.assert_rows("lake", ROWS, |_| 1..=1);
    assert!(lake.unfinished_uploads("lake").is_empty());
}

#[test]
fn a_bucket_that_is_not_there_yet_holds_the_data_until_it_is_made() {
    const ROWS: u64 = 2_000;
    let lake = Lake::with(&[]);
    let daemon = start(yaml(&lake.yaml()));
    put(&daemon, ROWS, "100000");
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"misconfigured\"", "stream=\"flights\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(&daemon, "flights").in_journal, ROWS);
    lake.make("lake");
    let settled = all_settled(&daemon, "flights", SOON);
    assert_eq!((settled.accepted, settled.delivered), (ROWS, ROWS));
    eventually("the alarm is cleared", SOON, || (alarm() == 0).then_some(()));
    lake.assert_rows("lake", ROWS, |_| 1..=1);
}
