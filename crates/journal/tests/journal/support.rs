//! What the tests of this binary share: a clock and a source of chance that tests drive, and short hands.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standpipe_journal::disk::Disk;
use standpipe_journal::{Append, CommitPool, DiskBudget, Journal, JournalOptions, RecoveryReport, Shelf};
use standpipe_model::{
    BatchRange, Clock, DestinationId, Entropy, PutDigest, RecordBlock, RecordBlockBuilder, Timestamp,
};

/// A clock that a test moves.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.load(Ordering::Relaxed))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Chance from a seed.
#[derive(Debug)]
pub(crate) struct TestEntropy(pub(crate) AtomicU64);

impl Entropy for TestEntropy {
    fn fill(&self, out: &mut [u8]) {
        for byte in out {
            let step = |x: u64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99_991));
            *byte = (self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap() >> 40) as u8;
        }
    }
}

pub(crate) const OPTIONS: JournalOptions =
    JournalOptions { limit_bytes: 1 << 20, segment_min: 32 << 10, segment_max: 128 << 10 };

pub(crate) fn shelf(disk: Arc<dyn Disk>, clock: Arc<TestClock>, seed: u64) -> Shelf {
    Shelf {
        budget: Arc::new(DiskBudget::new(disk, "/j".into(), 4 << 20, 0)),
        pool: CommitPool::inline(),
        clock,
        entropy: Arc::new(TestEntropy(AtomicU64::new(seed))),
        observer: Arc::new(()),
    }
}

pub(crate) fn open(shelf: &Shelf) -> (Journal, RecoveryReport) {
    try_open(shelf).expect("the disk works")
}

pub(crate) fn try_open(shelf: &Shelf) -> Result<(Journal, RecoveryReport), standpipe_journal::OpenError> {
    Journal::open(Path::new("/j"), OPTIONS, shelf.clone())
}

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn block(records: &[Vec<u8>]) -> RecordBlock {
    let mut builder = RecordBlockBuilder::with_capacity(records.len(), 0);
    records.iter().for_each(|record| builder.push(record));
    builder.finish()
}

pub(crate) fn put(records: &[Vec<u8>], digest: u64) -> Append {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&digest.to_le_bytes());
    Append { block: block(records), digest: Some(PutDigest(id)), source: None }
}

pub(crate) fn read_all(journal: &Journal, range: BatchRange) -> (Vec<Vec<u8>>, u64) {
    let mut reader = journal.read(range);
    let mut records = Vec::new();
    while let Some(chunk) = reader.next_chunk(1000).expect("the disk works") {
        records.extend(chunk.iter().map(<[u8]>::to_vec));
    }
    (records, reader.lost())
}

pub(crate) fn primary() -> DestinationId {
    DestinationId::primary()
}
