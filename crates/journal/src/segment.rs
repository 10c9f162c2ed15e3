//! One segment file: what is known of it, finding a position in it, and walking its frames.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use standpipe_model::{Position, Timestamp};

use crate::disk::{Disk, DiskFile};
use crate::format::{FOOTER_LEN, Footer, FrameHeader, FrameKind, HEAD_LEN, HEADER_LEN, SegmentId};
use crate::journal::AppendReceipt;
use crate::keyed::{Bodies, Keyed};
use crate::keys::{KeyTrouble, SegmentKeys};

/// An index entry is kept for about every so many bytes of frames: a finer index costs memory, a coarser one time.
const INDEX_STEP: u64 = 64 << 10;
/// How far ahead a walk reads when it wants only headers, and when it wants bodies too.
const HEADERS_AHEAD: u64 = 8 << 10;
const BODIES_AHEAD: u64 = 1 << 20;

/// A segment of the log: its [`SegmentPlace`], which never changes, and its [`Extent`], which grows while it is the
/// active one.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) place: SegmentPlace,
    extent: Mutex<Extent>,
}

impl std::ops::Deref for Segment {
    type Target = SegmentPlace;

    fn deref(&self) -> &SegmentPlace {
        &self.place
    }
}

/// How far a segment reaches: only what is durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extent {
    pub(crate) next: Position,
    pub(crate) data_end: u64,
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    pub(crate) min_arrived: Option<Timestamp>,
    pub(crate) max_arrived: Timestamp,
    pub(crate) frames: u32,
    index: Option<Vec<IndexEntry>>,
}

#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    first: Position,
    offset: u64,
    /// Data bytes in this segment before the entry.
    bytes: u64,
}

/// A DATA frame that was looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    /// Data bytes in this segment before the frame.
    pub(crate) bytes_before: u64,
}

impl Extent {
    /// The extent of a segment that holds nothing yet.
    pub(crate) fn empty(first: Position) -> Self {
        Self { next: first, data_end: HEAD_LEN, index: Some(Vec::new()), ..Self::default() }
    }

    /// The extent that a footer tells of; its index is built when it is first needed.
    pub(crate) fn sealed(footer: &Footer) -> Self {
        Self {
            next: footer.next,
            data_end: u64::from(footer.data_end),
            records: footer.records,
            record_bytes: footer.record_bytes,
            min_arrived: Some(footer.min_arrived),
            max_arrived: footer.max_arrived,
            frames: footer.frames,
            index: None,
        }
    }

    /// Takes a frame at `offset` into account.
    pub(crate) fn extend(&mut self, offset: u64, header: &FrameHeader) {
        self.data_end = offset + header.frame_len();
        self.frames += 1;
        if header.kind != FrameKind::Data {
            // The records before it were accepted, even where their own frame cannot be read any more.
            self.next = self.next.max(header.first);
            return;
        }
        if let Some(index) = &mut self.index
            && index.last().is_none_or(|last| offset - last.offset >= INDEX_STEP)
        {
            index.push(IndexEntry { first: header.first, offset, bytes: self.record_bytes });
        }
        self.next = header.first.advance(u64::from(header.count));
        self.records += u64::from(header.count);
        self.record_bytes += header.record_bytes();
        self.min_arrived.get_or_insert(header.arrived_at);
        self.max_arrived = self.max_arrived.max(header.arrived_at);
    }
}

impl Segment {
    pub(crate) fn new(place: SegmentPlace, extent: Extent) -> Self {
        Self { place, extent: Mutex::new(extent) }
    }

    pub(crate) fn extent(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to the put that a DATA frame of this segment holds.
    pub(crate) fn receipt(&self, header: &FrameHeader) -> AppendReceipt {
        AppendReceipt {
            segment: self.id,
            first_ordinal: header.first.0.saturating_sub(self.first.0),
            first: header.first,
            count: header.count,
            encrypted: self.keyed.is_some(),
            repeated: false,
        }
    }

    /// The footer that seals it as it is.
    pub(crate) fn footer(&self) -> Footer {
        let extent = self.extent();
        Footer {
            sequence: self.sequence,
            first: self.first,
            next: extent.next,
            records: extent.records,
            record_bytes: extent.record_bytes,
            min_arrived: extent.min_arrived.unwrap_or(extent.max_arrived),
            max_arrived: extent.max_arrived,
            data_end: u32::try_from(extent.data_end).unwrap_or(u32::MAX),
            frames: extent.frames,
        }
    }

    /// A walk over its durable frames from `offset` on, for their headers alone.
    pub(crate) fn walk(&self, file: Arc<dyn DiskFile>, offset: u64) -> Walker {
        let end = self.extent().data_end;
        Walker::new(file, self.id, offset, end, Bodies::Skip)
    }

    /// A walk over its durable frames from `offset` on, with their bodies; may wait for the segment's key.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub(crate) fn walk_bodies(
        &self,
        file: Arc<dyn DiskFile>,
        offset: u64,
        keys: &dyn SegmentKeys,
    ) -> Result<Walker, KeyTrouble> {
        let end = self.extent().data_end;
        Ok(Walker::new(file, self.id, offset, end, self.bodies(keys)?))
    }

