//! Reference tables through the daemon into a real S3 server: rows that get their columns, and files that change while
//! batches wait.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use standpipe_testkit::guests::example;
use tempfile::TempDir;

use crate::formats::{download, duckdb};
use crate::lake::Lake;
use crate::reload::{refused, reload, wait_for_an_open_batch};
use crate::support::{Balance, SOON, all_settled, eventually, files_below, metric, sdk_put, start};
use crate::transform::{failures, raw};

const DEVICES: &str = "device,site,model\nd1,bern,T100\nd2,\"oslo, roof\",T200\n";

/// The file of a table.
struct File(TempDir);

impl File {
    fn of(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("devices.csv")
    }

    /// Puts another file in its place at once, as `mv` does.
    fn write(&self, text: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// Stores, the table and its options.
    fn yaml(&self, lake: &Lake, options: &str) -> String {
        let path = self.path();
        format!(
            "stores: {{ lake: {} }}\ntables: {{ devices: {{ path: {}, key: device{options} }} }}\n",
            lake.yaml(),
            path.display()
        )
    }
}

/// A stream whose rows come to lie below its name.
pub(crate) fn stream(name: &str, processors: &str) -> String {
    format!(
        "  - {{ name: {name}, processors: [ {processors}, append_delimiter: \"\\n\" ], destination: {{ s3: {{ bucket: lake, \
         prefix: {name}/, error_output_prefix: \"errors-{name}/!{{firehose:error-output-type}}/\", buffering: {{ size: 1MiB, \
         interval: 1s }} }} }} }}\n"
    )
}

/// The rows of a stream, in the order of their text.
pub(crate) fn rows(lake: &Lake, name: &str) -> Vec<Value> {
    let prefix = format!("{name}/");
    let keys = lake.keys("lake").into_iter().filter(|key| key.starts_with(&prefix));
    let objects: Vec<u8> = keys.flat_map(|key| lake.get("lake", &key)).collect();
    let mut lines: Vec<&str> = str::from_utf8(&objects).unwrap().lines().collect();
    lines.sort_unstable();
    lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn reading(device: &str) -> Vec<u8> {
    json!({"device": device, "celsius": 21.5}).to_string().into_bytes()
}

#[test]
fn rows_get_the_columns_of_their_key_and_misses_are_kept_dropped_or_failed() {
    let (lake, file) = (Lake::with(&["lake"]), File::of(DEVICES));
    let mut yaml = file.yaml(&lake, "") + "streams:\n";
    for miss in ["keep", "drop", "fail"] {
        let columns = "columns: { site: where, model: model }";
        yaml +=
            &stream(miss, &format!("enrich: {{ table: devices, key: .device, {columns}, miss: {miss} }}"));
    }
    let daemon = start(yaml);
    let full = [
        json!({"device": "d1", "celsius": 21.5, "where": "bern", "model": "T100"}),
        json!({"device": "d2", "celsius": 21.5, "where": "oslo, roof", "model": "T200"}),
    ];
    let bare: Value = serde_json::from_slice(&reading("d3")).unwrap();
    for (miss, dropped, failed) in [("keep", 0, 0), ("drop", 1, 0), ("fail", 0, 1)] {
        sdk_put(&daemon, miss, ["d1", "d2", "d3"].map(reading));
        let Balance { accepted, delivered, dropped: none, backed_up, lost, .. } =
            all_settled(&daemon, miss, SOON);
        assert_eq!((none, backed_up, lost), (dropped, failed, 0), "{miss}");
        assert_eq!((accepted, delivered), (3, 3 - dropped - failed), "{miss}");
        let found = rows(&lake, miss);
        let expected: Vec<&Value> = full.iter().chain((miss == "keep").then_some(&bare)).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{miss}");
    }
    let failed = &failures(&lake, "errors-fail/")["processing-failed"];
    assert_eq!((raw(&failed[0]), &failed[0]["errorCode"]), (reading("d3"), &json!("Enrich.KeyNotFound")));
    assert_eq!(failed.len(), 1);
}

/// The versions of tables on disk.
pub(crate) fn versions(daemon: &Daemon) -> usize {
    let files = files_below(&daemon.data_dir().join("functions"));
    files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "table")).count()
}

