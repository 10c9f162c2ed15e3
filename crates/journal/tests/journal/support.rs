//! What the tests of this binary share: a clock and a source of chance that tests drive, and short hands.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::keys::TestKeys;
use standpipe_journal::control::{Close, Control, Settle};
use standpipe_journal::disk::Disk;
use standpipe_journal::{
    Append, AppendError, AppendReceipt, CommitPool, DiskBudget, Journal, JournalOptions, RecoveryReport,
    Shelf,
};
use standpipe_model::{
    BatchId, BatchRange, Clock, CloseReason, DestinationId, Entropy, Position, PutDigest, RecordBlock,
    RecordBlockBuilder, Tally, Timestamp,
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

/// Opens it with keys.
pub(crate) fn open_with(
    shelf: &Shelf,
    keys: &Arc<TestKeys>,
) -> Result<(Journal, RecoveryReport), standpipe_journal::OpenError> {
    Journal::open_with_keys(Path::new("/j"), OPTIONS, shelf.clone(), keys.clone())
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

/// A range of positions, both ends included.
pub(crate) fn range(first: u64, last: u64) -> BatchRange {
    BatchRange { first: Position(first), last: Position(last) }
}

/// The CLOSE of a batch of the primary destination.
pub(crate) fn close(batch: u8, range: BatchRange) -> Close {
    Close {
        batch: BatchId([batch; 16]),
        destination: primary(),
        range,
        reason: CloseReason::Size,
        version: 1,
        closed_at: Timestamp(2),
        arrived_at: Timestamp(1),
        record_bytes: 0,
        pins: BTreeMap::new(),
    }
}

/// The SETTLE of a batch whose records were all delivered.
pub(crate) fn settle(close: &Close) -> Control {
    let tally = Tally { delivered: close.range.count(), ..Tally::default() };
    let (batch, destination, range) = (close.batch, close.destination.clone(), close.range);
    Control::Settle(Settle { batch, destination, range, tally })
}

/// Closes and settles a batch.
pub(crate) fn deliver(journal: &Journal, batch: u8, range: BatchRange) {
    let close = close(batch, range);
    wait(journal.control(vec![Control::Close(close.clone())])).expect("control frames have room");
    wait(journal.control(vec![settle(&close)])).expect("control frames have room");
}

/// The number-th record of a test: no two are alike.
pub(crate) fn record(number: u64) -> Vec<u8> {
    let mut record = vec![number as u8; 400];
    record[..8].copy_from_slice(&number.to_le_bytes());
    record
}

/// Records in a put of [`append`].
pub(crate) const PER_PUT: u64 = 5;

/// Appends the put that begins with the record `first`; its positions are the numbers of its records.
pub(crate) fn append(journal: &Journal, first: u64) -> Result<AppendReceipt, AppendError> {
    let records: Vec<Vec<u8>> = (first..first + PER_PUT).map(record).collect();
    let receipt = wait(journal.append(put(&records, first)))?;
    assert_eq!(receipt.first, Position(first), "positions are dense");
    Ok(receipt)
}

/// Appends `puts` puts behind what is there.
pub(crate) fn fill(journal: &Journal, puts: u64) {
    for _ in 0..puts {
        let next = journal.state().next.0;
        append(journal, next).expect("there is room");
    }
}

/// All records from `first` on but those in `lost` are there, and the reader says how many are not.
pub(crate) fn expect_all_but(journal: &Journal, first: u64, lost: std::ops::Range<u64>) {
    let next = journal.state().next.0;
    let (records, missing) = read_all(journal, range(first, next - 1));
    let expected: Vec<Vec<u8>> = (first..next).filter(|number| !lost.contains(number)).map(record).collect();
    assert_eq!(records.len(), expected.len());
    assert!(records == expected, "every other record is as it was written");
    assert_eq!(missing, lost.end - lost.start);
}
