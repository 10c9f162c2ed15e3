//! The seam to whoever keeps keys: what a journal asks for to write a segment that only its key can read.
//!
//! The journal knows no provider. It is given a [`SegmentKeys`] when it is opened, asks it for a fresh data key for
//! each segment, stores that key wrapped in the segment's head page, and asks for it to be unwrapped when the segment
//! is read by a later process.
//!
//! # Invariants
//! - The commit threads, which all streams share, call only what does not wait: [`SegmentKeys::fresh`] and its like.
//!   [`SegmentKeys::unwrap_key`] may wait for a server; only readers and recovery call it.
//! - A data key encrypts in one segment alone, and only in the process that it was made in.
//! - A key that cannot be had is never a reason to count a record as lost.

use std::fmt;
use std::io;

use zeroize::Zeroizing;

/// Bytes of a data key.
pub const DATA_KEY_LEN: usize = 32;

/// A data key in the clear. It is wiped when it is dropped, and `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey(Zeroizing<[u8; DATA_KEY_LEN]>);

impl DataKey {
    /// Takes a key.
    pub fn new(bytes: [u8; DATA_KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes a key from bytes that somebody else holds; `None` when they are not [`DATA_KEY_LEN`].
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The key itself, for the cipher and for whoever wraps it.
    pub fn expose(&self) -> &[u8; DATA_KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A data key as it is stored: unreadable without the master key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The configured key that wrapped it, by name.
    pub key: String,
    /// Which master key that was at the time, as the provider tells them apart.
    pub master: String,
    /// What it is for: the stream. Bound to the wrapping, so that it does not unwrap for another.
    pub context: String,
    /// The wrapped bytes.
    pub bytes: Vec<u8>,
}

/// A key that was never used before, in the clear and wrapped.
pub type FreshKey = (DataKey, WrappedKey);

/// What the next segment is written with.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The [epoch](SegmentKeys::epoch) that it belongs to.
    pub epoch: u64,
    /// A key that was never used before, in the clear and wrapped; `None` for a plain segment.
    pub key: Option<FreshKey>,
}

/// Who gives a journal its keys.
pub trait SegmentKeys: Send + Sync + fmt::Debug {
    /// A number that changes whenever segments are to be written in another way than before: plain or encrypted, or
    /// under another key. The journal then goes on in a new segment. Must not wait.
    fn epoch(&self) -> u64;

    /// Whether new records may be taken. Must not wait.
    ///
    /// # Errors
    /// [`KeyTrouble`], with which puts are refused.
    fn usable(&self) -> Result<(), KeyTrouble>;

    /// What the next segment is written with. Must not wait: keys are made ahead.
    ///
    /// # Errors
    /// [`KeyTrouble`]: there is no key; nothing can be written until there is.
    fn fresh(&self) -> Result<Fresh, KeyTrouble>;

    /// Unwraps a data key. May wait, for a bounded time.
    ///
    /// # Errors
    /// [`KeyTrouble`]: what it protects cannot be read until that is mended.
    fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble>;
}

/// No keys: segments are plain, and those that are not cannot be read.
impl SegmentKeys for () {
    fn epoch(&self) -> u64 {
        0
    }

    fn usable(&self) -> Result<(), KeyTrouble> {
        Ok(())
    }

    fn fresh(&self) -> Result<Fresh, KeyTrouble> {
        Ok(Fresh { epoch: 0, key: None })
    }

    fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble> {
        Err(KeyTrouble {
            key: wrapped.key.clone(),
            kind: TroubleKind::NotFound,
            reason: "no keys are configured".to_owned(),
        })
    }
}

/// A key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key '{key}' {kind}: {reason}")]
pub struct KeyTrouble {
    /// The key's name.
    pub key: String,
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// What its keeper said.
    pub reason: String,
}

/// What kind of trouble there is with a key, by who can end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// Its keeper does not let us.
    AccessDenied,
    /// Somebody has disabled it.
    Disabled,
    /// It is not of a kind or in a state in which it can be used.
    InvalidState,
    /// There is no such key.
    NotFound,
    /// Its keeper does not answer, or not in time. This alone passes by itself.
    Unreachable,
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessDenied => "may not be used",
            Self::Disabled => "is disabled",
            Self::InvalidState => "is in no state to be used",
            Self::NotFound => "is not found",
            Self::Unreachable => "cannot be reached",
        })
    }
}

impl KeyTrouble {
    /// The trouble behind a failed read, where that is what it was.
    pub fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Reading the journal fails with it where a segment's key cannot be had.
impl From<KeyTrouble> for io::Error {
    fn from(trouble: KeyTrouble) -> Self {
        Self::other(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_key_does_not_print() {
        let key = DataKey::new([7; DATA_KEY_LEN]);
        let fresh = Fresh { epoch: 1, key: None };
        assert_eq!(format!("{key:?} {fresh:?}"), "*** Fresh { epoch: 1, key: None }");
        assert_eq!(DataKey::from_slice(&[7; 31]), None);
        assert_eq!(DataKey::from_slice(&[7; 32]), Some(key));
    }

    #[test]
    fn the_trouble_behind_a_failed_read_is_found_again() {
        let kind = TroubleKind::Disabled;
        let trouble = KeyTrouble { key: "main".into(), kind, reason: "by hand".into() };
        assert_eq!(trouble.to_string(), "key 'main' is disabled: by hand");
        let error = io::Error::from(trouble.clone());
        assert_eq!(KeyTrouble::behind(&error), Some(&trouble));
        assert_eq!(KeyTrouble::behind(&io::Error::other("the disk")), None);
    }
}
