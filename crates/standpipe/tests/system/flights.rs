//! A whole table through boto3 with its default retries: 336,776 flights from four processes, each once in the lake.

use std::time::Instant;

use standpipe_testkit::clients::{Python, finish};

use crate::lake::Lake;
use crate::support::{SOON, all_settled, metric, start};

/// Rows of the flights table.
pub(crate) const FLIGHTS: u64 = 336_776;

#[test]
fn every_flight_that_boto3_puts_from_four_processes_is_in_the_lake_once() {
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: flights\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         compression: gzip, delimiter: newline, buffering: {{ size: 5MiB, interval: 5s }} }}\n",
        lake.yaml()
    ));
    let python = Python::installed().unwrap();
    let put = finish(python.put(&daemon.endpoint(), "flights", &["flights", "--processes", "4"])).unwrap();
    let started = Instant::now();
    assert_eq!((put["acknowledged"].as_u64(), put["raised"].as_u64()), (Some(FLIGHTS), Some(0)), "{put}");
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.accepted, balance.delivered), (FLIGHTS, FLIGHTS));
    let seconds = put["seconds"].as_f64().unwrap();
    println!(
        "boto3, four processes: {FLIGHTS} rows in {seconds:.1} s, {:.0} rows/s; delivered {:.1} s after the last put",
        FLIGHTS as f64 / seconds,
        started.elapsed().as_secs_f64()
    );
    assert_eq!(metric(&daemon, "standpipe_ingest_records_total", &[]), FLIGHTS);
    lake.assert_rows("lake", FLIGHTS, |_| 1..=1);
}
