//! Rows that go to objects by what is in them, through the daemon into a real S3 server: each to its own, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use standpipe_testkit::Daemon;
use standpipe_testkit::guests::probe_component;
use standpipe_testkit::servers::{Toxic, Toxiproxy};

use crate::lake::Lake;
use crate::support::{SOON, STANDPIPE, all_settled, balance, eventually, files_below, metric, start};
use crate::transform::{failures, put, raw};

const CUT: usize = 4 << 10;

fn yaml(store: &str, limit: u32) -> String {
    format!(
        r#"stores:
  lake: {store}
streams:
  - name: readings
    processors:
      - append_delimiter: "\n"
    destination:
      s3:
        bucket: lake
        prefix: 'readings/device=!{{partitionKeyFromQuery:device}}/!{{timestamp:yyyy}}/'
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        partitioning: {{ keys: {{ device: .device }}, limit: {limit} }}
        buffering: {{ size: {CUT}B, interval: 1s }}
"#
    )
}

/// Every second row is of device 0, the others of 1 to 59.
fn device(id: u64) -> u64 {
    if id.is_multiple_of(2) { 0 } else { 1 + id / 2 % 59 }
}

fn record(id: u64) -> Vec<u8> {
    format!(r#"{{"id":{id},"device":{},"text":"some text that makes it longer"}}"#, device(id)).into_bytes()
}

/// All that was delivered, by key.
fn objects(lake: &Lake) -> BTreeMap<String, Vec<u8>> {
    let keys = lake.keys("lake").into_iter().filter(|key| key.starts_with("readings/"));
    keys.map(|key| (key.clone(), lake.get("lake", &key))).collect()
}

/// The ids of the rows that were delivered; each lies with its device, in order, in an object that ends where it should.
fn ids(objects: &BTreeMap<String, Vec<u8>>) -> Vec<u64> {
    let mut ids = Vec::new();
    for (key, object) in objects {
        let text = std::str::from_utf8(object).unwrap();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let own: Vec<u64> = rows.iter().map(|row| row["id"].as_u64().unwrap()).collect();
        assert!(own.is_sorted(), "{key}");
        for id in &own {
            assert!(key.starts_with(&format!("readings/device={}/20", device(*id))), "{id} is in {key}");
        }
        let last = text.lines().last().unwrap().len() + 1;
        assert!(object.len() - last < CUT, "{key} has {} bytes", object.len());
        ids.extend(own);
    }
    ids.sort_unstable();
    ids
}

fn spools(daemon: &Daemon) -> Vec<PathBuf> {
    let files = files_below(&daemon.data_dir()).into_iter();
    files.filter(|file| file.extension().is_some_and(|ending| ending == "spool")).collect()
}

#[test]
fn each_row_reaches_its_partition_once_under_the_same_key_through_kills() {
    const COUNT: u64 = 4_000;
    let lake = Lake::with(&["lake"]);
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let store = lake.server.access().through(proxy.endpoint()).store_yaml();
    proxy.poison(Toxic::Latency(Duration::from_millis(150))).unwrap();
    let mut daemon = start(yaml(&store, 60));
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (round, first) in (0..COUNT).step_by(1_000).enumerate() {
        for first in (first..first + 1_000).step_by(250) {
            put(&daemon, "readings", (first..first + 250).map(record));
        }
        if round < 3 {
            // In the middle of a window's objects.
            let before = seen.len();
            eventually("some objects arrive", SOON, || (objects(&lake).len() > before + 3).then_some(()));
            daemon.kill9().unwrap();
            seen = objects(&lake);
            daemon.restart().unwrap();
        }
    }
    proxy.heal().unwrap();
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.accepted, balance.delivered), (COUNT, COUNT));
    let objects = objects(&lake);
    assert_eq!(ids(&objects), (0..COUNT).collect::<Vec<_>>(), "each row is there once");
    for (key, bytes) in seen {
        assert_eq!(objects.get(&key), Some(&bytes), "{key} is as it was before the last kill");
    }
    let keys: BTreeSet<&str> = objects.keys().filter_map(|key| key.split('/').nth(1)).collect();
    assert_eq!(keys.len(), 60);
    assert_eq!(spools(&daemon), Vec::<PathBuf>::new(), "what is settled takes no space");
    assert!(lake.unfinished_uploads("lake").is_empty());
}

