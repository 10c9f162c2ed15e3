//! The key slots of an encrypted segment: its data key, wrapped, in the head page.
//!
//! ```text
//! slot := at bytes 512 and 2304 of the segment, 1792 bytes each:
//!         magic "SPJKEY\0\0"  id:[u8;16] (the segment's)  sequence:u64  key_len:u16  master_len:u16  context_len:u16
//!         wrapped_len:u16  crc:u32 (CRC-32C of all else, the texts and bytes that follow included)
//!         key  master  context  wrapped
//! ```
//!
//! Both slots hold the same when the segment is made. Wrapping the key anew writes one slot and syncs, then the other:
//! whenever the power goes, one of the two can be read, and the higher sequence counts. No sector is part of both. A slot
//! whose write or sync failed is the first to be written again, whatever a read says of it: it need not be on the disk.

use std::io;

use crate::disk::DiskFile;
use crate::format::{HEAD_LEN, SegmentId};
use crate::keys::WrappedKey;

const SLOT_LEN: usize = 1792;
const SLOTS_AT: [u64; 2] = [512, 512 + SLOT_LEN as u64];
const SLOT_MAGIC: &[u8; 8] = b"SPJKEY\0\0";
const FIXED_LEN: usize = 44;
const CRC_AT: usize = 40;

/// What the slots of a segment say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) wrapped: WrappedKey,
    /// What the other slot holds, where that is something else: it will do if the key that wrapped the first is gone.
    pub(crate) other: Option<WrappedKey>,
    sequence: u64,
    /// Both slots hold it. When they do not, the other may be wrapped by a key that is to go.
    pub(crate) even: bool,
    /// The slot that may be written over: the other one holds what counts.
    first: usize,
}

/// A wrapped key, with its names, is longer than a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a wrapped key of {len} bytes with its names, a slot has {}", SLOT_LEN - FIXED_LEN)]
pub(crate) struct TooLong {
    len: usize,
}

impl From<TooLong> for io::Error {
    fn from(error: TooLong) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

impl Slots {
    /// The slots of a new segment.
    pub(crate) fn first(wrapped: WrappedKey) -> Self {
        Self { wrapped, other: None, sequence: 1, even: true, first: 0 }
    }

    /// The rest of the head page, behind the head: both slots.
    ///
    /// # Errors
    /// [`TooLong`].
    pub(crate) fn page(&self, id: SegmentId) -> Result<Vec<u8>, TooLong> {
        let mut page = vec![0; HEAD_LEN as usize];
        let slot = encode(&self.wrapped, self.sequence, id)?;
        for at in SLOTS_AT {
            page[at as usize..at as usize + slot.len()].copy_from_slice(&slot);
        }
        Ok(page)
    }

    /// Reads the slots of the segment `id`; `None` when neither can be read.
    ///
    /// # Errors
    /// The file could not be read.
    pub(crate) fn read(file: &dyn DiskFile, id: SegmentId) -> io::Result<Option<Self>> {
        let mut found = Vec::new();
        for (number, at) in SLOTS_AT.into_iter().enumerate() {
            let mut bytes = [0; SLOT_LEN];
            let read = file.read_at(&mut bytes, at)?;
            found.extend(decode(&bytes[..read], id).map(|(wrapped, sequence)| (sequence, number, wrapped)));
        }
        found.sort_by_key(|(sequence, ..)| *sequence);
        let Some((sequence, number, wrapped)) = found.pop() else { return Ok(None) };
        let other = found.pop();
        let even = other.as_ref().is_some_and(|(found, _, other)| (*found, other) == (sequence, &wrapped));
        let other = other.map(|(_, _, other)| other).filter(|other| *other != wrapped);
        Ok(Some(Self { wrapped, other, sequence, even, first: 1 - number }))
    }

