//! Looking into a journal's folder without opening the journal: nothing is locked, written, renamed or removed.
//!
//! It works on a copy, on a read-only mount, and on the folder of a running daemon, where a segment may be sealed,
//! recycled or removed between two calls; what is gone meanwhile is left out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use standpipe_model::{Position, Timestamp};

use crate::disk::{Disk, DiskFile};
use crate::format::{Footer, FrameKind, HEAD_LEN, Head, HeadBytes, KEYED};
use crate::keyed::{Bodies, Keyed};
use crate::keys::SegmentKeys;
use crate::recover::{Tail, scan_tail, segment_path, sequence_in};
use crate::segment::{Extent, Step, Walker, frames_end, tail_end};
use crate::slots::Slots;

/// A journal's folder could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct InspectError {
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// What a segment file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentStatus {
    /// Full, with a footer.
    Sealed,
    /// Being written, or left by a crash; recovery will cut and seal it.
    Unsealed,
    /// Prepared to be the next segment; nothing was ever written to it.
    Blank,
    /// Written by a newer standpipe, and not looked into.
    Newer,
    /// Its head cannot be read.
    Damaged,
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentSummary {
    /// The file.
    pub path: PathBuf,
    /// Its place in the log, by its name.
    pub sequence: u64,
    /// Its length in bytes.
    pub file_bytes: u64,
    /// What it is.
    pub status: SegmentStatus,
    /// The format version in its head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u16>,
    /// What is in it, where it can be looked into.
    #[serde(flatten)]
    pub content: Option<SegmentContent>,
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentContent {
    /// Its random id, as 32 hexadecimal digits.
    pub id: String,
    /// How its frames are encrypted; 0 is plain.
    pub key_id: u32,
    /// The name of the key that it is encrypted with; empty when its slots cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The length that its head says the file has.
    pub capacity: u64,
    /// The position of its first record.
    pub first: Position,
    /// The position behind its last record.
    pub next: Position,
    /// Records in it.
    pub records: u64,
    /// Their data bytes.
    pub record_bytes: u64,
    /// Frames by kind.
    pub frames: BTreeMap<&'static str, u64>,
    /// The earliest arrival of a record.
    pub min_arrived: Option<Timestamp>,
    /// The latest arrival of a record.
    pub max_arrived: Option<Timestamp>,
    /// Where its last frame ends.
    pub data_end: u64,
    /// Bytes that were written behind it but never confirmed; recovery cuts them off.
    pub torn_bytes: u64,
    /// Frames, and runs of bytes that should be frames, that cannot be read.
    pub unreadable: u64,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameSummary {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its kind; absent for bytes that are no frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Its body is as it was written.
    pub intact: bool,
    /// Its body is encrypted, and was not looked into for want of the key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// DATA: the first record's position. Control: the next record's position when it was written.
    pub first: Position,
    /// Records in it.
    pub count: u32,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// When the put arrived, or the frame was written.
    pub arrived_at: Timestamp,
    /// The put's digest, as 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The source position that it carries, as hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A control frame's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<serde_json::Value>,
}

/// The segments of the journal in `dir`, in order.
///
/// # Errors
/// [`InspectError`]: the disk refused.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentSummary>, InspectError> {
    let mut found = Vec::new();
    for sequence in sequences(disk, dir)? {
        let path = segment_path(dir, sequence);
        let summary = SegmentFile::open(disk, &path, sequence)
            .and_then(|file| file.map(SegmentFile::summary).transpose());
        found.extend(summary.map_err(|source| InspectError { path, source })?);
    }
    Ok(found)
}

/// The frames of one segment of [`inspect`], in order; none where it cannot be looked into or is gone. Encrypted bodies
/// are looked into where `keys` has the segment's key; `()` has none.
///
/// # Errors
/// [`InspectError`]: the disk refused.
pub fn frames(
    disk: &dyn Disk,
    segment: &SegmentSummary,
    keys: &dyn SegmentKeys,
) -> Result<Frames, InspectError> {
    let error = |source| InspectError { path: segment.path.clone(), source };
    let file = SegmentFile::open(disk, &segment.path, segment.sequence).map_err(error)?;
    let bodies = file.as_ref().map_or(Bodies::Raw, |file| file.bodies(keys));
    let locked = matches!(bodies, Bodies::Raw);
    let walk = file.and_then(|file| file.walk(bodies));
    Ok(Frames { path: segment.path.clone(), walk, locked })
}

/// The iterator of [`frames`].
#[derive(Debug)]
pub struct Frames {
    path: PathBuf,
    walk: Option<Walker>,
    locked: bool,
}

impl Iterator for Frames {
    type Item = Result<FrameSummary, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.walk.as_mut()?.next() {
            Ok(step) => step.map(|step| Ok(FrameSummary::of(&step, self.locked))),
            Err(source) => {
                self.walk = None;
                Some(Err(InspectError { path: self.path.clone(), source }))
            }
        }
    }
}

