//! Folders that are certain to be on disk before an object in them is called delivered.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// How many folders are remembered. A stream uses one per hour and partition; forgetting costs a sync, nothing else.
const REMEMBERED_MAX: usize = 4_096;

/// Creates folders and remembers which of them this process has synced.
///
/// A folder that is there may have been made a moment ago by an attempt that has not synced its parent yet (or by a
/// process that died before it could), so *there* is not *durable*: the first use by this process syncs it anyway.
#[derive(Debug, Default)]
pub(super) struct Folders {
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// Makes sure that `folder` and everything above it exist and survive a power cut.
    pub(super) fn ensure(&self, folder: &Path) -> io::Result<()> {
        if folder.as_os_str().is_empty() || self.is_durable(folder) && folder.is_dir() {
            return Ok(());
        }
        let created = match fs::create_dir(folder) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = folder.parent().ok_or(error)?;
                self.ensure(parent)?;
                return self.ensure_below(folder);
            }
            Err(error) => return Err(error),
        };
        self.settle(folder, created)
    }

    /// As [`ensure`](Self::ensure), once the parent is there; a parent that vanishes meanwhile is an error, not a loop.
    fn ensure_below(&self, folder: &Path) -> io::Result<()> {
        match fs::create_dir(folder) {
            Ok(()) => self.settle(folder, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
                self.settle(folder, false)
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs the entry of `folder` in its parent, and the parent's in its own, up to what is known to be durable.
    fn settle(&self, folder: &Path, created: bool) -> io::Result<()> {
        if !created && self.is_durable(folder) {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.settle(parent, false)?;
            match sync(parent) {
                // Folders above the root may be closed to us; they are not ours to vouch for either.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !created => {}
                synced => synced?,
            }
        }
        self.remember(folder);
        Ok(())
    }

    fn is_durable(&self, folder: &Path) -> bool {
        self.lock().contains(folder)
    }

    fn remember(&self, folder: &Path) {
        let mut durable = self.lock();
        if durable.len() >= REMEMBERED_MAX {
            durable.clear();
        }
        durable.insert(folder.to_owned());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // The set is valid at every moment, so a panic elsewhere while it was held has not harmed it.
        self.durable.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Syncs a folder's entries.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
