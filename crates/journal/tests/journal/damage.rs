//! Damage that no crash explains: it is set aside, counted and told, and never stops the journal from opening.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use standpipe_journal::control::Control;
use standpipe_journal::disk::OsDisk;
use standpipe_journal::inspect::{FrameSummary, SegmentStatus, SegmentSummary, frames, inspect};
use standpipe_journal::verify::{Fault as Wrong, verify};
use standpipe_journal::{DiskBudget, Journal, JournalOptions, OpenError, RecoveryReport, Shelf};
use standpipe_model::Position;

use crate::sim::{Fault, SimDisk};
use crate::support::{
    OPTIONS, PER_PUT, TestClock, append, close, deliver, expect_all_but, fill, open, primary, range,
    read_all, settle, shelf, try_open, wait,
};

const HEADER_LEN: u64 = 64;
const HEAD_LEN: u64 = 4096;

struct Rig {
    disk: SimDisk,
    shelf: Shelf,
    journal: Journal,
}

impl Rig {
    /// A journal with `puts` puts, the last segment unsealed.
    fn with(puts: u64) -> Self {
        let disk = SimDisk::new(7, 8 << 20);
        let shelf = shelf(Arc::new(disk.clone()), Arc::new(TestClock::default()), 7);
        let (journal, _) = open(&shelf);
        wait(journal.set_destinations(&[primary()])).expect("the disk works");
        fill(&journal, puts);
        Self { disk, shelf, journal }
    }

    /// Opens it again, as after a stop of the machine.
    fn try_reopen(&mut self) -> Result<RecoveryReport, OpenError> {
        self.disk.power_cycle();
        let budget = DiskBudget::new(Arc::new(self.disk.clone()), "/j".into(), 4 << 20, 0);
        self.shelf.budget = Arc::new(budget);
        let (journal, report) = try_open(&self.shelf)?;
        self.journal = journal;
        Ok(report)
    }

    fn reopen(&mut self) -> RecoveryReport {
        self.try_reopen().expect("damage does not stop a journal from opening")
    }

    fn segments(&self) -> Vec<SegmentSummary> {
        let mut segments = inspect(&self.disk, Path::new("/j")).expect("the disk works");
        segments.retain(|segment| segment.status != SegmentStatus::Blank);
        segments
    }

    fn newest(&self) -> PathBuf {
        self.segments().last().expect("there is one").path.clone()
    }

    /// The DATA frame that begins with the record `first`.
    fn data(&self, first: u64) -> (PathBuf, u64) {
        self.find(|frame| frame.kind == Some("DATA") && frame.first == Position(first))
    }

    fn find(&self, wanted: impl Fn(&FrameSummary) -> bool) -> (PathBuf, u64) {
        for segment in self.segments() {
            let found = frames(&self.disk, &segment, &())
                .expect("the disk works")
                .map(|frame| frame.expect("the disk works"))
                .find(|frame| wanted(frame));
            if let Some(frame) = found {
                return (segment.path, frame.offset);
            }
        }
        panic!("no such frame");
    }

    fn problems(&self) -> Vec<Wrong> {
        let report = verify(&self.disk, Path::new("/j"), &()).expect("the disk works");
        report.problems.into_iter().map(|problem| problem.fault).collect()
    }
}

fn missing(first: u64, last: u64) -> Wrong {
    Wrong::Missing { first: Position(first), last: Position(last) }
}

#[test]
fn a_damaged_body_in_a_sealed_segment_costs_its_own_records_alone() {
    let mut rig = Rig::with(40);
    rig.reopen();
    let (path, offset) = rig.data(20);
    rig.disk.rot(&path, (offset + HEADER_LEN + 1234) as usize);
    let report = rig.reopen();
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]), "footers alone are read at the start");
    expect_all_but(&rig.journal, 0, 20..25);
    assert_eq!(rig.problems(), [Wrong::Body { kind: "DATA", first: Position(20), count: 5 }]);
}

#[test]
fn a_damaged_header_in_a_sealed_segment_costs_its_own_records_alone() {
    let mut rig = Rig::with(40);
    rig.reopen();
    let (path, offset) = rig.data(20);
    rig.disk.rot(&path, offset as usize + 9);
    rig.reopen();
    expect_all_but(&rig.journal, 0, 20..25);
    assert_eq!(rig.problems(), [Wrong::NoFrame, missing(20, 24)]);
    // What the segment lacks does not keep a batch from closing by size.
    let end = rig.journal.watch().borrow().bytes;
    let from = rig.journal.cursor_at(Position(0)).unwrap();
    assert!(rig.journal.boundary(from, end).unwrap().is_some());
}

