//! The bytes on disk. All numbers are little-endian; every frame starts at a multiple of 8. A plain segment is of
//! version 1, an encrypted one of version 2: it has key slots in its head page (see `slots`), and the bodies of its
//! frames are encrypted (see `cipher`).
//!
//! ```text
//! segment  := head  frame*  (unused)  footer        file length = capacity, allocated when the file is made
//! head     := 4096 bytes at offset 0, of which 64 are used, and the key slots of an encrypted segment:
//!             magic "SPJSEG\0\0"  version:u16  flags:u16  key_id:u32 (0 = plain, 1 = AES-256-GCM under the key in the
//!             slots)  sequence:u64  id:[u8;16]
//!             first:u64 (position)  created_at:u64 (ms)  capacity:u32  crc:u32 (CRC-32C of the 60 bytes before)
//! frame    := header  body  padding to a multiple of 8
//! header   := magic:u32  header_crc:u32  body_len:u32  body_crc:u32  kind:u8  flags:u8  source_len:u16  count:u32
//!             first:u64 (position)  group_start:u32  steady:u32 (ms since the segment was opened)
//!             arrived_at:u64 (ms)  digest:[u8;16]
//!             flags: 1 = there is a digest, 2 = the body is encrypted
//! body     := DATA: source position [u8; source_len], then records (see `RecordBlock`);  control: JSON
//!             `body_len` and `body_crc` are of the body as it is on the disk
//! footer   := 4096 bytes at the end, of which 96 are used, written when the segment is sealed:
//!             magic "SPJEND\0\0"  id:[u8;16]  sequence:u64  first:u64  next:u64  records:u64  record_bytes:u64
//!             min_arrived:u64  max_arrived:u64  data_end:u32  frames:u32  reserved:u32  crc:u32
//! ```
//!
//! `header_crc` covers the segment's random id and the rest of the header, so that what a recycled file held before
//! can never be taken for a frame of its new life. `group_start` is the offset at which the frame's commit group
//! began: all bytes before it were durable when the frame was written. A bad frame that a later frame's `group_start`
//! lies behind is therefore damage; one that nothing lies behind is a torn tail.

use standpipe_model::{Position, PutDigest, Timestamp};

/// The newest version that this build reads: encrypted segments.
pub const VERSION: u16 = 2;
/// The version of plain segments.
pub const PLAIN_VERSION: u16 = 1;
/// [`Head::key_id`] of a segment that is encrypted under the data key in its slots.
pub const KEYED: u32 = 1;
/// Bytes that a body grows by when it is encrypted: the nonce and the tag.
pub const ENCRYPTED_EXTRA: usize = 12 + 16;
/// Bytes reserved for the head, at the file's start.
pub const HEAD_LEN: u64 = 4096;
/// Bytes reserved for the footer, at the file's end.
pub const FOOTER_LEN: u64 = 4096;
/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 64;
/// The largest body a reader believes: a put of 4 MiB with its prefixes, or a control frame, with much room.
pub const BODY_MAX: u32 = 64 << 20;

const HEAD_USED: usize = 64;
const FOOTER_USED: usize = 96;
const HEAD_MAGIC: &[u8; 8] = b"SPJSEG\0\0";
const FOOTER_MAGIC: &[u8; 8] = b"SPJEND\0\0";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"SPf1");

/// A segment's random 128-bit id: with the ordinal of a record in the segment it is that record's identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub [u8; 16]);

impl std::fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Records of one put.
    Data = 1,
    /// A batch's boundary and identity.
    Close = 2,
    /// A batch's objects and fates, fixed before its first external effect.
    Plan = 3,
    /// Rows given up.
    Decide = 4,
    /// An object or request that succeeded.
    Done = 5,
    /// A batch whose every record has its fate.
    Settle = 6,
    /// The whole state, at the head of every segment and when destinations change.
    State = 7,
    /// A batch began to fail; a restart does not reset its retry duration.
    Failing = 8,
    /// Puts that may still come again, of a segment that is about to be forgotten.
    Puts = 9,
}

impl FrameKind {
    /// The kind's name as the tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "DATA",
            Self::Close => "CLOSE",
            Self::Plan => "PLAN",
            Self::Decide => "DECIDE",
            Self::Done => "DONE",
            Self::Settle => "SETTLE",
            Self::State => "STATE",
            Self::Failing => "FAILING",
            Self::Puts => "PUTS",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Data,
            Self::Close,
            Self::Plan,
            Self::Decide,
            Self::Done,
            Self::Settle,
            Self::State,
            Self::Failing,
            Self::Puts,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// A segment's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The format version.
    pub version: u16,
    /// How the frames are encrypted: 0 not at all, or [`KEYED`].
    pub key_id: u32,
    /// The segment's place in the stream's log.
    pub sequence: u64,
    /// The segment's random id.
    pub id: SegmentId,
    /// The position of its first record.
    pub first: Position,
    /// When it was made.
    pub created_at: Timestamp,
    /// The file's length in bytes.
    pub capacity: u32,
}

