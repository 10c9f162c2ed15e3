//! One chunk as raw deflate (RFC 1951), cut so that chunks made apart can be laid end to end: what pigz does.
//!
//! ```text
//! gzip member or zip entry := chunk* final
//! chunk                    := deflate blocks, none of them final, then a sync flush: an empty stored block that
//!                             ends on a byte boundary
//! final                    := an empty block with the final bit set
//! ```
//!
//! pigz also primes each chunk with the 32 KiB before it as a preset dictionary. That makes chunks depend on one
//! another and gains less than 1 % at 1 MiB of log lines per chunk, so a chunk starts with an empty window here.

use flate2::{Compress, CompressError, Compression, FlushCompress};

/// An empty final block with fixed Huffman codes: the bits `1`, `01`, `0000000`.
pub(crate) const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// A deflate state, reused between chunks because setting one up means clearing about 300 KiB.
#[derive(Debug)]
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new(level: i32) -> Self {
        let raw = false;
        Self(Compress::new(Compression::new(level.unsigned_abs()), raw))
    }

    /// Writes the blocks of `input` to the front of `out`, which grows as needed and never shrinks; returns how many
    /// bytes they take.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, CompressError> {
        self.0.reset();
        // Room for incompressible input (at most 9 bits per literal at the fastest level) and the flush, so that one
        // call does it all. A slice, because flate2 zeroes the spare room of a `Vec` at every call.
        let bound = input.len() + input.len() / 8 + 64;
        if out.len() < bound {
            out.resize(bound, 0);
        }
        loop {
            let (consumed, written) = (self.0.total_in() as usize, self.0.total_out() as usize);
            self.0.compress(&input[consumed..], &mut out[written..], FlushCompress::Sync)?;
            let written = self.0.total_out() as usize;
            // zlib's manual: a flush is complete once a call returns with output space left.
            if self.0.total_in() as usize == input.len() && written < out.len() {
                return Ok(written);
            }
            out.resize(out.len() + out.len() / 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn chunks_laid_end_to_end_inflate_as_one_stream() {
        let mut deflater = Deflater::new(6);
        let (mut whole, mut chunk) = (Vec::new(), Vec::new());
        for text in ["first ", "second ", "third"] {
            let len = deflater.compress(text.as_bytes(), &mut chunk).unwrap();
            assert!(chunk[..len].ends_with(&[0, 0, 0xff, 0xff]), "ends with the sync marker");
            whole.extend_from_slice(&chunk[..len]);
        }
        whole.extend_from_slice(&FINAL_BLOCK);
        let mut text = String::new();
        flate2::read::DeflateDecoder::new(&whole[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "first second third");
    }

    #[test]
    fn a_final_block_alone_is_an_empty_stream() {
        let mut text = Vec::new();
        flate2::read::DeflateDecoder::new(&FINAL_BLOCK[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, b"");
    }
}
