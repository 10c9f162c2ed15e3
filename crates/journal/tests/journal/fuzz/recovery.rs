//! Recovery of a journal whose files were damaged: it opens, keeps all that lies before the damage, takes puts, and
//! opens again to the same.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use standpipe_journal::control::Control;
use standpipe_journal::disk::Disk as _;
use standpipe_journal::inspect::{frames, inspect};
use standpipe_journal::verify::verify;
use standpipe_journal::{Journal, JournalOptions, OpenError, RecoveryReport, Shelf};
use standpipe_model::Position;

use super::damaged::{Files, apply};
use crate::sim::SimDisk;
use crate::support::{
    PER_PUT, TestClock, close, deliver, fill, primary, put, range, read_all, record, shelf, wait,
};

const OPTIONS: JournalOptions =
    JournalOptions { limit_bytes: 1 << 20, segment_min: 16 << 10, segment_max: 16 << 10 };
/// The first position that is not settled in the sound journal, and the one behind its last record.
const UNSETTLED: u64 = 10;
const NEXT: u64 = 60;
/// The digest of the put after the damage, which no frame has.
const OWN: u64 = 1 << 40;
/// More records than this are not read back: positions may be forged to any number.
const READ_MAX: u64 = 1 << 16;

/// Damages the files of a sound journal as `input` says, and has it recovered twice.
pub(crate) fn run(input: &[u8]) {
    let sound = sound();
    let mut files = sound.files.clone();
    let damage = apply(input, &mut files);
    let disk = SimDisk::new(7, 64 << 20);
    for (path, bytes) in &files {
        disk.create(path, bytes.len() as u64).unwrap();
        disk.overwrite(path, 0, bytes);
    }
    look(&disk);
    let first = match open(&disk) {
        Ok((journal, _)) => journal,
        Err(OpenError::Newer { .. } | OpenError::Key { .. }) => return,
        Err(error) => panic!("damage keeps the journal from opening: {error:?}"),
    };
    // As the daemon does before the first put; where no state was left they begin anew.
    wait(first.set_destinations(&[primary()])).expect("an open journal with room takes control frames");
    let found = unsettled(&first);
    if !damage.forged {
        for frame in &sound.data {
            let before =
                damage.first.as_ref().is_none_or(|damage| (&frame.path, frame.end) <= (&damage.0, damage.1));
            let kept = (frame.first..frame.first + PER_PUT).all(|number| found.contains(&record(number)));
            assert!(
                kept || !before || frame.first < UNSETTLED,
                "{frame:?} lies before {damage:?} and is lost"
            );
        }
    }
    let next = first.state().next;
    if next < Position(READ_MAX) {
        let records: Vec<Vec<u8>> = (next.0..next.0 + PER_PUT).map(record).collect();
        let receipt = wait(first.append(put(&records, OWN))).expect("an open journal with room takes puts");
        assert_eq!((receipt.first, receipt.repeated), (next, false));
    }
    drop(first);
    let (second, report) = open(&disk).expect("what was recovered opens");
    let again = unsettled(&second);
    assert!(again.starts_with(&found), "the second recovery finds what the first one found");
    // Forged frames may have given the put a place that is settled.
    if !damage.forged {
        assert_eq!(again.len(), found.len() + PER_PUT as usize, "and what was put in between: {report:?}");
    }
    look(&disk);
}

/// The tools say something of every file, and say it again.
fn look(disk: &SimDisk) {
    let dir = Path::new("/j");
    let report = verify(disk, dir, &()).expect("the disk works");
    assert_eq!(verify(disk, dir, &()).expect("the disk works"), report);
    for segment in inspect(disk, dir).expect("the disk works") {
        let found = frames(disk, &segment, &()).expect("the disk works");
        let found: Vec<_> = found.map(|frame| frame.expect("the disk works")).collect();
        assert!(found.len() < 10_000, "frames end where the file does");
    }
}

/// Everything that is not settled and can be read.
fn unsettled(journal: &Journal) -> Vec<Vec<u8>> {
    let (lowest, next) = journal.with_state(|state| (state.lowest_unsettled().0, state.next.0));
    match lowest < next && next - lowest < READ_MAX {
        true => read_all(journal, range(lowest, next - 1)).0,
        false => Vec::new(),
    }
}

fn shelf_on(disk: &SimDisk) -> Shelf {
    shelf(Arc::new(disk.clone()), Arc::new(TestClock::default()), 7)
}

fn open(disk: &SimDisk) -> Result<(Journal, RecoveryReport), OpenError> {
    Journal::open(Path::new("/j"), OPTIONS, shelf_on(disk))
}

struct Sound {
    files: Files,
    data: Vec<Data>,
}

/// A DATA frame of the sound journal.
#[derive(Debug)]
struct Data {
    path: PathBuf,
    end: usize,
    first: u64,
}

/// A journal of some segments, the last one unsealed, with a settled batch and an open one.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = SimDisk::new(7, 64 << 20);
        let (journal, _) = open(&disk).unwrap();
        wait(journal.set_destinations(&[primary()])).unwrap();
        fill(&journal, 6);
        deliver(&journal, 1, range(0, UNSETTLED - 1));
        wait(journal.control(vec![Control::Close(close(2, range(UNSETTLED, 19)))])).unwrap();
        fill(&journal, 6);
        assert_eq!(journal.state().next, Position(NEXT));
        let mut sound = Sound { files: Vec::new(), data: Vec::new() };
        for segment in inspect(&disk, Path::new("/j")).unwrap() {
            sound.files.push((segment.path.clone(), disk.bytes(&segment.path)));
            for frame in frames(&disk, &segment, &()).unwrap().map(Result::unwrap) {
                if frame.kind == Some("DATA") {
                    let end = frame.offset as usize + 64 + frame.body_bytes as usize;
                    sound.data.push(Data { path: segment.path.clone(), end, first: frame.first.0 });
                }
            }
        }
        sound
    })
}
