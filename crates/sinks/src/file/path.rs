//! From an object's address to a path below the root, and to nowhere else.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use standpipe_model::ObjectTarget;

/// Every temporary file's name begins so; no key may.
pub(super) const TEMPORARY: &str = ".standpipe-tmp-";
/// The longest file name on the file systems in use.
pub(crate) const SEGMENT_BYTES_MAX: usize = 255;

/// A key that a file store cannot hold. It depends on the key alone, so that another attempt would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing stands between two slashes, before the first or behind the last one.
    #[error("the key has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`, or looks like one of the store's temporary files.
    #[error("the key has the reserved segment '{0}'")]
    Reserved(String),
    /// A segment is longer than a file name may be.
    #[error("a segment of the key has {bytes} bytes, a file name may have {SEGMENT_BYTES_MAX}")]
    SegmentTooLong {
        /// Its length.
        bytes: usize,
    },
    /// File names hold no NUL.
    #[error("the key holds a NUL character")]
    Nul,
}

/// Checks that a file store can hold an object under this key, so that a planner can find out before any attempt.
///
/// # Errors
/// What is wrong with the key.
pub fn check_key(key: &str) -> Result<(), PathError> {
    if key.contains('\0') {
        return Err(PathError::Nul);
    }
    key.split('/').try_for_each(|segment| match segment {
        "" => Err(PathError::EmptySegment),
        "." | ".." => Err(PathError::Reserved(segment.to_owned())),
        _ if segment.starts_with(TEMPORARY) => Err(PathError::Reserved(segment.to_owned())),
        _ if segment.len() > SEGMENT_BYTES_MAX => Err(PathError::SegmentTooLong { bytes: segment.len() }),
        _ => Ok(()),
    })
}

/// An object's place below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The folders between the root and the file, outermost first.
    pub(super) folders: PathBuf,
    /// The file's name.
    pub(super) name: String,
    /// What the names of this object's temporary files begin with.
    pub(super) temporary: String,
}

impl Place {
    pub(super) fn of(target: &ObjectTarget) -> Result<Self, PathError> {
        check_key(&target.key)?;
        if !target.bucket.is_empty() {
            check_key(&target.bucket)?;
        }
        let mut folders = PathBuf::from(&target.bucket);
        let name = match target.key.rsplit_once('/') {
            Some((above, name)) => {
                folders.push(above);
                name
            }
            None => &target.key,
        };
        // The name alone may be as long as a file name can be, so that the temporary one holds a digest of it.
        let digest = hex::encode(&Sha256::digest(name)[..16]);
        Ok(Self { folders, name: name.to_owned(), temporary: format!("{TEMPORARY}{digest}-") })
    }
}
