//! Streams to compressed chunks, each with a header of its own, so that readers may start at any.
//!
//! ```text
//! chunk := len << 1 | is_original: u24le  bytes
//! ```

use super::Compression;
use crate::codec::{Codec, CompressError};

/// The raw bytes of a chunk: the format's default.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// A compressor's state; none without compression.
pub(super) struct Compressor(Option<Codec>);

/// Where the chunks of a stream start, from its own start on; `None` without compression.
pub(super) struct Chunks(Option<Vec<u64>>);

impl Chunks {
    /// The position of a raw byte as a row index has it.
    pub(super) fn position(&self, byte: usize) -> impl Iterator<Item = u64> {
        let (first, second) = match &self.0 {
            None => (byte as u64, None),
            Some(starts) => (starts[byte / CHUNK_BYTES], Some((byte % CHUNK_BYTES) as u64)),
        };
        [first].into_iter().chain(second)
    }
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Result<Self, CompressError> {
        Ok(Self(match compression {
            Compression::None => None,
            Compression::Zlib => Some(Codec::deflate()),
            Compression::Snappy => Some(Codec::snappy()),
            Compression::Lz4 => Some(Codec::lz4()),
            Compression::Zstd => Some(Codec::zstd()?),
        }))
    }

    /// Appends the chunks of `raw`.
    pub(super) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<Chunks, CompressError> {
        let Some(codec) = &mut self.0 else {
            out.extend_from_slice(raw);
            return Ok(Chunks(None));
        };
        let start = out.len();
        let mut starts = Vec::with_capacity(raw.len() / CHUNK_BYTES + 1);
        for chunk in raw.chunks(CHUNK_BYTES) {
            starts.push((out.len() - start) as u64);
            let (original, bytes) = match codec.compress(chunk)? {
                bytes if bytes.len() < chunk.len() => (0, bytes),
                _ => (1, chunk),
            };
            out.extend_from_slice(&((bytes.len() << 1 | original) as u32).to_le_bytes()[..3]);
            out.extend_from_slice(bytes);
        }
        // A row group without values may start where the stream ends.
        if raw.len().is_multiple_of(CHUNK_BYTES) {
            starts.push((out.len() - start) as u64);
        }
        Ok(Chunks(Some(starts)))
    }
}
