//! A put's records as one contiguous buffer, in the layout the journal writes.
//!
//! ```text
//! payload := record*
//! record  := len:u32le  data:[u8; len]
//! ```
//!
//! The front end decodes base64 straight into this buffer; the journal adds a header and a CRC around it and hands
//! the very same bytes to the kernel. The reader gets the same layout back and iterates it without copying.

use bytes::Bytes;

/// Bytes that precede each record's data in the payload: its length as a little-endian `u32`.
pub const RECORD_PREFIX_LEN: usize = 4;

/// The records of one put, in order. At least the layout is valid; it may hold no record.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordBlock {
    payload: Bytes,
    count: u32,
}

impl RecordBlock {
    /// Takes over a payload that was read back from storage, checking its layout.
    ///
    /// Returns `None` when the lengths do not add up to exactly `payload.len()`.
    pub fn from_payload(payload: Bytes) -> Option<Self> {
        let mut count = 0u32;
        let mut rest: &[u8] = &payload;
        while !rest.is_empty() {
            let (len, tail) = rest.split_first_chunk::<RECORD_PREFIX_LEN>()?;
            rest = tail.get(u32::from_le_bytes(*len) as usize..)?;
            count = count.checked_add(1)?;
        }
        Some(Self { payload, count })
    }

    /// The number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The sum of the records' data lengths in bytes, without the length prefixes.
    pub fn record_bytes(&self) -> u64 {
        (self.payload.len() - self.count as usize * RECORD_PREFIX_LEN) as u64
    }

    /// The whole payload in the journal's layout.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Iterates over the records' data, in put order.
    pub fn iter(&self) -> Records<'_> {
        Records { rest: &self.payload }
    }
}

impl std::fmt::Debug for RecordBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordBlock").field("count", &self.count).field("bytes", &self.payload.len()).finish()
    }
}

/// Iterator over the records of a payload; each item is one record's data.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Iterates over a payload in the layout of a [`RecordBlock`]; ends early where the layout is broken.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, tail) = self.rest.split_first_chunk::<RECORD_PREFIX_LEN>()?;
        let (data, rest) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        self.rest = rest;
        Some(data)
    }
}

impl<'a> IntoIterator for &'a RecordBlock {
    type Item = &'a [u8];
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Builds a [`RecordBlock`] by letting a decoder write each record in place.
#[derive(Debug)]
pub struct RecordBlockBuilder {
    payload: Vec<u8>,
    count: u32,
}

impl RecordBlockBuilder {
    /// A builder with room for `records` records of `bytes` data bytes in all.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self { payload: Vec::with_capacity(bytes + records * RECORD_PREFIX_LEN), count: 0 }
    }

    /// Appends one record by copying `data`.
    pub fn push(&mut self, data: &[u8]) {
        self.payload.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.payload.extend_from_slice(data);
        self.count += 1;
    }

    /// Appends one record that `write` produces in place: it gets a zeroed slice of `max_len` bytes and returns how
    /// many of them it used.
    ///
    /// # Errors
    /// Whatever `write` returns; the block is then as it was before the call.
    pub fn push_with<E>(
        &mut self,
        max_len: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let start = self.payload.len();
        let data = start + RECORD_PREFIX_LEN;
        self.payload.resize(data + max_len, 0);
        match write(&mut self.payload[data..]) {
            Ok(len) => {
                let len = len.min(max_len);
                self.payload.truncate(data + len);
                self.payload[start..data].copy_from_slice(&(len as u32).to_le_bytes());
                self.count += 1;
                Ok(len)
            }
            Err(error) => {
                self.payload.truncate(start);
                Err(error)
            }
        }
    }

    /// The sum of the data bytes pushed so far.
    pub fn record_bytes(&self) -> usize {
        self.payload.len() - self.count as usize * RECORD_PREFIX_LEN
    }

    /// The number of records pushed so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The finished block.
    pub fn finish(self) -> RecordBlock {
        RecordBlock { payload: self.payload.into(), count: self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_failed_push_leaves_no_trace() {
        let mut builder = RecordBlockBuilder::with_capacity(2, 8);
        builder.push(b"one");
        assert_eq!(builder.push_with(10, |_| Err::<usize, _>("bad")), Err("bad"));
        assert_eq!(
            builder.push_with(10, |out| {
                out[..3].copy_from_slice(b"two");
                Ok::<_, ()>(3)
            }),
            Ok(3)
        );
        let block = builder.finish();
        assert_eq!(block.iter().collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!((block.count(), block.record_bytes()), (2, 6));
    }

    #[test]
    fn a_payload_with_a_short_last_record_is_refused() {
        assert_eq!(RecordBlock::from_payload(Bytes::from_static(&[3, 0, 0, 0, 1, 2])), None);
        assert_eq!(RecordBlock::from_payload(Bytes::from_static(&[3, 0])), None);
    }

    proptest! {
        #[test]
        fn any_records_come_back_as_pushed(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut builder = RecordBlockBuilder::with_capacity(records.len(), 0);
            for record in &records {
                builder.push(record);
            }
            let block = builder.finish();
            let again = RecordBlock::from_payload(block.payload().clone()).expect("layout is valid");
            prop_assert_eq!(again.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), records);
            prop_assert_eq!(again, block);
        }
    }
}
