//! The bytes around the one entry of a ZIP archive (PKWARE APPNOTE 6.3).
//!
//! ```text
//! archive := local_header  deflate_stream  data_descriptor  central_header  [zip64_end  zip64_locator]  end
//! ```
//!
//! Written here because the writers of the `zip` crate compress by themselves, in one thread, and need to seek or to
//! know the sizes first. This archive is a stream of parts deflated elsewhere, whose sizes follow behind them; the
//! tests read it with that crate.
//!
//! An entry over 4 GiB is only known to be one at its end, when the local header has long been sent. So the header
//! claims nothing, the descriptor has 8-byte sizes exactly when one of them exceeds 32 bits, and the central header
//! says it all: the same choice as Go's `archive/zip`, and what `java.util.zip.ZipInputStream` expects.

use chrono::{Datelike, Timelike};
use standpipe_model::Timestamp;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DATA_DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;

/// Bit 3: sizes and CRC are in the data descriptor. Bit 11: the name is UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
const METHOD_DEFLATE: u16 = 8;
/// 2.0 reads deflate, 4.5 reads ZIP64.
const VERSION_DEFLATE: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// The high byte of *version made by*: Unix, so that the file mode below counts.
const MADE_ON_UNIX: u16 = 3 << 8;
/// A regular file, `rw-r--r--`, in the upper half of the external attributes.
const FILE_MODE: u32 = 0o100_644 << 16;
/// In a 32-bit field: the value is in the ZIP64 record instead.
const IN_ZIP64: u32 = u32::MAX;

/// The entry's checksum and sizes, known at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) crc: u32,
    pub(crate) raw: u64,
    pub(crate) deflated: u64,
}

/// The archive's one entry.
#[derive(Debug)]
pub(crate) struct ZipEntry {
    name: String,
    modified: Timestamp,
}

impl ZipEntry {
    /// `name` must not exceed 65,535 bytes.
    pub(crate) fn new(name: String, modified: Timestamp) -> Self {
        debug_assert!(u16::try_from(name.len()).is_ok(), "a name's length has 16 bits");
        Self { name, modified }
    }

    /// What precedes the deflate stream.
    pub(crate) fn local_header(&self) -> Vec<u8> {
        let extra = self.time_extra();
        let mut out = Vec::with_capacity(30 + self.name.len() + extra.len());
        put_u32(&mut out, LOCAL_HEADER);
        put_u16(&mut out, VERSION_DEFLATE);
        self.put_common(&mut out, Sizes { crc: 0, raw: 0, deflated: 0 }, &extra);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }

    /// What follows the deflate stream.
    pub(crate) fn end(&self, sizes: Sizes) -> Vec<u8> {
        let local_len = self.local_header().len() as u64;
        let mut out = Vec::with_capacity(256 + self.name.len());
        put_descriptor(&mut out, sizes);
        let central_offset = local_len + sizes.deflated + out.len() as u64;
        let central_start = out.len();
        self.put_central_header(&mut out, sizes);
        let central_len = (out.len() - central_start) as u64;
        put_end(&mut out, central_offset, central_len);
        out
    }

    fn put_central_header(&self, out: &mut Vec<u8>, sizes: Sizes) {
        // Each size that does not fit its field stands here, in this order.
        let large: Vec<u64> =
            [sizes.raw, sizes.deflated].into_iter().filter(|size| fits(*size).is_none()).collect();
        let mut extra = self.time_extra();
        if !large.is_empty() {
            put_u16(&mut extra, 0x0001);
            put_u16(&mut extra, large.len() as u16 * 8);
            large.iter().for_each(|size| put_u64(&mut extra, *size));
        }
        let version = if large.is_empty() { VERSION_DEFLATE } else { VERSION_ZIP64 };
        put_u32(out, CENTRAL_HEADER);
        put_u16(out, MADE_ON_UNIX | version);
        put_u16(out, version);
        self.put_common(out, sizes, &extra);
        put_u16(out, 0); // comment length
        put_u16(out, 0); // disk number
        put_u16(out, 0); // internal attributes
        put_u32(out, FILE_MODE);
        put_u32(out, 0); // offset of the local header
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
    }

    /// The fields that local and central header share, from the flags to the lengths.
    fn put_common(&self, out: &mut Vec<u8>, sizes: Sizes, extra: &[u8]) {
        let (date, time) = self.dos_date_time();
        put_u16(out, FLAGS);
        put_u16(out, METHOD_DEFLATE);
        put_u16(out, time);
        put_u16(out, date);
        put_u32(out, sizes.crc);
        put_u32(out, fits(sizes.deflated).unwrap_or(IN_ZIP64));
        put_u32(out, fits(sizes.raw).unwrap_or(IN_ZIP64));
        put_u16(out, self.name.len() as u16);
        put_u16(out, extra.len() as u16);
    }