    /// Replaces the wrapped key in `file`: one slot and a sync, then the other and a sync.
    ///
    /// # Errors
    /// The disk refused, or the wrapped key is too long for a slot. One of the two slots is whole, whatever happened;
    /// `self` knows which, and must be used for the next try.
    pub(crate) fn replace(
        &mut self,
        file: &dyn DiskFile,
        id: SegmentId,
        wrapped: WrappedKey,
    ) -> io::Result<()> {
        let slot = encode(&wrapped, self.sequence + 1, id)?;
        // Also a try that fails may leave its sequence on the disk.
        self.sequence += 1;
        self.even = false;
        for _ in SLOTS_AT {
            file.write_at(&[&slot], SLOTS_AT[self.first])?;
            file.sync_data()?;
            self.wrapped = wrapped.clone();
            self.first = 1 - self.first;
        }
        (self.other, self.even) = (None, true);
        Ok(())
    }
}

/// Copies the slots, as they are, from one file of a segment to another.
pub(crate) fn copy(from: &dyn DiskFile, to: &dyn DiskFile) -> io::Result<()> {
    let mut bytes = vec![0; 2 * SLOT_LEN];
    let read = from.read_at(&mut bytes, SLOTS_AT[0])?;
    to.write_at(&[&bytes[..read]], SLOTS_AT[0])
}

fn encode(wrapped: &WrappedKey, sequence: u64, id: SegmentId) -> Result<Vec<u8>, TooLong> {
    let parts: [&[u8]; 4] =
        [wrapped.key.as_bytes(), wrapped.master.as_bytes(), wrapped.context.as_bytes(), &wrapped.bytes];
    let len = parts.iter().map(|part| part.len()).sum();
    if len > SLOT_LEN - FIXED_LEN {
        return Err(TooLong { len });
    }
    let mut slot = Vec::with_capacity(SLOT_LEN);
    slot.extend_from_slice(SLOT_MAGIC);
    slot.extend_from_slice(&id.0);
    slot.extend_from_slice(&sequence.to_le_bytes());
    for part in parts {
        slot.extend_from_slice(&(part.len() as u16).to_le_bytes());
    }
    slot.extend_from_slice(&[0; 4]);
    parts.iter().for_each(|part| slot.extend_from_slice(part));
    let crc = crc_of(&slot);
    slot[CRC_AT..FIXED_LEN].copy_from_slice(&crc.to_le_bytes());
    slot.resize(SLOT_LEN, 0);
    Ok(slot)
}

/// CRC-32C of a slot without its padding and its CRC.
fn crc_of(slot: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&slot[..CRC_AT]), &slot[FIXED_LEN..])
}

fn decode(bytes: &[u8], id: SegmentId) -> Option<(WrappedKey, u64)> {
    let rest = bytes.strip_prefix(SLOT_MAGIC)?.strip_prefix(&id.0)?;
    let (sequence, mut rest) = rest.split_first_chunk::<8>()?;
    let mut lengths = [0; 4];
    for length in &mut lengths {
        let (bytes, behind) = rest.split_first_chunk::<2>()?;
        (*length, rest) = (usize::from(u16::from_le_bytes(*bytes)), behind);
    }
    let (crc, mut rest) = rest.split_first_chunk::<4>()?;
    let used = bytes.get(..FIXED_LEN + lengths.iter().sum::<usize>())?;
    if u32::from_le_bytes(*crc) != crc_of(used) {
        return None;
    }
    let mut next = |length| {
        let (part, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(part)
    };
    let mut text = |length| Some(std::str::from_utf8(next(length)?).ok()?.to_owned());
    let (key, master, context) = (text(lengths[0])?, text(lengths[1])?, text(lengths[2])?);
    let bytes = next(lengths[3])?.to_vec();
    Some((WrappedKey { key, master, context, bytes }, u64::from_le_bytes(*sequence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SegmentId = SegmentId(*b"segment-id-0001.");

    fn wrapped() -> WrappedKey {
        let (key, master, context) = ("main".into(), "ab12".into(), "clicks".into());
        WrappedKey { key, master, context, bytes: vec![7; 60] }
    }

    #[test]
    fn a_slot_reads_back_only_in_its_own_segment() {
        let slot = encode(&wrapped(), 5, ID).unwrap();
        assert_eq!(slot.len(), SLOT_LEN);
        assert_eq!(decode(&slot, ID), Some((wrapped(), 5)));
        assert_eq!(decode(&slot, SegmentId([0; 16])), None);
        for at in 0..FIXED_LEN + 4 + 4 + 6 + 60 {
            let mut bad = slot.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad, ID), None, "byte {at}");
        }
        for len in 0..FIXED_LEN + 74 {
            assert_eq!(decode(&slot[..len], ID), None, "cut to {len}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_slot_is_refused_with_its_length() {
        let most = SLOT_LEN - FIXED_LEN - 14;
        assert!(encode(&WrappedKey { bytes: vec![1; most], ..wrapped() }, 1, ID).is_ok());
        let error = encode(&WrappedKey { bytes: vec![1; most + 1], ..wrapped() }, 1, ID).unwrap_err();
        assert_eq!(error.to_string(), "a wrapped key of 1749 bytes with its names, a slot has 1748");
    }
}
