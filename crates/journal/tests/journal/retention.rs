//! What is kept of what is settled: for how long, for whom it goes before its time, and what holds it for a replay.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use standpipe_journal::control::{Control, Replay};
use standpipe_journal::verify::verify;
use standpipe_journal::{CommitPool, DiskBudget, Journal, JournalOptions, Kept, Shelf};
use standpipe_model::{Clock as _, DestinationId, Position, Timestamp};

use crate::keys::TestKeys;
use crate::sim::{Fault, SimDisk};
use crate::support::{
    PER_PUT, TestClock, append, close, deliver, fill, open_with, primary, put, range, read_all, record,
    settle, shelf, wait,
};

const HOUR: Duration = Duration::from_hours(1);

const LIMIT: u64 = 2 << 20;
/// Segments are a sixteenth of the limit at the most, as those of a daemon are.
const OPTIONS: JournalOptions =
    JournalOptions { limit_bytes: LIMIT, segment_min: 32 << 10, segment_max: LIMIT / 16 };

fn budget(disk: &SimDisk, limit: u64) -> Arc<DiskBudget> {
    Arc::new(DiskBudget::new(Arc::new(disk.clone()), "/".into(), limit, 0))
}

fn open(shelf: &Shelf, retention: Duration) -> Journal {
    let (journal, report) = Journal::open(Path::new("/j"), OPTIONS, shelf.clone()).unwrap();
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]));
    journal.keep_settled(retention);
    journal
}

struct Rig {
    disk: SimDisk,
    clock: Arc<TestClock>,
    shelf: Shelf,
    journal: Journal,
    batch: u8,
}

impl Rig {
    fn keeping(retention: Duration) -> Self {
        let (disk, clock) = (SimDisk::new(11, 64 << 20), Arc::new(TestClock::default()));
        let mut shelf = shelf(Arc::new(disk.clone()), clock.clone(), 11);
        shelf.budget = budget(&disk, LIMIT * 4);
        let journal = open(&shelf, retention);
        wait(journal.set_destinations(&[primary()])).unwrap();
        Self { disk, clock, shelf, journal, batch: 0 }
    }

    /// Puts so many times and delivers all of it.
    fn through(&mut self, puts: u64) {
        let first = self.journal.state().next.0;
        fill(&self.journal, puts);
        self.batch += 1;
        deliver(&self.journal, self.batch, range(first, self.journal.state().next.0 - 1));
    }

    /// The records that are kept, which are those that were put.
    fn kept(&self) -> Kept {
        let (kept, next) = (self.journal.kept(), self.journal.state().next);
        if kept.first < next {
            let (records, lost) = read_all(&self.journal, range(kept.first.0, next.0 - 1));
            assert_eq!(lost, 0, "what is kept has no gaps");
            assert!(records == (kept.first.0..next.0).map(record).collect::<Vec<_>>());
        }
        kept
    }

    fn reopen(&mut self, retention: Duration) {
        self.disk.power_cycle();
        self.shelf.budget = budget(&self.disk, LIMIT * 4);
        self.journal = open(&self.shelf, retention);
    }

    fn expect_sound(&self) {
        assert_eq!(verify(&self.disk, Path::new("/j"), &()).unwrap().problems, []);
    }
}

fn replay(end: u64) -> Replay {
    Replay {
        of: primary(),
        end: Position(end),
        from: Timestamp(1),
        to: Timestamp(2),
        into: None,
        rate: None,
        begun_at: Timestamp(3),
    }
}

fn replay_id() -> DestinationId {
    DestinationId::replay(7)
}

#[test]
fn without_a_retention_nothing_is_kept_that_is_settled() {
    let mut rig = Rig::keeping(Duration::ZERO);
    rig.through(200);
    rig.through(1);
    let kept = rig.kept();
    assert!(kept.first > Position(900), "{kept:?}");
    assert_eq!((kept.retained_bytes, kept.cut_segments), (0, 0));
}