/// What stands where a head should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadBytes {
    /// A head of a version that this build knows.
    Valid(Head),
    /// Nothing was ever written: the file was only prepared.
    Blank,
    /// A head of a newer version.
    Newer(u16),
    /// Neither.
    Damaged,
}

/// A fixed-size little-endian record under construction.
struct Out<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Out<N> {
    fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }
}

/// A little-endian record being read; the caller has checked that it is long enough.
struct In<'a>(&'a [u8]);

impl In<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("the caller checked the length");
        self.0 = rest;
        *head
    }
    fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

impl Head {
    /// The head's bytes, to be written at offset 0.
    pub fn encode(&self) -> [u8; HEAD_USED] {
        let mut out = Out::<HEAD_USED>::new();
        out.put(HEAD_MAGIC).put(&self.version.to_le_bytes()).put(&0u16.to_le_bytes());
        out.put(&self.key_id.to_le_bytes()).put(&self.sequence.to_le_bytes()).put(&self.id.0);
        out.put(&self.first.0.to_le_bytes())
            .put(&self.created_at.0.to_le_bytes())
            .put(&self.capacity.to_le_bytes());
        let crc = crc32c::crc32c(&out.bytes[..HEAD_USED - 4]);
        out.put(&crc.to_le_bytes());
        out.bytes
    }

    /// Reads what stands at the start of a file.
    pub fn decode(bytes: &[u8]) -> HeadBytes {
        // A file that is shorter than a head was being made when the power went.
        let bytes = bytes.get(..HEAD_USED).unwrap_or(bytes);
        if bytes.iter().all(|byte| *byte == 0) {
            return HeadBytes::Blank;
        }
        if bytes.len() < HEAD_USED {
            return HeadBytes::Damaged;
        }
        let mut input = In(bytes);
        if input.array::<8>() != *HEAD_MAGIC {
            return HeadBytes::Damaged;
        }
        let version = input.u16();
        if version > VERSION {
            return HeadBytes::Newer(version);
        }
        let _flags = input.u16();
        let (key_id, sequence, id) = (input.u32(), input.u64(), SegmentId(input.array()));
        let (first, created_at, capacity) = (Position(input.u64()), Timestamp(input.u64()), input.u32());
        let crc = crc32c::crc32c(&bytes[..HEAD_USED - 4]);
        let known = (version == PLAIN_VERSION && key_id == 0) || (version == VERSION && key_id == KEYED);
        if input.u32() != crc || !known || first >= Position::END {
            return HeadBytes::Damaged;
        }
        HeadBytes::Valid(Head { version, key_id, sequence, id, first, created_at, capacity })
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body holds.
    pub kind: FrameKind,
    /// The body is encrypted.
    pub encrypted: bool,
    /// The body's length in bytes.
    pub body_len: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// How many bytes at the body's start are a source position.
    pub source_len: u16,
    /// Records in the body; 0 in control frames.
    pub count: u32,
    /// DATA: the first record's position. Control: the next record's position when it was written.
    pub first: Position,
    /// Where in the segment the frame's commit group began.
    pub group_start: u32,
    /// Milliseconds of steady time since the segment was opened.
    pub steady: u32,
    /// When the put arrived, or the frame was written.
    pub arrived_at: Timestamp,
    /// What makes the put recognisable when it comes again.
    pub digest: Option<PutDigest>,
}

impl FrameHeader {
    /// The header's bytes within the segment `id`.
    pub fn encode(&self, id: SegmentId) -> [u8; HEADER_LEN] {
        let mut out = Out::<HEADER_LEN>::new();
        out.put(&FRAME_MAGIC.to_le_bytes()).put(&[0; 4]);
        out.put(&self.body_len.to_le_bytes()).put(&self.body_crc.to_le_bytes());
        let flags = u8::from(self.digest.is_some()) | u8::from(self.encrypted) << 1;
        out.put(&[self.kind as u8, flags]).put(&self.source_len.to_le_bytes());
        out.put(&self.count.to_le_bytes()).put(&self.first.0.to_le_bytes());
        out.put(&self.group_start.to_le_bytes()).put(&self.steady.to_le_bytes());
        out.put(&self.arrived_at.0.to_le_bytes()).put(&self.digest.map_or([0; 16], |digest| digest.0));
        let crc = header_crc(id, &out.bytes);
        out.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        out.bytes
    }

