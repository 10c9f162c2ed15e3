//! Streams to compressed chunks, each with a header of its own, so that readers may start at any.
//!
//! ```text
//! chunk := len << 1 | is_original: u24le  bytes
//! ```

use std::error::Error;

use flate2::{Compress, FlushCompress, Status};

use super::Compression;

/// The raw bytes of a chunk: the format's default.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// A compressor failed, which on valid arguments means that it is out of memory.
#[derive(Debug, thiserror::Error)]
#[error("the compressor failed")]
pub struct CompressError(#[source] Box<dyn Error + Send + Sync>);

/// A compressor's state.
pub(super) struct Compressor {
    codec: Codec,
    scratch: Vec<u8>,
}

enum Codec {
    None,
    Zlib(Compress),
    Snappy(Box<snap::raw::Encoder>),
    Lz4,
    Zstd(zstd::bulk::Compressor<'static>),
}

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
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Zlib => Codec::Zlib(Compress::new(flate2::Compression::default(), false)),
            Compression::Snappy => Codec::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => {
                Codec::Zstd(zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?)
            }
        };
        Ok(Self { codec, scratch: Vec::new() })
    }

    /// Appends the chunks of `raw`.
    pub(super) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<Chunks, CompressError> {
        if matches!(self.codec, Codec::None) {
            out.extend_from_slice(raw);
            return Ok(Chunks(None));
        }
        let start = out.len();
        let mut starts = Vec::with_capacity(raw.len() / CHUNK_BYTES + 1);
        for chunk in raw.chunks(CHUNK_BYTES) {
            starts.push((out.len() - start) as u64);
            let (original, bytes) = match self.compress_chunk(chunk)? {
                Some(len) if len < chunk.len() => (0, &self.scratch[..len]),
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

    /// Compresses into the scratch and returns how many bytes it takes; `None` when it would take more than it has.
    fn compress_chunk(&mut self, chunk: &[u8]) -> Result<Option<usize>, CompressError> {
        let bound = match self.codec {
            Codec::None | Codec::Zlib(_) => chunk.len(),
            Codec::Snappy(_) => snap::raw::max_compress_len(chunk.len()),
            Codec::Lz4 => lz4_flex::block::get_maximum_output_size(chunk.len()),
            Codec::Zstd(_) => zstd::zstd_safe::compress_bound(chunk.len()),
        };
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let out = &mut self.scratch[..bound];
        match &mut self.codec {
            Codec::None => Ok(None),
            Codec::Zlib(deflate) => {
                deflate.reset();
                let status = deflate.compress(chunk, out, FlushCompress::Finish).map_err(failed)?;
                Ok((status == Status::StreamEnd).then_some(deflate.total_out() as usize))
            }
            Codec::Snappy(encoder) => encoder.compress(chunk, out).map(Some).map_err(failed),
            Codec::Lz4 => lz4_flex::block::compress_into(chunk, out).map(Some).map_err(failed),
            Codec::Zstd(encoder) => encoder.compress_to_buffer(chunk, out).map(Some).map_err(failed),
        }
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> CompressError {
    CompressError(Box::new(error))
}
