//! A stream with two destinations, `one` and `two`, in folders, and what can be made to fail of it.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use standpipe_encode::EncoderPool;
use standpipe_ingest::{Put, PutError, PutReceipt};
use standpipe_journal::disk::{DirEntry, Disk, DiskFile, DiskSpace, OsDisk};
use standpipe_journal::{CommitPool, DiskBudget, Shelf};
use standpipe_model::{Clock, Entropy, RecordBlockBuilder, Timestamp};
use standpipe_testkit::SeededEntropy;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::alarm::{AlarmKind, Alarms};
use crate::catalog::{Catalog, Definition, Origin};
use crate::clock::{OsTimer, Timer};
use crate::config::Config;
use crate::delivery_log::DeliveryLog;
use crate::functions::Functions;
use crate::keys::KeyRing;
use crate::lookup::CatalogClients;
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::stream::Stream;
use crate::worker::{Context, Intake, LOOKS_AT_ONCE};

const YAML: &str = r#"
stores: { lake: { type: file, path: ./lake } }
streams:
  - name: clicks
    retention: 1h
    destinations:
      - { id: one, s3: { bucket: one, delimiter: newline, buffering: { interval: 1s } } }
      - { id: two, s3: { bucket: two, delimiter: newline, buffering: { interval: 1s } } }
"#;

/// The operating system's clock, which a test can move on.
#[derive(Debug)]
pub(super) struct MovedTimer {
    real: Arc<OsTimer>,
    ahead_ms: AtomicU64,
}

impl MovedTimer {
    pub(super) fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for MovedTimer {
    fn now(&self) -> Timestamp {
        Timestamp(self.real.now().0 + self.ahead_ms.load(Ordering::Relaxed))
    }

    fn steady(&self) -> Duration {
        self.real.steady() + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }
}

impl Timer for MovedTimer {
    fn sleep_until(&self, steady: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(steady.saturating_sub(self.steady())))
    }
}

/// What fails of the disk.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// No file can be opened.
    pub(super) opens: AtomicBool,
    /// The same, from the next write on.
    pub(super) opens_after_write: AtomicBool,
    /// Nothing can be written.
    pub(super) writes: AtomicBool,
}

#[derive(Debug)]
struct FlakyDisk(Arc<Faults>);

#[derive(Debug)]
struct FlakyFile {
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl FlakyDisk {
    fn flaky(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FlakyFile { file, faults: Arc::clone(&self.0) })
    }
}

impl Disk for FlakyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir(dir)
    }

    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        OsDisk.create(path, len).map(|file| self.flaky(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.0.opens.load(Ordering::Relaxed) {
            true => Err(io::Error::other("too many open files")),
            false => OsDisk.open(path).map(|file| self.flaky(file)),
        }
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        OsDisk.open_read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        OsDisk.space(dir)
    }
}

