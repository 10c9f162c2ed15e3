//! Encoded chunks, in order, to one object: adds what belongs to the object as a whole.
//!
//! Everything here is small and cheap: it runs on the task that sends the object, one chunk at a time.

use bytes::Bytes;
use flate2::Crc;
use standpipe_model::{Compression, Timestamp};

use crate::chunk::EncodedChunk;
use crate::zip::{Sizes, ZipEntry};
use crate::{deflate, gzip, snappy, zstandard};

/// What an object says of itself inside its own bytes. Both must derive from the batch, so that every attempt writes
/// the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of the entry in a ZIP archive, where Firehose puts a UUID; unused elsewhere.
    pub name: String,
    /// The modification time in a ZIP or gzip header; unused elsewhere.
    pub modified: Timestamp,
}

/// Chunks could not be joined: a mistake of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The entry's name has no place in a ZIP header.
    #[error("a ZIP entry's name has {len} bytes, allowed are 1 to {max}", max = u16::MAX)]
    NameLength {
        /// The name's length in bytes.
        len: usize,
    },
    /// The chunk was encoded for another format.
    #[error("a chunk encoded as {chunk:?} cannot be part of an object of {object:?}")]
    OtherCompression {
        /// The chunk's.
        chunk: Compression,
        /// The object's.
        object: Compression,
    },
}

/// Joins the chunks of one object.
///
/// The object is the header of [`start`](Self::start), then what each [`push`](Self::push) returns, in the order of
/// the chunks, then what [`finish`](Self::finish) returns.
#[derive(Debug)]
pub struct Joiner {
    compression: Compression,
    /// `Some` in an archive.
    zip: Option<ZipEntry>,
    crc: Crc,
    rows: u64,
    raw_bytes: u64,
    /// What the chunks add up to, without header and trailer.
    encoded_bytes: u64,
}

impl Joiner {
    /// Starts an object; the bytes are its header and may be empty.
    ///
    /// # Errors
    /// [`JoinError::NameLength`].
    pub fn start(compression: Compression, entry: Entry) -> Result<(Self, Bytes), JoinError> {
        let mut zip = None;
        let header = match compression {
            Compression::Gzip => Bytes::copy_from_slice(&gzip::header(entry.modified)),
            Compression::Snappy => Bytes::from_static(&snappy::XERIAL_HEADER),
            Compression::Zip => {
                let len = entry.name.len();
                if !(1..=usize::from(u16::MAX)).contains(&len) {
                    return Err(JoinError::NameLength { len });
                }
                zip.insert(ZipEntry::new(entry.name, entry.modified)).local_header().into()
            }
            Compression::Uncompressed | Compression::HadoopSnappy | Compression::Zstd => Bytes::new(),
        };
        let joiner = Self { compression, zip, crc: Crc::new(), rows: 0, raw_bytes: 0, encoded_bytes: 0 };
        Ok((joiner, header))
    }

    /// Takes the next chunk and returns its part of the object, without copying; empty for a chunk without bytes.
    ///
    /// # Errors
    /// [`JoinError::OtherCompression`]; the joiner is then as it was.
    pub fn push(&mut self, chunk: &EncodedChunk) -> Result<Bytes, JoinError> {
        if chunk.compression != self.compression {
            return Err(JoinError::OtherCompression { chunk: chunk.compression, object: self.compression });
        }
        if matches!(self.compression, Compression::Gzip | Compression::Zip) {
            self.crc.combine(&chunk.crc);
        }
        self.rows += chunk.rows;
        self.raw_bytes += chunk.raw_bytes;
        self.encoded_bytes += chunk.encoded_bytes();
        Ok(chunk.bytes.clone())
    }

    /// The rows pushed so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The raw bytes pushed so far, delimiters included.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Ends the object; the bytes are its trailer and may be empty.
    pub fn finish(self) -> Bytes {
        match (self.compression, self.zip) {
            (Compression::Gzip, _) => gzip::trailer(self.crc.sum(), self.raw_bytes).into(),
            (_, Some(zip)) => {
                let sizes = Sizes {
                    crc: self.crc.sum(),
                    raw: self.raw_bytes,
                    deflated: self.encoded_bytes + deflate::FINAL_BLOCK.len() as u64,
                };
                [&deflate::FINAL_BLOCK[..], &zip.end(sizes)].concat().into()
            }
            (Compression::Zstd, _) if self.encoded_bytes == 0 => Bytes::from_static(&zstandard::EMPTY_FRAME),
            _ => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncodeOptions, EncoderPool};

    fn entry(name: &str) -> Entry {
        Entry { name: name.to_owned(), modified: Timestamp(0) }
    }

    #[test]
    fn a_chunk_of_another_format_is_refused() {
        let (mut joiner, _) = Joiner::start(Compression::Gzip, entry("x")).unwrap();
        let zip = EncodeOptions { compression: Compression::Zip, ..Default::default() };
        let chunk = EncoderPool::new(1).encoder(&zip).unwrap().encode([&b"a"[..]]).unwrap();
        let error = joiner.push(&chunk).unwrap_err();
        assert_eq!(error.to_string(), "a chunk encoded as Zip cannot be part of an object of Gzip");
        assert_eq!(joiner.rows(), 0);
    }

    #[test]
    fn an_archive_needs_a_name_that_fits() {
        for (name, len) in [(String::new(), 0), ("x".repeat(65_536), 65_536)] {
            let error = Joiner::start(Compression::Zip, entry(&name)).unwrap_err();
            assert_eq!(error, JoinError::NameLength { len });
            Joiner::start(Compression::Gzip, entry(&name)).unwrap();
        }
    }
}
