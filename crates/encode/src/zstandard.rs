//! One chunk as one Zstandard frame (RFC 8878) with its content size and checksum; frames may follow one another.

use std::io;

use zstd::bulk::Compressor as Bulk;
use zstd::zstd_safe::CParameter;

/// A frame of no content: what an object without rows is made of, because readers refuse a file of no bytes.
/// Magic number, a descriptor for a single segment of one size byte, the size 0, and a last raw block of 0 bytes.
pub(crate) const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00];

/// A zstd context, reused between chunks.
pub(crate) struct Compressor(Bulk<'static>);

impl Compressor {
    pub(crate) fn new(level: i32) -> io::Result<Self> {
        let mut context = Bulk::new(level)?;
        context.set_parameter(CParameter::ChecksumFlag(true))?;
        context.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self(context))
    }

    /// Replaces `out` by the frame of `input`.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(input.len()));
        self.0.compress_to_buffer(input, out).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_content_size_and_has_a_checksum() {
        let mut out = Vec::new();
        Compressor::new(3).unwrap().compress(&[7; 1000], &mut out).unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&out).unwrap(), Some(1000));
        assert_ne!(out[4] & 0b100, 0, "the checksum flag of the frame header descriptor");
    }

    #[test]
    fn the_empty_frame_is_a_frame_of_nothing() {
        assert_eq!(zstd::decode_all(&EMPTY_FRAME[..]).unwrap(), b"");
    }
}
