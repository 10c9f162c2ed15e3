//! Encrypted segments: what is on the disk, what damage does to them, and what becomes of a key that comes and goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use standpipe_journal::control::Control;
use standpipe_journal::disk::Disk as _;
use standpipe_journal::format::{FrameHeader, SegmentId};
use standpipe_journal::inspect::{FrameSummary, SegmentStatus, SegmentSummary, frames, inspect};
use standpipe_journal::keys::{KeyTrouble, SegmentKeys, TroubleKind};
use standpipe_journal::verify::{Fault as Wrong, VerifyReport, verify};
use standpipe_journal::{AppendError, DiskBudget, Journal, OpenError, RecoveryReport, Shelf, Shortage};
use standpipe_model::{Position, Timestamp};

use crate::keys::TestKeys;
use crate::sim::{Fault, SimDisk};
use crate::support::{
    TestClock, append, close, deliver, expect_all_but, fill, open_with, primary, range, read_all, record,
    settle, shelf, wait,
};

const HEADER_LEN: u64 = 64;
const SLOTS: [usize; 2] = [512, 2304];

struct Rig {
    disk: SimDisk,
    clock: Arc<TestClock>,
    shelf: Shelf,
    keys: Arc<TestKeys>,
    journal: Journal,
}

impl Rig {
    /// A journal with `puts` encrypted puts.
    fn with(puts: u64) -> Self {
        Self::seeded(7, puts)
    }

    fn seeded(seed: u64, puts: u64) -> Self {
        let (disk, clock, keys) =
            (SimDisk::new(seed, 8 << 20), Arc::new(TestClock::default()), Arc::new(TestKeys::new(true)));
        let shelf = shelf(Arc::new(disk.clone()), clock.clone(), 7);
        let (journal, _) = open_with(&shelf, &keys).expect("the disk works");
        wait(journal.set_destinations(&[primary()])).expect("the disk works");
        fill(&journal, puts);
        Self { disk, clock, shelf, keys, journal }
    }

    fn try_reopen(&mut self) -> Result<RecoveryReport, OpenError> {
        self.disk.power_cycle();
        self.shelf.budget = Arc::new(DiskBudget::new(Arc::new(self.disk.clone()), "/j".into(), 4 << 20, 0));
        let (journal, report) = open_with(&self.shelf, &self.keys)?;
        self.journal = journal;
        Ok(report)
    }

    fn reopen(&mut self) -> RecoveryReport {
        self.try_reopen().expect("it opens")
    }

    fn segments(&self) -> Vec<SegmentSummary> {
        let mut segments = inspect(&self.disk, Path::new("/j")).expect("the disk works");
        segments.retain(|segment| segment.status != SegmentStatus::Blank);
        segments
    }

    fn verify(&self, keys: &dyn SegmentKeys) -> VerifyReport {
        verify(&self.disk, Path::new("/j"), keys).expect("the disk works")
    }

    fn problems(&self) -> Vec<Wrong> {
        self.verify(self.keys.as_ref()).problems.into_iter().map(|problem| problem.fault).collect()
    }

    /// Whether any file of the journal holds the number-th record in the clear.
    fn in_the_clear(&self, number: u64) -> bool {
        let wanted = record(number);
        assert_ne!(number, 0, "its bytes are those of a file that was never written");
        self.files().iter().any(|file| self.disk.bytes(file).windows(wanted.len()).any(|at| at == wanted))
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = self.disk.list(Path::new("/j")).expect("the disk works");
        files.into_iter().map(|file| Path::new("/j").join(file.name)).collect()
    }

    fn frames(&self, segment: &SegmentSummary, keys: &dyn SegmentKeys) -> Vec<FrameSummary> {
        let frames = frames(&self.disk, segment, keys).expect("the disk works");
        frames.map(|frame| frame.expect("the disk works")).collect()
    }

    /// The DATA frame that begins with the record `first`, and the id of its segment.
    fn data(&self, first: u64) -> (PathBuf, SegmentId, u64) {
        for segment in self.segments() {
            let found = self.frames(&segment, &());
            let found = found.iter().find(|frame| frame.kind == Some("DATA") && frame.first.0 == first);
            if let Some(frame) = found {
                let id = u128::from_str_radix(&segment.content.unwrap().id, 16).unwrap();
                return (segment.path, SegmentId(id.to_be_bytes()), frame.offset);
            }
        }
        panic!("no such frame");
    }