    /// Reads a header of the segment `id`; `None` when the bytes are not one.
    pub fn decode(bytes: &[u8], id: SegmentId) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let mut input = In(bytes);
        if input.u32() != FRAME_MAGIC || input.u32() != header_crc(id, bytes) {
            return None;
        }
        let (body_len, body_crc) = (input.u32(), input.u32());
        let (kind, flags) = (FrameKind::from_byte(input.u8())?, input.u8());
        let (source_len, count, first) = (input.u16(), input.u32(), Position(input.u64()));
        let (group_start, steady, arrived_at) = (input.u32(), input.u32(), Timestamp(input.u64()));
        let digest = (flags & 1 != 0).then(|| PutDigest(input.array()));
        let encrypted = flags & 2 != 0;
        let header = Self {
            kind,
            encrypted,
            body_len,
            body_crc,
            source_len,
            count,
            first,
            group_start,
            steady,
            arrived_at,
            digest,
        };
        // Every record has its length in the body, whatever else it holds.
        let lengths = if kind == FrameKind::Data { 4 * u64::from(count) } else { 0 };
        let extra = if encrypted { ENCRYPTED_EXTRA as u64 } else { 0 };
        let least = u64::from(source_len) + lengths + extra;
        let possible = body_len <= BODY_MAX && least <= u64::from(body_len) && first < Position::END;
        possible.then_some(header)
    }

    /// What is authenticated together with an encrypted body: what stays as it is when the frame is copied.
    pub(crate) fn authenticated(&self) -> [u8; 40] {
        let mut out = Out::<40>::new();
        out.put(&[self.kind as u8, u8::from(self.digest.is_some())]).put(&self.source_len.to_le_bytes());
        out.put(&self.count.to_le_bytes()).put(&self.first.0.to_le_bytes());
        out.put(&self.arrived_at.0.to_le_bytes()).put(&self.digest.map_or([0; 16], |digest| digest.0));
        out.bytes
    }

    /// The bytes that the whole frame takes in the segment.
    pub fn frame_len(&self) -> u64 {
        frame_len(self.body_len as usize)
    }

    /// The records' data bytes, without their length prefixes; 0 in control frames.
    pub fn record_bytes(&self) -> u64 {
        match self.kind {
            FrameKind::Data => {
                let extra = if self.encrypted { ENCRYPTED_EXTRA as u64 } else { 0 };
                u64::from(self.body_len)
                    .saturating_sub(extra + u64::from(self.source_len) + 4 * u64::from(self.count))
            }
            _ => 0,
        }
    }
}

/// The bytes that a frame with a body of `body_len` takes in a segment.
pub fn frame_len(body_len: usize) -> u64 {
    (HEADER_LEN + body_len).next_multiple_of(8) as u64
}

fn header_crc(id: SegmentId, header: &[u8; HEADER_LEN]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&id.0), &header[8..])
}

/// A sealed segment's summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// The segment's place in the log.
    pub sequence: u64,
    /// The position of its first record.
    pub first: Position,
    /// The position behind its last record.
    pub next: Position,
    /// Records that it holds; fewer than `next - first` where some were lost.
    pub records: u64,
    /// The records' data bytes.
    pub record_bytes: u64,
    /// The earliest arrival in it.
    pub min_arrived: Timestamp,
    /// The latest arrival in it.
    pub max_arrived: Timestamp,
    /// Where its last frame ends.
    pub data_end: u32,
    /// How many frames it holds.
    pub frames: u32,
}

impl Footer {
    /// The footer's bytes, to be written [`FOOTER_LEN`] before the file's end.
    pub fn encode(&self, id: SegmentId) -> [u8; FOOTER_USED] {
        let mut out = Out::<FOOTER_USED>::new();
        out.put(FOOTER_MAGIC).put(&id.0).put(&self.sequence.to_le_bytes());
        out.put(&self.first.0.to_le_bytes()).put(&self.next.0.to_le_bytes());
        out.put(&self.records.to_le_bytes()).put(&self.record_bytes.to_le_bytes());
        out.put(&self.min_arrived.0.to_le_bytes()).put(&self.max_arrived.0.to_le_bytes());
        out.put(&self.data_end.to_le_bytes()).put(&self.frames.to_le_bytes());
        out.at = FOOTER_USED - 4;
        let crc = crc32c::crc32c(&out.bytes[..FOOTER_USED - 4]);
        out.put(&crc.to_le_bytes());
        out.bytes
    }

    /// Whether these are bytes of a segment that was never sealed: blank, or the footer of what the file held before.
    pub fn absent(bytes: &[u8]) -> bool {
        let bytes = bytes.get(..FOOTER_USED).unwrap_or(bytes);
        let id = bytes.get(8..).and_then(<[u8]>::first_chunk).copied();
        bytes.iter().all(|byte| *byte == 0)
            || id.is_some_and(|id| Self::decode(bytes, SegmentId(id)).is_some())
    }

