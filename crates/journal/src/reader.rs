//! Reading back: a batch's records in chunks, and the places between records.
//!
//! Readers see only what is durable. They hold no lock while they read, and a segment that a reader needs is not
//! reclaimed, as its batch is not settled.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use standpipe_model::{BatchRange, Position, RECORD_PREFIX_LEN, Records, Timestamp};

use crate::format::{FrameHeader, FrameKind, HEADER_LEN};
use crate::journal::{Arrival, Cursor, Shared};
use crate::segment::{Segment, Step, Walker};

/// Some consecutive records of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Payloads in the layout of a [`RecordBlock`](standpipe_model::RecordBlock), in order.
    pub payloads: Vec<Bytes>,
    /// Of each payload: its first record's position, and when its records arrived.
    pub origins: Vec<(Position, Timestamp)>,
    /// How many records they hold.
    pub records: u64,
    /// Their bytes, prefixes included.
    pub bytes: u64,
}

impl Chunk {
    /// The records' data, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.payloads.iter().flat_map(|payload| Records::new(payload))
    }

    /// The records with where they stand and when they arrived, in order.
    pub fn records(&self) -> impl Iterator<Item = (Position, Timestamp, Bytes)> {
        self.payloads.iter().zip(&self.origins).flat_map(|(payload, (first, arrived_at))| {
            let records = (first.0..).zip(Records::new(payload));
            records.map(|(position, record)| (Position(position), *arrived_at, payload.slice_ref(record)))
        })
    }
}

/// Reads a batch from its first record to its last; blocking.
#[derive(Debug)]
pub struct BatchReader {
    shared: Arc<Shared>,
    range: BatchRange,
    at: Position,
    walk: Option<Walker>,
    /// The segment that is walked through.
    segment: Option<Arc<Segment>>,
    sequence: Option<u64>,
    lost: u64,
}

impl BatchReader {
    pub(crate) fn new(shared: Arc<Shared>, range: BatchRange) -> Self {
        Self { shared, range, at: range.first, walk: None, segment: None, sequence: None, lost: 0 }
    }

    /// How many records of the batch, up to where it was read, cannot be read any more.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The next records, about `want` bytes of them; `None` behind the last.
    ///
    /// # Errors
    /// The disk refused; the same call may be made again.
    pub fn next_chunk(&mut self, want: u64) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk { payloads: Vec::new(), origins: Vec::new(), records: 0, bytes: 0 };
        while self.at <= self.range.last && chunk.bytes < want {
            match self.next_frame() {
                // What was read before is given first; the next call meets the error again.
                Err(_) if chunk.records > 0 => break,
                Err(error) => return Err(error),
                Ok(Some((header, body))) => self.take(&header, body, &mut chunk),
                Ok(None) => {
                    self.lost += self.range.end().0 - self.at.0;
                    self.at = self.range.end();
                }
            }
        }
        Ok((chunk.records > 0).then_some(chunk))
    }

    /// Adds what belongs to the batch of a frame.
    fn take(&mut self, header: &FrameHeader, body: Option<Bytes>, chunk: &mut Chunk) {
        let first = header.first.max(self.at).min(self.range.end());
        self.lost += first.0 - self.at.0;
        let end = header.end().min(self.range.end());
        self.at = end.max(first);
        let wanted = self.at.0 - first.0;
        let Some(body) = body else {
            self.lost += wanted;
            return;
        };
        let payload = body.slice(usize::from(header.source_len)..);
        let whole = wanted == u64::from(header.count);
        let payload =
            if whole { payload } else { cut(payload, first.0.saturating_sub(header.first.0), wanted) };
        if wanted > 0 {
            chunk.records += wanted;
            chunk.bytes += payload.len() as u64;
            chunk.payloads.push(payload);
            chunk.origins.push((first, header.arrived_at));
        }
    }

    /// The next DATA frame that reaches behind `at`; its body is `None` when it is damaged.
    fn next_frame(&mut self) -> io::Result<Option<(FrameHeader, Option<Bytes>)>> {
        // A key that was forgotten since is not used on: it is asked for again.
        let keyed = self.segment.as_ref().and_then(|segment| segment.keyed.as_ref());
        if keyed.is_some_and(|keyed| keyed.is_forgotten()) {
            (self.walk, self.segment, self.sequence) = (None, None, None);
        }
        loop {
            if self.walk.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(walk) = &mut self.walk else { continue };
            match walk.next()? {
                Some(Step::Frame { header, body, .. }) if header.kind == FrameKind::Data => {
                    if header.end() > self.at {
                        return Ok(Some((header, body)));
                    }
                }
                Some(_) => {}
                None => self.walk = None,
            }
        }
    }

    /// Opens the segment that holds `at`, or the next one that is there.
    fn open_next(&mut self) -> io::Result<bool> {
        let after = self.sequence.map_or(0, |sequence| sequence + 1);
        let segment = self.shared.segment_behind(after, self.at);
        let Some(segment) = segment else { return Ok(false) };
        let disk = self.shared.disk();
        let offset = match segment.find(disk.as_ref(), self.at)? {
            Some(found) => found.offset,
            None => segment.extent().data_end,
        };
        let file = disk.open(&segment.path)?;
        self.walk = Some(segment.walk_bodies(file, offset, self.shared.keys.as_ref())?);
        self.sequence = Some(segment.sequence);
        self.segment = Some(segment);
        Ok(true)
    }
}