#[test]
fn a_damaged_body_in_the_unsealed_tail_is_set_aside_and_counted() {
    for at in [9, HEADER_LEN + 100] {
        let mut rig = Rig::with(4);
        let newest = rig.newest();
        let (path, offset) = rig.data(5);
        assert_eq!(path, newest);
        rig.disk.rot(&path, (offset + at) as usize);
        for _ in 0..2 {
            let report = rig.reopen();
            assert_eq!(report.lost, [(Position(5), Position(10))], "it is told until it is settled");
            assert_eq!(report.lost_records(), PER_PUT);
            expect_all_but(&rig.journal, 0, 5..10);
        }
        assert_eq!(rig.disk.bytes(&newest.with_extension("damaged")).len(), 32 << 10);
        assert_eq!(rig.problems(), [missing(5, 9)], "the copy itself is sound");
        append(&rig.journal, 20).unwrap();
        deliver(&rig.journal, 1, range(0, 19));
        assert_eq!(rig.reopen().lost, [], "what is settled is history");
    }
}

#[test]
fn a_frame_set_aside_is_named_in_the_report() {
    let mut rig = Rig::with(4);
    let (path, offset) = rig.data(5);
    rig.disk.rot(&path, offset as usize + 9);
    assert_eq!(rig.reopen().set_aside, [path.with_extension("damaged")]);
    assert_eq!(rig.reopen().set_aside, Vec::<PathBuf>::new());
}

#[test]
fn positions_of_a_damaged_last_put_do_not_come_again_when_a_control_frame_follows() {
    for at in [9, HEADER_LEN + 100] {
        let mut rig = Rig::with(2);
        wait(rig.journal.control(vec![Control::Close(close(1, range(0, 9)))])).unwrap();
        let (path, offset) = rig.data(5);
        rig.disk.rot(&path, (offset + at) as usize);
        let report = rig.reopen();
        assert_eq!(report.lost, [(Position(5), Position(10))]);
        let state = rig.journal.state();
        assert_eq!((state.next, state.accepted_records), (Position(10), 10));
        append(&rig.journal, 10).unwrap();
    }
}

#[test]
fn the_power_may_go_at_any_call_while_damage_is_set_aside() {
    let mut survived = 0;
    for call in 0..40 {
        let mut rig = Rig::with(4);
        let (path, offset) = rig.data(5);
        rig.disk.rot(&path, offset as usize + 9);
        rig.disk.power_cycle();
        rig.disk.inject(call, Fault::Crash);
        survived += u32::from(try_open(&rig.shelf).is_ok());
        rig.reopen();
        expect_all_but(&rig.journal, 0, 5..10);
    }
    assert!(survived > 0, "every call was tried");
}

#[test]
fn a_torn_last_group_is_cut_and_nothing_is_set_aside() {
    let mut rig = Rig::with(4);
    let (path, offset) = rig.data(15);
    rig.disk.rot(&path, (offset + HEADER_LEN + 100) as usize);
    assert_eq!(rig.problems(), [], "a torn tail is no damage");
    assert!(verify(&rig.disk, Path::new("/j"), &()).unwrap().torn_bytes > 2000);
    let report = rig.reopen();
    assert!(report.torn_bytes > 2000);
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]));
    assert_eq!(rig.journal.state().next, Position(15));
    expect_all_but(&rig.journal, 0, 0..0);
}

#[test]
fn a_damaged_head_costs_its_own_segment_alone() {
    let mut rig = Rig::with(40);
    let segment = rig.segments().swap_remove(1);
    let content = segment.content.unwrap();
    rig.disk.rot(&segment.path, 20);
    assert_eq!(rig.problems()[0], Wrong::Head);
    let report = rig.reopen();
    assert_eq!(report.set_aside, [segment.path.with_extension("damaged")]);
    assert_eq!(report.lost, [(content.first, content.next)]);
    expect_all_but(&rig.journal, 0, content.first.0..content.next.0);
}

#[test]
fn a_damaged_footer_is_made_again_from_the_frames() {
    let mut rig = Rig::with(40);
    let segment = rig.segments().swap_remove(0);
    assert_eq!(segment.status, SegmentStatus::Sealed);
    rig.disk.rot(&segment.path, segment.file_bytes as usize - 4096 + 40);
    assert_eq!(rig.problems(), [Wrong::Footer]);
    let report = rig.reopen();
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]));
    let again = rig.segments().swap_remove(0);
    assert_eq!(
        (again.status, again.content.unwrap().next),
        (SegmentStatus::Sealed, segment.content.unwrap().next)
    );
    assert_eq!(rig.problems(), []);
    expect_all_but(&rig.journal, 0, 0..0);
}