    /// Changes the frame that begins with the record `first` so that all its CRCs are right.
    fn forge(&self, first: u64, change: impl Fn(&mut FrameHeader, &mut [u8])) {
        let (path, id, offset) = self.data(first);
        let bytes = self.disk.bytes(&path);
        let at = offset as usize;
        let mut header = FrameHeader::decode(&bytes[at..], id).unwrap();
        let body = at + HEADER_LEN as usize..at + HEADER_LEN as usize + header.body_len as usize;
        let mut body = bytes[body].to_vec();
        change(&mut header, &mut body);
        header.body_crc = crc32c::crc32c(&body);
        self.disk.overwrite(&path, at, &header.encode(id));
        self.disk.overwrite(&path, at + HEADER_LEN as usize, &body);
    }
}

#[test]
fn records_of_an_encrypted_segment_are_not_on_the_disk_in_the_clear() {
    let mut rig = Rig::with(40);
    assert!((1..200).all(|number| !rig.in_the_clear(number)));
    rig.reopen();
    assert!((1..200).all(|number| !rig.in_the_clear(number)), "nor in the copy of the tail");
    expect_all_but(&rig.journal, 0, 0..0);
    rig.keys.encrypt(false);
    fill(&rig.journal, 1);
    assert!(rig.in_the_clear(200), "else this test could not fail");
}

#[test]
fn a_file_that_has_held_plain_records_is_not_used_for_encrypted_ones() {
    let mut rig = Rig::with(0);
    rig.keys.encrypt(false);
    fill(&rig.journal, 200);
    deliver(&rig.journal, 1, range(0, 899));
    assert!(rig.files().iter().any(|file| file.ends_with("spare")), "else this test could not fail");
    rig.keys.encrypt(true);
    fill(&rig.journal, 20);
    deliver(&rig.journal, 2, range(900, 1004));
    assert!((1..1100).step_by(7).all(|number| !rig.in_the_clear(number)));
    fill(&rig.journal, 400);
    deliver(&rig.journal, 3, range(1005, 2000));
    assert!(rig.files().iter().any(|file| file.ends_with("spare")), "encrypted ones are used again");
    rig.reopen();
    expect_all_but(&rig.journal, 2001, 0..0);
}

#[test]
fn a_disk_that_fails_while_a_plain_file_is_put_away_costs_neither_the_journal_nor_its_space() {
    // The spare is blanked, synced, renamed, its folder synced; then removed, another made, the folder synced again.
    for call in 0..7 {
        let rig = Rig::with(0);
        rig.keys.encrypt(false);
        fill(&rig.journal, 200);
        deliver(&rig.journal, 1, range(0, 899));
        assert!(rig.files().iter().any(|file| file.ends_with("spare")), "else this test could not fail");
        rig.keys.encrypt(true);
        rig.disk.inject(call, Fault::Io);
        let refused = append(&rig.journal, 1000).unwrap_err();
        assert_eq!(refused, AppendError::Full(Shortage::System), "call {call}");
        assert!(!rig.journal.usage().poisoned);
        assert_eq!(rig.journal.usage().used, rig.disk.used(), "call {call}");
        rig.clock.advance(std::time::Duration::from_secs(1));
        fill(&rig.journal, 20);
        assert_eq!(rig.journal.usage().used, rig.disk.used(), "call {call}");
        expect_all_but(&rig.journal, 900, 0..0);
    }
}

#[test]
fn a_journal_goes_from_plain_to_encrypted_and_back_and_keeps_what_it_has() {
    let mut rig = Rig::with(3);
    let mut sides = vec![(0, true)];
    for (encrypting, first) in [(false, 15), (true, 30), (false, 45)] {
        rig.keys.encrypt(encrypting);
        assert_eq!(append(&rig.journal, first).unwrap().encrypted, encrypting, "from the next put on");
        fill(&rig.journal, 2);
        sides.push((first, encrypting));
    }
    for _ in 0..2 {
        let found: Vec<(u64, bool)> = rig
            .segments()
            .into_iter()
            .filter_map(|segment| segment.content)
            .map(|content| (content.first.0, content.key.as_deref() == Some("main")))
            .collect();
        assert_eq!(found, sides);
        expect_all_but(&rig.journal, 0, 0..0);
        assert_eq!(rig.problems(), []);
        rig.reopen();
    }
    deliver(&rig.journal, 1, range(0, 59));
    assert_eq!(rig.reopen().lost, []);
}

