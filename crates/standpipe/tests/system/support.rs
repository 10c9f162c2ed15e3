//! What the tests share: the daemon, waiting with a deadline, the metrics and their balance.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_firehose as sdk;
use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use standpipe_testkit::{Daemon, DaemonOptions};
use tokio::runtime::Runtime;

/// The program under test.
pub(crate) const STANDPIPE: &str = env!("CARGO_BIN_EXE_standpipe");

/// Long enough for anything that should happen soon, on a machine that does much else.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) fn options(yaml: impl Into<String>) -> DaemonOptions {
    DaemonOptions::new(STANDPIPE, yaml).env("RUST_LOG", "info,aws=warn,hyper=warn")
}

pub(crate) fn start(yaml: impl Into<String>) -> Daemon {
    options(yaml).start().unwrap()
}

/// Looks until there is something to see.
///
/// # Panics
/// When `patience` runs out.
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < patience, "after {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The sum of a metric over all its label sets that contain each of `labels`, such as `stream="a"`.
pub(crate) fn metric(daemon: &Daemon, name: &str, labels: &[&str]) -> u64 {
    let text = daemon.get("/metrics").unwrap().body;
    sum_of(&text, name, labels)
}

fn sum_of(text: &str, name: &str, labels: &[&str]) -> u64 {
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (named, given) = series.split_once('{').unwrap_or((series, ""));
        let wanted = named == name && labels.iter().all(|label| given.contains(label));
        wanted.then(|| value.parse::<f64>().unwrap() as u64)
    };
    text.lines().filter_map(value).sum()
}

/// What became of the records of a stream at one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) backed_up: u64,
    pub(crate) lost: u64,
    pub(crate) in_journal: u64,
}

/// The balance of a stream over all its destinations, checked for the law of conservation.
pub(crate) fn balance(daemon: &Daemon, stream: &str) -> Balance {
    let text = daemon.get("/metrics").unwrap().body;
    let label = format!("stream=\"{stream}\"");
    let of = |name: &str| sum_of(&text, &format!("standpipe_records_{name}"), &[&label]);
    let balance = Balance {
        accepted: of("accepted_total"),
        delivered: of("delivered_total"),
        dropped: of("dropped_total"),
        backed_up: of("backed_up_total"),
        lost: of("lost_total"),
        in_journal: of("in_journal"),
    };
    let fates = balance.delivered + balance.dropped + balance.backed_up + balance.lost;
    assert_eq!(balance.accepted, fates + balance.in_journal, "records must balance: {balance:?}");
    balance
}

/// Waits until nothing of the stream is left in the journal.
pub(crate) fn all_settled(daemon: &Daemon, stream: &str, patience: Duration) -> Balance {
    eventually("everything is settled", patience, || {
        let balance = balance(daemon, stream);
        (balance.in_journal == 0).then_some(balance)
    })
}

/// How the SDK for Rust reaches a daemon, with everything else at its defaults; over plain HTTP unless told otherwise.
pub(crate) fn sdk_config(endpoint: impl Into<String>, credentials: Credentials) -> sdk::config::Builder {
    sdk::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
}

/// The daemon's default credentials.
pub(crate) fn default_credentials() -> Credentials {
    Credentials::new(Daemon::ACCESS_KEY_ID, Daemon::SECRET_ACCESS_KEY, None, None, "test")
}

/// Puts records with the SDK for Rust, in one call that accepts all of them.
pub(crate) fn sdk_put(
    daemon: &Daemon,
    stream: &str,
    records: impl IntoIterator<Item = Vec<u8>>,
) -> PutRecordBatchOutput {
    let client = sdk::Client::from_conf(sdk_config(daemon.endpoint(), default_credentials()).build());
    let records = records.into_iter().map(|data| Record::builder().data(Blob::new(data)).build().unwrap());
    let put = client.put_record_batch().delivery_stream_name(stream).set_records(Some(records.collect()));
    let answer = Runtime::new().unwrap().block_on(put.send()).unwrap();
    assert_eq!(answer.failed_put_count(), 0, "{answer:?}");
    answer
}

/// `standpipe put` with the daemon's default credentials.
pub(crate) fn standpipe_put(daemon: &Daemon, stream: &str, file: &Path) -> Command {
    let mut command = Command::new(STANDPIPE);
    command.args(["put", "--endpoint", &daemon.endpoint(), "--stream", stream]).arg(file);
    command.env("STANDPIPE_ACCESS_KEY_ID", Daemon::ACCESS_KEY_ID);
    command.env("STANDPIPE_SECRET_ACCESS_KEY", Daemon::SECRET_ACCESS_KEY);
    command
}

/// 3,007 flights, one JSON object a line.
pub(crate) fn flights_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/flights.ndjson")
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
