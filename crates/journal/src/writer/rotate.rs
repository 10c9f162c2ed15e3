//! From one segment to the next: allocating, sealing, opening, recycling; and getting over a failed write.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{Active, Op, Prepared, RotateError, Spare, Writer, believable, control_reserve};
use crate::budget::Shortage;
use crate::control::Control;
use crate::disk::DiskFile;
use crate::format::{ENCRYPTED_EXTRA, FOOTER_LEN, HEAD_LEN, Head, KEYED, PLAIN_VERSION, SegmentId, VERSION};
use crate::journal::Shared;
use crate::keyed::Keyed;
use crate::keys::{Fresh, FreshKey};
use crate::recover::{copy_sealed, segment_path};
use crate::segment::{Extent, Segment, SegmentPlace, frames_end};
use crate::slots::Slots;

/// A segment that fills faster than this has a successor of twice its size; one that takes longer than the other, of
/// half. In milliseconds.
const FILLED_FAST_MS: u64 = 10_000;
const FILLED_SLOWLY_MS: u64 = 300_000;
/// How long a poisoned journal waits before it tries to heal, in milliseconds: the first time, and at the most.
const HEAL_FIRST_MS: u64 = 500;
const HEAL_MAX_MS: u64 = 30_000;
/// The name of a settled segment's file that waits to be used again.
pub(crate) const SPARE_NAME: &str = "spare";

impl Shared {
    /// Moves on to a segment with room for `need` bytes of frames.
    pub(super) fn rotate(&self, writer: &mut Writer, need: u64, data: bool) -> Result<(), RotateError> {
        let state = Control::State(Box::new(self.view().state.clone()));
        let (reply, _) = oneshot::channel();
        let preface = Op::control(vec![state], self.shelf.clock.now(), reply);
        believable(preface.body_max()).map_err(RotateError::TooLarge)?;
        let frames = preface.len(ENCRYPTED_EXTRA) + need;
        // The reserve is a sixteenth of the capacity, within bounds: an eighth of the frames covers it.
        let required = HEAD_LEN + FOOTER_LEN + frames + (frames / 8).max(control_reserve(0)) + 8;
        writer.size_class = self.next_class(writer);
        let next = self.nothing_written(self.obtain(writer, required, data))?;
        // Before anything is changed: without a key the active segment stays as it is.
        let fresh = match self.keys.usable().and_then(|()| self.keys.fresh()) {
            Ok(fresh) => fresh,
            Err(trouble) => {
                writer.prepared = Some(next);
                return Err(RotateError::NoKey(trouble));
            }
        };
        let next = match fresh.key.is_some() {
            true => self.nothing_written(self.never_plain(writer, next, required, data))?,
            false => next,
        };
        if let Err(error) = self.seal(writer) {
            writer.prepared = Some(next);
            return Err(RotateError::Io(error));
        }
        self.activate(writer, next, fresh, preface)
    }