    /// Whether it can be the footer of the segment with that head in a file of `size` bytes.
    pub fn fits(&self, head: &Head, size: u64) -> bool {
        let frames = HEAD_LEN..=size.saturating_sub(FOOTER_LEN);
        (self.sequence, self.first) == (head.sequence, head.first)
            && frames.contains(&self.data_end.into())
            && self.first.0.checked_add(self.records).is_some_and(|least| least <= self.next.0)
            && self.next < Position::END
            && self.record_bytes < size
    }

    /// Reads the footer of the segment `id`; `None` when it is not sealed.
    pub fn decode(bytes: &[u8], id: SegmentId) -> Option<Self> {
        let bytes = bytes.get(..FOOTER_USED)?;
        let mut input = In(bytes);
        if input.array::<8>() != *FOOTER_MAGIC || input.array::<16>() != id.0 {
            return None;
        }
        let footer = Self {
            sequence: input.u64(),
            first: Position(input.u64()),
            next: Position(input.u64()),
            records: input.u64(),
            record_bytes: input.u64(),
            min_arrived: Timestamp(input.u64()),
            max_arrived: Timestamp(input.u64()),
            data_end: input.u32(),
            frames: input.u32(),
        };
        let crc = u32::from_le_bytes(*bytes.last_chunk()?);
        (crc == crc32c::crc32c(&bytes[..FOOTER_USED - 4])).then_some(footer)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const ID: SegmentId = SegmentId(*b"segment-id-0001.");

    pub(crate) fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            encrypted: false,
            body_len: 21,
            body_crc: 7,
            source_len: 3,
            count: 2,
            first: Position(11),
            group_start: 4096,
            steady: 5,
            arrived_at: Timestamp(1_700_000_000_000),
            digest: Some(PutDigest([9; 16])),
        }
    }

    #[test]
    fn a_header_reads_back_only_in_its_own_segment() {
        let bytes = header().encode(ID);
        assert_eq!(FrameHeader::decode(&bytes, ID), Some(header()));
        assert_eq!(FrameHeader::decode(&bytes, SegmentId([0; 16])), None);
        for at in 0..HEADER_LEN {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(FrameHeader::decode(&bad, ID), None, "byte {at}");
        }
        assert_eq!((header().frame_len(), header().record_bytes()), (88, 10));
        let encrypted = FrameHeader { encrypted: true, body_len: 49, ..header() };
        assert_eq!(FrameHeader::decode(&encrypted.encode(ID), ID), Some(encrypted));
        assert_eq!((encrypted.frame_len(), encrypted.record_bytes()), (120, 10));
        let short = FrameHeader { encrypted: true, body_len: 30, ..header() };
        assert_eq!(FrameHeader::decode(&short.encode(ID), ID), None, "no room for nonce, tag and source");
    }

    #[test]
    fn a_head_tells_blank_newer_and_damaged_apart() {
        let head = Head {
            version: PLAIN_VERSION,
            key_id: 0,
            sequence: 3,
            id: ID,
            first: Position(8),
            created_at: Timestamp(5),
            capacity: 1 << 20,
        };
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes), HeadBytes::Valid(head));
        assert_eq!(Head::decode(&[0; 64]), HeadBytes::Blank);
        assert_eq!(Head::decode(&[]), HeadBytes::Blank);
        assert_eq!(Head::decode(&bytes[..63]), HeadBytes::Damaged);
        let mut newer = bytes;
        newer[8] = 3;
        assert_eq!(Head::decode(&newer), HeadBytes::Newer(3));
        let keyed = Head { version: VERSION, key_id: KEYED, ..head };
        assert_eq!(Head::decode(&keyed.encode()), HeadBytes::Valid(keyed));
        for (version, key_id) in [(PLAIN_VERSION, KEYED), (VERSION, 0), (VERSION, 2), (0, 0)] {
            assert_eq!(Head::decode(&Head { version, key_id, ..head }.encode()), HeadBytes::Damaged);
        }
        let mut damaged = bytes;
        damaged[20] ^= 4;
        assert_eq!(Head::decode(&damaged), HeadBytes::Damaged);
    }

    #[test]
    fn a_footer_reads_back_only_in_its_own_segment() {
        let footer = Footer {
            sequence: 3,
            first: Position(8),
            next: Position(10),
            records: 2,
            record_bytes: 99,
            min_arrived: Timestamp(1),
            max_arrived: Timestamp(2),
            data_end: 5000,
            frames: 4,
        };
        let bytes = footer.encode(ID);
        assert_eq!(Footer::decode(&bytes, ID), Some(footer));
        assert_eq!(Footer::decode(&bytes, SegmentId([1; 16])), None);
        let mut bad = bytes;
        bad[50] ^= 1;
        assert_eq!(Footer::decode(&bad, ID), None);
        assert!(Footer::absent(&bytes) && Footer::absent(&[0; 96]) && !Footer::absent(&bad));
    }
}
