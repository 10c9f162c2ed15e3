//! Damage to a journal's files, as bytes describe it: flipped, overwritten and missing parts, files of odd names, and
//! heads, footers and frames that are nonsense under a valid checksum.

use std::path::{Path, PathBuf};

use standpipe_journal::format::{
    FOOTER_LEN, Footer, FrameHeader, FrameKind, HEAD_LEN, HEADER_LEN, Head, HeadBytes, SegmentId,
};
use standpipe_model::{Position, Timestamp};

/// A journal's files in the order of their names.
pub(crate) type Files = Vec<(PathBuf, Vec<u8>)>;

/// The most edits of one input: more of them only take time.
const EDITS_MAX: usize = 16;

/// What was done to the files.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// The first byte that is not as it was: file and offset.
    pub(crate) first: Option<(PathBuf, usize)>,
    /// Something false was written under a valid checksum, which no reader can tell from the truth.
    pub(crate) forged: bool,
}

/// Applies the edits that `input` describes.
pub(crate) fn apply(input: &[u8], files: &mut Files) -> Damage {
    let (mut input, mut damage) = (Input(input), Damage::default());
    for _ in 0..EDITS_MAX {
        if edit(&mut input, files, &mut damage).is_none() {
            break;
        }
    }
    damage
}

/// What is left of the input; `None` at its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<usize> {
        self.array().map(|[byte]| usize::from(byte))
    }

    fn short(&mut self) -> Option<usize> {
        self.array().map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

impl Damage {
    fn at(&mut self, path: &Path, offset: usize) {
        let found = (path.to_owned(), offset);
        if self.first.as_ref().is_none_or(|first| found < *first) {
            self.first = Some(found);
        }
    }
}

fn edit(input: &mut Input<'_>, files: &mut Files, damage: &mut Damage) -> Option<()> {
    let operation = input.byte()? % 10;
    if files.is_empty() {
        return None;
    }
    let number = input.byte()? % files.len();
    let source = files[input.byte()? % files.len()].1.clone();
    let (path, bytes) = &mut files[number];
    let offset = input.short()?.min(bytes.len());
    let len = |wanted: usize| wanted.min(bytes.len() - offset);
    match operation {
        0 => {
            let new = input.bytes(len(1 + offset % 8));
            bytes[offset..offset + new.len()].copy_from_slice(new);
        }
        1 => *bytes.get_mut(offset)? ^= input.byte()? as u8,
        2 => bytes.truncate(offset),
        3 => {
            damage.at(path, 0);
            files.remove(number);
            return Some(());
        }
        4 => {
            let len = len(input.short()?);
            bytes[offset..offset + len].fill(0);
        }
        5 => {
            let (from, len) = (input.short()?.min(source.len()), len(input.short()?));
            let copied = &source[from..source.len().min(from + len)];
            bytes[offset..offset + copied.len()].copy_from_slice(copied);
            // Frames of the same segment keep their checksums wherever they are copied to.
            damage.forged = true;
        }
        6 => {
            damage.at(path, 0);
            damage.forged = true;
            frame(input, bytes)?;
        }
        7 => {
            damage.at(path, 0);
            damage.forged = true;
            head(input, bytes)?;
        }
        8 => {
            damage.forged = true;
            footer(input, bytes)?;
        }
        _ => {
            stray(input, source, files, damage)?;
            return Some(());
        }
    }
    let path = files[number].0.clone();
    damage.at(&path, offset);
    Some(())
}

fn id_of(bytes: &[u8]) -> Option<SegmentId> {
    match Head::decode(bytes) {
        HeadBytes::Valid(head) => Some(head.id),
        _ => None,
    }
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8], id: SegmentId) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), HEAD_LEN as usize);
    while let Some(header) = bytes.get(at..).and_then(|bytes| FrameHeader::decode(bytes, id)) {
        found.push(at);
        at += header.frame_len() as usize;
    }
    // Behind the last one there is room for another.
    found.push(at);
    found
}

