//! A disk that fails or is full: what was promised stays, what was refused never comes, and the way back is open.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use standpipe_journal::control::{Control, Decide};
use standpipe_journal::{AppendError, DiskBudget, Journal, JournalOptions, Shelf, Shortage};
use standpipe_model::{BatchId, Position, Timestamp};

use crate::sim::{Fault, SimDisk};
use crate::support::{
    OPTIONS, PER_PUT, TestClock, append, close, deliver, expect_all_but, fill, open, primary, range, settle,
    shelf, wait,
};

fn rig() -> (SimDisk, Arc<TestClock>, Shelf, Journal) {
    let (disk, clock) = (SimDisk::new(5, 8 << 20), Arc::new(TestClock::default()));
    let shelf = shelf(Arc::new(disk.clone()), clock.clone(), 5);
    let (journal, _) = open(&shelf);
    wait(journal.set_destinations(&[primary()])).unwrap();
    (disk, clock, shelf, journal)
}

/// Appends until it is refused, and returns why.
fn fill_up(journal: &Journal) -> AppendError {
    loop {
        if let Err(error) = append(journal, journal.state().next.0) {
            return error;
        }
    }
}

#[test]
fn a_failed_sync_poisons_until_the_journal_has_healed() {
    let (disk, clock, shelf, journal) = rig();
    fill(&journal, 3);
    disk.inject(1, Fault::Io);
    assert_eq!(append(&journal, 15), Err(AppendError::Poisoned));
    assert!(journal.usage().poisoned);
    assert_eq!(append(&journal, 15), Err(AppendError::Poisoned), "at the door, before its time");
    let refused = wait(journal.control(vec![Control::Close(close(1, range(0, 4)))]));
    assert_eq!(refused, Err(AppendError::Poisoned));
    assert_eq!(journal.state().next, Position(15));
    expect_all_but(&journal, 0, 0..0);
    clock.advance(Duration::from_millis(500));
    append(&journal, 15).expect("it has healed");
    assert!(!journal.usage().poisoned);
    expect_all_but(&journal, 0, 0..0);
    assert_eq!(
        journal.state().destinations[&primary()].cursor,
        Position(0),
        "the refused CLOSE does not count"
    );
    disk.power_cycle();
    let (journal, report) = open(&shelf);
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]));
    assert_eq!(journal.state().next, Position(20));
    expect_all_but(&journal, 0, 0..0);
}

#[test]
fn a_put_refused_by_a_failed_sync_is_new_when_it_comes_again() {
    let (disk, clock, _, journal) = rig();
    disk.inject(1, Fault::Io);
    assert_eq!(append(&journal, 0), Err(AppendError::Poisoned));
    clock.advance(Duration::from_millis(500));
    assert!(!append(&journal, 0).unwrap().repeated);
    assert!(wait(journal.append(crate::support::put(&[vec![1]], 0))).unwrap().repeated);
}

#[test]
fn each_failed_attempt_to_heal_waits_longer() {
    let (disk, clock, _, journal) = rig();
    fill(&journal, 1);
    disk.inject(1, Fault::Io);
    assert_eq!(append(&journal, 5), Err(AppendError::Poisoned));
    disk.inject(0, Fault::Io);
    clock.advance(Duration::from_millis(500));
    assert_eq!(append(&journal, 5), Err(AppendError::Poisoned), "the copy fails");
    clock.advance(Duration::from_millis(999));
    assert_eq!(append(&journal, 5), Err(AppendError::Poisoned), "a second has not passed");
    clock.advance(Duration::from_millis(1));
    append(&journal, 5).expect("it has healed");
    expect_all_but(&journal, 0, 0..0);
}

#[test]
fn a_full_disk_refuses_puts_and_takes_control_frames() {
    let (disk, clock, _, journal) = rig();
    fill(&journal, 2);
    disk.refuse_creates(true);
    assert_eq!(fill_up(&journal), AppendError::Full(Shortage::Disk));
    assert!(!journal.usage().poisoned, "a full disk is no failure");
    let next = journal.state().next.0;
    expect_all_but(&journal, 0, 0..0);
    // Eight batches, closed and settled: the reserve of the segment holds them.
    let size = next / 8;
    for batch in 0..8 {
        deliver(&journal, batch, range(u64::from(batch) * size, u64::from(batch + 1) * size - 1));
    }
    assert_eq!(journal.state().lowest_unsettled(), Position(size * 8));
    disk.refuse_creates(false);
    clock.advance(Duration::from_millis(250));
    append(&journal, next).expect("there is room again");
}

