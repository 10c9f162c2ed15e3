//! The journal against a model: any mix of appends, closes, settles, faults and power cuts, at any disk call, plain,
//! encrypted, and with keys that change, stop and come back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use standpipe_journal::control::{Close, Control, Replay, Settle};
use standpipe_journal::verify::verify;
use standpipe_journal::{AppendError, Journal, OpenError, Shelf};
use standpipe_model::{
    BatchId, BatchRange, Clock, CloseReason, DestinationId, Entropy, Position, Tally, Timestamp,
};

use crate::keys::TestKeys;
use crate::sim::{Fault, SimDisk};
use crate::support::{TestClock, open_with, primary, put, read_all, shelf, wait};

#[derive(Debug, Clone)]
enum Step {
    Append {
        records: Vec<usize>,
    },
    Repeat {
        back: usize,
    },
    Close {
        records: u64,
    },
    Settle {
        open: usize,
    },
    Fault {
        after: u64,
        fault: Fault,
    },
    Wait,
    /// Segments are encrypted from now on, or plain.
    Encrypt(bool),
    /// The key cannot be used any more, and what is known of it is forgotten; or it can again.
    StopKey(bool),
    /// The master key changes, and all segments are wrapped anew.
    Rewrap,
    /// What is settled is kept for so many minutes from now on.
    Keep(u64),
    /// What is kept from here on is replayed; or not any more.
    Replay(u64),
    EndReplay,
    /// The power goes and comes.
    Reopen,
    /// The process alone goes: what it wrote and did not sync is still in the cache.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..200usize, 2 => 200..5_000usize, 1 => 5_000..40_000usize];
    let fault = prop_oneof![4 => Just(Fault::Crash), 1 => Just(Fault::NoSpace), 2 => Just(Fault::Io)];
    prop_oneof![
        10 => prop::collection::vec(size, 1..12).prop_map(|records| Step::Append { records }),
        2 => (0..5usize).prop_map(|back| Step::Repeat { back }),
        5 => (1..40u64).prop_map(|records| Step::Close { records }),
        5 => (0..4usize).prop_map(|open| Step::Settle { open }),
        4 => (0..12u64, fault).prop_map(|(after, fault)| Step::Fault { after, fault }),
        2 => Just(Step::Wait),
        2 => any::<bool>().prop_map(Step::Encrypt),
        2 => prop::bool::weighted(0.3).prop_map(Step::StopKey),
        1 => Just(Step::Rewrap),
        2 => (0..20u64).prop_map(Step::Keep),
        2 => (0..30u64).prop_map(Step::Replay),
        1 => Just(Step::EndReplay),
        2 => Just(Step::Reopen),
        2 => Just(Step::Restart),
    ]
}

/// What must be true of the journal, whatever happened to it.
#[derive(Debug, Default)]
struct Model {
    /// Every acknowledged record by its position.
    records: BTreeMap<u64, Vec<u8>>,
    /// Acknowledged puts.
    puts: Vec<Put>,
    /// Batches whose CLOSE was acknowledged and whose SETTLE was not.
    open: BTreeMap<BatchId, BatchRange>,
    /// Batches whose CLOSE or SETTLE was refused: they may be there or not.
    doubtful: Vec<BatchId>,
    settled: Vec<BatchId>,
    settled_positions: u64,
    next_put: u64,
    /// Where the replay begins that was acknowledged.
    replay: Option<Position>,
}

#[derive(Debug, Clone)]
struct Put {
    digest: u64,
    first: u64,
    records: Vec<Vec<u8>>,
    acknowledged_at: Timestamp,
}

struct World {
    disk: SimDisk,
    shelf: Shelf,
    clock: Arc<TestClock>,
    keys: Arc<TestKeys>,
    journal: Journal,
    model: Model,
    /// A write was told once that there is no space.
    space_ran_out: bool,
    retention: Duration,
}