#[test]
fn segments_are_kept_until_their_newest_record_is_older_than_the_retention() {
    let mut rig = Rig::keeping(HOUR);
    for _ in 0..6 {
        rig.through(40);
        rig.clock.advance(HOUR / 4);
    }
    let kept = rig.kept();
    assert!(kept.first > Position(0), "the first segment is older: {kept:?}");
    // The latest put came a quarter of an hour ago, and nobody has looked since.
    let hour_before = Timestamp(rig.clock.now().0 - 75 * 60_000);
    assert!(kept.oldest.unwrap() <= hour_before, "an hour was there when it came: {kept:?}");
    assert!(kept.retained_bytes > 0);
    assert_eq!(kept.cut_segments, 0);
    rig.expect_sound();

    rig.clock.advance(2 * HOUR);
    assert_eq!(rig.kept(), kept, "a journal that nobody writes to goes on when it is told to");
    rig.journal.tidy();
    let later = rig.kept();
    assert!(later.retained_bytes == 0 && later.first > kept.first, "{later:?}");
    rig.expect_sound();
}

#[test]
fn a_retention_counts_as_soon_as_it_is_set() {
    let mut rig = Rig::keeping(HOUR);
    rig.through(100);
    assert_eq!(rig.kept().first, Position(0));
    rig.journal.keep_settled(Duration::ZERO);
    rig.journal.tidy();
    assert!(rig.kept().first > Position(0));
    assert_eq!(rig.kept().retained_bytes, 0);
}

#[test]
fn what_is_kept_is_there_after_a_power_cut() {
    let mut rig = Rig::keeping(HOUR);
    for _ in 0..3 {
        rig.through(30);
        rig.clock.advance(Duration::from_mins(1));
    }
    let before = rig.kept();
    assert_eq!(before.first, Position(0));
    for _ in 0..3 {
        rig.reopen(HOUR);
        let after = rig.kept();
        assert_eq!((after.first, after.oldest, after.newest), (before.first, before.oldest, before.newest));
    }
    rig.clock.advance(2 * HOUR);
    rig.through(1);
    rig.journal.tidy();
    assert_eq!(rig.kept().first, Position(450), "{:?}", rig.kept());
    rig.expect_sound();
}

#[test]
fn at_the_limit_what_is_kept_goes_oldest_first_and_no_put_is_refused() {
    let mut rig = Rig::keeping(1_000 * HOUR);
    let mut first = 0;
    for _ in 0..60 {
        rig.through(40);
        assert!(!rig.journal.under_pressure(), "nobody has to close batches early for it");
        let kept = rig.journal.kept();
        assert!(kept.first.0 >= first);
        first = kept.first.0;
    }
    let (kept, usage) = (rig.kept(), rig.journal.usage());
    assert!(kept.cut_segments > 5, "{kept:?}");
    assert!(kept.retained_bytes * 2 > LIMIT, "as much is kept as there is room: {kept:?}");
    assert!(usage.used * 100 < usage.limit * 85 && usage.shortage.is_none(), "{usage:?}");
    rig.expect_sound();

    let held = rig.journal.state().next.0;
    let refused = loop {
        if let Err(error) = append(&rig.journal, rig.journal.state().next.0) {
            break error;
        }
    };
    assert!(refused.to_string().contains("its limit is"), "{refused}");
    assert_eq!(rig.kept().retained_bytes, 0, "nothing is kept while puts are refused");
    assert!(rig.kept().first.0 <= held, "and nothing is forgotten that is not settled");
}