    /// Info-ZIP's extended timestamp: the modification time in UTC, where the DOS fields have no time zone. Empty for
    /// a time that does not fit its 32 signed bits.
    fn time_extra(&self) -> Vec<u8> {
        let mut extra = Vec::with_capacity(32);
        if let Ok(seconds) = i32::try_from(self.modified.as_millis() / 1000) {
            put_u16(&mut extra, 0x5455);
            put_u16(&mut extra, 5);
            extra.push(1); // bit 0: the modification time is present
            extra.extend_from_slice(&seconds.to_le_bytes());
        }
        extra
    }

    /// MS-DOS date and time, in UTC. They span 1980 to 2107; what lies outside becomes the nearest end.
    fn dos_date_time(&self) -> (u16, u16) {
        let utc = self.modified.to_utc();
        match utc.year() {
            year @ 1980..=2107 => {
                let date = (year - 1980) as u32 * 512 + utc.month() * 32 + utc.day();
                let time = utc.hour() * 2048 + utc.minute() * 32 + utc.second() / 2;
                (date as u16, time as u16)
            }
            ..1980 => (1 << 5 | 1, 0),
            2108.. => (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29),
        }
    }
}

/// The value for a 32-bit field, unless it has to go to the ZIP64 record.
fn fits(size: u64) -> Option<u32> {
    u32::try_from(size).ok().filter(|size| *size != IN_ZIP64)
}

fn put_descriptor(out: &mut Vec<u8>, sizes: Sizes) {
    put_u32(out, DATA_DESCRIPTOR);
    put_u32(out, sizes.crc);
    match (u32::try_from(sizes.deflated), u32::try_from(sizes.raw)) {
        (Ok(deflated), Ok(raw)) => {
            put_u32(out, deflated);
            put_u32(out, raw);
        }
        // APPNOTE 4.3.9.2: 8 bytes when a size *exceeds* 0xffffffff.
        _ => {
            put_u64(out, sizes.deflated);
            put_u64(out, sizes.raw);
        }
    }
}

fn put_end(out: &mut Vec<u8>, central_offset: u64, central_len: u64) {
    if fits(central_offset).is_none() {
        let zip64_end_offset = central_offset + central_len;
        put_u32(out, ZIP64_END);
        put_u64(out, 44); // length of the rest of this record
        put_u16(out, MADE_ON_UNIX | VERSION_ZIP64);
        put_u16(out, VERSION_ZIP64);
        put_u32(out, 0); // this disk
        put_u32(out, 0); // disk of the central directory
        put_u64(out, 1); // entries on this disk
        put_u64(out, 1); // entries
        put_u64(out, central_len);
        put_u64(out, central_offset);
        put_u32(out, ZIP64_LOCATOR);
        put_u32(out, 0); // disk of the record above
        put_u64(out, zip64_end_offset);
        put_u32(out, 1); // disks
    }
    put_u32(out, END);
    put_u16(out, 0); // this disk
    put_u16(out, 0); // disk of the central directory
    put_u16(out, 1); // entries on this disk
    put_u16(out, 1); // entries
    put_u32(out, central_len as u32);
    put_u32(out, fits(central_offset).unwrap_or(IN_ZIP64));
    put_u16(out, 0); // comment length
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_outside_their_span_become_the_nearest_end() {
        let check = |millis, expect| {
            let entry = ZipEntry::new("x".to_owned(), Timestamp(millis));
            assert_eq!(entry.dos_date_time(), expect, "{millis}");
        };
        check(0, (1 << 5 | 1, 0));
        check(1_700_000_000_000, (43 << 9 | 11 << 5 | 14, 22 << 11 | 13 << 5 | 10));
        check(u64::MAX, (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29));
    }

    #[test]
    fn the_descriptor_is_wide_only_beyond_32_bits() {
        let check = |raw, deflated, expect| {
            let mut out = Vec::new();
            put_descriptor(&mut out, Sizes { crc: 1, raw, deflated });
            assert_eq!(out.len(), expect, "{raw} {deflated}");
        };
        check(0xffff_ffff, 0xffff_ffff, 16);
        check(0x1_0000_0000, 1, 24);
        check(1, 0x1_0000_0000, 24);
    }
}
