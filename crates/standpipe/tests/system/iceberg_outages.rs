//! Tables of the real Iceberg catalog that fail for longer than is borne: each row ends in the table or in the error
//! output, and never in both.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::servers::{Iceberg, Toxiproxy};

use crate::double::Answer;
use crate::fan_out::failed;
use crate::iceberg::{Between, added, create, described, rows, servers, with_function, yaml};
use crate::lake::Lake;
use crate::reload::reload;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};
use crate::transform::{failures, put, raw};

/// What lines of the error output say of a catalog that does not answer.
const UNAVAILABLE: &str = "Iceberg.CatalogUnavailable";

/// A stream into the table `readings`, a batch for each put, which bears the table's failures for so long.
fn impatient(lake: &Lake, catalog: &str, patience: &str) -> String {
    let buffering = format!("{{ interval: 0s }}\n        {patience}");
    yaml(lake, catalog, "readings", &buffering)
}

fn table_of_ids(catalog: &Iceberg) {
    catalog.create_table("lake", "readings", &[("id", true, json!("long"))]).unwrap();
}

/// Puts rows, one a batch, each beside a record that does not fit.
fn put_ids(daemon: &Daemon, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        put(daemon, "readings", [record(id), br#"{"id": "none"}"#.to_vec()]);
    }
}

fn record(id: u64) -> Vec<u8> {
    format!(r#"{{"id": {id}}}"#).into_bytes()
}

/// The ids in the table, each of which it has once.
fn ids(lake: &Lake, catalog: &Iceberg) -> BTreeSet<u64> {
    let found = rows(lake, catalog, "lake.readings", "SELECT id FROM t");
    let found: Vec<u64> = found.as_array().unwrap().iter().map(|row| row[0].as_u64().unwrap()).collect();
    let files = added(catalog, "readings");
    assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len(), "a file was added twice");
    let once: BTreeSet<u64> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "a row is there twice: {found:?}");
    once
}

/// The lines about what the table did not take.
fn set_aside(lake: &Lake) -> Vec<Value> {
    failures(lake, "errors/").remove("iceberg-failed").unwrap_or_default()
}

fn records(lines: &[Value]) -> BTreeSet<Vec<u8>> {
    lines.iter().map(raw).collect()
}

fn redrive(daemon: &Daemon) -> u64 {
    let done = failed(daemon, &["redrive", "readings", "--type", "iceberg-failed", "--json"]);
    let done: Value =
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    assert_eq!(done["state"], "done", "{done}");
    done["records"].as_u64().unwrap()
}

fn alarms(daemon: &Daemon) -> u64 {
    metric(daemon, "standpipe_alarm", &["kind=\"retry_exhausted\"", "stream=\"readings\""])
}

#[test]
fn what_a_catalog_that_stays_away_does_not_take_is_set_aside_and_goes_to_the_table_once_by_a_redrive() {
    let (lake, mut catalog) = servers();
    table_of_ids(&catalog);
    let daemon = start(impatient(&lake, &catalog.endpoint(), "retry: 2s"));
    put_ids(&daemon, 0..3);
    let before = all_settled(&daemon, "readings", SOON);
    assert_eq!((before.delivered, before.backed_up), (3, 3));
    catalog.kill().unwrap();
    put_ids(&daemon, 3..25);
    let during = all_settled(&daemon, "readings", SOON);
    assert_eq!((during.accepted, during.delivered, during.backed_up), (50, 3, 47));
    assert_eq!(alarms(&daemon), 1);
    let lines = set_aside(&lake);
    assert_eq!((lines.len(), records(&lines)), (22, (3..25).map(record).collect()));
    for line in &lines {
        assert_eq!((line.as_object().unwrap().len(), &line["errorCode"]), (6, &UNAVAILABLE.into()), "{line}");
        assert!(line["attemptsMade"].as_u64() > Some(1) && line["errorMessage"].is_string(), "{line}");
        let ended = line["attemptEndingTimestamp"].as_u64().unwrap();
        assert!(ended >= line["arrivalTimestamp"].as_u64().unwrap() + 2_000, "{line}");
    }

    let told = metric(&daemon, "standpipe_records_failed_total", &[&format!("code=\"{UNAVAILABLE}\"")]);
    assert_eq!(told, 22);

    catalog.restart().unwrap();
    put_ids(&daemon, 25..28);
    let after = all_settled(&daemon, "readings", SOON);
    assert_eq!((after.accepted, after.delivered, after.backed_up), (56, 6, 50));
    assert_eq!(alarms(&daemon), 0, "it takes rows again");
    assert_eq!(redrive(&daemon), 22);
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (28, 50));
    assert_eq!(ids(&lake, &catalog), (0..28).collect());
    assert_eq!(redrive(&daemon), 0);
}