#[test]
fn at_the_limit_of_all_journals_the_oldest_of_whatever_stream_goes() {
    let (disk, clock) = (SimDisk::new(12, 64 << 20), Arc::new(TestClock::default()));
    let mut shelf = shelf(Arc::new(disk.clone()), clock.clone(), 12);
    shelf.budget = budget(&disk, LIMIT);
    let options = JournalOptions { limit_bytes: u64::MAX, ..OPTIONS };
    let [idle, busy] = ["/idle", "/busy"].map(|dir| {
        let (journal, _) = Journal::open(Path::new(dir), options, shelf.clone()).unwrap();
        wait(journal.set_destinations(&[primary()])).unwrap();
        journal
    });
    idle.keep_settled(1_000 * HOUR);
    fill(&idle, 60);
    deliver(&idle, 1, range(0, 299));
    fill(&idle, 1);
    let before = idle.kept();
    assert!(before.retained_bytes > 64 << 10, "{before:?}");
    clock.advance(HOUR);

    let mut refused = None;
    while refused.is_none() {
        refused = append(&busy, busy.state().next.0).err();
    }
    assert!(refused.unwrap().to_string().contains("all journals hold"));
    let after = idle.kept();
    assert_eq!(after.retained_bytes, 0, "before puts to another stream were refused: {after:?}");
    assert!(after.cut_segments > 0 && busy.state().next.0 > 1_000);
    let (records, lost) = read_all(&idle, range(after.first.0, idle.state().next.0 - 1));
    assert_eq!((records.last(), lost), (Some(&record(304)), 0));
}

#[test]
fn a_put_is_recognised_when_its_segment_had_to_go() {
    let mut rig = Rig::keeping(HOUR);
    rig.through(1);
    while rig.kept().first == Position(0) {
        rig.through(20);
    }
    assert!(rig.kept().cut_segments > 0);
    rig.reopen(HOUR);
    assert!(append(&rig.journal, 0).unwrap().repeated);
}

#[test]
fn below_the_floor_puts_that_are_carried_on_do_not_go_round() {
    const PUTS: u64 = 12_000;
    let mut rig = Rig::keeping(HOUR);
    rig.shelf.budget = Arc::new(DiskBudget::new(Arc::new(rig.disk.clone()), "/".into(), LIMIT * 4, 4 << 20));
    rig.journal = open(&rig.shelf, HOUR);
    let small = |number| put(&[vec![7]], number);
    for number in 0..PUTS {
        wait(rig.journal.append(small(number))).unwrap();
    }
    deliver(&rig.journal, 1, range(0, PUTS - 1));
    let before = rig.journal.usage().used;
    assert!(before > 8 * (32 << 10), "{before}");
    rig.disk.set_capacity(3 << 20);
    // Whoever goes on for ever comes to it.
    rig.disk.inject(5_000, Fault::Crash);
    rig.journal.tidy();
    assert!(!rig.disk.is_down(), "it comes to an end");
    let (kept, usage) = (rig.journal.kept(), rig.journal.usage());
    assert!(kept.first > Position(PUTS - 1_000) && kept.cut_segments > 2, "{kept:?}");
    assert!(usage.used < before, "room is made: {usage:?}, it was {before}");
    rig.disk.clear_faults();
    rig.disk.inject(0, Fault::Crash);
    rig.journal.tidy();
    assert!(!rig.disk.is_down(), "and nothing is carried on once more");
    rig.disk.clear_faults();
    for number in [0, PUTS / 2, PUTS - 1] {
        assert!(wait(rig.journal.append(small(number))).unwrap().repeated, "{number}");
    }
    rig.expect_sound();
    rig.disk.power_cycle();
    rig.journal = open(&rig.shelf, HOUR);
    assert!(wait(rig.journal.append(small(0))).unwrap().repeated);
    rig.clock.advance(Duration::from_mins(10));
    rig.journal.tidy();
    assert!(rig.journal.usage().used < usage.used, "puts that nobody sends again take no room");
    rig.expect_sound();
}

#[test]
fn a_time_leads_to_the_first_record_that_arrived_then_or_later() {
    let mut rig = Rig::keeping(1_000 * HOUR);
    let mut arrivals = Vec::new();
    for round in 0..40_u64 {
        let first = rig.journal.state().next.0;
        fill(&rig.journal, 1 + round % 3);
        arrivals.push((rig.clock.now(), first));
        rig.clock.advance(Duration::from_millis(round % 5));
    }
    for reopened in [false, true] {
        for back in 0..2_000 {
            let time = Timestamp(rig.clock.now().0 + 5 - back);
            let expect =
                arrivals.iter().find(|(at, _)| *at >= time).map_or(rig.journal.state().next.0, |(_, p)| *p);
            assert_eq!(rig.journal.position_at(time).unwrap(), Position(expect), "{time:?} {reopened}");
        }
        rig.reopen(1_000 * HOUR);
    }
}