#[test]
fn a_newer_format_is_refused_naming_both_versions() {
    let mut rig = Rig::with(4);
    let newest = rig.newest();
    rig.disk.overwrite(&newest, 8, &[9, 0]);
    assert_eq!(rig.problems(), [Wrong::Newer { found: 9 }]);
    let segment = rig.segments().pop().unwrap();
    assert_eq!((segment.status, segment.version), (SegmentStatus::Newer, Some(9)));
    assert_eq!(frames(&rig.disk, &segment, &()).unwrap().count(), 0);
    let error = rig.try_reopen().unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9, known: 2, .. }));
    assert!(error.to_string().ends_with("has journal format 9; this build reads up to 2"), "{error}");
}

#[test]
fn the_frames_that_a_recycled_file_held_before_never_come_back() {
    let disk = SimDisk::new(7, 8 << 20);
    let shelf = shelf(Arc::new(disk.clone()), Arc::new(TestClock::default()), 7);
    let options = JournalOptions { segment_max: OPTIONS.segment_min, ..OPTIONS };
    let (journal, _) = Journal::open(Path::new("/j"), options, shelf.clone()).unwrap();
    wait(journal.set_destinations(&[primary()])).unwrap();
    fill(&journal, 30);
    deliver(&journal, 1, range(0, 149));
    let mut rig = Rig { disk, shelf, journal };
    // Its file is there, to be used again, and in the end it is.
    let stale = |rig: &Rig| {
        let frames_of_newest = frames(&rig.disk, rig.segments().last().unwrap(), &()).unwrap().count();
        let bytes = rig.disk.bytes(&rig.newest());
        bytes.chunks_exact(8).filter(|word| word.starts_with(b"SPf1")).count() > frames_of_newest
    };
    while !stale(&rig) {
        assert!(rig.journal.state().next < Position(500), "no file was used again");
        fill(&rig.journal, 1);
    }
    let next = rig.journal.state().next;
    assert_eq!(rig.problems(), []);
    let report = rig.reopen();
    assert_eq!((report.lost, report.set_aside, report.torn_bytes), (vec![], vec![], 0));
    assert_eq!(rig.journal.state().next, next);
    expect_all_but(&rig.journal, 150, 0..0);
}

#[test]
fn the_state_of_the_segment_before_stands_in_for_a_damaged_one() {
    for sealed in [false, true] {
        let mut rig = Rig::with(20);
        wait(rig.journal.control(vec![Control::Close(close(1, range(0, 3)))])).unwrap();
        fill(&rig.journal, 1);
        if sealed {
            rig.reopen();
        }
        let before = rig.journal.state();
        let newest = rig.newest();
        rig.disk.rot(&newest, (HEAD_LEN + HEADER_LEN + 20) as usize);
        let report = rig.reopen();
        assert_eq!(rig.journal.state(), before);
        assert_eq!((report.lost, report.open_batches), (vec![], 1));
        expect_all_but(&rig.journal, 0, 0..0);
    }
}

#[test]
fn without_any_state_destinations_begin_at_the_oldest_record() {
    let mut rig = Rig::with(3);
    let (path, _) = rig.find(|frame| frame.kind == Some("STATE"));
    let states: Vec<u64> = {
        let segment = rig.segments().swap_remove(0);
        let all = frames(&rig.disk, &segment, &()).unwrap().map(Result::unwrap);
        all.filter(|frame| frame.kind == Some("STATE")).map(|frame| frame.offset).collect()
    };
    for offset in states {
        rig.disk.rot(&path, (offset + HEADER_LEN + 3) as usize);
    }
    rig.reopen();
    assert_eq!(rig.journal.state().destinations.len(), 0);
    // It may stop here once more before the stream says what its destinations are.
    fill(&rig.journal, 1);
    rig.reopen();
    wait(rig.journal.set_destinations(&[primary()])).unwrap();
    let state = rig.journal.state();
    assert_eq!((state.destinations[&primary()].cursor, state.unread_from), (Position(0), None));
    expect_all_but(&rig.journal, 0, 0..0);
}

#[test]
fn records_whose_close_is_damaged_are_not_forgotten() {
    let mut rig = Rig::with(4);
    for (batch, records) in [(1, range(0, 9)), (2, range(10, 14))] {
        wait(rig.journal.control(vec![Control::Close(close(batch, records))])).unwrap();
    }
    let (path, offset) = rig.find(|frame| frame.kind == Some("CLOSE"));
    rig.disk.rot(&path, (offset + HEADER_LEN + 5) as usize);
    rig.reopen();
    let state = rig.journal.state();
    let open: Vec<_> = state.destinations[&primary()].open.values().map(|open| open.close.range).collect();
    assert_eq!((open.len(), state.lowest_unsettled()), (2, Position(0)));
    assert!(open.contains(&range(0, 9)));
    wait(rig.journal.control(vec![settle(&close(2, range(10, 14)))])).unwrap();
    assert_eq!(rig.journal.state().lowest_unsettled(), Position(0));
}