/// Replaces a frame, or adds one, with another kind, other numbers and another body.
fn frame(input: &mut Input<'_>, bytes: &mut [u8]) -> Option<()> {
    let id = id_of(bytes)?;
    let found = frames(bytes, id);
    let at = found[input.byte()? % found.len()];
    let old = FrameHeader::decode(bytes.get(at..)?, id);
    let wanted = input.byte()?;
    let kind = [FrameKind::Data, FrameKind::Close, FrameKind::Plan, FrameKind::Decide, FrameKind::Done]
        .into_iter()
        .chain([FrameKind::Settle, FrameKind::State, FrameKind::Failing, FrameKind::Puts])
        .nth(wanted % 9)?;
    let mask = input.byte()?;
    let body_len = input.short()?;
    let room = bytes.len().checked_sub(at + HEADER_LEN)?;
    let body = match &old {
        Some(old) if mask & 1 != 0 => bytes.get(at + HEADER_LEN..)?.get(..old.body_len as usize)?.to_vec(),
        _ => input.bytes(body_len.min(room)).to_vec(),
    };
    let mut header = FrameHeader {
        kind,
        body_len: body.len() as u32,
        body_crc: crc32c::crc32c(&body),
        source_len: 0,
        count: 0,
        first: old.map_or(Position(0), |old| old.first),
        group_start: old.map_or(at as u32, |old| old.group_start),
        steady: 0,
        arrived_at: Timestamp(1_700_000_000_000),
        digest: old.and_then(|old| old.digest),
        encrypted: mask & 128 != 0,
    };
    if mask & 2 != 0 {
        header.count = u32::from_le_bytes(input.array()?);
    }
    if mask & 4 != 0 {
        header.first = Position(u64::from_le_bytes(input.array()?));
    }
    if mask & 8 != 0 {
        header.group_start = u32::from_le_bytes(input.array()?);
    }
    if mask & 16 != 0 {
        header.source_len = u16::from_le_bytes(input.array()?);
    }
    if mask & 32 != 0 {
        header.arrived_at = Timestamp(u64::from_le_bytes(input.array()?));
    }
    if mask & 64 != 0 {
        header.body_len = u32::from_le_bytes(input.array()?);
    }
    bytes[at..at + HEADER_LEN].copy_from_slice(&header.encode(id));
    bytes[at + HEADER_LEN..at + HEADER_LEN + body.len()].copy_from_slice(&body);
    Some(())
}

/// Replaces numbers of the head.
fn head(input: &mut Input<'_>, bytes: &mut [u8]) -> Option<()> {
    let HeadBytes::Valid(mut head) = Head::decode(bytes) else { return None };
    match input.byte()? % 5 {
        0 => head.key_id = u32::from_le_bytes(input.array()?),
        1 => head.sequence = u64::from_le_bytes(input.array()?),
        2 => head.first = Position(u64::from_le_bytes(input.array()?)),
        3 => head.capacity = u32::from_le_bytes(input.array()?),
        _ => head.version = u16::from_le_bytes(input.array()?),
    }
    let encoded = head.encode();
    bytes.get_mut(..encoded.len())?.copy_from_slice(&encoded);
    Some(())
}

/// Replaces numbers of the footer, or puts one where there was none.
fn footer(input: &mut Input<'_>, bytes: &mut [u8]) -> Option<()> {
    let (id, at) = (id_of(bytes)?, bytes.len().checked_sub(FOOTER_LEN as usize)?);
    let mut footer = Footer::decode(&bytes[at..], id).unwrap_or(Footer {
        sequence: 0,
        first: Position(0),
        next: Position(10),
        records: 10,
        record_bytes: 4000,
        min_arrived: Timestamp(0),
        max_arrived: Timestamp(0),
        data_end: at as u32,
        frames: 1,
    });
    match input.byte()? % 6 {
        0 => footer.next = Position(u64::from_le_bytes(input.array()?)),
        1 => footer.records = u64::from_le_bytes(input.array()?),
        2 => footer.record_bytes = u64::from_le_bytes(input.array()?),
        3 => footer.data_end = u32::from_le_bytes(input.array()?),
        4 => footer.first = Position(u64::from_le_bytes(input.array()?)),
        _ => footer.max_arrived = Timestamp(u64::from_le_bytes(input.array()?)),
    }
    let encoded = footer.encode(id);
    bytes.get_mut(at..at + encoded.len())?.copy_from_slice(&encoded);
    Some(())
}

/// Adds a file: a copy of another one, or bytes of the input, under a name that may be odd.
fn stray(input: &mut Input<'_>, copy: Vec<u8>, files: &mut Files, damage: &mut Damage) -> Option<()> {
    let name = match input.byte()? % 8 {
        0 => "18446744073709551615.seg",
        1 => "7.seg",
        2 => "+1.seg",
        3 => "x.seg",
        4 => "spare",
        5 => "00000000000000000001.tmp",
        6 => "00000000000000000002.damaged",
        _ => "00000000000000000009.seg",
    };
    let path = Path::new("/j").join(name);
    let content = match input.byte()? {
        0 => copy,
        len => input.bytes(len).to_vec(),
    };
    files.retain(|(known, _)| *known != path);
    damage.at(&path, 0);
    files.push((path, content));
    files.sort();
    Some(())
}
