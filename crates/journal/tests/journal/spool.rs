//! Spools: what was written comes back, object by object, or it is said that it does not.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use standpipe_journal::control::{Control, Plan};
use standpipe_journal::disk::Disk as _;
use standpipe_journal::{
    Journal, ObjectPlace, SPOOL_BUFFER_BYTES, Shortage, SpoolDamage, SpoolError, SpoolId,
};
use standpipe_model::{BatchId, Tally};

use crate::keys::TestKeys;
use crate::sim::{Fault, SimDisk};
use crate::support::{TestClock, close, fill, open, open_with, primary, range, settle, shelf, wait};

const BATCH: BatchId = BatchId([7; 16]);

/// A spool with the places of its objects.
type Written = (SpoolId, Vec<ObjectPlace>);

/// The only spool's file.
fn path(disk: &SimDisk) -> PathBuf {
    let files = disk.list(Path::new("/j/spool")).unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    Path::new("/j/spool").join(&files[0].name)
}

fn simulated(capacity: u64) -> (SimDisk, standpipe_journal::Shelf) {
    let disk = SimDisk::new(5, capacity);
    let shelf = shelf(Arc::new(disk.clone()), Arc::new(TestClock::default()), 5);
    (disk, shelf)
}

/// Writes rows of objects in the order given; returns the places of the objects.
fn write(journal: &Journal, rows: &[(u32, Vec<u8>)]) -> Result<Written, SpoolError> {
    let mut spool = journal.spool(BATCH)?;
    let objects = rows.iter().map(|(object, _)| object + 1).max().unwrap_or_default();
    assert!((0..objects).all(|object| spool.begin_object() == object));
    rows.iter().try_for_each(|(object, row)| spool.push(*object, row))?;
    let places = (0..objects).map(|object| spool.end_object(object)).collect::<Result<_, _>>()?;
    let id = spool.id();
    spool.finish()?;
    Ok((id, places))
}

fn read(journal: &Journal, spool: SpoolId, place: ObjectPlace) -> io::Result<Vec<Vec<u8>>> {
    let mut reader = journal.read_spool(spool, place)?;
    let mut rows = Vec::new();
    while let Some(chunk) = reader.next_chunk(1000)? {
        rows.extend(chunk.iter().map(<[u8]>::to_vec));
    }
    Ok(rows)
}

fn expect(journal: &Journal, rows: &[(u32, Vec<u8>)], (spool, places): &Written) {
    let mut objects: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    rows.iter().for_each(|(object, row)| objects.entry(*object).or_default().push(row.clone()));
    for (object, place) in (0..).zip(places) {
        let expected = objects.remove(&object).unwrap_or_default();
        assert_eq!(place.rows, expected.len() as u64);
        assert_eq!(place.bytes, expected.iter().map(Vec::len).sum::<usize>() as u64);
        assert!(read(journal, *spool, *place).unwrap() == expected, "object {object}");
    }
}

/// Closes a batch of that id and plans it, as a worker does once its spool is durable.
fn plan(journal: &Journal, (spool, places): &Written) {
    let mut close = close(7, range(0, 4));
    close.batch = BATCH;
    let (destination, tally) = (primary(), Tally::default());
    let (spool, index) = (*spool, places[0]);
    let plan = Plan { batch: BATCH, destination, spool, objects: 1, index, tally };
    wait(journal.set_destinations(&[primary()])).unwrap();
    wait(journal.control(vec![Control::Close(close), Control::Plan(plan)])).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_mixed_objects_come_back_in_order(
        rows in prop::collection::vec((0u32..40, prop_oneof![0usize..80, 200_000usize..900_000], any::<u8>()), 0..60),
        encrypted: bool,
    ) {
        let rows: Vec<(u32, Vec<u8>)> =
            rows.into_iter().map(|(object, len, byte)| (object, vec![byte; len])).collect();
        let (_, shelf) = simulated(256 << 20);
        let keys = Arc::new(TestKeys::new(encrypted));
        let (journal, _) = open_with(&shelf, &keys).unwrap();
        let places = write(&journal, &rows).unwrap();
        expect(&journal, &rows, &places);
    }
}