impl DiskFile for FlakyFile {
    fn write_at(&self, bufs: &[&[u8]], offset: u64) -> io::Result<()> {
        if self.faults.writes.load(Ordering::Relaxed) {
            return Err(io::Error::other("input/output error"));
        }
        if self.faults.opens_after_write.swap(false, Ordering::Relaxed) {
            self.faults.opens.store(true, Ordering::Relaxed);
        }
        self.file.write_at(bufs, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

/// Where a replay into another stream goes. It recognises nothing that comes again.
#[derive(Debug)]
pub(super) struct TestIntake {
    taken: Mutex<Vec<Vec<Vec<u8>>>>,
    /// How many puts it takes yet.
    pub(super) takes: AtomicUsize,
    /// The disk takes no writes from the next put on.
    pub(super) fails_writes: AtomicBool,
    faults: Arc<Faults>,
}

impl TestIntake {
    /// How many records each put had.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.taken.lock().unwrap().iter().map(Vec::len).collect()
    }

    pub(super) fn records(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap().concat()
    }
}

#[async_trait]
impl Intake for TestIntake {
    async fn put(&self, put: Put) -> Result<PutReceipt, PutError> {
        let fewer = |takes: usize| takes.checked_sub(1);
        if self.takes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_err() {
            return Err(PutError::Unavailable { retry_after: None });
        }
        self.taken.lock().unwrap().push(put.block.iter().map(<[u8]>::to_vec).collect());
        if self.fails_writes.swap(false, Ordering::Relaxed) {
            self.faults.writes.store(true, Ordering::Relaxed);
        }
        Ok(PutReceipt { segment: [0; 16], first_ordinal: 0, encrypted: false })
    }
}

pub(super) struct Rig {
    pub(super) stream: Arc<Stream>,
    pub(super) context: Arc<Context>,
    pub(super) timer: Arc<MovedTimer>,
    pub(super) faults: Arc<Faults>,
    pub(super) intake: Arc<TestIntake>,
    folder: TempDir,
}

fn load(folder: &Path, yaml: &str) -> Config {
    let path = folder.join("standpipe.yaml");
    std::fs::write(&path, yaml).unwrap();
    Config::load(&path, &|_| None).unwrap()
}

fn context(timer: &Arc<MovedTimer>, folder: &Path, config: &Config) -> Arc<Context> {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
    let metrics = Arc::new(Metrics::default());
    let functions =
        Functions::open(folder, Arc::<MovedTimer>::clone(timer), Arc::clone(&entropy), metrics.clone());
    let stores = Stores::default();
    stores.replace(&config.stores).unwrap();
    Arc::new(Context {
        timer: Arc::<MovedTimer>::clone(timer),
        stores,
        functions: functions.unwrap(),
        keys: KeyRing::new(Arc::clone(&entropy), Handle::current()),
        entropy,
        alarms: Alarms::default(),
        metrics,
        delivery_log: DeliveryLog::start().unwrap().0,
        catalogs: CatalogClients::default(),
        region: "eu-west-1".to_owned(),
        account_id: "123456789012".to_owned(),
        encoders: EncoderPool::new(1),
        processors: Arc::new(Semaphore::new(1)),
        looks: Semaphore::new(LOOKS_AT_ONCE),
        intake: OnceLock::new(),
    })
}

impl Rig {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = load(folder.path(), YAML);
        let timer = Arc::new(MovedTimer { real: OsTimer::start(), ahead_ms: AtomicU64::new(0) });
        let context = context(&timer, folder.path(), &config);
        let faults = Arc::new(Faults::default());
        let intake = Arc::new(TestIntake {
            taken: Mutex::default(),
            takes: AtomicUsize::new(usize::MAX),
            fails_writes: AtomicBool::new(false),
            faults: Arc::clone(&faults),
        });
        let weak: Weak<dyn Intake> = Arc::<TestIntake>::downgrade(&intake);
        context.intake.set(weak).unwrap();
        let disk = Arc::new(FlakyDisk(Arc::clone(&faults)));
        let shelf = Shelf {
            budget: Arc::new(DiskBudget::new(disk, folder.path().to_owned(), 1 << 30, 0)),
            pool: CommitPool::inline(),
            clock: Arc::<MovedTimer>::clone(&timer),
            entropy: Arc::clone(&context.entropy),
            observer: Arc::new(()),
        };
        let catalog = Catalog::open(folder.path()).unwrap();
        let spec = config.streams[0].clone();
        catalog.save(&Definition::first(Origin::Yaml, spec.clone(), timer.now())).unwrap();
        let stream = Stream::open(&spec.name, &catalog, &context, &shelf).await.unwrap();
        Self { stream, context, timer, faults, intake, folder }
    }

    /// Puts a range of records, in one piece.
    pub(super) async fn put(&self, numbers: Range<u64>) {
        let mut block = RecordBlockBuilder::with_capacity(0, 0);
        numbers.for_each(|number| block.push(&record(number)));
        let (stream, block) = (self.stream.name().clone(), block.finish());
        self.stream.put(Put { stream, block, digest: None }).await.unwrap();
    }

    /// Waits until everything is delivered.
    pub(super) async fn settled(&self) {
        eventually("everything is delivered", async || {
            self.timer.advance(Duration::from_secs(1));
            self.stream.nudge().await;
            self.stream.is_finished().then_some(())
        })
        .await;
    }

    pub(super) fn alarms(&self) -> Vec<(AlarmKind, String)> {
        let raised = self.context.alarms.raised(Some(self.stream.name())).into_iter();
        raised.map(|alarm| (alarm.kind, alarm.message)).collect()
    }

    /// Whether an alarm of the kind is raised that says so.
    pub(super) fn has_alarm(&self, kind: AlarmKind, text: &str) -> bool {
        self.alarms().iter().any(|(raised, message)| *raised == kind && message.contains(text))
    }

    /// Lets every delivery fail.
    pub(super) fn forget_stores(&self) {
        self.context.stores.replace(&Default::default()).unwrap();
    }

    /// Takes a destination out.
    pub(super) async fn without_two(&self) {
        let yaml = YAML.lines().filter(|line| !line.contains("id: two")).collect::<Vec<_>>().join("\n");
        let spec = load(self.folder.path(), &yaml).streams[0].clone();
        let next = self.stream.definition().next(spec, self.timer.now());
        self.stream.redefine(next).await.unwrap();
    }
}

/// The number-th record of a test.
pub(super) fn record(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

/// Looks again and again until there is something.
pub(super) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), looking).await;
    found.unwrap_or_else(|_| panic!("not within a minute: {what}"))
}
