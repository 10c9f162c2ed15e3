//! The seam to the disk: everything that the journal asks of a file system, blocking, called by its commit threads.
//!
//! [`OsDisk`] is the real one. Tests put a simulated disk here that loses unsynced bytes, tears writes and runs out
//! of space.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// A folder's entries as the journal needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The file's name within the folder.
    pub name: String,
    /// Its size in bytes.
    pub len: u64,
}

/// What the journal asks of a file system.
///
/// A new file's name is durable only after [`sync_dir`](Disk::sync_dir) of its folder; its content only after
/// [`DiskFile::sync_data`].
pub trait Disk: Send + Sync + Debug {
    /// Creates a folder and its parents; the folder's own name is made durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates a file of `len` bytes with its space allocated, replacing one of that name.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when the space is not there; the file is then removed again.
    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading alone, as the tools do that must not change anything.
    ///
    /// # Errors
    /// As the operating system says.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file within its folder, replacing one of the new name.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Lists the plain files of a folder, in no order.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The free and the total bytes of the file system that holds `dir`.
    ///
    /// # Errors
    /// As the operating system says.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace>;
}

/// A file system's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that an unprivileged writer may still take.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Writes all of `bufs`, one behind the other, at `offset`.
    ///
    /// # Errors
    /// After an error any part of the range may hold anything.
    fn write_at(&self, bufs: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Reads into `buf` from `offset`; returns fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written so far durable. After an error nothing is known about what was written since the last
    /// success, and the file must not be trusted any more.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn size(&self) -> io::Result<u64>;
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

/// Keeps a second daemon away from a data directory for as long as it lives.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "held open for its lock")] File);

/// Another process holds the data directory, or the lock file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs on the same folder.
    #[error("{} is locked: another standpipe runs on this data directory", .0.display())]
    Held(PathBuf),
    /// The lock file could not be opened.
    #[error("cannot open the lock file {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl OsDisk {
    /// Locks a data directory against other processes.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn lock_dir(dir: &Path) -> Result<DirLock, LockError> {
        let path = dir.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|source| LockError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(LockError::Held(path)),
            Err(fs::TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

impl Disk for OsDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dir(parent)?;
            match fs::create_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            self.sync_dir(parent)?;
        } else {
            fs::create_dir(dir)?;
        }
        Ok(())
    }

    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        if len > 0
            && let Err(error) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len)
        {
            fs::remove_file(path)?;
            return Err(error.into());
        }
        file.sync_all()?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile(File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(DirEntry { name, len: metadata.len() });
            }
        }
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(DiskSpace { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }
}

#[derive(Debug)]
struct OsFile(File);

/// The kernel takes at most this many pieces in one call (`IOV_MAX`).
const MAX_PIECES: usize = 1024;

impl DiskFile for OsFile {
    fn write_at(&self, bufs: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for bufs in bufs.chunks(MAX_PIECES) {
            let mut slices: Vec<IoSlice<'_>> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
            let mut rest = slices.as_mut_slice();
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.0, rest, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pieces_are_written_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsDisk.create(&path, 10_000).unwrap();
        let pieces: Vec<[u8; 3]> = (0..2500u32).map(|i| [i as u8, (i >> 8) as u8, b'-']).collect();
        let refs: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        file.write_at(&refs, 7).unwrap();
        let mut back = vec![0; 7500];
        assert_eq!(file.read_at(&mut back, 7).unwrap(), 7500);
        assert_eq!(back, pieces.concat());
        assert_eq!(file.size().unwrap(), 10_000);
    }

    #[test]
    fn a_second_lock_on_a_folder_is_refused_until_the_first_goes() {
        let dir = tempfile::tempdir().unwrap();
        let first = OsDisk::lock_dir(dir.path()).unwrap();
        assert!(matches!(OsDisk::lock_dir(dir.path()), Err(LockError::Held(_))));
        drop(first);
        OsDisk::lock_dir(dir.path()).unwrap();
    }
}