#[test]
fn thousands_of_objects_wait_in_a_buffer_of_one_size() {
    let (disk, shelf) = simulated(256 << 20);
    let (journal, _) = open(&shelf);
    let mut spool = journal.spool(BATCH).unwrap();
    assert!((0..5_000).all(|object| spool.begin_object() == object));
    let row = [3; 1000];
    for number in 0..40_000u32 {
        spool.push(number % 5_000, &row).unwrap();
        if number % 1_000 == 0 {
            let waiting = (number as usize * 1004).saturating_sub(disk.bytes(&path(&disk)).len());
            assert!(waiting <= SPOOL_BUFFER_BYTES, "{waiting} bytes wait");
        }
    }
    let places: Vec<ObjectPlace> = (0..5_000).map(|object| spool.end_object(object).unwrap()).collect();
    let id = spool.id();
    spool.finish().unwrap();
    assert!(places.iter().all(|place| (place.rows, place.bytes) == (8, 8_000)));
    assert_eq!(read(&journal, id, places[4_999]).unwrap(), vec![row.to_vec(); 8]);
}

#[test]
fn a_planned_spool_outlives_a_power_cut_and_another_does_not() {
    for encrypted in [false, true] {
        let (disk, shelf) = simulated(64 << 20);
        let keys = Arc::new(TestKeys::new(encrypted));
        let (journal, _) = open_with(&shelf, &keys).unwrap();
        fill(&journal, 3);
        let rows: Vec<(u32, Vec<u8>)> = (0..3000).map(|n| (n % 7, format!("secret {n}").into())).collect();
        let places = write(&journal, &rows).unwrap();
        plan(&journal, &places);
        let mut other = journal.spool(BatchId([9; 16])).unwrap();
        let object = other.begin_object();
        other.push(object, b"row").unwrap();
        other.end_object(object).unwrap();
        other.finish().unwrap();
        let used = journal.usage().used;
        disk.power_cycle();
        let (journal, _) = open_with(&shelf, &keys).unwrap();
        expect(&journal, &rows, &places);
        let bytes = disk.bytes(&path(&disk));
        assert_eq!(bytes.windows(6).any(|bytes| bytes == b"secret"), !encrypted);
        assert!(journal.usage().used < used, "the other spool is gone");
        let before = journal.usage().used;
        journal.remove_spools(BATCH, None).unwrap();
        assert_eq!(before - journal.usage().used, bytes.len() as u64, "what it took is given back");
        assert!(SpoolDamage::is_behind(&read(&journal, places.0, places.1[0]).unwrap_err()));
    }
}

#[test]
fn a_settled_batch_needs_no_spool_after_a_restart() {
    let (_, shelf) = simulated(64 << 20);
    let (journal, _) = open(&shelf);
    fill(&journal, 3);
    let places = write(&journal, &[(0, b"row".to_vec())]).unwrap();
    plan(&journal, &places);
    let mut settled = close(7, range(0, 4));
    settled.batch = BATCH;
    wait(journal.control(vec![settle(&settled)])).unwrap();
    let (journal, _) = open(&shelf);
    assert!(SpoolDamage::is_behind(&read(&journal, places.0, places.1[0]).unwrap_err()));
}

