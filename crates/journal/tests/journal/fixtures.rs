//! Journals as versions 1 (plain) and 2 (encrypted) were first written. They must open for as long as there is a standpipe, and what is written today
//! must be the same, byte for byte: a change of the format is a new version with fixtures of its own.
//!
//! `STANDPIPE_WRITE_FIXTURES=1 cargo test -p standpipe-journal fixtures` writes them anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use standpipe_journal::control::{Control, Decide, Done, Failing, Plan, State};
use standpipe_journal::disk::OsDisk;
use standpipe_journal::inspect::{SegmentStatus, frames, inspect};
use standpipe_journal::verify::verify;
use standpipe_journal::{Append, DiskBudget, Journal, JournalOptions, ObjectPlace, RecoveryReport, Shelf};
use standpipe_model::{PutDigest, Tally, Timestamp};

use crate::keys::TestKeys;
use crate::support::{TestClock, block, close, primary, range, read_all, record, settle, shelf, wait};

const OPTIONS: JournalOptions =
    JournalOptions { limit_bytes: 1 << 20, segment_min: 32 << 10, segment_max: 32 << 10 };
const NAMES: [&str; 6] = ["v1/whole", "v1/torn", "v1/puts", "v2/whole", "v2/torn", "v2/puts"];

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(dir: &Path, clock: &Arc<TestClock>, keys: &Arc<TestKeys>) -> (Journal, RecoveryReport) {
    Journal::open_with_keys(dir, OPTIONS, shelf_in(dir, clock), keys.clone()).unwrap()
}

fn shelf_in(dir: &Path, clock: &Arc<TestClock>) -> Shelf {
    let mut shelf = shelf(Arc::new(OsDisk), clock.clone(), 11);
    shelf.budget = Arc::new(DiskBudget::new(Arc::new(OsDisk), dir.to_owned(), 4 << 20, 0));
    shelf
}

/// Three puts of two records each: with a digest, with a source position, with neither.
fn puts(first: u64) -> [Append; 3] {
    let records = |first| block(&[record(first), record(first + 1)]);
    let (digest, source) =
        (Some(PutDigest([first as u8; 16])), Some(format!("shard-0:{first}").into_bytes()));
    [
        Append { block: records(first), digest, source: None },
        Append { block: records(first + 2), digest: None, source },
        Append { block: records(first + 4), digest: None, source: None },
    ]
}

fn controls() -> Vec<Control> {
    let (first, second) = (close(1, range(0, 5)), close(2, range(6, 9)));
    let (batch, destination) = (second.batch, primary());
    let spool = serde_json::from_str(&format!("\"{}\"", "5a".repeat(16))).unwrap();
    let index = ObjectPlace { last: 4096, rows: 1, bytes: 70 };
    let tally = Tally { delivered: 3, dropped: 1, ..Tally::default() };
    let (rows, reason) = (vec![range(9, 9)], "refused".to_owned());
    vec![
        Control::Close(first.clone()),
        settle(&first),
        Control::Close(second),
        Control::Plan(Plan { batch, destination: destination.clone(), spool, objects: 1, index, tally }),
        Control::Failing(Failing {
            batch,
            destination: destination.clone(),
            since: Timestamp(77),
            over: false,
        }),
        Control::Decide(Decide {
            batch,
            destination: destination.clone(),
            rows,
            reason,
            message: String::new(),
            attempts: 3,
            decided_at: Timestamp(88),
        }),
        Control::Done(Done { batch, destination, ordinal: 0, further: 0, request: None }),
    ]
}

