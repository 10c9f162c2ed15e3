//! Rows to object bytes: concatenation, delimiters and compression, between the worker's chunks and a sink's body.
//!
//! An object is made from *chunks* of rows (about 1 MiB each). A [`ChunkEncoder`] turns one chunk into compressed
//! bytes, as a pure function that any number of threads may run at once; a [`Joiner`] takes the results in order and
//! adds what belongs to the object as a whole: headers, checksums, the ZIP directory.
//!
//! # Limits
//! - A chunk holds at most [`CHUNK_BYTES_MAX`] raw bytes; an object has no limit.
//!
//! # Invariants
//! - The same rows in the same chunks give the same bytes: nothing here reads a clock or draws a random number.
//! - An object of no rows, or of empty rows only, is a valid object of its format.
//! - Compression libraries are used here and nowhere else; no type of theirs is public.
//!
//! # Example
//! ```
//! use standpipe_encode::{EncodeOptions, Entry, EncoderPool, Joiner};
//! use standpipe_model::{Compression, Timestamp};
//!
//! let pool = EncoderPool::new(4);
//! let options = EncodeOptions { compression: Compression::Gzip, level: None, delimiter: "\n".into() };
//! let encoder = pool.encoder(&options)?;
//! let entry = Entry { name: "rows".to_owned(), modified: Timestamp(1_700_000_000_000) };
//! let (mut joiner, header) = Joiner::start(Compression::Gzip, entry)?;
//!
//! let mut object = header.to_vec();
//! for chunk in [[&b"one"[..], b"two"], [b"three", b""]] {
//!     object.extend_from_slice(&joiner.push(&encoder.encode(chunk)?)?);
//! }
//! object.extend_from_slice(&joiner.finish());
//! # let mut text = String::new();
//! # std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&object[..]), &mut text)?;
//! # assert_eq!(text, "one\ntwo\nthree\n\n");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod options;

mod chunk;
mod deflate;
mod pool;
mod snappy;
mod zstandard;

mod gzip;
mod join;
mod zip;

pub use chunk::{CHUNK_BYTES_MAX, ChunkEncoder, EncodeError, EncodedChunk};
pub use join::{Entry, JoinError, Joiner};
pub use options::{EncodeOptions, LevelError, media, validate_level};
pub use pool::EncoderPool;
