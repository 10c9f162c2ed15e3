//! The daemon is killed again and again while boto3 puts: nothing acknowledged is lost, nothing is stored twice.
//!
//! A kill is classed by what the next start finds at the end of the journal:
//!
//! ```text
//! append    the last frame is DATA, no batch is open
//! close     the last frame is CLOSE
//! attempt   a batch is open, and puts have come in since its CLOSE
//! settle    the last frame is DONE or SETTLE
//! ```
//!
//! Kills come at random moments after a sign that the wanted class is near, until every class was hit twice. The seed is
//! printed; `STANDPIPE_KILL_SEED` repeats it, as far as a race can be repeated.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use standpipe_model::Entropy;
use standpipe_testkit::clients::{Python, finish};
use standpipe_testkit::servers::{Toxic, Toxiproxy};
use standpipe_testkit::{Daemon, SeededEntropy};

use crate::flights::FLIGHTS;
use crate::lake::Lake;
use crate::support::{SOON, all_settled, files_below, metric, start};

const KILLS: usize = 12;
const EACH: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hit {
    Append,
    Close,
    Attempt,
    Settle,
}

const ALL: [Hit; 4] = [Hit::Append, Hit::Close, Hit::Attempt, Hit::Settle];

/// Where the kill before the latest start has hit, by what that start has logged.
fn hit(log: &str) -> Option<Hit> {
    let line = log.lines().rfind(|line| line.contains("journal recovered")).unwrap();
    let plain = without_colours(line);
    let field = |name: &str| {
        let rest = plain.split_once(&format!("{name}=")).unwrap().1;
        rest.split(' ').next().unwrap().to_owned()
    };
    let open: usize = field("open_batches").parse().unwrap();
    match field("last_frame").as_str() {
        "Some(Close)" => Some(Hit::Close),
        "Some(Done)" | "Some(Settle)" => Some(Hit::Settle),
        "Some(Data)" if open == 0 => Some(Hit::Append),
        "Some(Data)" => Some(Hit::Attempt),
        _ => None,
    }
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// Waits for a sign that the wanted moment is near.
fn aim(daemon: &Daemon, wanted: Hit, random: u64) {
    let counter = match wanted {
        Hit::Append => None,
        Hit::Close | Hit::Attempt => Some("standpipe_delivery_batches_total"),
        Hit::Settle => Some("standpipe_records_delivered_total"),
    };
    thread::sleep(Duration::from_millis(300 + random % 900));
    let Some(counter) = counter else { return };
    let (before, deadline) = (metric(daemon, counter, &[]), Instant::now() + Duration::from_secs(5));
    while metric(daemon, counter, &[]) == before && Instant::now() < deadline {}
    if wanted == Hit::Attempt {
        // Puts come in bursts: until one has come while the batch is on its way.
        let (closed, accepted) =
            (metric(daemon, counter, &[]), || metric(daemon, "standpipe_records_accepted_total", &[]));
        let before = accepted();
        while accepted() == before && metric(daemon, counter, &[]) == closed && Instant::now() < deadline {}
    }
}

fn lines_of(file: &Path) -> HashMap<u64, u32> {
    let mut count = HashMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        *count.entry(line.parse().unwrap()).or_default() += 1;
    }
    count
}

fn missing(hits: &BTreeMap<Hit, usize>) -> Vec<Hit> {
    ALL.into_iter().filter(|hit| hits.get(hit) < Some(&EACH)).collect()
}

/// Puts the whole table once, in about 65 seconds.
fn produce(daemon: &Daemon, [acknowledged, raised]: [&Path; 2]) -> JoinHandle<Value> {
    let args = ["flights", "--processes", "4", "--rate", "5200", "--log"];
    let mut put = Python::installed().unwrap().put(&daemon.endpoint(), "flights", &args);
    put.arg(acknowledged).arg("--raised-log").arg(raised);
    thread::spawn(move || finish(put).unwrap())
}

#[test]
fn kills_at_random_moments_lose_nothing_that_was_acknowledged_and_store_nothing_twice() {
    let seed = std::env::var("STANDPIPE_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("STANDPIPE_KILL_SEED={seed}");
    let chance = SeededEntropy::new(seed);
    let lake = Lake::with(&["lake"]);
    let toxiproxy = Toxiproxy::start().unwrap();
    let proxy = toxiproxy.proxy("lake", &lake.server.access().endpoint).unwrap();
    // Attempts take long enough to be hit.
    proxy.poison(Toxic::Latency(Duration::from_millis(150))).unwrap();
    let mut daemon = start(format!(
        "stores:\n  lake: {}\nstreams:\n  - name: flights\n    destination:\n      s3: {{ store: lake, bucket: lake, \
         compression: gzip, delimiter: newline, buffering: {{ size: 1MiB, interval: 1s }} }}\n",
        lake.server.access().through(proxy.endpoint()).store_yaml()
    ));
    let (acknowledged, raised) = (daemon.dir().join("acknowledged"), daemon.dir().join("raised"));
    let mut hits: BTreeMap<Hit, usize> = BTreeMap::new();
    let (mut kills, mut passes) = (0, 0);
    // One pass over the table is enough where restarts are quick.
    while passes < 4 && (kills < KILLS || !missing(&hits).is_empty()) {
        let producer = produce(&daemon, [&acknowledged, &raised]);
        passes += 1;
        while !producer.is_finished() && (kills < KILLS || !missing(&hits).is_empty()) {
            let (random, wanted) = (chance.next_u64(), missing(&hits));
            let wanted = if wanted.is_empty() { &ALL[..] } else { &wanted };
            aim(&daemon, wanted[usize::try_from(random % wanted.len() as u64).unwrap()], random >> 8);
            daemon.kill9().unwrap();
            daemon.restart().unwrap();
            kills += 1;
            if let Some(hit) = hit(&daemon.log()) {
                *hits.entry(hit).or_default() += 1;
            }
        }
        let put = producer.join().unwrap();
        println!("{kills} kills hit {hits:?}; the puts: {put}");
    }
    assert!(kills >= KILLS && missing(&hits).is_empty(), "{kills} kills hit {hits:?}");
    let balance = all_settled(&daemon, "flights", SOON);
    assert_eq!((balance.delivered, balance.lost), (balance.accepted, 0));
    let (acknowledged, raised) = (lines_of(&acknowledged), lines_of(&raised));
    assert_eq!(acknowledged.len() as u64, FLIGHTS);
    assert!(acknowledged.values().all(|times| *times == passes));
    // A call that raised was made again as a new one; each of the two may have been stored, and each at most once.
    lake.assert_rows("lake", FLIGHTS, |id| passes..=passes + raised.get(&id).copied().unwrap_or_default());
    assert!(lake.unfinished_uploads("lake").is_empty());
    let leftover = |path: &std::path::PathBuf| path.to_string_lossy().contains(".standpipe-tmp");
    assert!(!files_below(daemon.dir()).iter().any(leftover));
}