/// `count` records of a payload behind the first `skip`.
fn cut(payload: Bytes, skip: u64, count: u64) -> Bytes {
    let mut records = Records::new(&payload);
    let bytes = |records: &mut Records<'_>, count: u64| -> usize {
        records.take(count as usize).map(|record| record.len() + RECORD_PREFIX_LEN).sum()
    };
    let start = bytes(&mut records, skip);
    let len = bytes(&mut records, count);
    payload.slice(start..start + len)
}

impl Shared {
    /// The first segment from sequence `after` on that reaches behind `position`.
    fn segment_behind(&self, after: u64, position: Position) -> Option<Arc<Segment>> {
        let view = self.view();
        view.segments.range(after..).map(|(_, segment)| segment).find(|s| s.extent().next > position).cloned()
    }

    pub(crate) fn cursor_at(&self, position: Position) -> io::Result<Cursor> {
        let Some(segment) = self.segment_behind(0, position) else {
            return Ok(Cursor { position, bytes: self.tip.borrow().bytes });
        };
        let Some(found) = segment.find(self.disk().as_ref(), position)? else {
            return Ok(Cursor { position, bytes: segment.base_bytes + segment.extent().record_bytes });
        };
        let mut bytes = segment.base_bytes + found.bytes_before;
        let skip = position.0.saturating_sub(found.header.first.0);
        if skip > 0 {
            let lengths = self.record_lengths(&segment, found.offset, &found.header)?;
            bytes += lengths.iter().take(skip as usize).sum::<u64>();
        }
        Ok(Cursor { position, bytes })
    }

    pub(crate) fn boundary(&self, from: Cursor, size: u64) -> io::Result<Option<Cursor>> {
        let target = from.bytes + size;
        let segment = {
            let view = self.view();
            let reaches =
                |segment: &&Arc<Segment>| segment.base_bytes + segment.extent().record_bytes >= target;
            view.segments.values().find(reaches).cloned()
        };
        let Some(segment) = segment else { return Ok(None) };
        let within = target - segment.base_bytes.min(target);
        let Some(found) = segment.find_bytes(self.disk().as_ref(), from.position, within)? else {
            // Where frames are damaged less is found than was written: the segment's end is the boundary then.
            let end = segment.extent();
            let cursor = Cursor { position: end.next, bytes: segment.base_bytes + end.record_bytes };
            return Ok((cursor.position > from.position).then_some(cursor));
        };
        let mut cursor =
            Cursor { position: found.header.first, bytes: segment.base_bytes + found.bytes_before };
        for length in self.record_lengths(&segment, found.offset, &found.header)? {
            if cursor.bytes >= target && cursor.position > from.position {
                break;
            }
            cursor.position = cursor.position.advance(1);
            cursor.bytes += length;
        }
        Ok(Some(cursor))
    }

    pub(crate) fn arrival_at(&self, position: Position) -> io::Result<Option<Arrival>> {
        let Some(segment) = self.segment_behind(0, position) else { return Ok(None) };
        let Some(found) = segment.find(self.disk().as_ref(), position)? else { return Ok(None) };
        let at = found.header.arrived_at;
        let steady_ms = match segment.opened_steady {
            Some(opened) => (opened + u64::from(found.header.steady)) as i64,
            None => self.steady_ms() as i64 - self.shelf.clock.now().since(at).as_millis() as i64,
        };
        Ok(Some(Arrival { at, steady_ms }))
    }

    /// The data lengths of a DATA frame's records; where the frame is damaged its bytes are spread evenly, as its
    /// records will not be read anyway.
    fn record_lengths(&self, segment: &Segment, offset: u64, header: &FrameHeader) -> io::Result<Vec<u64>> {
        let file = self.disk().open(&segment.path)?;
        let mut body = vec![0; header.body_len as usize];
        let read = file.read_at(&mut body, offset + HEADER_LEN as u64)?;
        body.truncate(read);
        let body = segment.bodies(self.keys.as_ref())?.open(header, body.into()).unwrap_or_default();
        let payload = body.get(usize::from(header.source_len)..).unwrap_or_default();
        let lengths: Vec<u64> = Records::new(payload).map(|record| record.len() as u64).collect();
        let count = u64::from(header.count);
        if lengths.len() as u64 == count && lengths.iter().sum::<u64>() == header.record_bytes() {
            return Ok(lengths);
        }
        let (each, rest) = (header.record_bytes() / count.max(1), header.record_bytes() % count.max(1));
        Ok((0..count).map(|number| each + u64::from(number < rest)).collect())
    }
}