const WHERE: &str = "enrich: { table: devices, key: .device, columns: [site] }";

#[test]
fn a_batch_sees_the_table_that_it_was_closed_with_whatever_dies() {
    let (mut lake, file) = (Lake::with(&["lake"]), File::of("device,site\nd1,old\n"));
    let mut daemon = start(file.yaml(&lake, "") + "streams:\n" + &stream("s", WHERE));
    lake.server.kill().unwrap();
    sdk_put(&daemon, "s", [reading("d1")]);
    wait_for_an_open_batch(&daemon, "s");
    file.write("device,site\nd1,young\n");
    assert_eq!(daemon.post("/reload", "").unwrap().status, 200);
    assert_eq!(versions(&daemon), 2);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(versions(&daemon), 2, "the open batch still needs the old one");
    sdk_put(&daemon, "s", [reading("d1")]);
    lake.server.restart().unwrap();
    all_settled(&daemon, "s", SOON);
    let found: Vec<Value> = rows(&lake, "s").iter().map(|row| row["site"].clone()).collect();
    assert_eq!(found, ["old", "young"]);
    eventually("nothing needs the old version any more", SOON, || (versions(&daemon) == 1).then_some(()));
}

#[test]
fn a_batch_whose_version_of_a_table_is_gone_is_held_until_it_is_bound_to_the_one_in_force() {
    let (mut lake, file) = (Lake::with(&["lake"]), File::of("device,site\nd1,old\n"));
    let mut daemon = start(file.yaml(&lake, "") + "streams:\n" + &stream("s", WHERE));
    lake.server.kill().unwrap();
    sdk_put(&daemon, "s", [reading("d1")]);
    wait_for_an_open_batch(&daemon, "s");
    daemon.kill9().unwrap();
    file.write("device,site\nd1,young\n");
    for file in files_below(&daemon.data_dir().join("functions")) {
        fs::remove_file(file).unwrap();
    }
    daemon.restart().unwrap();
    lake.server.restart().unwrap();
    eventually("the alarm says which", SOON, || {
        let ready = daemon.get("/readyz").unwrap().body;
        (ready.contains("the version of table 'devices'") && ready.contains("rebind")).then_some(())
    });
    assert!(rows(&lake, "s").is_empty());
    let batches: Value = serde_json::from_str(&daemon.get("/streams/s/batches").unwrap().body).unwrap();
    let batch = batches[0]["batch"].as_str().unwrap();
    eventually("the batch is rebound", SOON, || {
        let rebound = daemon.post(&format!("/streams/s/batches/{batch}/rebind"), "").unwrap();
        (rebound.status == 200).then_some(())
    });
    all_settled(&daemon, "s", SOON);
    assert_eq!(rows(&lake, "s")[0]["site"], "young");
}