    /// How its bodies are read; may wait for the segment's key.
    ///
    /// # Errors
    /// [`KeyTrouble`].
    pub(crate) fn bodies(&self, keys: &dyn SegmentKeys) -> Result<Bodies, KeyTrouble> {
        self.keyed.as_ref().map_or(Ok(Bodies::Plain), |keyed| keyed.bodies(keys))
    }

    /// Finds the first readable DATA frame that holds `position` or lies behind it; `None` when there is none in this
    /// segment.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn find(&self, disk: &dyn Disk, position: Position) -> io::Result<Option<Found>> {
        self.search(disk, |entry| entry.first <= position, |header, _| header.end() > position)
    }

    /// Finds the first readable DATA frame at or behind `from` that ends at or past `bytes` data bytes of this
    /// segment; `None` when there is none.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn find_bytes(
        &self,
        disk: &dyn Disk,
        from: Position,
        bytes: u64,
    ) -> io::Result<Option<Found>> {
        self.search(
            disk,
            |entry| entry.bytes < bytes,
            |header, before| before + header.record_bytes() >= bytes && header.end() > from,
        )
    }

    fn search(
        &self,
        disk: &dyn Disk,
        before: impl Fn(&IndexEntry) -> bool,
        wanted: impl Fn(&FrameHeader, u64) -> bool,
    ) -> io::Result<Option<Found>> {
        let file = disk.open(&self.path)?;
        self.build_index(&file)?;
        let (start, mut bytes) = {
            let extent = self.extent();
            let index = extent.index.as_deref().unwrap_or_default();
            let at = index.partition_point(before).saturating_sub(1);
            index.get(at).map_or((HEAD_LEN, 0), |entry| (entry.offset, entry.bytes))
        };
        let mut walk = self.walk(file, start);
        while let Some(step) = walk.next()? {
            let Step::Frame { offset, header, .. } = step else { continue };
            if header.kind == FrameKind::Data && wanted(&header, bytes) {
                return Ok(Some(Found { offset, header, bytes_before: bytes }));
            }
            bytes += header.record_bytes();
        }
        Ok(None)
    }

    /// Ranges of positions whose frames are not there: the first of each, and the one behind it.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn missing(&self, disk: &dyn Disk) -> io::Result<Vec<(Position, Position)>> {
        let next = self.extent().next;
        if self.extent().records == next.0.saturating_sub(self.first.0) {
            return Ok(Vec::new());
        }
        let (mut missing, mut at) = (Vec::new(), self.first);
        let mut walk = self.walk(disk.open(&self.path)?, HEAD_LEN);
        while let Some(step) = walk.next()? {
            let Step::Frame { header, .. } = step else { continue };
            missing.extend((header.first > at).then_some((at, header.first)));
            at = at.max(header.end());
        }
        missing.extend((next > at).then_some((at, next)));
        Ok(missing)
    }

    /// Finds the first readable DATA frame that arrived at `time` or later; `None` when there is none in this segment.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn find_arrival(&self, disk: &dyn Disk, time: Timestamp) -> io::Result<Option<Found>> {
        self.search(disk, |_| false, |header, _| header.arrived_at >= time)
    }

    /// Lets go of its index, which is built again when it is needed.
    pub(crate) fn forget_index(&self) {
        self.extent().index = None;
    }

    fn build_index(&self, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        if self.extent().index.is_some() {
            return Ok(());
        }
        let mut built = Extent::empty(self.first);
        let mut walk = self.walk(file.clone(), HEAD_LEN);
        while let Some(step) = walk.next()? {
            if let Step::Frame { offset, header, .. } = step {
                built.extend(offset, &header);
            }
        }
        self.extent().index = built.index;
        Ok(())
    }
}

