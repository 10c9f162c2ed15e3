//! Compressor states kept between chunks, shared by all encoders of the process.
//!
//! A deflate state with its buffers weighs about 2.5 MiB for chunks of 1 MiB. Were each encoder to keep its own, a
//! thousand idle streams would hold gigabytes; so encoders borrow from one pool, whose idle part is bounded.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use standpipe_model::Compression;

use crate::chunk::{ChunkEncoder, EncodeError};
use crate::options::{EncodeOptions, LevelError, resolve_level};
use crate::snappy::Framing;
use crate::{deflate, snappy, zstandard};

/// A buffer larger than this is not kept: chunks are about 1 MiB, and one huge row must not stay in memory for ever.
const KEPT_BUFFER_BYTES_MAX: usize = 4 << 20;

/// Compressor states for every [`ChunkEncoder`] made from it; clones share them. One per process is enough.
#[derive(Clone)]
pub struct EncoderPool {
    idle: Arc<Mutex<Vec<Scratch>>>,
    idle_max: usize,
}

impl EncoderPool {
    /// A pool that keeps at most `idle_max` states while they are not in use; the number of threads that encode is a
    /// good choice. More than that may be in use at once; nothing ever waits.
    pub fn new(idle_max: usize) -> Self {
        Self { idle: Arc::default(), idle_max }
    }

    /// An encoder with these options. It is cheap: it takes a state only while it encodes.
    ///
    /// # Errors
    /// [`LevelError`] as [`validate_level`](crate::validate_level).
    pub fn encoder(&self, options: &EncodeOptions) -> Result<ChunkEncoder, LevelError> {
        let level = resolve_level(options.compression, options.level)?;
        Ok(ChunkEncoder::new(options.compression, level, options.delimiter.clone(), self.clone()))
    }

    /// Takes a state that compresses with `compression` at `level`: a used one if there is one, else a new one.
    pub(crate) fn take(&self, compression: Compression, level: i32) -> Result<Scratch, EncodeError> {
        let kind = Kind::of(compression, level);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one put back has the warmest caches.
        let used = idle.iter().rposition(|scratch| scratch.kind == kind).map(|at| idle.remove(at));
        drop(idle);
        used.map_or_else(|| Scratch::new(kind), Ok)
    }

    /// Puts a state back. When the pool is full the one that has been idle longest goes.
    pub(crate) fn put(&self, mut scratch: Scratch) {
        scratch.shrink();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(scratch);
        let surplus = (idle.len() > self.idle_max).then(|| idle.remove(0));
        drop(idle);
        drop(surplus);
    }
}

impl fmt::Debug for EncoderPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncoderPool").field("idle_max", &self.idle_max).finish_non_exhaustive()
    }
}

/// What must agree for a state to be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// GZIP and ZIP alike.
    Deflate { level: i32 },
    /// Either framing.
    Snappy,
    /// ZSTD.
    Zstd { level: i32 },
}

impl Kind {
    fn of(compression: Compression, level: i32) -> Self {
        match compression {
            Compression::Gzip | Compression::Zip => Self::Deflate { level },
            Compression::Zstd => Self::Zstd { level },
            Compression::Snappy | Compression::HadoopSnappy | Compression::Uncompressed => Self::Snappy,
        }
    }
}

/// A compressor with its two buffers.
pub(crate) struct Scratch {
    kind: Kind,
    codec: Codec,
    /// Where the rows are laid end to end before they are compressed.
    pub(crate) stage: Vec<u8>,
    out: Vec<u8>,
}

enum Codec {
    Deflate(deflate::Deflater),
    // Boxed for its hash table, which lies within it and would make every move of the others a copy of 2 KiB.
    Snappy(Box<snappy::Compressor>),
    Zstd(zstandard::Compressor),
}

impl Scratch {
    fn new(kind: Kind) -> Result<Self, EncodeError> {
        let codec = match kind {
            Kind::Deflate { level } => Codec::Deflate(deflate::Deflater::new(level)),
            Kind::Snappy => Codec::Snappy(Box::new(snappy::Compressor::new())),
            Kind::Zstd { level } => {
                Codec::Zstd(zstandard::Compressor::new(level).map_err(EncodeError::compress)?)
            }
        };
        Ok(Self { kind, codec, stage: Vec::new(), out: Vec::new() })
    }

    /// Compresses what is staged. The result stays valid until the next call.
    pub(crate) fn compress(&mut self, framing: Framing) -> Result<&[u8], EncodeError> {
        let len = match &mut self.codec {
            Codec::Deflate(deflater) => {
                deflater.compress(&self.stage, &mut self.out).map_err(EncodeError::compress)?
            }
            Codec::Snappy(compressor) => {
                compressor.compress(framing, &self.stage, &mut self.out).map_err(EncodeError::compress)?
            }
            Codec::Zstd(compressor) => {
                compressor.compress(&self.stage, &mut self.out).map_err(EncodeError::compress)?;
                self.out.len()
            }
        };
        Ok(&self.out[..len])
    }

    fn shrink(&mut self) {
        for buffer in [&mut self.stage, &mut self.out] {
            if buffer.capacity() > KEPT_BUFFER_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(pool: &EncoderPool) -> Vec<Kind> {
        pool.idle.lock().unwrap().iter().map(|scratch| scratch.kind).collect()
    }

    #[test]
    fn a_state_is_used_again_by_whoever_needs_its_kind() {
        let pool = EncoderPool::new(2);
        let scratch = pool.take(Compression::Gzip, 6).unwrap();
        pool.put(scratch);
        assert_eq!(idle(&pool), [Kind::Deflate { level: 6 }]);
        let _zip = pool.take(Compression::Zip, 6).unwrap();
        assert_eq!(idle(&pool), []);
    }

    #[test]
    fn the_longest_idle_goes_when_the_pool_is_full() {
        let pool = EncoderPool::new(1);
        let (first, second) = (pool.take(Compression::Gzip, 6), pool.take(Compression::Zstd, 3));
        pool.put(first.unwrap());
        pool.put(second.unwrap());
        assert_eq!(idle(&pool), [Kind::Zstd { level: 3 }]);
    }

    #[test]
    fn a_huge_chunk_leaves_no_huge_buffer() {
        let pool = EncoderPool::new(1);
        let options = EncodeOptions { compression: Compression::Snappy, ..Default::default() };
        pool.encoder(&options).unwrap().encode([&vec![0; 8 << 20][..]]).unwrap();
        let idle = pool.idle.lock().unwrap();
        assert_eq!((idle[0].stage.capacity(), idle[0].out.capacity()), (0, 0));
    }
}
