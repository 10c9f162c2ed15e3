//! The first and last bytes of a gzip member (RFC 1952).

use standpipe_model::Timestamp;

use crate::deflate::FINAL_BLOCK;

/// The member header.
///
/// ```text
/// header := 1f 8b  method:8  flags:0  mtime:u32le  extra_flags:0  os:255 (unknown)
/// ```
pub(crate) fn header(modified: Timestamp) -> [u8; 10] {
    // 0 means that no time is given, which is also right for a time that does not fit.
    let seconds = u32::try_from(modified.as_millis() / 1000).unwrap_or(0);
    let [a, b, c, d] = seconds.to_le_bytes();
    [0x1f, 0x8b, 8, 0, a, b, c, d, 0, 255]
}

/// The end of the deflate stream, and the member trailer.
///
/// ```text
/// trailer := crc32:u32le  raw_bytes:u32le (modulo 2^32)
/// ```
pub(crate) fn trailer(crc: u32, raw_bytes: u64) -> Vec<u8> {
    [&FINAL_BLOCK[..], &crc.to_le_bytes(), &(raw_bytes as u32).to_le_bytes()].concat()
}
