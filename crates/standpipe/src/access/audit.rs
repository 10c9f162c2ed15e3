//! The audit log: one line for each call other than a put, and for each call that was denied.
//!
//! With a file, every line goes there. Without one, changes and denials go to the daemon's own log under the target
//! `audit`, and calls that only look go nowhere.
//!
//! # Limits
//! - The file is opened for each line, so that it may be moved away or cut at any time. Lines are not synced: a power
//!   cut may take the last ones, as it may of any log.
//! - Lines that cannot be written wait, at most [`WAITING_MAX`] of them; the ones that find no room go to the daemon's
//!   log. Changes are refused meanwhile.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standpipe_ingest::access::{AuditEvent, AuditKind};

/// The most lines that wait to be written.
const WAITING_MAX: usize = 1_000;
/// The group may read it: log collectors usually do.
const MODE: u32 = 0o640;

/// Where lines go. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    path: Option<PathBuf>,
    waiting: VecDeque<String>,
    /// A line was written in part only.
    torn: bool,
}

impl AuditLog {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, lines go to this file, or without one to the daemon's log.
    pub(crate) fn write_to(&self, path: Option<PathBuf>) {
        let mut state = self.lock();
        if state.path != path {
            *state = State { path, waiting: std::mem::take(&mut state.waiting), ..State::default() };
        }
    }

    /// Takes a line; `true` when it, or an earlier one, is to be written with [`AuditLog::flush`].
    pub(crate) fn take(&self, event: AuditEvent) -> bool {
        let mut state = self.lock();
        if state.path.is_none() {
            match event.kind {
                AuditKind::Read => {}
                AuditKind::Change | AuditKind::Denied => {
                    tracing::info!(target: "audit", event = event.json, "api call");
                }
            }
            return false;
        }
        if state.waiting.len() >= WAITING_MAX
            && let Some(line) = state.waiting.pop_front()
        {
            tracing::error!(target: "audit", event = line, "api call that could not be written to the audit log");
        }
        state.waiting.push_back(event.json);
        true
    }

    /// Writes what waits, and opens the file where nothing does. It blocks on the disk.
    ///
    /// # Errors
    /// The file's; lines that were not written go on waiting.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(path) = state.path.clone() else { return Ok(()) };
        write(&path, &mut state.waiting, &mut state.torn)
    }
}

fn write(path: &Path, waiting: &mut VecDeque<String>, torn: &mut bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    while let Some(line) = waiting.front() {
        // What was written in part becomes a line of its own.
        let begin = if *torn { "\n" } else { "" };
        let text = format!("{begin}{line}\n");
        let written = file.write(text.as_bytes())?;
        if written < text.len() {
            *torn = written > 0 || *torn;
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a line was written in part only"));
        }
        *torn = false;
        waiting.pop_front();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn event(text: &str) -> AuditEvent {
        AuditEvent { kind: AuditKind::Change, json: text.to_owned() }
    }

    #[test]
    fn each_event_is_a_line_also_after_the_file_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::default();
        log.write_to(Some(path.clone()));
        for text in ["one", "two"] {
            assert!(log.take(event(text)));
            log.flush().unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        fs::rename(&path, folder.path().join("audit.log.1")).unwrap();
        assert!(log.take(event("three")));
        log.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn what_cannot_be_written_waits_in_order_and_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/audit.log");
        let log = AuditLog::default();
        log.write_to(Some(path.clone()));
        for number in 0..=WAITING_MAX {
            assert!(log.take(event(&number.to_string())));
        }
        assert!(log.flush().is_err());
        fs::create_dir(folder.path().join("later")).unwrap();
        log.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[WAITING_MAX - 1]), (WAITING_MAX, "1", "1000"));
    }

    #[test]
    fn a_full_disk_leaves_the_line_waiting() {
        let log = AuditLog::default();
        log.write_to(Some("/dev/full".into()));
        assert!(log.take(event("one")));
        assert!(log.flush().is_err());
        assert_eq!(log.lock().waiting, ["one"]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_before_there_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::default();
        log.write_to(Some(folder.path().to_owned()));
        assert!(log.flush().is_err());
    }

    #[test]
    fn without_a_file_nothing_waits() {
        let log = AuditLog::default();
        assert!(!log.take(event("one")));
        assert!(log.lock().waiting.is_empty());
    }
}
