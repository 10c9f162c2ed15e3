//! The spool of a batch: the rows that were made of its records, kept from before its first effect until it is settled.
//!
//! ```text
//! spool := head page (as a segment's, with key slots where it is encrypted)  block*
//! block := a frame of kind DATA: rows of one object, as records lie in a frame; `first` is the offset of the block of the
//!          same object before it, 0 for none
//! ```
//!
//! Rows of many objects arrive mixed. They wait in memory, all objects together in [`BUFFER_BYTES`], and the largest go
//! to the file first; so thousands of objects cost disk and not memory. An object is read from its last block, whose
//! offset ([`ObjectPlace`]) is for the caller to keep: the PLAN frame leads to it.
//!
//! # Invariants
//! - A file that no PLAN names has had no effect, and recovery removes it. A spool that takes another's place is a file
//!   of its own, so that whichever of two PLAN frames a crash leaves finds what it names.
//! - A stream's only spool is never refused for a limit, nor the one that is being written while all of its spools take no
//!   more than the limit: what is in them can be delivered and makes room. Others wait for room like puts.

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use standpipe_model::{BatchId, Position, RECORD_PREFIX_LEN};

use crate::budget::Shortage;
use crate::control::State;
use crate::disk::{Disk, DiskFile};
use crate::format::{FrameHeader, FrameKind, HEAD_LEN, HEADER_LEN, Head, HeadBytes, SegmentId};
use crate::journal::{Journal, Shared};
use crate::keyed::Keyed;
use crate::keys::KeyTrouble;
use crate::writer::{version_of, write_head};

pub use reader::SpoolReader;

/// Rows of all objects of a spool that wait in memory; the caller reserves about twice as much, as buffers grow by
/// doubling.
pub const BUFFER_BYTES: usize = 8 << 20;
/// A block is written when it has about so many bytes, however much room there is.
const BLOCK_BYTES: usize = 1 << 20;
const FOLDER: &str = "spool";
const ENDING: &str = ".spool";

/// Where a finished object lies in its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectPlace {
    /// The offset of its last block; 0 where it has none.
    pub last: u64,
    /// Its rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A spool cannot be written now. Nothing of it is kept, and it may be begun again.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No room.
    #[error("there is no room for a spool: {0}")]
    Full(#[from] Shortage),
    /// The stream's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyTrouble),
    /// The disk refused.
    #[error("cannot write a spool")]
    Io(#[from] io::Error),
}

/// A spool is gone or damaged: what is in it cannot be read, now or later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpoolDamage(&'static str);

impl SpoolDamage {
    /// Whether it is behind a failed read.
    pub fn is_behind(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<SpoolDamage> for io::Error {
    fn from(damage: SpoolDamage) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}

/// A spool's random id: what the identities of its objects derive from, so that rows of another spool, which may be
/// others, are never taken for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolId(SegmentId);

impl SpoolId {
    /// The identity of a batch's objects that lie in the spool.
    pub fn identity(self, batch: BatchId) -> BatchId {
        let mut id = batch.0;
        id.iter_mut().zip(self.0.0).for_each(|(byte, with)| *byte ^= with);
        BatchId(id)
    }
}

impl Serialize for SpoolId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // In the form of a batch's.
        BatchId(self.0.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SpoolId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BatchId::deserialize(deserializer).map(|BatchId(id)| Self(SegmentId(id)))
    }
}

/// A spool's file.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) keyed: Option<Arc<Keyed>>,
    len: AtomicU64,
    finished: AtomicBool,
}

/// The spools of a journal, in the order in which they were begun.
pub(crate) type Spools = Vec<(BatchId, Arc<Place>)>;

/// A spool that is being written; blocking. One that is dropped before [`finish`](SpoolWriter::finish) is removed.
#[derive(Debug)]
pub struct SpoolWriter {
    shared: Arc<Shared>,
    place: Arc<Place>,
    file: Arc<dyn DiskFile>,
    objects: BTreeMap<u32, Pending>,
    next: u32,
    buffered: usize,
    /// Blocks on their way to the file, whose end is at `end`.
    out: Vec<u8>,
    end: u64,
}

/// An object that is being written.
#[derive(Debug, Default)]
struct Pending {
    payload: Vec<u8>,
    rows: u32,
    place: ObjectPlace,
}

impl Journal {
    /// Begins a spool for a batch. One that the batch has already stays.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn spool(&self, batch: BatchId) -> Result<SpoolWriter, SpoolError> {
        SpoolWriter::begin(Arc::clone(&self.0), batch)
    }

    /// Reads an object of a spool, from its first row to its last.
    ///
    /// # Errors
    /// It is gone or damaged ([`SpoolDamage`]), its key cannot be had, or the disk refused.
    pub fn read_spool(&self, spool: SpoolId, object: ObjectPlace) -> io::Result<SpoolReader> {
        let spools = self.0.spools();
        let found = spools.iter().find(|(_, place)| place.id == spool.0).map(|(_, place)| Arc::clone(place));
        drop(spools);
        let place = found.ok_or(SpoolDamage("the spool is gone"))?;
        SpoolReader::open(Arc::clone(&self.0), place, object)
    }

    /// Removes the spools of a batch, but for `kept`.
    ///
    /// # Errors
    /// The disk refused; the next recovery removes them.
    pub fn remove_spools(&self, batch: BatchId, kept: Option<SpoolId>) -> io::Result<()> {
        self.0.remove_spools(|other, place| other == batch && kept != Some(SpoolId(place.id)))
    }

    /// Removes the spools that no open batch needs: those that an attempt could not remove any more when it was stopped.
    ///
    /// # Errors
    /// The disk refused; the next recovery removes them.
    pub fn tidy_spools(&self) -> io::Result<()> {
        let open: BTreeSet<BatchId> = self.with_state(|state| {
            state.destinations.values().flat_map(|progress| progress.open.keys().copied()).collect()
        });
        self.0.remove_spools(|batch, place| !open.contains(&batch) && place.finished.load(Ordering::Relaxed))
    }
}

