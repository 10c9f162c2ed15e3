//! Many of everything: a thousand streams, and a thousand connections with the largest batches.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_testkit::Daemon;

use crate::client::{Client, Signed, batch_of, exchange};
use crate::support::{SOON, all_settled, eventually, files_below, metric, options, start};

const STREAMS: usize = 1_000;
const ROUNDS: usize = 10;
const CLIENTS: usize = 20;
const CONNECTIONS: usize = 1_000;
/// The largest record that Firehose takes; four are a batch of almost 4 MiB, which is as much as it takes at once.
const RECORD: usize = 1000 << 10;

/// A line of `/proc/<pid>/status`, its number.
fn status(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn open_files(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

#[test]
fn a_thousand_streams_with_a_put_each_second_deliver_everything() {
    let mut yaml = "stores:\n  disk: { type: file, path: ./delivered }\nstreams:\n".to_owned();
    for stream in 0..STREAMS {
        yaml.push_str(&format!(
            "  - {{ name: s{stream}, destination: {{ s3: {{ store: disk, bucket: b, prefix: s{stream}/, delimiter: \
             newline, buffering: {{ size: 1MiB, interval: 5s }} }} }} }}\n"
        ));
    }
    let began = Instant::now();
    let mut daemon = options(yaml).ready_within(SOON * 2).start().unwrap();
    println!("{STREAMS} new streams are ready after {:?}", began.elapsed());
    let client = Client::of(&daemon);
    let began = Instant::now();
    let mut took = thread::scope(|scope| {
        let one = |worker: usize| {
            let client = &client;
            move || {
                let mut connection = TcpStream::connect(client.address()).unwrap();
                let mut took = Vec::new();
                for at in
                    (0..ROUNDS).flat_map(|round| (worker..STREAMS).step_by(CLIENTS).map(move |s| (round, s)))
                {
                    let (round, stream) = at;
                    let due = Duration::from_secs(round as u64)
                        + Duration::from_secs(1) * stream as u32 / STREAMS as u32;
                    thread::sleep(due.saturating_sub(began.elapsed()));
                    let body = batch_of(&format!("s{stream}"), [format!("{stream} {round}").into_bytes()]);
                    let request = client.sign("PutRecordBatch", &body, None);
                    let sent = Instant::now();
                    let answer = exchange(&mut connection, &request);
                    took.push(sent.elapsed());
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
                took
            }
        };
        let workers: Vec<_> = (0..CLIENTS).map(|worker| scope.spawn(one(worker))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    took.sort();
    println!(
        "{} puts to {STREAMS} streams in {:.1} s: median {:?}, p99 {:?}; {} threads, {} open files, {} MiB resident",
        took.len(),
        began.elapsed().as_secs_f64(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        status(&daemon, "Threads"),
        open_files(&daemon),
        status(&daemon, "VmRSS") >> 10,
    );
    eventually("everything is delivered", SOON, || {
        (metric(&daemon, "standpipe_records_in_journal", &[]) == 0).then_some(())
    });
    let mut lines: HashMap<String, usize> = HashMap::new();
    for file in files_below(&daemon.dir().join("delivered")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(lines.len(), STREAMS * ROUNDS);
    assert!(lines.values().all(|count| *count == 1));
    let began = Instant::now();
    daemon.restart().unwrap();
    println!("{STREAMS} streams are ready after {:?} at a restart", began.elapsed());
}

/// Sends and gives the status, if there was an answer at all: whoever is refused may find the connection closed before
/// it has sent everything.
fn try_send(mut connection: &TcpStream, request: &Signed) -> Option<u16> {
    connection.set_read_timeout(Some(SOON)).unwrap();
    let sent = connection.write_all(&request.bytes);
    let mut head = [0; 12];
    connection.read_exact(&mut head).ok()?;
    let status = std::str::from_utf8(&head[9..]).ok()?.parse().ok()?;
    assert!(sent.is_ok() || status != 200, "what was not sent cannot be stored");
    Some(status)
}

#[test]
fn a_thousand_connections_with_the_largest_batches_take_bounded_memory() {
    let daemon = start(
        "stores:\n  disk: { type: file, path: ./delivered }\nstreams:\n  - name: large\n    journal_limit: 512MiB\n    \
         destination:\n      s3: { store: disk, bucket: b, buffering: { size: 16MiB, interval: 1s } }\n",
    );
    let client = Client::of(&daemon);
    let request = client.sign("PutRecordBatch", &batch_of("large", vec![vec![b'x'; RECORD]; 4]), None);
    let (stored, refused, unanswered) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let ready = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let send = || {
                let connection = TcpStream::connect(client.address()).unwrap();
                ready.wait();
                let counter = match try_send(&connection, &request) {
                    Some(200) => &stored,
                    Some(503) => &refused,
                    Some(status) => panic!("an answer of status {status}"),
                    None => &unanswered,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            };
            thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, send).unwrap();
        }
    });
    let peak = status(&daemon, "VmHWM") >> 10;
    println!(
        "{CONNECTIONS} connections with 4 MiB each: {stored:?} stored, {refused:?} refused, {unanswered:?} cut off; peak \
         {peak} MiB"
    );
    assert!(peak < 400, "the daemon took {peak} MiB");
    let balance = all_settled(&daemon, "large", SOON);
    assert!(
        balance.accepted >= 4 * stored.load(Ordering::Relaxed) as u64 && balance.accepted > 0,
        "{balance:?}"
    );
    assert_eq!(balance.delivered, balance.accepted);
    let delivered: u64 =
        files_below(&daemon.dir().join("delivered")).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(delivered, balance.delivered * RECORD as u64);
    assert_eq!(client.call("PutRecordBatch", batch_of("large", [b"after".to_vec()])).status, 200);
}