impl FrameSummary {
    fn of(step: &Step, locked: bool) -> Self {
        match step {
            Step::Gap { offset } => Self::blank(*offset),
            Step::Frame { offset, header, body } => {
                let locked = locked && header.encrypted;
                let body_of = body.as_deref().filter(|_| !locked);
                let data = header.kind == FrameKind::Data;
                let source = body_of.and_then(|body| body.get(..usize::from(header.source_len)));
                Self {
                    kind: Some(header.kind.name()),
                    intact: body.is_some(),
                    locked,
                    first: header.first,
                    count: header.count,
                    body_bytes: header.body_len,
                    arrived_at: header.arrived_at,
                    digest: header.digest.map(|digest| hex(&digest.0)),
                    source: source.filter(|source| !source.is_empty()).map(hex),
                    control: body_of.filter(|_| !data).and_then(|body| serde_json::from_slice(body).ok()),
                    ..Self::blank(*offset)
                }
            }
        }
    }

    fn blank(offset: u64) -> Self {
        Self {
            offset,
            kind: None,
            intact: false,
            locked: false,
            first: Position(0),
            count: 0,
            body_bytes: 0,
            arrived_at: Timestamp(0),
            digest: None,
            source: None,
            control: None,
        }
    }
}

/// The sequences of the segment files in `dir`, in order.
pub(crate) fn sequences(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, InspectError> {
    let entries = disk.list(dir).map_err(|source| InspectError { path: dir.to_owned(), source })?;
    let mut sequences: Vec<u64> =
        entries.iter().filter_map(|entry| sequence_in(&entry.name, ".seg")).collect();
    sequences.sort_unstable();
    Ok(sequences)
}

/// A segment file that was opened to be looked at.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    pub(crate) sequence: u64,
    pub(crate) bytes: u64,
    pub(crate) head: HeadBytes,
    pub(crate) footer: Option<Footer>,
    /// There is something where the footer should be that never was one.
    pub(crate) footer_damaged: bool,
    /// Its key, where it is encrypted.
    pub(crate) keyed: Option<Keyed>,
    tail: Option<Tail>,
    file: Arc<dyn DiskFile>,
}

impl SegmentFile {
    /// Opens it; `None` when it is gone.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, sequence: u64) -> io::Result<Option<Self>> {
        let file = match disk.open_read(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.size()?;
        let mut buffer = [0; 128];
        let read = file.read_at(&mut buffer, 0)?;
        let head = Head::decode(&buffer[..read]);
        let (path, footer, tail, keyed) = (path.to_owned(), None, None, None);
        let mut found =
            Self { path, sequence, bytes, head, footer, footer_damaged: false, keyed, tail, file };
        if let Some(head) = found.known().copied() {
            if head.key_id == KEYED {
                found.keyed = Some(Keyed::found(Slots::read(found.file.as_ref(), head.id)?));
            }
            let read = found.file.read_at(&mut buffer, frames_end(bytes))?;
            let footer = Footer::decode(&buffer[..read], head.id);
            found.footer = footer.filter(|footer| footer.fits(&head, bytes));
            if found.footer.is_none() {
                found.footer_damaged = footer.is_some() || !Footer::absent(&buffer[..read]);
                let end = tail_end(bytes, head.capacity.into());
                found.tail = Some(scan_tail(&found.file, head.id, end)?);
            }
        }
        Ok(Some(found))
    }

