//! The audit log: one line for each call other than a put, and for each call that was denied.
//!
//! With a file, every line goes there. Without one, changes and denials go to the daemon's own log under the target
//! `audit`, and calls that only look go nowhere.
//!
//! # Limits
//! - The file is opened for each line, so that it may be moved away or cut at any time. Lines are not synced: a power
//!   cut may take the last ones, as it may of any log.
//! - A disk may not answer at all. Whoever has something written waits at most [`WRITING_MAX`] for it, and one thread
//!   hangs, whoever else comes.
//! - Lines that cannot be written wait, at most [`WAITING_MAX`] of them; the ones that find no room go to the daemon's
//!   log. Changes are refused meanwhile.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standpipe_ingest::access::{AuditEvent, AuditKind};

/// The most lines that wait to be written.
const WAITING_MAX: usize = 1_000;
/// How long a call waits for the file; a change is refused after it.
const WRITING_MAX: Duration = Duration::from_secs(2);
/// The group may read it: log collectors usually do.
const MODE: u32 = 0o640;

/// Where lines go. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditLog(Arc<Mutex<State>>);

/// Never locked while the disk is waited for.
#[derive(Debug, Default)]
struct State {
    path: Option<PathBuf>,
    /// With their numbers: what is being written may be pushed out meanwhile.
    waiting: VecDeque<(u64, String)>,
    taken: u64,
    torn: Arc<tokio::sync::Mutex<Torn>>,
}

/// Whether the last line of the file was written in part only. Who writes to the file holds it.
#[derive(Debug, Default)]
struct Torn(bool);

impl State {
    /// Gives up the line that has waited longest.
    fn give_up(&mut self) {
        if let Some((_, line)) = self.waiting.pop_front() {
            tracing::error!(target: "audit", event = line, "api call that could not be written to the audit log");
        }
    }
}

impl AuditLog {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, lines go to this file, or without one to the daemon's log; so do the lines that wait.
    pub(crate) fn write_to(&self, path: Option<PathBuf>) {
        let mut state = self.lock();
        if state.path == path {
            return;
        }
        state.path = path;
        // Whoever still hangs at the former file does not hold up this one.
        state.torn = Arc::default();
        while state.path.is_none() && !state.waiting.is_empty() {
            state.give_up();
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
        if state.waiting.len() >= WAITING_MAX {
            state.give_up();
        }
        state.taken += 1;
        let number = state.taken;
        state.waiting.push_back((number, event.json));
        true
    }

    /// Writes what waits, and opens the file where nothing does; waits for the disk at most [`WRITING_MAX`].
    ///
    /// # Errors
    /// The file's; lines that were not written go on waiting.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        let (path, torn) = {
            let state = self.lock();
            let Some(path) = state.path.clone() else { return Ok(()) };
            (path, Arc::clone(&state.torn))
        };
        let log = self.clone();
        let written = async move {
            let mut torn = torn.lock_owned().await;
            let writing = tokio::task::spawn_blocking(move || log.write(&path, &mut torn));
            writing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer");
        tokio::time::timeout(WRITING_MAX, written).await.unwrap_or_else(|_| Err(late()))
    }

    /// It blocks on the disk.
    fn write(&self, path: &Path, torn: &mut Torn) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
        while let Some((number, line)) = self.next(path) {
            // What was written in part becomes a line of its own.
            let begin = if torn.0 { "\n" } else { "" };
            let text = format!("{begin}{line}\n");
            let written = file.write(text.as_bytes())?;
            if written < text.len() {
                torn.0 = written > 0 || torn.0;
                return Err(io::Error::new(io::ErrorKind::WriteZero, "a line was written in part only"));
            }
            torn.0 = false;
            let mut state = self.lock();
            if state.waiting.front().is_some_and(|(front, _)| *front == number) {
                state.waiting.pop_front();
            }
        }
        Ok(())
    }

    /// The next line for the file; none once lines go elsewhere.
    fn next(&self, path: &Path) -> Option<(u64, String)> {
        let state = self.lock();
        state.waiting.front().filter(|_| state.path.as_deref() == Some(path)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn event(text: &str) -> AuditEvent {
        AuditEvent { kind: AuditKind::Change, json: text.to_owned() }
    }

    #[tokio::test]
    async fn each_event_is_a_line_also_after_the_file_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::default();
        log.write_to(Some(path.clone()));
        for text in ["one", "two"] {
            assert!(log.take(event(text)));
            log.flush().await.unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        fs::rename(&path, folder.path().join("audit.log.1")).unwrap();
        assert!(log.take(event("three")));
        log.flush().await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[tokio::test]
    async fn what_cannot_be_written_waits_in_order_and_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/audit.log");
        let log = AuditLog::default();
        log.write_to(Some(path.clone()));
        for number in 0..=WAITING_MAX {
            assert!(log.take(event(&number.to_string())));
        }
        assert!(log.flush().await.is_err());
        fs::create_dir(folder.path().join("later")).unwrap();
        log.flush().await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[WAITING_MAX - 1]), (WAITING_MAX, "1", "1000"));
    }

    #[tokio::test]
    async fn a_full_disk_leaves_the_line_waiting() {
        let log = AuditLog::default();
        log.write_to(Some("/dev/full".into()));
        assert!(log.take(event("one")));
        assert!(log.flush().await.is_err());
        assert_eq!(log.lock().waiting, [(1, "one".to_owned())]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_told_before_there_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::default();
        log.write_to(Some(folder.path().to_owned()));
        assert!(log.flush().await.is_err());
    }

    #[test]
    fn without_a_file_nothing_waits() {
        let log = AuditLog::default();
        assert!(!log.take(event("one")));
        assert!(log.lock().waiting.is_empty());
    }

    /// A file that nothing can be written to, and that does not say so: a pipe that nobody reads.
    fn hanging(folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("hangs.log");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        path
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_holds_up_one_thread_and_whoever_waits_not_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let (log, path) = (AuditLog::default(), hanging(&folder));
        log.write_to(Some(path.clone()));
        assert!(log.take(event("one")));
        let (first, second) = tokio::join!(log.flush(), log.flush());
        for error in [first.unwrap_err(), second.unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        assert!(log.take(event("two")), "it is taken meanwhile");
        let other = folder.path().join("other.log");
        log.write_to(Some(other.clone()));
        log.flush().await.unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "one\ntwo\n", "another file is not held up");
        let late = tokio::task::spawn_blocking(move || fs::read_to_string(path).unwrap());
        assert_eq!(late.await.unwrap(), "", "what went elsewhere does not come again");
    }

    #[test]
    fn what_waits_for_a_file_that_is_given_up_is_not_kept() {
        let log = AuditLog::default();
        log.write_to(Some("/dev/full".into()));
        assert!(log.take(event("one")));
        log.write_to(None);
        assert!(log.lock().waiting.is_empty());
    }
}
