//! The keys of a journal's encrypted files: which there are, forgetting them, and wrapping them anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::format::SegmentId;
use crate::journal::{Journal, Shared};
use crate::keyed::Keyed;
use crate::keys::WrappedKey;
use crate::segment::Segment;
use crate::writer::Writer;

/// The wrapped key of an encrypted segment or spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentKey {
    /// The segment.
    pub segment: SegmentId,
    /// Its data key, wrapped.
    pub wrapped: WrappedKey,
    /// All copies of it in the segment are this one. When not, an earlier wrapping may still be there.
    pub whole: bool,
}

/// An encrypted file of a journal.
struct KeyedFile {
    id: SegmentId,
    path: PathBuf,
    keyed: Arc<Keyed>,
}

impl Journal {
    /// Forgets the data keys in the clear that the master key of that name has wrapped: what is read from then on has
    /// them unwrapped again, also by who reads already, and what is written goes into a new segment under a fresh key.
    /// Waits for a commit that is under way; blocking.
    pub fn forget_keys(&self, key: &str) {
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let keyed = self.0.all_keyed(&writer).into_iter().map(|file| file.keyed);
        keyed
            .filter(|keyed| keyed.slots().is_some_and(|slots| slots.wrapped.key == key))
            .for_each(|keyed| keyed.forget());
    }

    /// Whether its newest segment is encrypted; `None` when it has none.
    pub fn ends_encrypted(&self) -> Option<bool> {
        let view = self.0.view();
        view.segments.last_key_value().map(|(_, newest)| newest.keyed.is_some())
    }

    /// The wrapped keys of its encrypted segments, as they are to be looked through when a master key changes; blocking.
    /// Other keys are not needed any more, whenever the power goes.
    ///
    /// # Errors
    /// The disk refused, so that a segment that was removed might come back.
    pub fn wrapped_keys(&self) -> io::Result<Vec<SegmentKey>> {
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.fade(&mut writer)?;
        let keyed = self.0.all_keyed(&writer);
        let keyed = keyed.iter().filter_map(|file| Some((file.id, file.keyed.slots()?)));
        Ok(keyed
            .map(|(segment, slots)| SegmentKey { segment, wrapped: slots.wrapped, whole: slots.even })
            .collect())
    }

    /// Replaces the wrapped key of a segment, durably, by another wrapping of the same data key; blocking. Whenever the
    /// power goes, one of the two can be read. Returns whether the segment was still there.
    ///
    /// # Errors
    /// The disk refused, or the wrapped key does not fit; the one that is there stays.
    pub fn rewrap(&self, segment: SegmentId, wrapped: WrappedKey) -> io::Result<bool> {
        self.0.replace_key(segment, wrapped)
    }
}

impl Shared {
    fn replace_key(&self, id: SegmentId, wrapped: WrappedKey) -> io::Result<bool> {
        // While nobody commits: the file is neither healed nor used again meanwhile.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.all_keyed(&writer).into_iter().find(|file| file.id == id);
        let Some(KeyedFile { path, keyed, .. }) = found else { return Ok(false) };
        let Some(mut slots) = keyed.slots() else { return Ok(false) };
        let file = self.disk().open(&path)?;
        let replaced = slots.replace(file.as_ref(), id, wrapped);
        keyed.replaced(slots);
        replaced.map(|()| true)
    }

    /// The files that are encrypted: spools, the segments that hold something, and the one that was begun and holds
    /// nothing durable yet, as a power cut may leave something in it all the same.
    fn all_keyed(&self, writer: &Writer) -> Vec<KeyedFile> {
        let mut segments: Vec<Arc<Segment>> = self.view().segments.values().cloned().collect();
        let begun = writer.begun().filter(|begun| segments.iter().all(|segment| segment.id != begun.id));
        segments.extend(begun.cloned());
        let file = |id: SegmentId, path: &Path, keyed: &Option<Arc<Keyed>>| {
            Some(KeyedFile { id, path: path.to_owned(), keyed: keyed.clone()? })
        };
        let segments = segments.iter().filter_map(|segment| file(segment.id, &segment.path, &segment.keyed));
        let spools = self.spools();
        segments
            .chain(spools.iter().filter_map(|(_, spool)| file(spool.id, &spool.path, &spool.keyed)))
            .collect()
    }
}