impl SpoolWriter {
    fn begin(shared: Arc<Shared>, batch: BatchId) -> Result<Self, SpoolError> {
        let dir = shared.dir.join(FOLDER);
        shared.disk().create_dir(&dir)?;
        let mut id = SegmentId([0; 16]);
        shared.shelf.entropy.fill(&mut id.0);
        let path = dir.join(format!("{batch}-{id:?}{ENDING}"));
        let (place, file) = shared.make_spool(batch, id, path)?;
        let (objects, out, next, buffered, end) = (BTreeMap::new(), Vec::new(), 0, 0, HEAD_LEN);
        // From here on a failure removes the file again.
        let writer = Self { shared, place, file, objects, next, buffered, out, end };
        writer.shared.take_for_spool(&writer.place, HEAD_LEN)?;
        Ok(writer)
    }

    /// What the PLAN is to name.
    pub fn id(&self) -> SpoolId {
        SpoolId(self.place.id)
    }

    /// Begins an object; returns its number, counted from 0.
    pub fn begin_object(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        self.objects.insert(number, Pending::default());
        number
    }

    /// Adds a row to an object that was begun and has not ended.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn push(&mut self, object: u32, row: &[u8]) -> Result<(), SpoolError> {
        let Some(pending) = self.objects.get_mut(&object) else { return Ok(()) };
        let len = u32::try_from(row.len()).map_err(io::Error::other)?;
        pending.payload.extend_from_slice(&len.to_le_bytes());
        pending.payload.extend_from_slice(row);
        pending.rows += 1;
        pending.place.rows += 1;
        pending.place.bytes += u64::from(len);
        self.buffered += RECORD_PREFIX_LEN + row.len();
        if pending.payload.len() >= BLOCK_BYTES {
            self.block(object)?;
            self.write()?;
        } else if self.buffered >= BUFFER_BYTES {
            self.make_room()?;
        }
        Ok(())
    }

    /// Ends an object: no row follows.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn end_object(&mut self, object: u32) -> Result<ObjectPlace, SpoolError> {
        self.block(object)?;
        if self.out.len() >= BLOCK_BYTES {
            self.write()?;
        }
        Ok(self.objects.remove(&object).map(|pending| pending.place).unwrap_or_default())
    }

    /// Makes the spool durable. Objects that have not ended are lost with their places.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn finish(mut self) -> Result<(), SpoolError> {
        self.write()?;
        self.file.sync_data()?;
        self.shared.disk().sync_dir(&self.shared.dir.join(FOLDER))?;
        self.place.finished.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the largest of what waits, until half of the room is free.
    fn make_room(&mut self) -> Result<(), SpoolError> {
        let mut waiting: Vec<(usize, u32)> =
            self.objects.iter().map(|(object, pending)| (pending.payload.len(), *object)).collect();
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        for (_, object) in waiting {
            if self.buffered <= BUFFER_BYTES / 2 {
                break;
            }
            self.block(object)?;
            if self.out.len() >= BLOCK_BYTES {
                self.write()?;
            }
        }
        self.write()
    }

    /// Makes a block of what waits of an object.
    fn block(&mut self, object: u32) -> Result<(), SpoolError> {
        let Some(pending) = self.objects.get_mut(&object).filter(|pending| pending.rows > 0) else {
            return Ok(());
        };
        let payload = std::mem::take(&mut pending.payload);
        self.buffered -= payload.len();
        let mut header = FrameHeader {
            kind: FrameKind::Data,
            encrypted: self.place.keyed.is_some(),
            body_len: 0,
            body_crc: 0,
            source_len: 0,
            count: std::mem::take(&mut pending.rows),
            first: Position(pending.place.last),
            group_start: 0,
            steady: 0,
            arrived_at: self.shared.shelf.clock.now(),
            digest: None,
        };
        let body = match &self.place.keyed {
            None => payload,
            Some(keyed) => {
                let cipher =
                    keyed.cipher().ok_or_else(|| io::Error::other("the spool's key was forgotten"))?;
                cipher.encrypt(&header, &[&payload], self.shared.shelf.entropy.as_ref())
            }
        };
        header.body_len = u32::try_from(body.len()).map_err(io::Error::other)?;
        header.body_crc = crc32c::crc32c(&body);
        pending.place.last = self.end + self.out.len() as u64;
        self.out.extend_from_slice(&header.encode(self.place.id));
        self.out.extend_from_slice(&body);
        self.out.resize(self.out.len().next_multiple_of(8), 0);
        Ok(())
    }

    /// Writes the blocks that were made.
    fn write(&mut self) -> Result<(), SpoolError> {
        let len = self.out.len() as u64;
        self.shared.take_for_spool(&self.place, len)?;
        self.file.write_at(&[&self.out], self.end)?;
        self.end += len;
        self.out.clear();
        Ok(())
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if !self.place.finished.load(Ordering::Relaxed)
            && let Err(error) = self.shared.remove_spools(|_, place| Arc::ptr_eq(place, &self.place))
        {
            tracing::warn!(path = %self.place.path.display(), %error, "a spool cannot be removed");
        }
    }
}

