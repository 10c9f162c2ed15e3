//! The blocking half of an attempt: a temporary file that becomes the object or vanishes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tokio::sync::mpsc::Receiver;

use super::folders::{Folders, sync};
use super::path::Place;

/// Tells temporary files of the same object apart when two attempts meet.
static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

/// What the asynchronous half sends.
#[derive(Debug)]
pub(super) enum Piece {
    /// The body goes on.
    Data(Bytes),
    /// The body is complete. A channel that closes without it means that the attempt was given up.
    End,
}

/// How the blocking half ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The object was published.
    New(u64),
    /// An object was there already.
    Existed(u64),
    /// The body did not end; nothing is left.
    GivenUp,
}

/// Writes one object from the pieces that arrive.
pub(super) fn write(
    root: &Path,
    place: &Place,
    folders: &Folders,
    mut pieces: Receiver<Piece>,
) -> io::Result<Written> {
    let folder = root.join(&place.folders);
    let object = folder.join(&place.name);
    if let Some(existed) = existing(&object, &folder, folders)? {
        return Ok(existed);
    }
    folders.ensure(&folder)?;
    let mut temporary = Temporary::create(&folder, place)?;
    let mut bytes = 0;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Data(data)) => {
                temporary.file.write_all(&data)?;
                bytes += data.len() as u64;
            }
            Some(Piece::End) => break,
            None => return Ok(Written::GivenUp),
        }
    }
    temporary.file.sync_all()?;
    match temporary.publish(&object) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(existing(&object, &folder, folders)?.unwrap_or(Written::Existed(bytes)));
        }
        Err(error) => return Err(error),
    }
    sync(&folder)?;
    Ok(Written::New(bytes))
}

/// Whether the object is there. Its bytes were synced before it got its name; the name itself may not be durable yet
/// when the process died in between, so it is synced before the object counts.
fn existing(object: &Path, folder: &Path, folders: &Folders) -> io::Result<Option<Written>> {
    match fs::symlink_metadata(object) {
        Ok(metadata) if metadata.is_file() => {
            folders.ensure(folder)?;
            sync(folder)?;
            Ok(Some(Written::Existed(metadata.len())))
        }
        Ok(_) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A temporary file that removes itself unless it was published.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    file: File,
    gone: bool,
}

impl Temporary {
    fn create(folder: &Path, place: &Place) -> io::Result<Self> {
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{attempt}", place.temporary, std::process::id());
        let path = folder.join(name);
        // A file of this name is an earlier process's that had the same id: nobody writes to it any more.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { path, file, gone: false })
    }

    /// Gives the file its final name, unless something has it.
    fn publish(&mut self, object: &Path) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, object, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.gone = true;
                Ok(())
            }
            // NFS and a few others cannot rename without replacing, but can link, which never replaces.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(&self.path, object),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "temporary file left for the next sweep");
        }
    }
}

/// Removes an object's temporary files and says how many there were.
pub(super) fn sweep(root: &Path, place: &Place) -> io::Result<u32> {
    let entries = match fs::read_dir(root.join(&place.folders)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&place.temporary)) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removal => {
                    removal?;
                    removed += 1;
                }
            }
        }
    }
    Ok(removed)
}

/// Removes an object.
pub(super) fn remove(root: &Path, place: &Place) -> io::Result<()> {
    match fs::remove_file(root.join(&place.folders).join(&place.name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removal => removal,
    }
}

/// Tries out whether the root, or what it would be created in, takes files.
pub(super) fn probe(root: &Path) -> io::Result<()> {
    let place = Place {
        folders: PathBuf::new(),
        name: String::new(),
        temporary: format!("{}probe-", super::path::TEMPORARY),
    };
    let mut folder = root;
    loop {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => return Temporary::create(folder, &place).map(drop),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.parent() {
                Some(parent) if parent.as_os_str().is_empty() => folder = Path::new("."),
                Some(parent) => folder = parent,
                None => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}