/// Waits until all batches but one are set aside, so many.
fn one_is_held_beside(daemon: &Daemon, others: u64) {
    eventually("all others are set aside", SOON, || {
        let balance = balance(daemon, "readings");
        (balance.in_journal == 2 && balance.backed_up == 2 * others).then_some(())
    });
}

#[test]
fn a_batch_whose_commit_may_have_been_made_is_held_until_the_table_can_be_asked() {
    let (lake, catalog) = servers();
    table_of_ids(&catalog);
    let (between, before) = Between::start(&catalog, vec![Answer::HangUp]);
    let mut daemon = start(impatient(&lake, &before, "retry: 1s"));
    put_ids(&daemon, [0]);
    eventually("the answer to the commit is lost, and all others", SOON, || between.is_cut().then_some(()));
    assert_eq!(added(&catalog, "readings").len(), 1, "the commit was made");
    // Those behind it were never committed, and are given up.
    put_ids(&daemon, 1..4);
    one_is_held_beside(&daemon, 3);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    put_ids(&daemon, 4..6);
    one_is_held_beside(&daemon, 5);
    assert_eq!(records(&set_aside(&lake)), (1..6).map(record).collect());

    between.resume();
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (12, 1, 11));
    assert_eq!(records(&set_aside(&lake)), (1..6).map(record).collect());
    assert_eq!(redrive(&daemon), 5);
    all_settled(&daemon, "readings", SOON);
    assert_eq!(ids(&lake, &catalog), (0..6).collect());
}

/// Puts rows through commits that fail, in a stream that bears no failure: the first is made, the second is not.
fn check_asked(prepare: impl Fn(String) -> String) {
    let (lake, catalog) = servers();
    table_of_ids(&catalog);
    let script = vec![Answer::Status(503), Answer::TakeAndHangUp];
    let (between, before) = Between::start(&catalog, script);
    let daemon = start(prepare(impatient(&lake, &before, "retry: 0s")));
    for id in 0..3 {
        put_ids(&daemon, [id]);
        all_settled(&daemon, "readings", SOON);
    }
    assert!(between.is_through(), "every commit was made as it was told");
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.accepted, settled.delivered, settled.backed_up), (6, 2, 4));
    let lines = set_aside(&lake);
    assert_eq!(records(&lines), BTreeSet::from([record(1)]));
    let told = lines[0]["errorMessage"].as_str().unwrap();
    assert!(told.contains(".parquet was sent, and the table did not have it afterwards"), "{told}");
    assert_eq!(failures(&lake, "errors/")["format-conversion-failed"].len(), 3);
    assert_eq!(redrive(&daemon), 1);
    all_settled(&daemon, "readings", SOON);
    assert_eq!(ids(&lake, &catalog), (0..3).collect());
}

#[test]
fn the_table_is_asked_before_rows_are_given_up_and_those_that_it_has_are_delivered() {
    check_asked(|yaml| yaml);
}

#[test]
fn so_it_is_of_what_functions_have_made() {
    let folder = tempfile::tempdir().unwrap();
    check_asked(|yaml| with_function(&folder, yaml));
}

#[test]
fn a_stream_of_the_api_bears_what_its_retry_options_say() {
    let (lake, catalog) = servers();
    table_of_ids(&catalog);
    let (_between, before) = Between::start(&catalog, vec![Answer::Status(503)]);
    let daemon = start(impatient(&lake, &before, "retry: 90s"));
    assert_eq!(described(&daemon, "readings")["RetryOptions"]["DurationInSeconds"], 90);
    assert_eq!(create(&daemon, "called", 0)["RetryOptions"]["DurationInSeconds"], 0);
    for id in 0..2 {
        put(&daemon, "called", [record(id)]);
        all_settled(&daemon, "called", SOON);
    }
    let lines = failures(&lake, "called/").remove("iceberg-failed").unwrap();
    assert_eq!(records(&lines), BTreeSet::from([record(0)]));
    assert_eq!(ids(&lake, &catalog), BTreeSet::from([1]));
}