/// The fixed part of a [`Segment`].
#[derive(Debug, Clone)]
pub(crate) struct SegmentPlace {
    pub(crate) sequence: u64,
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) capacity: u64,
    pub(crate) first: Position,
    /// Data bytes of all records in the segments before it (those that were there when the journal was opened).
    pub(crate) base_bytes: u64,
    /// Steady time, in milliseconds, at which its frames' `steady` is zero; `None` for a segment of an earlier process.
    pub(crate) opened_steady: Option<u64>,
    /// Its key, where it is encrypted.
    pub(crate) keyed: Option<Arc<Keyed>>,
}

impl FrameHeader {
    /// The position behind the frame's last record.
    pub fn end(&self) -> Position {
        self.first.advance(u64::from(self.count))
    }
}

/// What a walk met.
#[derive(Debug)]
pub(crate) enum Step {
    /// A frame with a valid header. `body` is there when bodies were asked for; `None` means that it is damaged.
    Frame { offset: u64, header: FrameHeader, body: Option<Bytes> },
    /// Bytes that are no frame, up to the next one or the end.
    Gap { offset: u64 },
}

/// Walks the frames of a file, skipping over what is not one.
#[derive(Debug)]
pub(crate) struct Walker {
    file: Arc<dyn DiskFile>,
    id: SegmentId,
    at: u64,
    end: u64,
    bodies: Bodies,
    buffer: Bytes,
    buffer_at: u64,
}

impl Walker {
    pub(crate) fn new(file: Arc<dyn DiskFile>, id: SegmentId, at: u64, end: u64, bodies: Bodies) -> Self {
        Self { file, id, at, end, bodies, buffer: Bytes::new(), buffer_at: 0 }
    }

    /// The next frame or gap; `None` at the end.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.at + HEADER_LEN as u64 > self.end {
            return Ok(None);
        }
        let offset = self.at;
        let Some(header) = self.header_at(offset)? else {
            self.at = self.resync(offset + 8)?;
            return Ok(Some(Step::Gap { offset }));
        };
        let body = match self.bodies {
            Bodies::Skip => Some(Bytes::new()),
            _ => {
                let body = self.span(offset + HEADER_LEN as u64, header.body_len as usize)?;
                let sound =
                    body.len() == header.body_len as usize && crc32c::crc32c(&body) == header.body_crc;
                sound.then(|| self.bodies.open(&header, body)).flatten()
            }
        };
        // Only now: after an error the same frame is read again.
        self.at = offset + header.frame_len();
        Ok(Some(Step::Frame { offset, header, body }))
    }

    /// Where the walk stands.
    pub(crate) fn offset(&self) -> u64 {
        self.at
    }

    fn header_at(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let bytes = self.span(offset, HEADER_LEN)?;
        let header = FrameHeader::decode(&bytes, self.id);
        Ok(header.filter(|header| offset + header.frame_len() <= self.end))
    }

    /// The offset of the next valid header at or behind `from`, or the end.
    fn resync(&mut self, from: u64) -> io::Result<u64> {
        let mut offset = from.next_multiple_of(8);
        while offset + HEADER_LEN as u64 <= self.end {
            if self.header_at(offset)?.is_some() {
                return Ok(offset);
            }
            offset += 8;
        }
        Ok(self.end)
    }

    /// `len` bytes at `offset`, fewer at the end of the file; read ahead, so that the next call is likely free.
    fn span(&mut self, offset: u64, len: usize) -> io::Result<Bytes> {
        let held = offset.checked_sub(self.buffer_at).map(|start| start as usize);
        if let Some(start) = held
            && start + len <= self.buffer.len()
        {
            return Ok(self.buffer.slice(start..start + len));
        }
        let ahead = match self.bodies {
            Bodies::Skip => HEADERS_AHEAD,
            _ => BODIES_AHEAD,
        };
        let want = (len as u64).max(ahead.min(self.end.saturating_sub(offset)));
        let mut bytes = vec![0; want as usize];
        let read = self.file.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        self.buffer = bytes.into();
        self.buffer_at = offset;
        Ok(self.buffer.slice(..len.min(read)))
    }
}

/// The most bytes that frames may take in a segment of `capacity`: all but head and footer.
pub(crate) fn frames_end(capacity: u64) -> u64 {
    capacity.saturating_sub(FOOTER_LEN)
}

/// Where frames may end in a file of `size` bytes that has no footer and was made with `capacity`: one that was cut
/// short may hold them up to its very end.
pub(crate) fn tail_end(size: u64, capacity: u64) -> u64 {
    if size < capacity { size.min(frames_end(capacity)) } else { frames_end(size) }
}
