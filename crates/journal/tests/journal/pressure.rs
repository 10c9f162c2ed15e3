//! Who is to close early when room gets scarce: whose open range holds the oldest segment, and nobody else.

use std::path::Path;
use std::sync::Arc;

use standpipe_journal::control::{Close, Control};
use standpipe_journal::{DiskBudget, Journal, JournalOptions};
use standpipe_model::{BatchRange, DestinationId, Position};

use crate::sim::SimDisk;
use crate::support::{OPTIONS, TestClock, append, close, fill, open, primary, range, settle, shelf, wait};

/// The other destination beside the primary one.
fn other() -> DestinationId {
    DestinationId::parse("other").unwrap()
}

/// Closes and settles a batch of a destination.
fn deliver(journal: &Journal, destination: DestinationId, batch: u8, range: BatchRange) {
    let close = Close { destination, ..close(batch, range) };
    wait(journal.control(vec![Control::Close(close.clone())])).unwrap();
    wait(journal.control(vec![settle(&close)])).unwrap();
}

fn next(journal: &Journal) -> u64 {
    journal.state().next.0
}

fn cursor(journal: &Journal, destination: &DestinationId) -> Position {
    journal.state().destinations[destination].cursor
}

/// A journal with two destinations.
fn journal() -> Journal {
    let shelf = shelf(Arc::new(SimDisk::new(21, 64 << 20)), Arc::new(TestClock::default()), 21);
    let (journal, _) = open(&shelf);
    wait(journal.set_destinations(&[primary(), other()])).unwrap();
    journal
}

fn fill_until_scarce(journal: &Journal) {
    while !journal.under_pressure() {
        fill(journal, 1);
    }
}

fn fill_until_refused(journal: &Journal) {
    while append(journal, next(journal)).is_ok() {}
}

#[test]
fn a_destination_that_has_only_younger_records_is_left_alone_however_full_the_journal_is() {
    let journal = journal();
    let pressure = journal.watch_pressure();
    fill(&journal, 10);
    assert_eq!(*pressure.borrow(), Position(0), "there is room");
    fill_until_scarce(&journal);
    let before = *pressure.borrow();
    assert!(before > Position(0) && before.0 < next(&journal) / 2, "the oldest segment: {before}");

    deliver(&journal, other(), 1, range(0, next(&journal) - 1));
    assert!(journal.under_pressure(), "the primary one holds everything");
    assert_eq!(*pressure.borrow(), before);
    for _ in 0..5 {
        fill(&journal, 1);
        assert!(cursor(&journal, &other()) >= *pressure.borrow(), "the other can do nothing about it");
        assert!(cursor(&journal, &primary()) < *pressure.borrow());
    }
    deliver(&journal, primary(), 2, range(0, next(&journal) - 1));
    assert_eq!(*pressure.borrow(), Position(0), "there is room again");
}

#[test]
fn it_is_the_turn_of_the_next_as_soon_as_the_one_that_held_the_oldest_segment_is_through() {
    let journal = journal();
    fill_until_refused(&journal);
    let mut pressure = journal.watch_pressure();
    let before = *pressure.borrow_and_update();
    deliver(&journal, other(), 1, BatchRange { first: Position(0), last: before });
    assert!(cursor(&journal, &other()) > before);
    assert!(!pressure.has_changed().unwrap());
    deliver(&journal, primary(), 2, range(0, next(&journal) - 1));
    assert!(journal.under_pressure());
    assert!(pressure.has_changed().unwrap(), "no put comes that could tell: they are refused");
    assert!(cursor(&journal, &other()) < *pressure.borrow());
}

#[test]
fn the_newest_segment_counts_only_while_puts_are_refused() {
    let disk = SimDisk::new(22, 64 << 20);
    let mut shelf = shelf(Arc::new(disk.clone()), Arc::new(TestClock::default()), 22);
    shelf.budget = Arc::new(DiskBudget::new(Arc::new(disk), "/".into(), 1 << 20, 0));
    let options = JournalOptions { limit_bytes: u64::MAX, ..OPTIONS };
    let [quiet, busy] = ["/quiet", "/busy"].map(|dir| {
        let (journal, _) = Journal::open(Path::new(dir), options, shelf.clone()).unwrap();
        wait(journal.set_destinations(&[primary()])).unwrap();
        journal
    });
    fill(&quiet, 1);
    fill_until_refused(&busy);
    let pressure = quiet.watch_pressure();
    fill(&quiet, 1);
    assert!(quiet.under_pressure());
    assert_eq!(*pressure.borrow(), Position(0), "another stream fills the disk, and it has one segment");
    fill_until_refused(&quiet);
    assert_eq!(pressure.borrow().0, next(&quiet));
}