#[test]
fn what_a_function_drew_by_lot_is_delivered_as_it_was_drawn_through_a_kill() {
    const COUNT: u64 = 600;
    let lake = Lake::with(&["lake"]);
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    proxy.poison(Toxic::Latency(Duration::from_millis(400))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("draw.wasm"), probe_component()).unwrap();
    let mut daemon = start(format!(
        r#"stores: {{ lake: {store} }}
functions: {{ draw: {{ path: {path}, grant: [random] }} }}
streams:
  - name: lots
    processors: [ wasm: draw ]
    destination:
      s3:
        bucket: lake
        prefix: 'readings/lot=!{{partitionKeyFromLambda:lot}}/'
        error_output_prefix: errors/!{{firehose:error-output-type}}/
        partitioning: {{ limit: 12 }}
        buffering: {{ size: 1KiB, interval: 1s }}
"#,
        store = lake.server.access().through(proxy.endpoint()).store_yaml(),
        path = folder.path().join("draw.wasm").display(),
    ));
    for first in (0..COUNT).step_by(300) {
        put(&daemon, "lots", (first..first + 300).map(|id| format!("draw {id:0>100}").into_bytes()));
    }
    eventually("some objects arrive", SOON, || (objects(&lake).len() > 2).then_some(()));
    daemon.kill9().unwrap();
    let seen = objects(&lake);
    let rows: usize = seen.values().map(|object| object.iter().filter(|byte| **byte == b'\n').count()).sum();
    assert!((rows as u64) < COUNT, "it died in the middle");
    daemon.restart().unwrap();
    proxy.heal().unwrap();
    let balance = all_settled(&daemon, "lots", SOON);
    assert_eq!((balance.accepted, balance.delivered), (COUNT, COUNT));
    let objects = objects(&lake);
    let text: String = objects.values().map(|object| std::str::from_utf8(object).unwrap()).collect();
    let mut ids: Vec<u64> = text.lines().map(|line| line["draw ".len()..].parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..COUNT).collect::<Vec<_>>(), "each row is there once");
    for (key, bytes) in seen {
        assert_eq!(objects.get(&key), Some(&bytes), "{key} is as it was before the kill");
    }
}

