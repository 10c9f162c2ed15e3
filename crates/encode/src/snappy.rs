//! One chunk as a run of raw snappy blocks, in the framing of snappy-java or of Hadoop.
//!
//! ```text
//! snappy-java   := magic:82 53 4e 41 50 50 59 00  version:u32be=1  compatible:u32be=1  xblock*
//! xblock        := compressed_len:u32be  raw_snappy
//! hadoop-snappy := hblock*
//! hblock        := raw_len:u32be  compressed_len:u32be  raw_snappy
//! ```
//!
//! Sources: `SnappyOutputStream` and `SnappyCodec` of xerial's snappy-java; `BlockCompressorStream` and
//! `BlockDecompressorStream` of Hadoop. A block never reaches over a chunk's end, so chunks can be laid end to end.
//! No block is empty: Hadoop's reader takes a raw length of 0 for the end of the stream.

use snap::raw::{Encoder, max_compress_len};

/// What a snappy-java stream starts with, once: magic, version 1, readable by version 1.
pub(crate) const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";

/// Raw bytes per block in snappy-java's framing: its own default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// Raw bytes per block in Hadoop's framing. Hadoop's decompressor has buffers of 256 KiB for either side of a block
/// (`io.compression.codec.snappy.buffersize`), and a block must fit compressed even where it does not compress:
/// n + n/6 + 32 bytes. 192 KiB is the largest multiple of snappy's inner 64 KiB that does.
const HADOOP_BLOCK_BYTES: usize = 192 << 10;

/// Which framing goes around the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// snappy-java's.
    Xerial,
    /// Hadoop's.
    Hadoop,
}

/// A snappy state with its hash table.
#[derive(Debug)]
pub(crate) struct Compressor(Encoder);

impl Compressor {
    pub(crate) fn new() -> Self {
        Self(Encoder::new())
    }

    /// Writes the framed blocks of `input` to the front of `out`, which grows as needed and never shrinks; returns
    /// how many bytes they take.
    pub(crate) fn compress(
        &mut self,
        framing: Framing,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, snap::Error> {
        let (block_bytes, prefix_len) = match framing {
            Framing::Xerial => (XERIAL_BLOCK_BYTES, 4),
            Framing::Hadoop => (HADOOP_BLOCK_BYTES, 8),
        };
        let bound = input.len().div_ceil(block_bytes) * (prefix_len + max_compress_len(block_bytes));
        if out.len() < bound {
            out.resize(bound, 0);
        }
        let mut end = 0;
        for block in input.chunks(block_bytes) {
            let (prefix, data) = out[end..].split_at_mut(prefix_len);
            let len = self.0.compress(block, data)?;
            let (raw_len, compressed_len) = prefix.split_at_mut(prefix_len - 4);
            if framing == Framing::Hadoop {
                raw_len.copy_from_slice(&(block.len() as u32).to_be_bytes());
            }
            compressed_len.copy_from_slice(&(len as u32).to_be_bytes());
            end += prefix_len + len;
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_does_not_compress_still_fits_hadoops_buffer() {
        assert!(max_compress_len(HADOOP_BLOCK_BYTES) <= 256 << 10);
    }

    #[test]
    fn frames_carry_the_lengths_of_their_framing() {
        let mut compressor = Compressor::new();
        let mut out = Vec::new();
        let end = compressor.compress(Framing::Xerial, b"hello", &mut out).unwrap();
        assert_eq!(out[..end], *b"\x00\x00\x00\x07\x05\x10hello");
        let end = compressor.compress(Framing::Hadoop, b"hello", &mut out).unwrap();
        assert_eq!(out[..end], *b"\x00\x00\x00\x05\x00\x00\x00\x07\x05\x10hello");
    }
}