    /// What an error comes to before anything was written to the active segment: there is nothing to distrust, only no
    /// room.
    fn nothing_written(&self, obtained: Result<Prepared, RotateError>) -> Result<Prepared, RotateError> {
        obtained.map_err(|error| match error {
            RotateError::Io(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "no new journal segment");
                RotateError::NoRoom(Shortage::System)
            }
            other => other,
        })
    }

    /// The size that the segment after the active one should have.
    fn next_class(&self, writer: &Writer) -> u64 {
        let (min, max) = (self.options.segment_min, self.options.segment_max);
        let class = writer.size_class.clamp(min, max);
        let Some(active) = &writer.active else { return class };
        let elapsed = self.steady_ms().saturating_sub(active.opened_ms);
        let filling_takes = elapsed.saturating_mul(active.segment.capacity) / active.end.max(1);
        match filling_takes {
            ..FILLED_FAST_MS => (active.segment.capacity.max(class / 2) * 2).clamp(min, max),
            FILLED_SLOWLY_MS.. => (class / 2).max(min),
            _ => class,
        }
    }

    fn obtain(&self, writer: &mut Writer, required: u64, data: bool) -> Result<Prepared, RotateError> {
        match writer.prepared.take() {
            Some(prepared) if prepared.capacity >= required => return Ok(prepared),
            Some(small) => self.drop_file(&small.path, small.capacity).inspect_err(|_| {
                writer.prepared = Some(small);
            })?,
            None => {}
        }
        self.allocate(writer, required, data)
    }

    fn drop_file(&self, path: &Path, capacity: u64) -> io::Result<()> {
        self.disk().remove(path)?;
        self.give_back(capacity);
        Ok(())
    }

    /// A file for an encrypted segment. One that has held plain records is not used: behind what it holds now they would
    /// still be there.
    fn never_plain(
        &self,
        writer: &mut Writer,
        next: Prepared,
        required: u64,
        data: bool,
    ) -> Result<Prepared, RotateError> {
        let dropped = self.drop_plain_spare(writer).and_then(|()| match next.held_plain {
            true => self.drop_file(&next.path, next.capacity),
            false => Ok(()),
        });
        match dropped {
            Ok(()) if next.held_plain => self.allocate(writer, required, data),
            Ok(()) => Ok(next),
            Err(error) => {
                writer.prepared = Some(next);
                Err(error.into())
            }
        }
    }

    fn drop_plain_spare(&self, writer: &mut Writer) -> io::Result<()> {
        if let Some(spare) = writer.spare.as_ref().filter(|spare| spare.held_plain) {
            self.drop_file(&spare.path, spare.capacity)?;
            writer.spare = None;
        }
        Ok(())
    }

    fn allocate(&self, writer: &mut Writer, required: u64, data: bool) -> Result<Prepared, RotateError> {
        let sequence = writer.next_sequence;
        let path = segment_path(&self.dir, sequence);
        let prepared = match writer.spare.take() {
            Some(spare) if spare.capacity >= required => match self.recycle(&spare, &path) {
                Ok(file) => {
                    Prepared { sequence, path, capacity: spare.capacity, file, held_plain: spare.held_plain }
                }
                Err(error) => {
                    writer.spare = Some(spare);
                    return Err(error.into());
                }
            },
            spare => {
                writer.spare = spare;
                let capacity = self.admitted_capacity(writer.size_class, required, data)?;
                let file = self.disk().create(&path, capacity)?;
                self.used.fetch_add(capacity, Ordering::Relaxed);
                self.shelf.budget.take(capacity);
                Prepared { sequence, path, capacity, file, held_plain: false }
            }
        };
        writer.next_sequence += 1;
        if let Err(error) = self.disk().sync_dir(&self.dir) {
            self.drop_file(&prepared.path, prepared.capacity)?;
            return Err(error.into());
        }
        Ok(prepared)
    }

    /// As much as the limits allow of what is wanted. Control frames may go past the limits, not past the disk: they
    /// are what makes room again.
    fn admitted_capacity(&self, wanted: u64, required: u64, data: bool) -> Result<u64, RotateError> {
        let least = required.next_power_of_two().max(self.options.segment_min.min(wanted));
        let mut capacity = wanted.max(least);
        loop {
            let used = self.used.load(Ordering::Relaxed);
            match self.shelf.budget.admit(capacity, used, self.options.limit_bytes) {
                Ok(()) => return Ok(capacity),
                Err(_) if capacity / 2 >= least => capacity /= 2,
                Err(_) if !data => return Ok(least),
                Err(shortage) => return Err(RotateError::NoRoom(shortage)),
            }
        }
    }

    /// Makes a settled segment's file the next one. Its head is blanked, so that until it is used it counts as never
    /// written; its old frames are bound to the old segment's id.
    fn recycle(&self, spare: &Spare, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk().open(&spare.path)?;
        file.write_at(&[&[0; HEAD_LEN as usize]], 0)?;
        file.sync_data()?;
        self.disk().rename(&spare.path, path)?;
        Ok(file)
    }

    fn seal(&self, writer: &mut Writer) -> io::Result<()> {
        let Some(active) = &writer.active else { return Ok(()) };
        let segment = &active.segment;
        if segment.extent().frames == 0 {
            writer.fading |= segment.keyed.is_some();
            self.disk().remove(&segment.path)?;
            self.give_back(segment.capacity);
        } else {
            active.file.write_at(&[&segment.footer().encode(segment.id)], frames_end(segment.capacity))?;
            active.file.sync_data()?;
        }
        writer.active = None;
        Ok(())
    }

    fn activate(
        &self,
        writer: &mut Writer,
        next: Prepared,
        fresh: Fresh,
        preface: Op,
    ) -> Result<(), RotateError> {
        let mut id = [0; 16];
        self.shelf.entropy.fill(&mut id);
        let id = SegmentId(id);
        let Prepared { sequence, path, capacity, file, .. } = next;
        let first = self.view().state.next;
        let Fresh { epoch, key } = fresh;
        let (version, key_id) = version_of(key.as_ref());
        let is_keyed = key.is_some();
        let head = Head {
            version,
            key_id,
            sequence,
            id,
            first,
            created_at: self.shelf.clock.now(),
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
        };
        let keyed = match write_head(file.as_ref(), &head, key) {
            Ok(keyed) => keyed,
            Err(error) => {
                writer.fading |= is_keyed;
                self.disk().remove(&path)?;
                self.give_back(capacity);
                return Err(error.into());
            }
        };
        let opened_ms = self.steady_ms();
        let base_bytes = self.tip.borrow().bytes;
        let opened_steady = Some(opened_ms);
        let place = SegmentPlace { sequence, id, path, capacity, first, base_bytes, opened_steady, keyed };
        let segment = Arc::new(Segment::new(place, Extent::empty(first)));
        writer.active =
            Some(Active { segment, file, epoch, end: HEAD_LEN, opened_ms, preface: Some(preface) });
        Ok(())
    }

    /// Allocates the next segment ahead of its need.
    pub(super) fn prepare(&self, writer: &mut Writer) {
        let half_full = |active: &Active| active.end > active.segment.capacity / 2;
        let wanted =
            !writer.poisoned && writer.prepared.is_none() && writer.active.as_ref().is_some_and(half_full);
        if !wanted {
            return;
        }
        writer.size_class = self.next_class(writer);
        match self.allocate(writer, self.options.segment_min, true) {
            Ok(prepared) => writer.prepared = Some(prepared),
            // It will be tried again when it is needed, and then refused in the open.
            Err(RotateError::NoRoom(shortage)) => {
                tracing::debug!(dir = %self.dir.display(), %shortage, "no room to prepare a segment");
            }
            Err(RotateError::NoKey(trouble)) => {
                tracing::debug!(dir = %self.dir.display(), %trouble, "no key to prepare a segment");
            }
            Err(RotateError::TooLarge(error)) => {
                tracing::debug!(dir = %self.dir.display(), %error, "no segment can be prepared");
            }
            Err(RotateError::Io(error)) => {
                tracing::warn!(dir = %self.dir.display(), %error, "cannot prepare a segment");
            }
        }
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.shelf.budget.give_back(bytes);
    }

    /// Stops trusting the active segment's file after a failed write or sync.
    pub(super) fn poison(&self, writer: &mut Writer, error: &io::Error) {
        tracing::error!(dir = %self.dir.display(), %error, "journal write failed, the stream refuses puts until it is reopened");
        writer.poisoned = true;
        self.back_off(writer);
    }

    fn back_off(&self, writer: &mut Writer) {
        writer.heal_backoff_ms = (writer.heal_backoff_ms * 2).clamp(HEAL_FIRST_MS, HEAL_MAX_MS);
        self.queue().poisoned_until = Some(self.steady_ms() + writer.heal_backoff_ms);
    }

    /// Copies what is durable out of a poisoned segment and goes on behind it. Returns whether that worked.
    pub(super) fn heal(&self, writer: &mut Writer) -> bool {
        if self.queue().poisoned_until.is_some_and(|until| self.steady_ms() < until) {
            return false;
        }
        match self.replace_active(writer) {
            Ok(()) => {
                tracing::info!(dir = %self.dir.display(), "journal reopened after a failed write");
                writer.poisoned = false;
                self.queue().poisoned_until = None;
                true
            }
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "journal cannot be reopened yet");
                self.back_off(writer);
                false
            }
        }
    }

    fn replace_active(&self, writer: &mut Writer) -> io::Result<()> {
        let Some(active) = &writer.active else { return Ok(()) };
        let segment = &active.segment;
        let durable = segment.extent().data_end;
        if segment.extent().frames == 0 {
            self.disk().remove(&segment.path)?;
            self.give_back(segment.capacity);
        } else {
            let file = self.disk().open(&segment.path)?;
            let copied = copy_sealed(self.disk().as_ref(), &self.dir, segment, file, durable, None)?;
            self.give_back(segment.capacity);
            self.used.fetch_add(copied.capacity, Ordering::Relaxed);
            self.shelf.budget.take(copied.capacity);
            self.view().segments.insert(copied.sequence, Arc::new(copied));
        }
        writer.active = None;
        Ok(())
    }
}

/// The version and the key id of a file that is written with this key.
pub(crate) fn version_of(key: Option<&FreshKey>) -> (u16, u32) {
    if key.is_some() { (VERSION, KEYED) } else { (PLAIN_VERSION, 0) }
}

/// Writes a file's head, with its key. The key is durable before the first frame that needs it.
pub(crate) fn write_head(
    file: &dyn DiskFile,
    head: &Head,
    key: Option<FreshKey>,
) -> io::Result<Option<Arc<Keyed>>> {
    let Some((key, wrapped)) = key else {
        file.write_at(&[&head.encode()], 0)?;
        return Ok(None);
    };
    let slots = Slots::first(wrapped);
    let mut page = slots.page(head.id)?;
    let encoded = head.encode();
    page[..encoded.len()].copy_from_slice(&encoded);
    file.write_at(&[&page], 0)?;
    file.sync_data()?;
    Ok(Some(Arc::new(Keyed::fresh(&key, slots))))
}
