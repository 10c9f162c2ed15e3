//! `Decompression`: GZIP, as CloudWatch Logs sends it.
//!
//! # Limits
//! A row decompresses to at most [`DECOMPRESSED_BYTES_MAX`], or what else the configuration says. GZIP makes at most
//! about a thousand bytes of one, and so a chunk of 1 MiB at most about 1 GiB of many small rows, whatever the limit.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::OptionError;
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// What a row decompresses to at most, unless told otherwise.
pub const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;
/// What the limit itself is at most.
const LIMIT_MAX: usize = 1 << 30;

/// Decompresses each row.
#[derive(Debug)]
pub struct Decompression {
    limit_bytes: usize,
}

impl Decompression {
    /// Takes `CompressionFormat`, which only can be `GZIP`, and what a row may decompress to.
    ///
    /// # Errors
    /// It is another format, or the limit is out of its bounds.
    pub fn new(format: &str, limit_bytes: usize) -> Result<Self, OptionError> {
        if format != "GZIP" {
            return Err(OptionError::new("Decompression", "CompressionFormat", format, "has to be GZIP"));
        }
        if !(1..=LIMIT_MAX).contains(&limit_bytes) {
            let reason = format!("must be 1 to {LIMIT_MAX} bytes");
            return Err(OptionError::new("Decompression", "limit", limit_bytes, reason));
        }
        Ok(Self { limit_bytes })
    }

    /// All members of a file, one behind the other.
    fn decompressed(&self, data: &[u8]) -> Result<Vec<u8>, Failure> {
        let failed =
            |code: &str, message: String| Err(Failure::once(FailureKind::Decompression, code, message));
        // The last four bytes say how long the last member was; they are believed as far as that is plausible.
        let told = data.last_chunk().map_or(0, |told| u32::from_le_bytes(*told) as usize);
        let plausible = data.len().saturating_mul(32).min(self.limit_bytes);
        let mut plain = Vec::with_capacity(told.min(plausible));
        let mut decoder = MultiGzDecoder::new(data).take(self.limit_bytes as u64 + 1);
        match decoder.read_to_end(&mut plain) {
            _ if plain.len() > self.limit_bytes => {
                let message = format!("The record decompresses to more than {} bytes.", self.limit_bytes);
                failed("Decompression.LimitExceeded", message)
            }
            Ok(_) => Ok(plain),
            Err(error) => failed(
                "Decompression.Failed",
                format!("The record could not be decompressed as GZIP: {error}."),
            ),
        }
    }
}

impl Processor for Decompression {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        for row in rows {
            match self.decompressed(&row.data) {
                Ok(plain) => out.keep(row.with_data(plain)),
                Err(failure) => out.fail(row.origin, failure),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::super::tests::{codes, kept, run};
    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_members_are_decompressed_and_anything_else_fails() {
        let decompression = Decompression::new("GZIP", DECOMPRESSED_BYTES_MAX).unwrap();
        let two = [gzip(b"one,"), gzip(b"two")].concat();
        let cut = &two[..two.len() - 1];
        let mut wrong = two.clone();
        *wrong.last_chunk_mut::<8>().unwrap() = [0; 8];
        let tail = [&two[..], b"tail"].concat();
        let empty = gzip(b"");
        let done = run(decompression, &[&two[..], cut, &wrong, &tail, b"plain", b"", &empty]);
        assert_eq!(kept(&done), ["one,two", ""]);
        assert_eq!(codes(&done), ["Decompression.Failed"; 5]);
        assert!(done.failures.values().all(|failure| failure.kind == FailureKind::Decompression));
    }

    #[test]
    fn a_bomb_fails_at_the_limit() {
        let decompression = Decompression::new("GZIP", 1_000).unwrap();
        let (fits, bomb) = (gzip(&[b'x'; 1_000]), gzip(&vec![b'x'; 64 << 20]));
        let done = run(decompression, &[&fits, &bomb, &gzip(&[b'x'; 1_001])]);
        assert_eq!(kept(&done).len(), 1);
        assert_eq!(codes(&done), ["Decompression.LimitExceeded"; 2]);
        assert_eq!(done.failures[&1].message, "The record decompresses to more than 1000 bytes.");
    }

    #[test]
    fn options_have_bounds() {
        assert_eq!(
            Decompression::new("ZIP", 1).unwrap_err().to_string(),
            "Decompression: CompressionFormat `ZIP` has to be GZIP"
        );
        assert_eq!(
            Decompression::new("GZIP", 0).unwrap_err().to_string(),
            "Decompression: limit `0` must be 1 to 1073741824 bytes"
        );
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let decompression = Decompression::new("GZIP", DECOMPRESSED_BYTES_MAX).unwrap();
            let done = run(decompression, &[&gzip(&plain)]);
            prop_assert_eq!(&done.rows[0].data[..], &plain[..]);
        }

        #[test]
        fn rubbish_is_kept_or_fails(
            head in prop_oneof![Just(vec![]), Just(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])],
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let decompression = Decompression::new("GZIP", 1_000).unwrap();
            let done = run(decompression, &[[head, rest].concat()]);
            prop_assert_eq!(done.rows.len() + done.failures.len(), 1);
        }
    }
}
