//! An encrypted segment's key in this process: wrapped always, in the clear once it was needed, and forgotten when the
//! journal is told to.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::cipher::Cipher;
use crate::disk::DiskFile;
use crate::format::{FrameHeader, Head, KEYED};
use crate::keys::{DataKey, KeyTrouble, SegmentKeys};
use crate::slots::Slots;

/// The key of an encrypted segment.
#[derive(Debug)]
pub(crate) struct Keyed(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` when neither slot can be read: nobody will ever read the segment's bodies again.
    slots: Option<Slots>,
    cipher: Option<Arc<Cipher>>,
}

impl Keyed {
    /// The key of a segment that this process writes.
    pub(crate) fn fresh(key: &DataKey, slots: Slots) -> Self {
        Self(Mutex::new(Inner { slots: Some(slots), cipher: Some(Arc::new(Cipher::new(key))) }))
    }

    /// The key of a file with this head, where it is encrypted.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn read(file: &dyn DiskFile, head: &Head) -> io::Result<Option<Arc<Self>>> {
        match head.key_id {
            KEYED => Ok(Some(Arc::new(Self::found(Slots::read(file, head.id)?)))),
            _ => Ok(None),
        }
    }

    /// The key of a segment that was found.
    pub(crate) fn found(slots: Option<Slots>) -> Self {
        Self(Mutex::new(Inner { slots, cipher: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cipher to write with, unless it was forgotten.
    pub(crate) fn cipher(&self) -> Option<Arc<Cipher>> {
        self.lock().cipher.clone()
    }

    /// Forgets the key in the clear; who reads next has it unwrapped again.
    pub(crate) fn forget(&self) {
        self.lock().cipher = None;
    }

    /// Whether it can be unwrapped again, and is not unwrapped now.
    pub(crate) fn is_forgotten(&self) -> bool {
        let inner = self.lock();
        inner.cipher.is_none() && inner.slots.is_some()
    }

    /// What its slots say, where they can be read.
    pub(crate) fn slots(&self) -> Option<Slots> {
        self.lock().slots.clone()
    }

    /// Takes note of what its slots say now.
    pub(crate) fn replaced(&self, slots: Slots) {
        self.lock().slots = Some(slots);
    }

    /// How bodies are read; may wait for the key.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub(crate) fn bodies(&self, keys: &dyn SegmentKeys) -> Result<Bodies, KeyTrouble> {
        let slots = {
            let inner = self.lock();
            match (&inner.cipher, &inner.slots) {
                (Some(cipher), _) => return Ok(Bodies::Encrypted(Arc::clone(cipher))),
                (None, None) => return Ok(Bodies::Lost),
                (None, Some(slots)) => slots.clone(),
            }
        };
        let key = keys.unwrap_key(&slots.wrapped).or_else(|trouble| {
            let other = slots.other.and_then(|other| keys.unwrap_key(&other).ok());
            other.ok_or(trouble)
        })?;
        let cipher = Arc::new(Cipher::new(&key));
        self.lock().cipher = Some(Arc::clone(&cipher));
        Ok(Bodies::Encrypted(cipher))
    }
}

/// What becomes of the bodies of frames that are read.
#[derive(Debug, Clone)]
pub(crate) enum Bodies {
    /// They are not wanted.
    Skip,
    /// As they are on the disk, encrypted or not.
    Raw,
    /// Those of a plain segment.
    Plain,
    /// Those of an encrypted one.
    Encrypted(Arc<Cipher>),
    /// The segment's key cannot be read any more.
    Lost,
}

impl Bodies {
    /// What a body whose CRC is right holds; `None` when it is damaged all the same.
    pub(crate) fn open(&self, header: &FrameHeader, body: Bytes) -> Option<Bytes> {
        match self {
            Self::Skip | Self::Raw => Some(body),
            Self::Plain => (!header.encrypted).then_some(body),
            Self::Encrypted(cipher) => cipher.decrypt(header, &body).filter(|_| header.encrypted),
            Self::Lost => None,
        }
    }
}
