//! What is seen of a file without reading it: whoever follows a file reads it again when its stamp has changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a change of a file changes: its device, inode, length, and the times of the last changes of content and of
/// anything, such as who may read it, in seconds and nanoseconds. `None` where it cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Option<[i64; 7]>);

impl Stamp {
    /// The stamp of what is there now.
    pub(crate) fn of(path: &Path) -> Self {
        let signed = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
        Self(fs::metadata(path).ok().map(|file| {
            let (dev, ino, size) = (signed(file.dev()), signed(file.ino()), signed(file.size()));
            [dev, ino, size, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()]
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_file_that_may_now_be_read_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        assert_eq!(Stamp::of(&path), Stamp(None));
        fs::write(&path, "x").unwrap();
        let (before, began) = (Stamp::of(&path), Instant::now());
        assert_eq!(Stamp::of(&path), before);
        // The clock of file systems has ticks of some milliseconds.
        while Stamp::of(&path) == before {
            assert!(began.elapsed() < Duration::from_secs(10), "chmod goes unseen");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
    }
}