#[test]
fn a_file_that_was_cut_short_is_damage() {
    let mut rig = Rig::with(40);
    let segment = rig.segments().swap_remove(0);
    let next = segment.content.unwrap().next.0;
    rig.disk.cut(&segment.path, segment.file_bytes as usize / 2);
    let problems = rig.problems();
    assert!(problems.iter().any(|problem| matches!(problem, Wrong::Length { .. })), "{problems:?}");
    let report = rig.reopen();
    assert_eq!(report.set_aside, [segment.path.with_extension("damaged")]);
    let first_lost = report.lost[0].0.0;
    assert_eq!(report.lost, [(Position(first_lost), Position(next))]);
    expect_all_but(&rig.journal, 0, first_lost..next);
}

#[test]
fn a_read_that_fails_in_the_middle_of_a_chunk_loses_nothing() {
    let mut rig = Rig::with(40);
    rig.reopen();
    let all = range(0, rig.journal.state().next.0 - 1);
    let (expected, _) = read_all(&rig.journal, all);
    for after in 0..12 {
        let (mut reader, mut records, mut errors) = (rig.journal.read(all), Vec::new(), 0);
        rig.disk.fail_read(after);
        loop {
            match reader.next_chunk(u64::MAX) {
                Ok(Some(chunk)) => records.extend(chunk.iter().map(<[u8]>::to_vec)),
                Ok(None) => break,
                Err(_) => errors += 1,
            }
        }
        assert!(records == expected && reader.lost() == 0, "read {after} failed, {errors} errors");
    }
}

#[test]
fn a_full_disk_does_not_keep_a_journal_with_a_tail_from_opening() {
    for damaged in [false, true] {
        let mut rig = Rig::with(4);
        if damaged {
            let (path, offset) = rig.data(5);
            rig.disk.rot(&path, (offset + HEADER_LEN + 100) as usize);
        }
        // Nothing is prepared that could be given up for the copy.
        let prepared: u64 = inspect(&rig.disk, Path::new("/j")).unwrap().iter().map(|s| s.file_bytes).sum();
        rig.disk.set_capacity(prepared);
        let newest = rig.newest();
        for segment in inspect(&rig.disk, Path::new("/j")).unwrap() {
            if segment.status == SegmentStatus::Blank {
                rig.disk.set_capacity(prepared - segment.file_bytes);
            }
        }
        let report = rig.reopen();
        assert_eq!(report.set_aside, Vec::<PathBuf>::new(), "there is no room to set anything aside");
        assert!(rig.segments().iter().all(|segment| segment.status == SegmentStatus::Sealed));
        assert_eq!(rig.newest(), newest);
        expect_all_but(&rig.journal, 0, if damaged { 5..10 } else { 0..0 });
        rig.disk.set_capacity(8 << 20);
        deliver(&rig.journal, 1, range(0, 19));
    }
}

#[test]
fn real_files_are_inspected_without_being_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(Arc::new(OsDisk), Arc::new(TestClock::default()), 3);
    shelf.budget = Arc::new(DiskBudget::new(Arc::new(OsDisk), dir.path().to_owned(), 4 << 20, 0));
    let (journal, _) = Journal::open(dir.path(), OPTIONS, shelf.clone()).unwrap();
    wait(journal.set_destinations(&[primary()])).unwrap();
    fill(&journal, 20);
    let content = |name: &Path| std::fs::read(name).unwrap();
    let names = || {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before: Vec<(PathBuf, Vec<u8>)> =
        names().into_iter().map(|name| (name.clone(), content(&name))).collect();
    let report = verify(&OsDisk, dir.path(), &()).unwrap();
    assert_eq!((report.problems, report.records, report.state), (vec![], 100, journal.state()));
    let segments = inspect(&OsDisk, dir.path()).unwrap();
    let records: u64 =
        segments.iter().filter_map(|segment| segment.content.as_ref()).map(|c| c.records).sum();
    assert_eq!(records, 100);
    let after: Vec<(PathBuf, Vec<u8>)> =
        names().into_iter().map(|name| (name.clone(), content(&name))).collect();
    assert!(before == after);
    // The same on real files as on the simulated ones: a flipped byte costs the records of its frame.
    drop(journal);
    let frame =
        frames(&OsDisk, &segments[0], &()).unwrap().map(Result::unwrap).find(|f| f.first == Position(10));
    let at = frame.filter(|frame| frame.kind == Some("DATA")).unwrap().offset + HEADER_LEN + 9;
    let mut bytes = content(&segments[0].path);
    bytes[at as usize] ^= 1;
    std::fs::write(&segments[0].path, bytes).unwrap();
    let (journal, _) = Journal::open(dir.path(), OPTIONS, shelf).unwrap();
    expect_all_but(&journal, 0, 10..15);
}
