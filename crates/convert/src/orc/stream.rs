//! The streams of a column: where its bytes gather, and where in them each row group starts.
//!
//! # Invariants
//! - A row group starts with a run of its own, so that its position never lies inside of one, but for the bits of the
//!   byte that a stream of booleans shares between two groups.

use super::{FormatVersion, integer};

/// What a stream holds; the numbers are the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    Present = 0,
    Data = 1,
    Length = 2,
    DictionaryData = 3,
    Secondary = 5,
    RowIndex = 6,
    BloomFilterUtf8 = 8,
}

/// Where a row group starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) byte: usize,
    within: Within,
}

/// What follows the bytes' own position.
#[derive(Debug, Clone, Copy)]
enum Within {
    Bytes,
    Run,
    Bits(u8),
}

impl Mark {
    /// How many values of the run, and how many bits, come before the row group.
    pub(super) fn within(self) -> impl Iterator<Item = u64> {
        let (run, bits) = match self.within {
            Within::Bytes => (None, None),
            Within::Run => (Some(0), None),
            Within::Bits(bits) => (Some(0), Some(u64::from(bits))),
        };
        run.into_iter().chain(bits)
    }
}

/// A stream before compression.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) kind: StreamKind,
    pub(super) bytes: Vec<u8>,
    /// One for each row group; none where readers do not seek.
    pub(super) marks: Vec<Mark>,
}

impl Stream {
    pub(super) fn new(kind: StreamKind) -> Self {
        Self { kind, bytes: Vec::new(), marks: Vec::new() }
    }

    /// Notes that a row group starts here.
    pub(super) fn mark(&mut self) {
        self.mark_at(self.bytes.len());
    }

    /// Notes that a row group starts at a byte.
    pub(super) fn mark_at(&mut self, byte: usize) {
        self.marks.push(Mark { byte, within: Within::Bytes });
    }

    fn mark_run(&mut self, within: Within) {
        self.marks.push(Mark { byte: self.bytes.len(), within });
    }
}

/// A stream of integers in runs.
#[derive(Debug)]
pub(super) struct IntegerStream {
    stream: Stream,
    version: FormatVersion,
    signed: bool,
    /// What is not in a run yet.
    pub(super) pending: Vec<i64>,
}

impl IntegerStream {
    /// So many values become runs at once.
    const PENDING_MAX: usize = 16 << 10;

    pub(super) fn new(kind: StreamKind, version: FormatVersion, signed: bool) -> Self {
        Self { stream: Stream::new(kind), version, signed, pending: Vec::new() }
    }

    pub(super) fn extend(&mut self, values: impl Iterator<Item = i64>) {
        self.pending.extend(values);
        self.settle();
    }

    /// Encodes what is pending if it is much; callers say when they have added some.
    pub(super) fn settle(&mut self) {
        if self.pending.len() >= Self::PENDING_MAX {
            self.encode();
        }
    }

    pub(super) fn mark(&mut self) {
        self.encode();
        self.stream.mark_run(Within::Run);
    }

    pub(super) fn finish(mut self) -> Stream {
        self.encode();
        self.stream
    }

    fn encode(&mut self) {
        integer::encode(self.version, &self.pending, self.signed, &mut self.stream.bytes);
        self.pending.clear();
    }
}

/// A stream of bytes in runs.
#[derive(Debug)]
pub(super) struct ByteStream {
    stream: Stream,
    pub(super) pending: Vec<u8>,
}

impl ByteStream {
    pub(super) fn new(kind: StreamKind) -> Self {
        Self { stream: Stream::new(kind), pending: Vec::new() }
    }

    pub(super) fn mark(&mut self) {
        self.mark_within(Within::Run);
    }

    pub(super) fn finish(mut self) -> Stream {
        self.encode();
        self.stream
    }

    fn mark_within(&mut self, within: Within) {
        self.encode();
        self.stream.mark_run(within);
    }

    fn encode(&mut self) {
        encode_bytes(&self.pending, &mut self.stream.bytes);
        self.pending.clear();
    }
}

/// A stream of booleans: eight a byte, the highest bit first, the bytes in runs.
#[derive(Debug)]
pub(super) struct BitStream {
    bytes: ByteStream,
    /// The byte that is not full, and how many bits it has.
    partial: u8,
    bits: u8,
}

impl BitStream {
    pub(super) fn new(kind: StreamKind) -> Self {
        Self { bytes: ByteStream::new(kind), partial: 0, bits: 0 }
    }

    pub(super) fn push(&mut self, bit: bool) {
        self.partial |= u8::from(bit) << (7 - self.bits);
        self.bits += 1;
        if self.bits == 8 {
            self.bytes.pending.push(std::mem::take(&mut self.partial));
            self.bits = 0;
        }
    }

    /// The same bit many times.
    pub(super) fn push_all(&mut self, bit: bool, mut count: usize) {
        while count > 0 && self.bits > 0 {
            self.push(bit);
            count -= 1;
        }
        let full = self.bytes.pending.len() + count / 8;
        self.bytes.pending.resize(full, if bit { 0xff } else { 0 });
        (0..count % 8).for_each(|_| self.push(bit));
    }

    pub(super) fn mark(&mut self) {
        self.bytes.mark_within(Within::Bits(self.bits));
    }

    pub(super) fn finish(mut self) -> Stream {
        if self.bits > 0 {
            self.bytes.pending.push(self.partial);
        }
        self.bytes.finish()
    }
}

/// Appends runs of the same byte, 3 to 130 long, and up to 128 literals between them.
fn encode_bytes(values: &[u8], out: &mut Vec<u8>) {
    let repeats = |values: &[u8]| values.iter().take(130).take_while(|value| **value == values[0]).count();
    let mut rest = values;
    while !rest.is_empty() {
        let run = repeats(rest);
        let taken = if run >= 3 {
            out.extend_from_slice(&[(run - 3) as u8, rest[0]]);
            run
        } else {
            let end = rest.len().min(128);
            let count = rest[..end].windows(3).position(|three| three == [three[0]; 3]).unwrap_or(end);
            out.push((count as u8).wrapping_neg());
            out.extend_from_slice(&rest[..count]);
            count
        };
        rest = &rest[taken..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_for_bytes() {
        let mut out = Vec::new();
        encode_bytes(&[0; 100], &mut out);
        assert_eq!(out, [0x61, 0x00]);
        out.clear();
        encode_bytes(&[0x44, 0x45], &mut out);
        assert_eq!(out, [0xfe, 0x44, 0x45]);
    }

    #[test]
    fn the_example_of_the_specification_for_bits() {
        let mut bits = BitStream::new(StreamKind::Data);
        bits.push(true);
        bits.push_all(false, 7);
        assert_eq!(bits.finish().bytes, [0xff, 0x80]);
    }

    #[test]
    fn bits_that_a_group_shares_with_the_next_are_said_by_its_mark() {
        let mut bits = BitStream::new(StreamKind::Present);
        bits.mark();
        bits.push_all(true, 8 * 5 + 3);
        bits.mark();
        bits.push_all(false, 5);
        let stream = bits.finish();
        assert_eq!(stream.bytes, [0x02, 0xff, 0xff, 0xe0]);
        let marks: Vec<_> = stream.marks.iter().map(|mark| (mark.byte, mark.within().collect())).collect();
        assert_eq!(marks, [(0, vec![0, 0]), (2, vec![0, 3])]);
    }
}