/// Puts rows while the catalog is away and the daemon is killed at any time, and then has them redriven.
fn check_kills(prepare: impl Fn(String) -> String) {
    const ROUNDS: u64 = 8;
    let (lake, mut catalog) = servers();
    table_of_ids(&catalog);
    let mut daemon = start(prepare(impatient(&lake, &catalog.endpoint(), "retry: 100ms")));
    put_ids(&daemon, [0]);
    all_settled(&daemon, "readings", SOON);
    catalog.kill().unwrap();
    for round in 0..ROUNDS {
        let before = balance(&daemon, "readings").backed_up;
        put_ids(&daemon, 1 + 6 * round..7 + 6 * round);
        eventually("some are set aside", SOON, || {
            (balance(&daemon, "readings").backed_up > before).then_some(())
        });
        thread::sleep(Duration::from_millis(37 * round % 100));
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
    }
    all_settled(&daemon, "readings", SOON);
    let lines = set_aside(&lake);
    assert_eq!(lines.len() as u64, 6 * ROUNDS, "each is set aside once");
    assert_eq!(records(&lines), (1..=6 * ROUNDS).map(record).collect());
    catalog.restart().unwrap();
    assert_eq!(redrive(&daemon), 6 * ROUNDS);
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (1 + 6 * ROUNDS, 1 + 12 * ROUNDS));
    assert_eq!(ids(&lake, &catalog), (0..=6 * ROUNDS).collect());
}

#[test]
fn each_row_is_set_aside_once_through_kills_while_the_catalog_is_away() {
    check_kills(|yaml| yaml);
}

#[test]
fn so_is_each_that_a_function_has_made() {
    let folder = tempfile::tempdir().unwrap();
    check_kills(|yaml| with_function(&folder, yaml));
}

#[test]
fn a_line_says_where_the_table_may_have_a_row_that_lagged_too_far_behind() {
    let (lake, catalog) = servers();
    table_of_ids(&catalog);
    let (between, before) = Between::start(&catalog, vec![Answer::HangUp]);
    let daemon = start(impatient(&lake, &before, "retry: 0s\n        max_lag: 2s"));
    put_ids(&daemon, [0]);
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (0, 2));
    let told = set_aside(&lake)[0]["errorMessage"].as_str().unwrap().to_owned();
    let file = added(&catalog, "readings").remove(0);
    assert!(
        told.starts_with(&format!("A commit of {file} was sent, and the table could not be asked")),
        "{told}"
    );
    between.resume();
    assert_eq!(ids(&lake, &catalog), BTreeSet::from([0]));
}

#[test]
fn what_someone_has_to_mend_holds_unless_the_table_may_only_lag_so_far_behind() {
    let (lake, catalog) = servers();
    table_of_ids(&catalog);
    let (between, before) = Between::start(&catalog, vec![Answer::Status(403); 1_000]);
    let mut daemon = start(impatient(&lake, &before, "retry: 0s"));
    put_ids(&daemon, [0]);
    let misconfigured = |daemon: &Daemon| metric(daemon, "standpipe_alarm", &["kind=\"misconfigured\""]);
    eventually("the alarm is raised", SOON, || (misconfigured(&daemon) == 1).then_some(()));
    assert_eq!(balance(&daemon, "readings").in_journal, 2);
    reload(&mut daemon, impatient(&lake, &before, "retry: 0s\n        max_lag: 1s"));
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.accepted, settled.backed_up), (2, 2));
    assert_eq!(set_aside(&lake)[0]["errorCode"], "Iceberg.Refused");
    between.resume();
    put_ids(&daemon, [1]);
    all_settled(&daemon, "readings", SOON);
    assert_eq!(ids(&lake, &catalog), BTreeSet::from([1]));
}

#[test]
fn what_only_the_store_fails_of_is_waited_for_since_the_error_output_is_in_it() {
    let (lake, catalog) = servers();
    table_of_ids(&catalog);
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let through = lake.server.access().through(proxy.endpoint()).store_yaml();
    let yaml = impatient(&lake, &catalog.endpoint(), "retry: 0s").replace(&lake.yaml(), &through);
    let daemon = start(yaml);
    put_ids(&daemon, [0]);
    all_settled(&daemon, "readings", SOON);
    proxy.cut().unwrap();
    put_ids(&daemon, [1]);
    let failed = || metric(&daemon, "standpipe_delivery_attempts_total", &["kind=\"transient\""]);
    eventually("it is tried again", SOON, || (failed() > 1).then_some(()));
    assert_eq!(balance(&daemon, "readings").in_journal, 2);
    proxy.heal().unwrap();
    let settled = all_settled(&daemon, "readings", SOON);
    assert_eq!((settled.delivered, settled.backed_up), (2, 2));
    assert_eq!((set_aside(&lake), ids(&lake, &catalog)), (Vec::new(), BTreeSet::from([0, 1])));
}