#[test]
fn a_replay_holds_what_it_needs_through_restarts_until_it_is_over() {
    let mut rig = Rig::keeping(HOUR);
    rig.through(100);
    let begun = wait(rig.journal.begin_replay(replay_id(), Position(PER_PUT), replay(400))).unwrap();
    assert!(begun);
    rig.clock.advance(2 * HOUR);
    for _ in 0..2 {
        rig.through(1);
        rig.journal.tidy();
        assert_eq!(rig.kept().first, Position(0), "it is in the first segment");
        let state = rig.journal.state();
        assert!(state.is_settled(), "the stream's own destination has everything");
        assert_eq!(state.lowest_unsettled(), Position(PER_PUT));
        let progress = &state.destinations[&replay_id()];
        assert_eq!((&progress.replay, progress.in_journal(state.next)), (&Some(replay(400)), 395));
        assert_eq!(state.lasting().count(), 1);
        rig.expect_sound();
        rig.reopen(HOUR);
    }
    wait(rig.journal.set_destinations(&[primary()])).unwrap();
    let close =
        standpipe_journal::control::Close { destination: replay_id(), ..close(99, range(PER_PUT, 399)) };
    wait(rig.journal.control(vec![Control::Close(close.clone())])).unwrap();
    wait(rig.journal.control(vec![settle(&close)])).unwrap();
    let state = rig.journal.state();
    assert_eq!(state.destinations[&replay_id()].tally.delivered, 395);
    wait(rig.journal.end_replay(replay_id())).unwrap();
    assert_eq!(rig.journal.state().destinations.len(), 1);
    rig.journal.tidy();
    assert!(rig.kept().first > Position(400), "{:?}", rig.kept());
    rig.expect_sound();
}

#[test]
fn a_replay_of_what_is_gone_is_not_begun_and_that_of_a_destination_that_goes_goes_with_it() {
    let mut rig = Rig::keeping(Duration::ZERO);
    rig.through(200);
    assert!(!wait(rig.journal.begin_replay(replay_id(), Position(0), replay(10))).unwrap());
    assert_eq!(rig.journal.state().destinations.len(), 1);
    let next = rig.journal.state().next.0;
    fill(&rig.journal, 1);
    let start = rig.journal.kept().first;
    assert!(wait(rig.journal.begin_replay(replay_id(), start, replay(next))).unwrap());
    wait(rig.journal.set_destinations(&[DestinationId::backup()])).unwrap();
    let known = || rig.journal.state().destinations.into_keys().collect::<Vec<_>>();
    assert_eq!(known(), [DestinationId::backup(), primary()], "what it had to deliver is held");
    wait(rig.journal.forget_destination(&primary())).unwrap();
    assert_eq!(known(), [DestinationId::backup()]);
}

#[test]
fn what_is_kept_is_read_under_a_master_key_that_was_changed() {
    let (disk, clock, keys) =
        (SimDisk::new(13, 64 << 20), Arc::new(TestClock::default()), Arc::new(TestKeys::new(true)));
    let shelf = Shelf { pool: CommitPool::inline(), ..shelf(Arc::new(disk), clock, 13) };
    let (journal, _) = open_with(&shelf, &keys).unwrap();
    wait(journal.set_destinations(&[primary()])).unwrap();
    journal.keep_settled(HOUR);
    fill(&journal, 60);
    deliver(&journal, 1, range(0, 299));
    assert_eq!(journal.kept().first, Position(0));
    keys.rotate();
    let wrapped = journal.wrapped_keys().unwrap();
    assert!(wrapped.len() > 2, "those of what is only kept are among them");
    for key in wrapped {
        assert!(journal.rewrap(key.segment, keys.rewrap(&key.wrapped)).unwrap());
    }
    keys.forget_previous();
    journal.forget_keys("main");
    let (records, lost) = read_all(&journal, range(0, 299));
    assert!(lost == 0 && records == (0..300).map(record).collect::<Vec<_>>());
}
