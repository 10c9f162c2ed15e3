//! Bytes compressed in one go, for formats that compress piece by piece.

use std::error::Error;

use flate2::{Compress, FlushCompress, Status};

/// A compressor failed, which on valid arguments means that it is out of memory.
#[derive(Debug, thiserror::Error)]
#[error("the compressor failed")]
pub struct CompressError(#[source] Box<dyn Error + Send + Sync>);

/// A compressor's state.
pub(crate) struct Codec {
    inner: Inner,
    scratch: Vec<u8>,
}

enum Inner {
    Deflate(Compress),
    Snappy(Box<snap::raw::Encoder>),
    Lz4,
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Codec {
    fn new(inner: Inner) -> Self {
        Self { inner, scratch: Vec::new() }
    }

    /// Deflate without a frame.
    pub(crate) fn deflate() -> Self {
        Self::new(Inner::Deflate(Compress::new(flate2::Compression::default(), false)))
    }

    /// Snappy without a frame.
    pub(crate) fn snappy() -> Self {
        Self::new(Inner::Snappy(Box::new(snap::raw::Encoder::new())))
    }

    /// A block of LZ4.
    pub(crate) fn lz4() -> Self {
        Self::new(Inner::Lz4)
    }

    /// A frame of Zstandard.
    ///
    /// # Errors
    /// [`CompressError`].
    pub(crate) fn zstd() -> Result<Self, CompressError> {
        let zstd = zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?;
        Ok(Self::new(Inner::Zstd(zstd)))
    }

    /// The bytes compressed.
    ///
    /// # Errors
    /// [`CompressError`].
    pub(crate) fn compress(&mut self, raw: &[u8]) -> Result<&[u8], CompressError> {
        let bound = match self.inner {
            // Five bytes for each of the blocks that it may be stored in.
            Inner::Deflate(_) => raw.len() + raw.len() / 512 + 64,
            Inner::Snappy(_) => snap::raw::max_compress_len(raw.len()),
            Inner::Lz4 => lz4_flex::block::get_maximum_output_size(raw.len()),
            Inner::Zstd(_) => zstd::zstd_safe::compress_bound(raw.len()),
        };
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let out = &mut self.scratch[..bound];
        let len = match &mut self.inner {
            Inner::Deflate(deflate) => {
                deflate.reset();
                let status = deflate.compress(raw, out, FlushCompress::Finish).map_err(failed)?;
                if status != Status::StreamEnd {
                    return Err(CompressError("deflate takes more room than it may".into()));
                }
                deflate.total_out() as usize
            }
            Inner::Snappy(encoder) => encoder.compress(raw, out).map_err(failed)?,
            Inner::Lz4 => lz4_flex::block::compress_into(raw, out).map_err(failed)?,
            Inner::Zstd(encoder) => encoder.compress_to_buffer(raw, out).map_err(failed)?,
        };
        Ok(&self.scratch[..len])
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> CompressError {
    CompressError(Box::new(error))
}