    /// The head, where the frames can be looked into.
    pub(crate) fn known(&self) -> Option<&Head> {
        match &self.head {
            HeadBytes::Valid(head) if self.bytes >= HEAD_LEN => Some(head),
            _ => None,
        }
    }

    /// How its bodies can be read: as they are where they are encrypted and the key cannot be had.
    pub(crate) fn bodies(&self, keys: &dyn SegmentKeys) -> Bodies {
        self.keyed.as_ref().map_or(Bodies::Plain, |keyed| keyed.bodies(keys).unwrap_or(Bodies::Raw))
    }

    /// The name of the key that it is encrypted with; empty when its slots cannot be read.
    pub(crate) fn key(&self) -> Option<String> {
        self.keyed.as_ref().map(|keyed| keyed.slots().map(|slots| slots.wrapped.key).unwrap_or_default())
    }

    /// Where its last frame ends.
    pub(crate) fn data_end(&self) -> u64 {
        let sealed = self.footer.map(|footer| u64::from(footer.data_end));
        sealed.or(self.tail.as_ref().map(|tail| tail.end)).unwrap_or(HEAD_LEN).min(self.bytes)
    }

    /// Whether it holds no frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.data_end() <= HEAD_LEN
    }

    /// Bytes behind the last frame that were written but never confirmed.
    pub(crate) fn torn_bytes(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.written_to.saturating_sub(tail.end))
    }

    /// A walk over its frames.
    pub(crate) fn walk(&self, bodies: Bodies) -> Option<Walker> {
        let id = self.known()?.id;
        Some(Walker::new(Arc::clone(&self.file), id, HEAD_LEN, self.data_end(), bodies))
    }

    fn status(&self) -> SegmentStatus {
        match &self.head {
            HeadBytes::Blank => SegmentStatus::Blank,
            HeadBytes::Newer(_) => SegmentStatus::Newer,
            HeadBytes::Valid(_) if self.known().is_none() => SegmentStatus::Damaged,
            HeadBytes::Valid(_) if self.footer.is_some() => SegmentStatus::Sealed,
            HeadBytes::Valid(_) => SegmentStatus::Unsealed,
            HeadBytes::Damaged => SegmentStatus::Damaged,
        }
    }

    fn summary(self) -> io::Result<SegmentSummary> {
        let (version, content) = match &self.head {
            HeadBytes::Valid(head) => (Some(head.version), Some(self.content(head)?)),
            HeadBytes::Newer(version) => (Some(*version), None),
            HeadBytes::Blank | HeadBytes::Damaged => (None, None),
        };
        let (status, sequence, file_bytes) = (self.status(), self.sequence, self.bytes);
        Ok(SegmentSummary { path: self.path, sequence, file_bytes, status, version, content })
    }

    fn content(&self, head: &Head) -> io::Result<SegmentContent> {
        let (mut extent, mut frames, mut unreadable) = (Extent::empty(head.first), BTreeMap::new(), 0);
        let mut walk = self.walk(Bodies::Raw);
        while let Some(step) = walk.as_mut().map_or(Ok(None), Walker::next)? {
            match step {
                Step::Frame { offset, header, body: Some(_) } => {
                    extent.extend(offset, &header);
                    *frames.entry(header.kind.name()).or_insert(0) += 1;
                }
                Step::Frame { body: None, .. } | Step::Gap { .. } => unreadable += 1,
            }
        }
        Ok(SegmentContent {
            id: hex(&head.id.0),
            key_id: head.key_id,
            key: self.key(),
            created_at: head.created_at,
            capacity: head.capacity.into(),
            first: head.first,
            next: extent.next,
            records: extent.records,
            record_bytes: extent.record_bytes,
            frames,
            min_arrived: extent.min_arrived,
            max_arrived: extent.min_arrived.map(|_| extent.max_arrived),
            data_end: self.data_end(),
            torn_bytes: self.torn_bytes(),
            unreadable,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