fn replay_id() -> DestinationId {
    DestinationId::replay(1)
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed, 8 << 20);
        let clock = Arc::new(TestClock::default());
        let shelf = shelf(Arc::new(disk.clone()), clock.clone(), seed);
        let keys = Arc::new(TestKeys::new(false));
        let (journal, _) = open_with(&shelf, &keys).expect("the disk works");
        wait(journal.set_destinations(&[primary()])).unwrap();
        let (model, retention) = (Model::default(), Duration::ZERO);
        Self { disk, shelf, clock, keys, journal, model, space_ran_out: false, retention }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append { records } => self.append(records),
            Step::Repeat { back } => self.repeat(*back),
            Step::Close { records } => self.close(*records),
            Step::Settle { open } => self.settle(*open),
            Step::Fault { after, fault } => {
                self.space_ran_out |= *fault == Fault::NoSpace;
                self.disk.inject(*after, *fault);
            }
            Step::Wait => self.clock.advance(Duration::from_secs(40)),
            Step::Encrypt(encrypting) => self.keys.encrypt(*encrypting),
            Step::StopKey(stopped) => {
                self.keys.stop(*stopped);
                self.journal.forget_keys("main");
            }
            Step::Rewrap if self.keys.stopped() => {}
            Step::Rewrap => self.rewrap(),
            Step::Keep(minutes) => {
                self.retention = Duration::from_mins(*minutes);
                self.journal.keep_settled(self.retention);
                self.journal.tidy();
            }
            Step::Replay(skipped) => self.replay(*skipped),
            Step::EndReplay => {
                self.model.replay = None;
                drop(wait(self.journal.end_replay(replay_id())));
            }
            Step::Reopen => self.reopen(),
            Step::Restart if self.disk.is_down() => {}
            Step::Restart => {
                self.disk.clear_faults();
                self.open_again();
            }
        }
        if self.disk.is_down() {
            self.reopen();
        }
    }

    fn append(&mut self, sizes: &[usize]) {
        self.model.next_put += 1;
        let digest = self.model.next_put;
        let fill = |(number, size): (usize, &usize)| vec![(digest as u8).wrapping_add(number as u8); *size];
        let records: Vec<Vec<u8>> = sizes.iter().enumerate().map(fill).collect();
        match wait(self.journal.append(put(&records, digest))) {
            Ok(receipt) => {
                assert!(!receipt.repeated);
                assert_eq!(receipt.encrypted, self.keys.encrypting());
                let first = receipt.first.0;
                for (number, record) in records.iter().enumerate() {
                    let before = self.model.records.insert(first + number as u64, record.clone());
                    assert_eq!(before, None, "a position was given out twice");
                }
                let acknowledged_at = self.clock.now();
                self.model.puts.push(Put { digest, first, records, acknowledged_at });
            }
            Err(error @ (AppendError::Closed | AppendError::TooLarge(_))) => panic!("{error}"),
            Err(AppendError::Key(_)) => assert!(self.keys.stopped() && self.keys.encrypting()),
            Err(AppendError::Full(_) | AppendError::Poisoned) => {}
        }
    }

    fn rewrap(&mut self) {
        self.keys.rotate();
        let Ok(keys) = self.journal.wrapped_keys() else { return };
        for key in keys {
            let wrapped = self.keys.rewrap(&key.wrapped);
            if self.journal.rewrap(key.segment, wrapped).is_err() {
                return;
            }
        }
        self.keys.forget_previous();
    }

    fn repeat(&mut self, back: usize) {
        let Some(at) = self.model.puts.len().checked_sub(back + 1) else { return };
        let Put { digest, first, records, acknowledged_at } = self.model.puts[at].clone();
        let Ok(receipt) = wait(self.journal.append(put(&records, digest))) else { return };
        if receipt.repeated {
            assert_eq!(receipt.first.0, first, "a repeat gets the first answer");
            return;
        }
        // Taken for a new one: right only after ten minutes, or when its segment was settled and forgotten on a disk
        // that had no room to remember it.
        let recent = self.clock.now().since(acknowledged_at) < Duration::from_secs(600);
        let unsettled = first >= self.journal.state().lowest_unsettled().0;
        assert!(!recent || (self.space_ran_out && !unsettled), "a put was appended twice");
        for (number, record) in records.iter().enumerate() {
            self.model.records.insert(receipt.first.0 + number as u64, record.clone());
        }
        self.model.puts[at] =
            Put { digest, first: receipt.first.0, records, acknowledged_at: self.clock.now() };
    }

    fn close(&mut self, records: u64) {
        let state = self.journal.state();
        let cursor = state.destinations[&primary()].cursor;
        if cursor == state.next {
            return;
        }
        let last = Position((cursor.0 + records).min(state.next.0) - 1);
        let range = BatchRange { first: cursor, last };
        let batch = BatchId::draw(self.shelf.entropy.as_ref() as &dyn Entropy);
        let close = Close {
            batch,
            destination: primary(),
            range,
            reason: CloseReason::Size,
            version: 1,
            closed_at: self.shelf.clock.now(),
            arrived_at: self.shelf.clock.now(),
            record_bytes: 0,
            pins: BTreeMap::new(),
        };
        match wait(self.journal.control(vec![Control::Close(close)])) {
            Ok(()) => {
                self.model.open.insert(batch, range);
            }
            Err(_) => self.model.doubtful.push(batch),
        }
    }

    fn settle(&mut self, number: usize) {
        let state = self.journal.state();
        let Some(open) = state.destinations[&primary()].open.values().nth(number) else { return };
        let (batch, range) = (open.close.batch, open.close.range);
        let tally = Tally { delivered: range.count(), ..Tally::default() };
        let settle = Settle { batch, destination: primary(), range, tally };
        match wait(self.journal.control(vec![Control::Settle(settle)])) {
            Ok(()) => {
                self.model.open.remove(&batch);
                self.model.settled.push(batch);
                self.model.settled_positions += range.count();
            }
            Err(_) => {
                self.model.open.remove(&batch);
                self.model.doubtful.push(batch);
            }
        }
    }

    fn replay(&mut self, skipped: u64) {
        let (start, next) = (self.journal.kept().first.advance(skipped), self.journal.state().next);
        if start >= next || self.journal.state().destinations.len() > 1 {
            return;
        }
        let (from, to, begun_at) = (Timestamp(0), Timestamp(0), Timestamp(0));
        let replay = Replay { of: primary(), end: next, from, to, into: None, rate: None, begun_at };
        if let Ok(begun) = wait(self.journal.begin_replay(replay_id(), start, replay)) {
            assert!(begun, "nobody forgets anything meanwhile");
            self.model.replay = Some(start);
        }
    }

    fn reopen(&mut self) {
        self.disk.power_cycle();
        assert_eq!(
            verify(&self.disk, Path::new("/j"), self.keys.as_ref()).expect("the disk works").problems,
            [],
            "a power cut is not damage"
        );
        self.open_again();
    }

    fn open_again(&mut self) {
        let budget = standpipe_journal::DiskBudget::new(Arc::new(self.disk.clone()), "/j".into(), 4 << 20, 0);
        self.shelf.budget = Arc::new(budget);
        if self.keys.stopped() {
            let opened = open_with(&self.shelf, &self.keys);
            assert!(matches!(opened, Ok(_) | Err(OpenError::Key { .. })), "{opened:?}");
            self.keys.stop(false);
            let budget =
                standpipe_journal::DiskBudget::new(Arc::new(self.disk.clone()), "/j".into(), 4 << 20, 0);
            self.shelf.budget = Arc::new(budget);
        }
        let (journal, report) = open_with(&self.shelf, &self.keys).expect("a journal opens after any crash");
        assert_eq!(report.lost, [], "a power cut is not damage");
        assert_eq!(report.set_aside, Vec::<std::path::PathBuf>::new());
        self.journal = journal;
        self.journal.keep_settled(self.retention);
        // Puts may have been poisoned before: time for them to come again.
        self.clock.advance(Duration::from_secs(40));
        self.promise_what_is_there();
    }

    /// What can be read after opening is promised from then on, even where its put had been refused.
    fn promise_what_is_there(&mut self) {
        let state = self.journal.state();
        let lowest = state.lowest_unsettled();
        if lowest < state.next {
            let (records, lost) =
                read_all(&self.journal, BatchRange { first: lowest, last: Position(state.next.0 - 1) });
            assert_eq!(lost, 0);
            for (number, record) in records.into_iter().enumerate() {
                let known =
                    self.model.records.entry(lowest.0 + number as u64).or_insert_with(|| record.clone());
                assert_eq!(*known, record, "a promised record has changed");
            }
        }
        let promised = self.model.records.last_key_value().map_or(0, |(position, _)| position + 1);
        assert!(state.next.0 >= promised, "positions run backwards");
    }

    fn check(&mut self) {
        let state = self.journal.state();
        let progress = &state.destinations[&primary()];
        for (batch, range) in &self.model.open {
            let open = progress.open.get(batch);
            assert_eq!(open.map(|open| open.close.range), Some(*range), "a closed batch kept its identity");
        }
        for batch in progress.open.keys() {
            let known = self.model.open.contains_key(batch) || self.model.doubtful.contains(batch);
            assert!(known && !self.model.settled.contains(batch), "a settled batch came back");
        }
        assert_eq!(progress.tally.total() + progress.in_journal(state.next), state.next.0, "conservation");
        assert!(progress.tally.delivered >= self.model.settled_positions);
        if let Some(start) = self.model.replay {
            let replay = state.destinations.get(&replay_id());
            assert_eq!(replay.map(|replay| replay.start), Some(start), "a replay that was begun goes on");
        }
        assert!(self.journal.kept().first <= state.lowest_unsettled());
        let lowest = state.lowest_unsettled();
        let without = verify(&self.disk, Path::new("/j"), &()).expect("the disk works");
        assert_eq!(without.problems, [], "nor is there any for who has no key");
        let looked = verify(&self.disk, Path::new("/j"), self.keys.as_ref()).expect("the disk works");
        assert_eq!(looked.problems, [], "what a crash leaves is no damage");
        assert_eq!(looked.locked, BTreeMap::new());
        assert_eq!(looked.state, state, "the files come to the state in memory");
        if lowest == state.next {
            return;
        }
        let range = BatchRange { first: lowest, last: Position(state.next.0 - 1) };
        let (records, lost) = read_all(&self.journal, range);
        assert_eq!((records.len() as u64, lost), (range.count(), 0));
        for (position, record) in self.model.records.range(lowest.0..) {
            assert_eq!(records[(position - lowest.0) as usize], *record, "position {position}");
        }
        let cursor = self.journal.cursor_at(lowest).unwrap();
        let bytes: u64 = records.iter().map(|record| record.len() as u64).sum();
        assert_eq!(self.journal.watch().borrow().bytes - cursor.bytes, bytes);
        self.check_boundaries(&records, lowest);
    }

    fn check_boundaries(&self, records: &[Vec<u8>], lowest: Position) {
        let cursor = self.journal.cursor_at(lowest).unwrap();
        for size in [1, 500, 3_000, 50_000] {
            let mut sum = 0;
            let behind = records.iter().position(|record| {
                sum += record.len() as u64;
                sum >= size
            });
            let expected = behind.map(|behind| lowest.advance(behind as u64 + 1));
            let found = self.journal.boundary(cursor, size).unwrap();
            assert_eq!(found.map(|cursor| cursor.position), expected, "boundary at {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_ever_missing(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(seed);
        for step in &steps {
            world.run(step);
        }
        world.reopen();
        world.check();
        // And it goes on: the journal that came out of all this takes records again.
        world.append(&[3, 4]);
        world.check();
    }
}