#[test]
fn records_without_a_partition_and_beyond_the_limit_are_set_aside_with_the_reason() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(yaml(&lake.yaml(), 10));
    let good = (0..10).map(|id| format!(r#"{{"id":{id},"device":"d{id}"}}"#));
    let beyond = (10..15).map(|id| format!(r#"{{"id":{id},"device":"d{id}"}}"#));
    let wrong = [
        r#"{"id":20}"#,
        r#"{"id":21,"device":null}"#,
        r#"{"id":22,"device":""}"#,
        "no JSON",
        r#"{"id":23,"device":"a\nb"}"#,
        r#"{"id":26,"device":"a//b"}"#,
    ];
    let long = format!(r#"{{"id":24,"device":"{0}/{0}/{0}"}}"#, "x".repeat(200));
    let no_folder = format!(r#"{{"id":25,"device":"{}"}}"#, "x".repeat(300));
    let records = [long.clone(), no_folder.clone()]
        .into_iter()
        .chain(good)
        .chain(beyond)
        .chain(wrong.map(str::to_owned));
    put(&daemon, "readings", records.map(String::into_bytes));
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (23, 10, 13));
    assert_eq!(objects(&lake).len(), 10);
    let mut failed = failures(&lake, "errors/");
    let lines =
        [failed.remove("processing-failed").unwrap(), failed.remove("activePartitionExceeded").unwrap()];
    assert_eq!((lines[1].len(), failed.is_empty()), (5, true), "{failed:?}");
    let lines = lines.concat();
    let reasons: BTreeMap<String, (String, String)> = lines
        .iter()
        .map(|line| {
            let of = |member: &str| line[member].as_str().unwrap().to_owned();
            (String::from_utf8(raw(line)).unwrap(), (of("errorCode"), of("errorMessage")))
        })
        .collect();
    assert_eq!(reasons.len(), 13);
    for id in 10..15 {
        let (code, message) = &reasons[&format!(r#"{{"id":{id},"device":"d{id}"}}"#)];
        assert_eq!(code, "DynamicPartitioning.ActivePartitionsLimitExceeded");
        assert_eq!(message, "The number of active partitions has exceeded the configured limit");
    }
    for record in wrong.into_iter().chain([no_folder.as_str()]) {
        let (code, message) = &reasons[record];
        assert_eq!(code, "DynamicPartitioning.MetadataExtractionFailed", "{record}: {message}");
    }
    let (code, message) = &reasons[&long];
    assert_eq!(code, "DynamicPartitioning.InvalidKey");
    assert!(message.ends_with("characters, allowed are 512"), "{message}");
    assert_eq!(metric(&daemon, "standpipe_partitions", &["readings"]), 10);
    assert_eq!(metric(&daemon, "standpipe_partition_limit_records_total", &["readings"]), 5);
}

#[test]
fn a_spool_that_cannot_be_read_holds_its_batch_until_it_is_made_anew() {
    const COUNT: u64 = 500;
    let mut lake = Lake::with(&["lake"]);
    let mut daemon = start(yaml(&lake.yaml(), 60));
    lake.server.kill().unwrap();
    put(&daemon, "readings", (0..COUNT).map(record));
    let spool = eventually("the batch is planned", SOON, || {
        let failing = metric(&daemon, "standpipe_delivery_attempts_total", &["kind=\"transient\""]) > 0;
        spools(&daemon).pop().filter(|_| failing)
    });
    daemon.kill9().unwrap();
    let mut bytes = std::fs::read(&spool).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&spool, bytes).unwrap();
    lake.server.restart().unwrap();
    daemon.restart().unwrap();
    let alarm = || metric(&daemon, "standpipe_alarm", &["kind=\"refused\"", "stream=\"readings\""]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    let batch = spool.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().0;
    let advice = format!("'standpipe batches rebind readings {batch}'");
    assert!(daemon.get("/readyz").unwrap().body.contains(&advice));
    assert_eq!(balance(&daemon, "readings").in_journal, COUNT);

    let standpipe = |args: &[&str]| {
        let mut command = Command::new(STANDPIPE);
        let run = command.args(["batches"]).args(args).args(["--admin", &daemon.admin()]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    standpipe(&["rebind", "readings", batch]);
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.accepted, balance.delivered), (COUNT, COUNT));
    let delivered = ids(&objects(&lake));
    let once: BTreeSet<u64> = delivered.iter().copied().collect();
    assert_eq!(once, (0..COUNT).collect::<BTreeSet<_>>(), "each row is there");
    // What was delivered before the damage was met comes again: it is not known any more which rows those were.
    assert!(delivered.len() < 2 * COUNT as usize);
}

#[test]
fn what_fails_for_longer_than_the_retry_of_its_partitions_raises_an_alarm_and_is_delivered_later() {
    const COUNT: u64 = 100;
    let mut lake = Lake::with(&["lake"]);
    let usual = yaml(&lake.yaml(), 60);
    let (_, patient) = usual.split_once("streams:\n").unwrap();
    let patient = patient.replace("name: readings", "name: patient").replace("'readings/", "'patient/");
    let mut daemon = start(usual.replace("limit: 60 }", "limit: 60, retry: 2s }") + &patient);
    lake.server.kill().unwrap();
    for stream in ["readings", "patient"] {
        put(&daemon, stream, (0..COUNT).map(record));
    }
    let alarm = |daemon: &Daemon, stream: &str| {
        let stream = format!("stream=\"{stream}\"");
        metric(daemon, "standpipe_alarm", &["kind=\"retry_exhausted\"", &stream])
    };
    eventually("the alarm is raised", SOON, || (alarm(&daemon, "readings") > 0).then_some(()));
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    eventually("it is raised again", SOON, || (alarm(&daemon, "readings") > 0).then_some(()));
    let failed = || metric(&daemon, "standpipe_delivery_attempts_total", &["kind=\"transient\"", "patient"]);
    eventually("the other fails too", SOON, || (failed() > 0).then_some(()));
    assert_eq!(alarm(&daemon, "patient"), 0, "its time is not over");
    lake.server.restart().unwrap();
    for stream in ["readings", "patient"] {
        let balance = all_settled(&daemon, stream, SOON);
        assert_eq!((balance.delivered, balance.backed_up), (COUNT, 0));
    }
    eventually("the alarm is cleared", SOON, || (alarm(&daemon, "readings") == 0).then_some(()));
    assert_eq!(ids(&objects(&lake)), (0..COUNT).collect::<Vec<_>>());
}