/// Writes the journal `name` into `dir`, with the same clock and the same chance every time.
fn write(name: &str, dir: &Path, keys: &Arc<TestKeys>) -> State {
    let clock = Arc::new(TestClock::default());
    let (journal, _) = open(dir, &clock, keys);
    wait(journal.set_destinations(&[primary()])).unwrap();
    let rounds = if name.ends_with("torn") { 2 } else { 9 };
    for round in 0..rounds {
        for put in puts(round * 6) {
            clock.advance(Duration::from_millis(1500));
            wait(journal.append(put)).unwrap();
        }
        if round == 1 {
            wait(journal.control(controls())).unwrap();
        }
    }
    if name.ends_with("puts") {
        // The first segments go, and what is remembered of their puts is carried on.
        let rest = close(3, range(10, journal.state().next.0 - 1));
        wait(journal.control(vec![settle(&close(2, range(6, 9))), Control::Close(rest.clone())])).unwrap();
        wait(journal.control(vec![settle(&rest)])).unwrap();
        wait(journal.append(puts(54)[0].clone())).unwrap();
    }
    let state = journal.state();
    if name.ends_with("torn") {
        let before = inspect(&OsDisk, dir).unwrap()[0].content.clone().unwrap().data_end as usize;
        wait(journal.append(puts(12)[0].clone())).unwrap();
        let path = dir.join("00000000000000000000.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[before + 512..].fill(0);
        std::fs::write(&path, bytes).unwrap();
    }
    // What was only prepared is no content.
    for segment in inspect(&OsDisk, dir).unwrap() {
        if segment.status == SegmentStatus::Blank {
            std::fs::remove_file(segment.path).unwrap();
        }
    }
    state
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "seg"))
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn listing(dir: &Path, keys: &TestKeys) -> String {
    let mut lines = String::new();
    for segment in inspect(&OsDisk, dir).unwrap() {
        let content = serde_json::to_string(&segment.content).unwrap();
        lines += &format!("{} {:?} {content}\n", segment.sequence, segment.status);
        for frame in frames(&OsDisk, &segment, keys).unwrap() {
            lines += &format!("  {}\n", serde_json::to_string(&frame.unwrap()).unwrap());
        }
    }
    lines
}

#[test]
fn what_is_written_today_is_the_same_byte_for_byte() {
    for name in NAMES {
        let dir = tempfile::tempdir().unwrap();
        let keys = Arc::new(TestKeys::new(name.starts_with("v2")));
        let state = write(name, dir.path(), &keys);
        let (frames, state) = (listing(dir.path(), &keys), serde_json::to_string_pretty(&state).unwrap());
        assert_eq!(frames.contains("\"PUTS\""), name.ends_with("puts"), "{name}");
        let stored = stored(name);
        if std::env::var_os("STANDPIPE_WRITE_FIXTURES").is_some() {
            std::fs::create_dir_all(&stored).unwrap();
            for (file, bytes) in files(dir.path()) {
                std::fs::write(stored.join(file), bytes).unwrap();
            }
            std::fs::write(stored.join("frames.txt"), &frames).unwrap();
            std::fs::write(stored.join("state.json"), &state).unwrap();
        }
        assert_eq!(frames, std::fs::read_to_string(stored.join("frames.txt")).unwrap(), "{name}");
        assert_eq!(state, std::fs::read_to_string(stored.join("state.json")).unwrap(), "{name}");
        let (today, then) = (files(dir.path()), files(&stored));
        for ((name_today, bytes_today), (name_then, bytes_then)) in today.iter().zip(&then) {
            assert_eq!(name_today, name_then);
            let differs = bytes_today.iter().zip(bytes_then).position(|(today, then)| today != then);
            assert_eq!((differs, bytes_today.len()), (None, bytes_then.len()), "{name}/{name_then}");
        }
        assert_eq!(today.len(), then.len());
    }
}

#[test]
fn journals_of_every_version_open_with_all_that_they_held() {
    for name in NAMES {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in files(&stored(name)) {
            std::fs::write(dir.path().join(file), bytes).unwrap();
        }
        let expected: State =
            serde_json::from_str(&std::fs::read_to_string(stored(name).join("state.json")).unwrap()).unwrap();
        let keys = Arc::new(TestKeys::new(name.starts_with("v2")));
        let looked = verify(&OsDisk, dir.path(), keys.as_ref()).unwrap();
        assert_eq!((looked.problems, &looked.state), (vec![], &expected), "{name}");
        assert_eq!(looked.torn_bytes > 0, name.ends_with("torn"));
        let clock = Arc::new(TestClock::default());
        let first = inspect(&OsDisk, dir.path()).unwrap()[0].content.clone().unwrap().first.0;
        assert_eq!(first > 0, name.ends_with("puts"));
        let (journal, report) = open(dir.path(), &clock, &keys);
        assert_eq!((report.lost, report.set_aside), (vec![], vec![]), "{name}");
        assert_eq!(report.torn_bytes > 0, name.ends_with("torn"));
        let open = usize::from(!name.ends_with("puts"));
        assert_eq!((report.open_batches, report.partly_done), (open, open));
        assert_eq!(journal.state(), expected);
        let (records, lost) = read_all(&journal, range(first, expected.next.0 - 1));
        assert_eq!(lost, 0);
        assert!(records == (first..expected.next.0).map(record).collect::<Vec<_>>(), "{name}");
        let repeat = wait(journal.append(puts(6)[0].clone())).unwrap();
        assert_eq!((repeat.repeated, repeat.first.0), (true, 6), "its digest is known");
        assert_eq!(repeat.encrypted, name.starts_with("v2"));
    }
}
