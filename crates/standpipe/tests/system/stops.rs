//! Stopping under load, and being killed in the middle of an upload in parts.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use standpipe_model::Entropy;
use standpipe_testkit::SeededEntropy;
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::servers::{Toxic, Toxiproxy};

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, eventually, metric, start};

#[test]
fn a_stop_under_load_is_quick_and_loses_nothing() {
    const ROWS: u64 = 60_000;
    let lake = Lake::with(&["lake"]);
    let mut daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: flights\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         compression: gzip, delimiter: newline, buffering: {{ size: 1MiB, interval: 1s }} }}\n",
        lake.yaml()
    ));
    let raised = daemon.dir().join("raised");
    let producer = thread::spawn({
        let (endpoint, log) = (daemon.endpoint(), raised.to_str().unwrap().to_owned());
        let rows = ROWS.to_string();
        move || {
            let args =
                ["flights", "--rows", &rows, "--processes", "4", "--rate", "4000", "--raised-log", &log];
            finish(Python::installed().unwrap().put(&endpoint, "flights", &args)).unwrap()
        }
    });
    for stop in 1..=2 {
        let before = metric(&daemon, "standpipe_ingest_records_total", &[]);
        eventually("puts come in", SOON, || {
            (metric(&daemon, "standpipe_ingest_records_total", &[]) > before + 5_000).then_some(())
        });
        assert!(!producer.is_finished());
        let stopped = daemon.terminate().unwrap();
        println!("stop {stop} under load took {:?}", stopped.took);
        assert!(stopped.status.success(), "{stopped:?}");
        assert!(stopped.took < Duration::from_secs(2), "{stopped:?}");
        daemon.restart().unwrap();
    }
    let put = producer.join().unwrap();
    assert_eq!(put["acknowledged"].as_u64(), Some(ROWS), "{put}");
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.delivered, balance.lost), (balance.accepted, 0));
    let mut again: HashMap<u64, u32> = HashMap::new();
    for line in std::fs::read_to_string(&raised).unwrap_or_default().lines() {
        *again.entry(line.parse().unwrap()).or_default() += 1;
    }
    lake.assert_rows("lake", ROWS, |id| 1..=1 + again.get(&id).copied().unwrap_or_default());
}

#[test]
fn a_kill_in_the_middle_of_an_upload_in_parts_leaves_no_upload_and_one_object() {
    let lake = Lake::with(&["lake"]);
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    let mut daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: large\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         buffering: {{ size: 19MiB, interval: 600s }} }}\n",
        lake.server.access().through(proxy.endpoint()).store_yaml()
    ));
    proxy.poison_requests(Toxic::Bandwidth(4000)).unwrap();
    let chance = SeededEntropy::new(19);
    // The twentieth record of 1,000 KiB is the one that reaches 19 MiB.
    let mut records = vec![vec![0; 1000 << 10]; 20];
    records.iter_mut().for_each(|record| chance.fill(record));
    let client = Client::of(&daemon);
    for batch in records.chunks(4) {
        assert_eq!(client.call("PutRecordBatch", batch_of("large", batch.to_vec())).status, 200);
    }
    eventually("the upload has begun", SOON, || (!lake.unfinished_uploads("lake").is_empty()).then_some(()));
    daemon.kill9().unwrap();
    assert_eq!(lake.unfinished_uploads("lake").len(), 1);
    assert!(lake.keys("lake").is_empty());
    proxy.heal().unwrap();
    daemon.restart().unwrap();
    let balance = all_settled(&daemon, "large", SOON);
    assert_eq!((balance.accepted, balance.delivered), (20, 20));
    let keys = lake.keys("lake");
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(
        lake.get("lake", &keys[0]) == records.concat(),
        "the object is the records in the order of the puts"
    );
    assert_eq!(lake.unfinished_uploads("lake"), Vec::<String>::new());
}