#[test]
fn a_changed_file_counts_without_a_reload_for_functions_too_and_a_bad_one_changes_nothing() {
    let (lake, file) = (Lake::with(&["lake"]), File::of("device,site\nd1,old\n"));
    let wasm = file.0.path().join("enrich.wasm");
    fs::write(&wasm, example("enrich")).unwrap();
    let yaml = file.yaml(&lake, ", refresh: 1s")
        + &format!(
            "functions: {{ enrich: {{ path: {}, tables: [devices], deadline: 60s }} }}\nstreams:\n",
            wasm.display()
        )
        + &stream("s", WHERE)
        + &stream("f", "wasm: enrich");
    let mut daemon = start(yaml.clone());
    let sites = |daemon: &Daemon| {
        for name in ["s", "f"] {
            sdk_put(daemon, name, [reading("d1")]);
            all_settled(daemon, name, SOON);
        }
        ["s", "f"].map(|name| rows(&lake, name).iter().map(|row| row["site"].clone()).collect::<Vec<_>>())
    };
    let reads = |daemon: &Daemon, kind: &str| metric(daemon, "standpipe_table_reads_total", &[kind]);
    let alarm = |daemon: &Daemon| metric(daemon, "standpipe_alarm", &[r#"kind="table_refused""#]);
    assert_eq!(sites(&daemon), [["old"], ["old"]]);
    file.write("device,site\nd1,young\n");
    eventually("it is read", SOON, || (reads(&daemon, r#"kind="ok""#) == 1).then_some(()));
    assert_eq!(sites(&daemon), [["old", "young"], ["old", "young"]]);

    for bad in ["device,site\nd1,x\nd1,y\n", "device,place\nd1,x\n"] {
        file.write(bad);
        let so_far = reads(&daemon, r#"kind="refused""#);
        eventually("it is refused", SOON, || (reads(&daemon, r#"kind="refused""#) > so_far).then_some(()));
        assert_eq!(alarm(&daemon), 1);
        reload(&mut daemon, yaml.clone());
        eventually("a reload is refused as well", SOON, || refused(&daemon).then_some(()));
    }
    assert_eq!(sites(&daemon), [["old", "young", "young"], ["old", "young", "young"]]);
    file.write("device,site\nd1,zero\n");
    eventually("the alarm ends", SOON, || (alarm(&daemon) == 0).then_some(()));
    assert_eq!(sites(&daemon)[1], ["old", "young", "young", "zero"]);
}

#[test]
fn readings_are_enriched_and_partitioned_by_site_and_day_into_parquet() {
    let (lake, file) = (Lake::with(&["lake"]), File::of(DEVICES));
    let stream = r#"schemas: { iot.readings: { columns: { device: string, seen: string, celsius: double, site: string, model: string } } }
streams:
  - name: readings
    processors: [ { enrich: { table: devices, key: .device, columns: [site, model], miss: fail } } ]
    format: { parquet: { schema: iot.readings } }
    destination:
      s3:
        bucket: lake
        prefix: 'readings/site=!{partitionKeyFromQuery:site}/day=!{partitionKeyFromQuery:day}/'
        error_output_prefix: errors/!{firehose:error-output-type}/
        partitioning: { keys: { site: .site, day: '.seen[:10]' } }
        buffering: { size: 64MiB, interval: 1s }
"#;
    let daemon = start(file.yaml(&lake, "") + stream);
    let sites = [("d1", "bern", "T100"), ("d2", "oslo, roof", "T200")];
    let of = |number: usize| {
        let ((device, site, model), day) = (sites[number % 2], 1 + number / 2 % 3);
        (device, format!("2026-11-{day:02}T00:00:00Z"), number as f64 / 4.0, site, model)
    };
    let records = (0..300).map(|number| {
        let (device, seen, celsius, ..) = of(number);
        json!({"device": device, "seen": seen, "celsius": celsius}).to_string().into_bytes()
    });
    let stranger = json!({"device": "d9", "seen": "2026-11-01T00:00:00Z"}).to_string().into_bytes();
    sdk_put(&daemon, "readings", records.chain([stranger.clone()]));
    let balance = all_settled(&daemon, "readings", SOON);
    assert_eq!((balance.accepted, balance.delivered, balance.backed_up), (301, 300, 1));
    assert_eq!(raw(&failures(&lake, "errors/")["processing-failed"][0]), stranger);

    let folder = tempfile::tempdir().unwrap();
    download(&lake, "readings/", folder.path());
    let folders = lake.keys("lake").into_iter().filter_map(|key| {
        let (folder, _) = key.strip_prefix("readings/")?.rsplit_once('/')?;
        Some(folder.to_owned())
    });
    let mut folders: Vec<String> = folders.collect();
    folders.sort_unstable();
    folders.dedup();
    let days = ["2026-11-01", "2026-11-02", "2026-11-03"];
    let expected = ["bern", "oslo, roof"].map(|site| days.map(|day| format!("site={site}/day={day}")));
    assert_eq!(folders, expected.concat());
    let select = "SELECT device, seen, celsius, site, model, contains(filename, concat('site=', site, '/day=', seen[:10], '/')) \
                  FROM read_parquet('{}/**/*.parquet', filename=true, hive_partitioning=false) ORDER BY celsius";
    let expected: Vec<Value> = (0..300)
        .map(|number| {
            let (device, seen, celsius, site, model) = of(number);
            json!([device, seen, celsius, site, model, true])
        })
        .collect();
    assert_eq!(duckdb(select, folder.path()), Value::from(expected));
}
