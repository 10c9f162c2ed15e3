//! The shortest way through: `standpipe put` of a file, delivered into a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use standpipe_model::Entropy;
use standpipe_testkit::cache::run;
use standpipe_testkit::{Daemon, SeededEntropy};

use crate::support::{SOON, all_settled, balance, files_below, flights_file, standpipe_put, start};

const YAML: &str = r#"
stores:
  disk: { type: file, path: ./delivered }
streams:
  - name: flights
    destination:
      s3:
        store: disk
        bucket: lake
        prefix: "flights/!{timestamp:yyyy}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/"
        compression: gzip
        delimiter: newline
        buffering: { size: 256KiB, interval: 1s }
"#;

/// How often each line stands in the delivered files.
fn delivered_lines(folder: &std::path::Path) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for file in files_below(folder) {
        let text = std::io::read_to_string(MultiGzDecoder::new(fs::File::open(file).unwrap())).unwrap();
        for line in text.lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    lines
}

#[test]
fn every_line_of_a_file_arrives_in_a_folder_once_and_again_after_a_restart() {
    let mut daemon = start(YAML);
    let mut expected = BTreeMap::new();
    for line in fs::read_to_string(flights_file()).unwrap().lines() {
        *expected.entry(line.to_owned()).or_default() += 1;
    }
    let rows = expected.values().sum::<usize>() as u64;
    let delivered = daemon.dir().join("delivered");

    run(&mut standpipe_put(&daemon, "flights", &flights_file())).unwrap();
    let first = all_settled(&daemon, "flights", SOON);
    assert_eq!((first.accepted, first.delivered), (rows, rows));
    assert_eq!(delivered_lines(&delivered), expected);
    assert!(files_below(&delivered).len() >= 3, "900 KB make several batches of 256 KiB");

    let stopped = daemon.terminate().unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    daemon.restart().unwrap();
    assert_eq!(balance(&daemon, "flights"), first, "the balance survives a restart");

    run(&mut standpipe_put(&daemon, "flights", &flights_file())).unwrap();
    let second = all_settled(&daemon, "flights", SOON);
    assert_eq!((second.accepted, second.delivered), (2 * rows, 2 * rows));
    expected.values_mut().for_each(|count| *count *= 2);
    assert_eq!(delivered_lines(&delivered), expected);
    assert!(daemon.get("/readyz").unwrap().is_ok());
    assert_eq!(leftovers(&daemon), 0);
}

/// Files that were begun and not finished.
fn leftovers(daemon: &Daemon) -> usize {
    let unfinished = |path: &&PathBuf| path.to_string_lossy().contains(".standpipe-tmp");
    files_below(daemon.dir()).iter().filter(unfinished).count()
}

#[test]
fn a_file_that_is_put_while_the_daemon_is_killed_arrives_once() {
    const KILLS: usize = 8;
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let chance = SeededEntropy::new(seed);
    let mut daemon = start(YAML.replace("256KiB", "64KiB"));
    for _ in 0..KILLS {
        let mut put = standpipe_put(&daemon, "flights", &flights_file());
        let putting = thread::spawn(move || run(&mut put).unwrap());
        thread::sleep(Duration::from_millis(chance.next_u64() % 400));
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
        putting.join().unwrap();
    }
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.accepted, balance.delivered), (KILLS as u64 * 3007, KILLS as u64 * 3007));
    let mut expected = BTreeMap::new();
    for line in fs::read_to_string(flights_file()).unwrap().lines() {
        *expected.entry(line.to_owned()).or_default() += KILLS;
    }
    assert_eq!(delivered_lines(&daemon.dir().join("delivered")), expected);
    assert_eq!(leftovers(&daemon), 0);
}