#[test]
fn puts_resume_below_ninety_five_percent() {
    let (_, clock, _, journal) = rig();
    assert!(
        matches!(fill_up(&journal), AppendError::Full(Shortage::Stream { limit, .. }) if limit == OPTIONS.limit_bytes)
    );
    let next = journal.state().next.0;
    let (mut at, mut batch, mut resumed_at) = (0, 0, None);
    while resumed_at.is_none() && at < next {
        deliver(&journal, batch, range(at, at + PER_PUT - 1));
        (at, batch) = (at + PER_PUT, batch + 1);
        clock.advance(Duration::from_millis(250));
        let used = journal.usage().used;
        match append(&journal, next) {
            Ok(_) => resumed_at = Some(used),
            Err(AppendError::Full(_)) => {}
            Err(error) => panic!("{error}"),
        }
        let room = used * 100 < OPTIONS.limit_bytes * 95;
        assert_eq!(resumed_at.is_some(), room, "{used} of {}", OPTIONS.limit_bytes);
    }
    assert!(resumed_at.is_some());
}

#[test]
fn a_stream_at_its_limit_settles_and_takes_puts_again() {
    let (_, clock, _, journal) = rig();
    for round in 0..4 {
        assert!(matches!(fill_up(&journal), AppendError::Full(Shortage::Stream { .. })));
        let (lowest, next) = (journal.state().lowest_unsettled().0, journal.state().next.0);
        assert!(journal.under_pressure());
        expect_all_but(&journal, lowest, 0..0);
        let batch = close(round, range(lowest, next - 1));
        wait(journal.control(vec![Control::Close(batch.clone())]))
            .expect("past the limit, not past the disk");
        wait(journal.control(vec![settle(&batch)])).expect("past the limit, not past the disk");
        clock.advance(Duration::from_millis(250));
        append(&journal, next).expect("there is room again");
    }
}

#[test]
fn a_journal_that_is_closed_can_be_closed_again() {
    let (_, _, _, journal) = rig();
    let (done, told) = mpsc::channel();
    thread::spawn(move || {
        wait(journal.close());
        wait(journal.close());
        done.send(append(&journal, 0)).unwrap();
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(Err(AppendError::Closed)));
}

#[test]
fn a_control_frame_that_no_reader_would_believe_is_refused_and_nothing_of_it_written() {
    const MIB: usize = 1 << 20;
    let (disk, clock) = (SimDisk::new(5, 1 << 30), Arc::new(TestClock::default()));
    let budget = DiskBudget::new(Arc::new(disk.clone()), "/j".into(), 1 << 30, 0);
    let shelf = Shelf { budget: Arc::new(budget), ..shelf(Arc::new(disk.clone()), clock, 5) };
    let open = || Journal::open(Path::new("/j"), JournalOptions::within(1 << 30), shelf.clone()).unwrap();
    let (journal, _) = open();
    wait(journal.set_destinations(&[primary()])).unwrap();
    fill(&journal, 2);
    let close = |batch| Control::Close(close(batch, range(0, 4)));
    let decide = |word: &str, bytes| {
        let (destination, rows, decided_at) = (primary(), vec![range(0, 0)], Timestamp(1));
        let (reason, message) = ("400".to_owned(), word.repeat(bytes));
        let batch = BatchId([1; 16]);
        Control::Decide(Decide { batch, destination, rows, reason, message, attempts: 1, decided_at })
    };
    let refused = |frames| matches!(wait(journal.control(frames)), Err(AppendError::TooLarge(_)));
    assert!(refused(vec![close(1), decide("a", 64 * MIB)]));
    assert!(journal.state().destinations[&primary()].open.is_empty());
    wait(journal.control(vec![close(1), decide("a", 40 * MIB)])).expect("it fits");
    // A segment begins with all of it.
    assert!(refused(vec![decide("b", 40 * MIB)]));
    wait(journal.restate()).expect("the state fits");
    append(&journal, 10).expect("it goes on");
    disk.power_cycle();
    let (journal, report) = open();
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]));
    assert_eq!(journal.state().next, Position(15));
    assert_eq!(journal.state().destinations[&primary()].open[&BatchId([1; 16])].decided.len(), 1);
}