impl Shared {
    pub(crate) fn spools(&self) -> MutexGuard<'_, Spools> {
        self.spools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a spool's file, with its key, where it has one, and lists it. Nobody looks through the keys meanwhile: one
    /// that was not listed yet would be missed, and one that is not on the disk yet be written over.
    fn make_spool(
        &self,
        batch: BatchId,
        id: SegmentId,
        path: PathBuf,
    ) -> Result<(Arc<Place>, Arc<dyn DiskFile>), SpoolError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.usable()?;
        self.make_way(&mut writer, HEAD_LEN);
        self.admit_spool(&self.spools(), None, HEAD_LEN)?;
        let key = self.keys.fresh()?.key;
        let file = self.disk().create(&path, 0)?;
        let (version, key_id) = version_of(key.as_ref());
        let created_at = self.shelf.clock.now();
        let head = Head { version, key_id, sequence: 0, id, first: Position(0), created_at, capacity: 0 };
        let keyed = match write_head(file.as_ref(), &head, key) {
            Ok(keyed) => keyed,
            Err(error) => {
                self.disk().remove(&path)?;
                return Err(error.into());
            }
        };
        let (len, finished) = (AtomicU64::new(0), AtomicBool::new(false));
        let place = Arc::new(Place { id, path, keyed, len, finished });
        self.spools().push((batch, Arc::clone(&place)));
        Ok((place, file))
    }

    /// Whether a spool may take so much more; `None` is one that is not listed yet.
    fn admit_spool(&self, spools: &Spools, place: Option<&Arc<Place>>, bytes: u64) -> Result<(), Shortage> {
        let budget = &self.shelf.budget;
        let used = self.used.load(Ordering::Relaxed);
        let admitted = budget.admit(bytes, used, self.options.limit_bytes);
        let is_this = |other: &Arc<Place>| place.is_some_and(|place| Arc::ptr_eq(place, other));
        let is_only = spools.iter().all(|(_, other)| is_this(other));
        let unfinished = spools.iter().find(|(_, other)| !other.finished.load(Ordering::Relaxed));
        let is_first = unfinished.is_none_or(|(_, first)| is_this(first));
        let limit = self.options.limit_bytes.min(budget.limit());
        let spooled: u64 = spools.iter().map(|(_, place)| place.len.load(Ordering::Relaxed)).sum();
        match admitted {
            Err(_) if is_only || (is_first && spooled + bytes <= limit) => budget.admit_urgent(bytes),
            admitted => admitted,
        }
    }

    fn take_for_spool(&self, place: &Arc<Place>, bytes: u64) -> Result<(), SpoolError> {
        if self.is_tight(bytes) {
            self.make_way(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner), bytes);
        }
        let spools = self.spools();
        if !spools.iter().any(|(_, other)| Arc::ptr_eq(other, place)) {
            return Err(io::Error::other("the journal has been closed").into());
        }
        self.admit_spool(&spools, Some(place), bytes)?;
        place.len.fetch_add(bytes, Ordering::Relaxed);
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.shelf.budget.take(bytes);
        Ok(())
    }

    fn remove_spools(&self, wanted: impl Fn(BatchId, &Arc<Place>) -> bool) -> io::Result<()> {
        let removed: Spools = {
            let mut spools = self.spools();
            let removed: Spools = spools.extract_if(.., |(batch, place)| wanted(*batch, place)).collect();
            // What was listed no more when the journal was released has been given back with everything else.
            removed.iter().for_each(|(_, place)| self.give_back(place.len.load(Ordering::Relaxed)));
            removed
        };
        let mut result = Ok(());
        for (_, place) in &removed {
            result = result.and(self.disk().remove(&place.path));
        }
        // A wrapped key that a power cut brings back could outlive its master key.
        if removed.iter().any(|(_, place)| place.keyed.is_some()) {
            result = result.and(self.disk().sync_dir(&self.dir.join(FOLDER)));
        }
        result
    }
}

