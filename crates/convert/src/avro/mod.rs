//! Avro object container files, as rows become blocks and blocks a file.
//!
//! ```text
//! file  := "Obj" 1  metadata  sync:16  block*
//! block := rows:zigzag  len:zigzag  bytes  sync:16
//! ```
//!
//! Blocks are encoded on any thread and joined in order. What a file says of itself stands in its head, and the marker
//! between its blocks is derived from that.
//!
//! # Invariants
//! - The same rows, settings and metadata give the same bytes.

pub(crate) mod rows;
mod schema;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cells::Cells;
use crate::codec::{Codec, CompressError};
use crate::varint::{put_varint, zigzag};
pub use schema::NameError;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// Raw bytes at which a block ends, as those of Avro's own writers do: readers hold one in memory.
const BLOCK_BYTES: usize = 64_000;

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// `null`
    None,
    /// `deflate`
    Deflate,
    /// `snappy`, with a checksum for each block.
    #[default]
    Snappy,
    /// `zstandard`, which some readers need a library for.
    Zstandard,
}

impl Compression {
    /// The name in a file's head.
    fn name(self) -> &'static str {
        match self {
            Self::None => "null",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard => "zstandard",
        }
    }
}

/// The files of a table.
#[derive(Debug, Clone)]
pub struct AvroFormat {
    /// The schema in Avro's words.
    schema: String,
    compression: Compression,
}

/// Blocks of a file, without the marker that each ends with.
#[derive(Debug)]
pub struct EncodedBlocks {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Blocks cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The rows are of no table.
    #[error(transparent)]
    Rows(#[from] ArrowError),
    /// A block cannot be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

impl AvroFormat {
    /// The files of a table that is called `name`, as in `database.table`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(schema: &SchemaRef, name: &str, compression: Compression) -> Result<Self, NameError> {
        Ok(Self { schema: schema::of(schema, name)?.to_string(), compression })
    }

    /// Encodes rows as blocks; runs on any thread.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn encode(&self, batches: &[RecordBatch]) -> Result<EncodedBlocks, EncodeError> {
        let mut blocks = Blocks::new(self.compression)?;
        for batch in batches {
            let columns = Cells::of(batch)?;
            for row in 0..batch.num_rows() {
                rows::record(&columns, row, &mut blocks.raw);
                blocks.rows += 1;
                if blocks.raw.len() >= BLOCK_BYTES {
                    blocks.end()?;
                }
            }
        }
        blocks.end()?;
        Ok(blocks.done)
    }

    /// Begins a file, with what readers find in its head; the bytes are its first.
    pub fn start(&self, metadata: &[(String, String)]) -> (Joiner, Bytes) {
        let own = [("avro.schema", self.schema.as_str()), ("avro.codec", self.compression.name())];
        let given = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut head = MAGIC.to_vec();
        put_varint(&mut head, zigzag((own.len() + metadata.len()) as i64));
        for text in own.into_iter().chain(given).flat_map(|(key, value)| [key, value]) {
            rows::bytes(text.as_bytes(), &mut head);
        }
        head.push(0);
        let mut sync = [0; SYNC_BYTES];
        sync.copy_from_slice(&Sha256::digest(&head)[..SYNC_BYTES]);
        head.extend_from_slice(&sync);
        (Joiner { sync }, head.into())
    }
}

/// A whole file of rows that are encoded already, with what readers find in its head.
///
/// # Errors
/// [`CompressError`].
pub(crate) fn file(
    schema: String,
    metadata: &[(String, String)],
    rows: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Bytes, CompressError> {
    let format = AvroFormat { schema, compression: Compression::Deflate };
    let (joiner, head) = format.start(metadata);
    let mut blocks = Blocks::new(format.compression)?;
    for row in rows {
        blocks.raw.extend_from_slice(&row);
        blocks.rows += 1;
        if blocks.raw.len() >= BLOCK_BYTES {
            blocks.end()?;
        }
    }
    blocks.end()?;
    Ok([head, joiner.push(&blocks.done)].concat().into())
}

/// Blocks in the making.
struct Blocks {
    codec: Option<Codec>,
    is_checked: bool,
    raw: Vec<u8>,
    rows: i64,
    done: EncodedBlocks,
}

impl Blocks {
    fn new(compression: Compression) -> Result<Self, CompressError> {
        let codec = match compression {
            Compression::None => None,
            Compression::Deflate => Some(Codec::deflate()),
            Compression::Snappy => Some(Codec::snappy()),
            Compression::Zstandard => Some(Codec::zstd()?),
        };
        let done = EncodedBlocks { bytes: Vec::new(), ends: Vec::new() };
        let is_checked = compression == Compression::Snappy;
        Ok(Self { codec, is_checked, raw: Vec::new(), rows: 0, done })
    }

    /// Ends a block, where one was begun.
    fn end(&mut self) -> Result<(), CompressError> {
        if self.rows == 0 {
            return Ok(());
        }
        let bytes = match &mut self.codec {
            None => &self.raw,
            Some(codec) => codec.compress(&self.raw)?,
        };
        let mut check = flate2::Crc::new();
        if self.is_checked {
            check.update(&self.raw);
        }
        let check = check.sum().to_be_bytes();
        let check = if self.is_checked { &check[..] } else { &[] };
        let out = &mut self.done.bytes;
        put_varint(out, zigzag(self.rows));
        put_varint(out, zigzag((bytes.len() + check.len()) as i64));
        out.extend_from_slice(bytes);
        out.extend_from_slice(check);
        self.done.ends.push(out.len());
        self.raw.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Joins blocks to a file. The file is what [`start`](AvroFormat::start) and [`push`](Joiner::push) return, one behind the
/// other.
#[derive(Debug)]
pub struct Joiner {
    sync: [u8; SYNC_BYTES],
}

impl Joiner {
    /// Adds blocks.
    pub fn push(&self, EncodedBlocks { bytes, ends }: &EncodedBlocks) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + ends.len() * SYNC_BYTES);
        let mut start = 0;
        for end in ends {
            out.extend_from_slice(&bytes[start..*end]);
            out.extend_from_slice(&self.sync);
            start = *end;
        }
        out.into()
    }
}
