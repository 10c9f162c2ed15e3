//! Binary segments of a recording: the largest records, ten minutes to a batch, on a clock that the test moves.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use standpipe::clock::Timer;
use standpipe::config::Config;
use standpipe::daemon::Source;
use standpipe_model::{Clock, Entropy, Timestamp};
use standpipe_testkit::{Daemon, ManualClock, SeededEntropy, http_get};
use tokio::runtime::Runtime;

use crate::client::{Client, batch_of};
use crate::support::{SOON, eventually, files_below};

/// The largest record that Firehose takes.
const RECORD: usize = 1000 << 10;
const RECORDS: usize = 14;

/// A clock that the test moves; whoever waits for it looks at it every few milliseconds.
#[derive(Debug)]
struct MovedTimer {
    clock: Arc<ManualClock>,
    looks: Arc<AtomicU64>,
}

impl Clock for MovedTimer {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn steady(&self) -> Duration {
        self.clock.steady()
    }
}

impl Timer for MovedTimer {
    fn sleep_until(&self, steady: Duration) -> BoxFuture<'static, ()> {
        let (clock, looks) = (Arc::clone(&self.clock), Arc::clone(&self.looks));
        Box::pin(async move {
            while clock.steady() < steady {
                tokio::time::sleep(Duration::from_millis(2)).await;
                looks.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

fn yaml() -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ndata_dir: ./data\nregion: us-east-1\ncredentials: [{{ access_key_id: {}, \
         secret_access_key: {} }}]\nstores:\n  disk: {{ type: file, path: ./delivered }}\nstreams:\n  - name: camera\n    \
         destination:\n      s3: {{ store: disk, bucket: segments, prefix: camera-, compression: UNCOMPRESSED, \
         file_extension: .ts, buffering: {{ size: 128MiB, interval: 600s }} }}\n",
        Daemon::ACCESS_KEY_ID,
        Daemon::SECRET_ACCESS_KEY,
    )
}

fn put_all(client: &Client, records: &[Vec<u8>]) {
    for batch in records.chunks(4) {
        let answer = client.call("PutRecordBatch", batch_of("camera", batch.to_vec()));
        assert_eq!((answer.status, answer.body["FailedPutCount"].as_u64()), (200, Some(0)), "{answer:?}");
    }
}

fn objects(dir: &Path) -> Vec<std::path::PathBuf> {
    files_below(&dir.join("delivered"))
}

#[test]
fn ten_minutes_of_the_largest_binary_records_become_one_object_of_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("standpipe.yaml");
    fs::write(&path, yaml()).unwrap();
    let config = Config::load(&path, &|_| None).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(u64::try_from(now.as_millis()).unwrap())));
    let looks = Arc::new(AtomicU64::new(0));
    let timer = Arc::new(MovedTimer { clock: Arc::clone(&clock), looks: Arc::clone(&looks) });
    let runtime = Runtime::new().unwrap();
    let entropy = Arc::new(SeededEntropy::new(9));
    let source = Source { path, dev_tls: false };
    let running = runtime.block_on(standpipe::daemon::start(source, config, timer, entropy)).unwrap();

    let chance = SeededEntropy::new(1000);
    let mut records = vec![vec![0; RECORD]; RECORDS];
    records.iter_mut().for_each(|record| chance.fill(record));
    put_all(&Client::at(running.endpoints.listen), &records);

    // Whoever waits has looked at the clock again and again, and has found it too early.
    let looked = |times| {
        let until = looks.load(Ordering::Relaxed) + times;
        eventually("the clock is looked at", SOON, || (looks.load(Ordering::Relaxed) > until).then_some(()));
    };
    looked(20);
    clock.advance(Duration::from_millis(599_900));
    looked(20);
    let metrics = || http_get(&format!("http://{}/metrics", running.endpoints.admin)).unwrap().body;
    assert!(metrics().contains(&format!(
        "standpipe_records_in_journal{{stream=\"camera\",destination=\"destinationId-000000000001\"}} {RECORDS}"
    )));
    assert!(objects(dir.path()).is_empty(), "nothing is delivered before its time");
    clock.advance(Duration::from_millis(100));
    let object = eventually("the object is there", SOON, || {
        let found = objects(dir.path());
        (found.len() == 1 && found[0].extension().is_some_and(|extension| extension == "ts"))
            .then(|| found[0].clone())
    });
    assert!(object.file_name().unwrap().to_str().unwrap().starts_with("camera-"), "{}", object.display());
    assert!(
        fs::read(&object).unwrap() == records.concat(),
        "the object is the records in the order of the puts"
    );
    runtime.block_on(running.stop());
    assert_eq!(objects(dir.path()).len(), 1);
}