/// Finds the spools that open batches were planned into, and removes all others.
///
/// # Errors
/// The disk refused.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, state: &State) -> io::Result<(Spools, u64)> {
    let dir = dir.join(FOLDER);
    let entries = match disk.list(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries?,
    };
    let planned = |batch: BatchId, id: SegmentId| {
        let open = state.destinations.values().filter_map(|progress| progress.open.get(&batch));
        open.filter_map(|open| open.plan.as_ref()).any(|plan| plan.spool == SpoolId(id))
    };
    let (mut spools, mut used) = (Spools::new(), 0);
    for entry in entries {
        let Some((batch, id)) = named(&entry.name) else { continue };
        let path = dir.join(&entry.name);
        if !planned(batch, id) {
            disk.remove(&path)?;
            continue;
        }
        let file = disk.open(&path)?;
        let mut head = vec![0; HEADER_LEN];
        let read = file.read_at(&mut head, 0)?;
        let head = match Head::decode(&head[..read]) {
            HeadBytes::Valid(head) if head.id == id => head,
            _ => {
                // Its batch is held; it is for a human to look at.
                disk.rename(&path, &path.with_extension("damaged"))?;
                continue;
            }
        };
        let keyed = Keyed::read(file.as_ref(), &head)?;
        used += entry.len;
        let (len, finished) = (entry.len.into(), AtomicBool::new(true));
        spools.push((batch, Arc::new(Place { id, path, keyed, len, finished })));
    }
    Ok((spools, used))
}

/// The batch and the id that a file's name tells of.
fn named(name: &str) -> Option<(BatchId, SegmentId)> {
    let (batch, id) = name.strip_suffix(ENDING)?.split_once('-')?;
    Some((BatchId::parse(batch)?, SegmentId(BatchId::parse(id)?.0)))
}