#[test]
fn what_is_damaged_is_said_and_never_read_as_something_else() {
    for encrypted in [false, true] {
        let rows: Vec<(u32, Vec<u8>)> = (0..40).map(|n| (n % 2, vec![n as u8; 300])).collect();
        let clean = {
            let (disk, shelf) = simulated(64 << 20);
            let (journal, _) = open_with(&shelf, &Arc::new(TestKeys::new(encrypted))).unwrap();
            write(&journal, &rows).unwrap();
            disk.bytes(&path(&disk)).len()
        };
        for offset in (4096..clean).step_by(97) {
            let (disk, shelf) = simulated(64 << 20);
            let (journal, _) = open_with(&shelf, &Arc::new(TestKeys::new(encrypted))).unwrap();
            let places = write(&journal, &rows).unwrap();
            disk.rot(&path(&disk), offset);
            for (object, place) in (0..).zip(places.1.clone()) {
                let expected = rows.iter().filter(|(of, _)| *of == object).map(|(_, row)| row.clone());
                match read(&journal, places.0, place) {
                    Ok(read) => assert!(read == expected.collect::<Vec<_>>(), "at {offset}"),
                    Err(error) => assert!(SpoolDamage::is_behind(&error), "at {offset}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_disk_that_fails_leaves_no_spool_behind_and_the_next_one_is_whole() {
    let rows: Vec<(u32, Vec<u8>)> = (0..30).map(|n| (n % 3, vec![n as u8; 100_000])).collect();
    for fault in [Fault::NoSpace, Fault::Io] {
        for after in 0..12 {
            let (disk, shelf) = simulated(64 << 20);
            let (journal, _) = open(&shelf);
            let used = journal.usage().used;
            disk.inject(after, fault);
            let places = match write(&journal, &rows) {
                Ok(places) => places,
                Err(_) => {
                    disk.clear_faults();
                    assert_eq!(journal.usage().used, used, "{fault:?} {after}");
                    write(&journal, &rows).unwrap()
                }
            };
            expect(&journal, &rows, &places);
        }
    }
}

#[test]
fn the_only_spool_is_never_refused_for_a_limit_and_the_next_waits() {
    let (_, shelf) = simulated(64 << 20);
    let (journal, _) = open(&shelf);
    let rows: Vec<(u32, Vec<u8>)> = (0..3).map(|n| (n, vec![1; 1 << 20])).collect();
    let places = write(&journal, &rows).unwrap();
    assert!(journal.under_pressure(), "three times the limit");
    let second = journal.spool(BatchId([8; 16]));
    assert!(matches!(second, Err(SpoolError::Full(Shortage::Stream { .. }))), "{second:?}");
    expect(&journal, &rows, &places);
    journal.remove_spools(BATCH, None).unwrap();
    journal.spool(BatchId([8; 16])).unwrap();
}

#[test]
fn a_held_spool_does_not_keep_the_next_batch_from_being_planned_when_the_journal_is_full() {
    let (_, shelf) = simulated(64 << 20);
    let (journal, _) = open(&shelf);
    wait(journal.set_destinations(&[primary()])).unwrap();
    write(&journal, &[(0, vec![1; 400 << 10])]).unwrap();
    fill(&journal, 200);
    assert!(journal.under_pressure());
    let mut next = journal.spool(BatchId([8; 16])).unwrap();
    let object = next.begin_object();
    next.push(object, &[2; 400 << 10]).unwrap();
    next.end_object(object).unwrap();
    next.finish().unwrap();
}

#[test]
fn a_spool_in_place_of_another_leaves_that_for_as_long_as_a_plan_may_name_it() {
    let (disk, shelf) = simulated(64 << 20);
    let (journal, _) = open(&shelf);
    fill(&journal, 3);
    let first = write(&journal, &[(0, b"first".to_vec())]).unwrap();
    plan(&journal, &first);
    let second = write(&journal, &[(0, b"second".to_vec())]).unwrap();
    assert_eq!(read(&journal, first.0, first.1[0]).unwrap(), [b"first"]);
    disk.power_cycle();
    let (journal, _) = open(&shelf);
    assert_eq!(read(&journal, first.0, first.1[0]).unwrap(), [b"first"], "its PLAN is the one that counts");
    assert!(SpoolDamage::is_behind(&read(&journal, second.0, second.1[0]).unwrap_err()));
    let third = write(&journal, &[(0, b"third".to_vec())]).unwrap();
    journal.remove_spools(BATCH, Some(third.0)).unwrap();
    assert!(read(&journal, first.0, first.1[0]).is_err());
    assert_eq!(read(&journal, third.0, third.1[0]).unwrap(), [b"third"]);
    journal.tidy_spools().unwrap();
    assert_eq!(read(&journal, third.0, third.1[0]).unwrap(), [b"third"], "its batch is open");
}

#[test]
fn a_writer_of_a_journal_that_was_put_away_gives_nothing_back_twice() {
    let (_, shelf) = simulated(64 << 20);
    let (journal, _) = open(&shelf);
    let mut spool = journal.spool(BATCH).unwrap();
    let object = spool.begin_object();
    spool.push(object, &[1; 2 << 20]).unwrap();
    wait(journal.close());
    journal.release();
    assert_eq!(shelf.budget.used(), 0);
    assert!(spool.push(object, &[1; 2 << 20]).is_err());
    drop(spool);
    assert_eq!(shelf.budget.used(), 0);
}

#[test]
fn a_spool_is_wrapped_anew_with_the_segments_and_needs_its_key() {
    let (_, shelf) = simulated(64 << 20);
    let keys = Arc::new(TestKeys::new(true));
    let (journal, _) = open_with(&shelf, &keys).unwrap();
    let rows = [(0, b"row".to_vec())];
    let places = write(&journal, &rows).unwrap();
    keys.rotate();
    let wrapped = journal.wrapped_keys().unwrap();
    assert_eq!(wrapped.len(), 1, "the spool's: no segment was begun");
    assert!(journal.rewrap(wrapped[0].segment, keys.rewrap(&wrapped[0].wrapped)).unwrap());
    keys.forget_previous();
    journal.forget_keys("main");
    expect(&journal, &rows, &places);
    journal.forget_keys("main");
    keys.stop(true);
    assert!(read(&journal, places.0, places.1[0]).is_err());
    keys.stop(false);
    expect(&journal, &rows, &places);
}