#[test]
fn without_its_key_a_journal_is_looked_into_but_not_opened() {
    let mut rig = Rig::with(20);
    rig.reopen();
    let report = rig.verify(&());
    assert_eq!((report.problems, report.records), (vec![], 100), "CRCs, footers and positions need no key");
    let segments = rig.segments();
    assert_eq!(report.locked, [("main".to_owned(), segments.len() as u64)].into());
    let content = segments[0].content.clone().unwrap();
    assert_eq!((content.key.as_deref(), content.unreadable, segments[0].version), (Some("main"), 0, Some(2)));
    let frame = rig.frames(&segments[0], &()).swap_remove(0);
    assert!(frame.kind == Some("STATE") && frame.locked && frame.intact && frame.control.is_none());
    let frame = rig.frames(&segments[0], rig.keys.as_ref()).swap_remove(0);
    assert!(!frame.locked && frame.control.is_some());
    let error = Journal::open(Path::new("/j"), crate::support::OPTIONS, rig.shelf.clone()).unwrap_err();
    let OpenError::Key { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!((source.key.as_str(), source.kind), ("main", TroubleKind::NotFound));
    expect_all_but(&rig.journal, 0, 0..0);
}

#[test]
fn a_flipped_bit_anywhere_in_an_encrypted_body_costs_its_own_records_alone() {
    let body = u64::from(Rig::with(1).frames(&Rig::with(1).segments()[0], &())[2].body_bytes);
    for at in [0, 11, 12, body / 2, body - 16, body - 1] {
        let mut rig = Rig::with(40);
        rig.reopen();
        let (path, _, offset) = rig.data(20);
        rig.disk.rot(&path, (offset + HEADER_LEN + at) as usize);
        rig.reopen();
        expect_all_but(&rig.journal, 0, 20..25);
        assert_eq!(rig.problems(), [Wrong::Body { kind: "DATA", first: Position(20), count: 5 }]);
    }
}

#[test]
fn what_was_changed_with_its_checksums_is_found_by_the_cipher() {
    type Change = fn(&mut FrameHeader, &mut [u8]);
    let changes: [Change; 6] = [
        |_, body| body[0] ^= 1,
        |_, body| body[100] ^= 1,
        |_, body| *body.last_mut().unwrap() ^= 1,
        |header, _| header.arrived_at = Timestamp(5),
        |header, _| header.digest = None,
        // It has other effects too: its bytes are counted with those of the records.
        |header, _| header.encrypted = false,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut rig = Rig::with(40);
        rig.reopen();
        rig.forge(20, change);
        assert_eq!(
            rig.verify(&()).problems.len(),
            usize::from(number == 5),
            "hardly anybody without the key can tell"
        );
        expect_all_but(&rig.journal, 0, 20..25);
        assert!(rig.problems().contains(&Wrong::Body { kind: "DATA", first: Position(20), count: 5 }));
    }
}

#[test]
fn one_key_slot_is_enough_and_without_both_the_records_are_lost_and_counted() {
    let mut rig = Rig::with(40);
    rig.reopen();
    let segment = rig.segments().swap_remove(1);
    let content = segment.content.unwrap();
    rig.disk.rot(&segment.path, SLOTS[0] + 50);
    rig.reopen();
    assert_eq!(rig.problems(), []);
    expect_all_but(&rig.journal, 0, 0..0);
    let damaged = |key: &&standpipe_journal::SegmentKey| !key.whole;
    assert_eq!(
        rig.journal.wrapped_keys().unwrap().iter().filter(damaged).count(),
        1,
        "whoever looks can mend it"
    );
    rig.disk.rot(&segment.path, SLOTS[1] + 50);
    let report = rig.reopen();
    assert_eq!((report.lost, report.set_aside), (vec![], vec![]));
    assert_eq!(rig.problems(), [Wrong::KeySlots]);
    expect_all_but(&rig.journal, 0, content.first.0..content.next.0);
    append(&rig.journal, 200).unwrap();
}

#[test]
fn without_the_slots_of_its_newest_segment_a_journal_begins_where_the_one_before_ended() {
    let mut rig = Rig::with(20);
    wait(rig.journal.control(vec![Control::Close(close(1, range(0, 3)))])).unwrap();
    let state = rig.journal.state();
    let segment = rig.segments().pop().unwrap();
    SLOTS.into_iter().for_each(|slot| rig.disk.rot(&segment.path, slot + 50));
    rig.reopen();
    let (first, next) = (segment.content.unwrap().first.0, state.next.0);
    assert_eq!(rig.journal.state().next, state.next, "positions do not come again");
    expect_all_but(&rig.journal, 0, first..next);
    append(&rig.journal, next).unwrap();
}

#[test]
fn a_stopped_key_refuses_puts_and_decisions_and_loses_nothing() {
    let mut rig = Rig::with(8);
    let batch = close(1, range(0, 9));
    wait(rig.journal.control(vec![Control::Close(batch.clone())])).unwrap();
    rig.keys.stop(true);
    rig.journal.forget_keys("main");
    let error = append(&rig.journal, 40).unwrap_err();
    let AppendError::Key(trouble) = &error else { panic!("{error:?}") };
    assert_eq!(trouble.to_string(), "key 'main' is disabled: by the test");
    assert!(matches!(wait(rig.journal.control(vec![settle(&batch)])), Err(AppendError::Key(_))));
    let read = rig.journal.read(batch.range).next_chunk(1000).unwrap_err();
    assert!(KeyTrouble::behind(&read).is_some_and(|trouble| trouble.kind == TroubleKind::Disabled));
    assert!(matches!(rig.try_reopen(), Err(OpenError::Key { .. })), "nor does it open");
    rig.keys.stop(false);
    rig.reopen();
    assert_eq!(rig.journal.state().next, Position(40));
    expect_all_but(&rig.journal, 0, 0..0);
    wait(rig.journal.control(vec![settle(&batch)])).unwrap();
    append(&rig.journal, 40).unwrap();
}

#[test]
fn who_reads_already_does_not_read_on_with_a_key_that_was_stopped() {
    let rig = Rig::with(8);
    let mut reader = rig.journal.read(range(0, 39));
    let first = reader.next_chunk(1).unwrap().unwrap().records;
    assert!(first < 40);
    rig.keys.stop(true);
    rig.journal.forget_keys("main");
    assert!(KeyTrouble::behind(&reader.next_chunk(1).unwrap_err()).is_some());
    rig.keys.stop(false);
    assert_eq!(reader.next_chunk(1 << 20).unwrap().unwrap().records, 40 - first);
    assert_eq!(reader.lost(), 0);
}

#[test]
fn a_journal_without_a_put_turns_to_its_key_and_removes_what_was_plain_and_is_settled() {
    let rig = Rig::with(0);
    rig.keys.encrypt(false);
    fill(&rig.journal, 3);
    deliver(&rig.journal, 1, range(0, 14));
    assert!(rig.in_the_clear(5) && rig.journal.ends_encrypted() == Some(false));
    rig.keys.encrypt(true);
    wait(rig.journal.restate()).unwrap();
    assert_eq!(rig.journal.ends_encrypted(), Some(true));
    assert!((1..15).all(|number| !rig.in_the_clear(number)));
    assert_eq!(rig.problems(), []);
}

#[test]
fn a_key_that_comes_back_is_used_by_itself() {
    let rig = Rig::with(8);
    rig.keys.stop(true);
    rig.journal.forget_keys("main");
    append(&rig.journal, 40).unwrap_err();
    rig.keys.stop(false);
    assert!(append(&rig.journal, 40).unwrap().encrypted);
    expect_all_but(&rig.journal, 0, 0..0);
    deliver(&rig.journal, 1, range(0, 44));
    assert_eq!(rig.problems(), []);
}

#[test]
fn a_plain_journal_does_not_mind_a_stopped_key_and_its_old_segments_wait() {
    let rig = Rig::with(8);
    rig.keys.encrypt(false);
    append(&rig.journal, 40).unwrap();
    rig.keys.stop(true);
    rig.journal.forget_keys("main");
    append(&rig.journal, 45).unwrap();
    assert!(rig.journal.read(range(0, 9)).next_chunk(1000).is_err(), "that is held, not lost");
    rig.keys.stop(false);
    expect_all_but(&rig.journal, 0, 0..0);
}

#[test]
fn rewrapped_segments_need_their_old_master_key_no_more_whenever_the_power_goes() {
    let mut finished = 0;
    for call in 0..40 {
        let mut rig = Rig::with(40);
        rig.keys.rotate();
        rig.disk.inject(call, Fault::Crash);
        let rewrap = |rig: &Rig| {
            let keys = rig.journal.wrapped_keys()?;
            let rewrapped = keys.iter().map(|key| {
                let wrapped = rig.keys.rewrap(&key.wrapped);
                rig.journal.rewrap(key.segment, wrapped).map(|there| assert!(there))
            });
            rewrapped.collect::<Result<Vec<()>, _>>()
        };
        finished += u32::from(rewrap(&rig).is_ok());
        rig.reopen();
        expect_all_but(&rig.journal, 0, 0..0);
        assert_eq!(rig.problems(), []);
        rewrap(&rig).expect("the power stays");
        assert!(rig.journal.wrapped_keys().unwrap().iter().all(|key| key.whole && key.wrapped.master == "2"));
        rig.keys.forget_previous();
        rig.reopen();
        expect_all_but(&rig.journal, 0, 0..0);
        let old = |bytes: &[u8]| bytes.windows(9).any(|window| window == b"main1test");
        assert!(!rig.segments().iter().any(|segment| old(&rig.disk.bytes(&segment.path))), "no trace of it");
    }
    assert!(finished > 0, "every call was tried");
}

#[test]
fn wrapping_anew_after_a_failed_try_leaves_one_good_slot_whenever_the_power_goes() {
    for (failing, cut) in (0..4).flat_map(|failing| (0..5).map(move |cut| (failing, cut))) {
        for seed in 0..6 {
            let mut rig = Rig::seeded(seed, 2);
            let rewrap = |rig: &Rig| {
                let key = rig.journal.wrapped_keys().expect("the disk works").swap_remove(0);
                rig.keys.rotate();
                let again = rig.keys.rewrap(&key.wrapped);
                (key.whole, rig.journal.rewrap(key.segment, again))
            };
            rig.disk.inject(failing, Fault::Io);
            assert!(matches!(rewrap(&rig), (true, Err(_))), "call {failing}");
            rig.disk.inject(cut, Fault::Crash);
            let (whole, again) = rewrap(&rig);
            assert_eq!((whole, again.is_ok()), (false, cut == 4), "it was known to be unfinished");
            rig.reopen();
            expect_all_but(&rig.journal, 0, 0..0);
        }
    }
}

#[test]
fn a_change_of_keys_that_failed_and_was_taken_back_locks_nothing() {
    for (failing, seed) in (0..2).flat_map(|failing| (0..16).map(move |seed| (failing, seed))) {
        let mut rig = Rig::seeded(seed, 2);
        let key = rig.journal.wrapped_keys().unwrap().swap_remove(0);
        let other = TestKeys::new(true);
        (0..4).for_each(|_| other.rotate());
        rig.disk.inject(failing, Fault::Io);
        rig.journal.rewrap(key.segment, other.rewrap(&key.wrapped)).unwrap_err();
        rig.reopen();
        expect_all_but(&rig.journal, 0, 0..0);
    }
}

#[test]
fn a_failed_sync_of_an_encrypted_segment_is_healed() {
    for call in 0..2 {
        let mut rig = Rig::with(8);
        rig.disk.inject(call, Fault::Io);
        let refused = append(&rig.journal, 40).is_err();
        rig.clock.advance(std::time::Duration::from_secs(40));
        let next = rig.journal.state().next.0;
        assert_eq!(next, if refused { 40 } else { 45 });
        append(&rig.journal, next).unwrap();
        expect_all_but(&rig.journal, 0, 0..0);
        rig.reopen();
        expect_all_but(&rig.journal, 0, 0..0);
        assert_eq!(rig.problems(), []);
        assert!((1..next + 5).all(|number| !rig.in_the_clear(number)));
    }
}

#[test]
fn a_carried_put_says_that_its_records_were_encrypted() {
    let mut rig = Rig::with(30);
    deliver(&rig.journal, 1, range(0, 149));
    let puts = |rig: &Rig| {
        let segments = rig.segments();
        segments.iter().flat_map(|segment| rig.frames(segment, &())).any(|frame| frame.kind == Some("PUTS"))
    };
    assert!(puts(&rig), "the first segments are gone");
    rig.reopen();
    let again: Vec<Vec<u8>> = (0..5).map(record).collect();
    let receipt = wait(rig.journal.append(crate::support::put(&again, 0))).unwrap();
    assert!(receipt.repeated && receipt.encrypted);
    assert_eq!(read_all(&rig.journal, range(145, 149)).0.len(), 5);
}
