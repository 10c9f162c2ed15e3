//! Stripes, in order, to one file: adds what belongs to the file as a whole.
//!
//! ```text
//! file := "ORC"  (padding? stripe)*  stripe_statistics  footer  postscript  postscript_len:u8
//! ```
//!
//! Everything here is small and cheap: it runs on the task that sends the object, one stripe at a time.

use arrow_schema::Schema;
use bytes::Bytes;

use super::compress::{CHUNK_BYTES, Compressor};
use super::options::OptionsError;
use super::proto::Message;
use super::statistics::{Statistics, Summary};
use super::stripe::EncodedStripe;
use super::types::{Kind, kinds, types};
use super::{Compression, FormatVersion, OrcOptions};
use crate::codec::CompressError;

const MAGIC: &[u8] = b"ORC";
/// The writer's number for those that have registered none.
const WRITER_UNKNOWN: u64 = i32::MAX as u64;
/// The faults of older writers that this one has not: statistics of times in UTC, bounds of long texts, the hashes of
/// bloom filters. It is the newest version that readers distinguish.
const WRITER_VERSION: u64 = 9;
/// Days are counted by the Gregorian calendar at all times.
const PROLEPTIC_GREGORIAN: u64 = 2;

/// Stripes could not be joined: a mistake of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The stripe has other columns than the file.
    #[error("a stripe of other columns cannot be part of the file")]
    OtherSchema,
    /// The stripe was encoded by other options.
    #[error("a stripe of other options cannot be part of the file")]
    OtherOptions,
}

/// Joins the stripes of one file.
///
/// The file is the header of [`start`](Self::start), then what each [`push`](Self::push) returns, in the order of the
/// stripes, then what [`finish`](Self::finish) returns.
#[derive(Debug)]
pub struct Joiner {
    options: OrcOptions,
    kinds: Vec<Kind>,
    types: Vec<Message>,
    /// Where the file ends.
    end: u64,
    rows: u64,
    stripes: Vec<Message>,
    stripe_statistics: Vec<Message>,
    statistics: Vec<Statistics>,
}

impl Joiner {
    /// Starts a file; the bytes are its header.
    ///
    /// # Errors
    /// [`OptionsError`]; the schema and the options can be checked before with [`OrcOptions::validate`].
    pub fn start(schema: &Schema, options: &OrcOptions) -> Result<(Self, Bytes), OptionsError> {
        options.validate(schema)?;
        let columns = types(schema)?;
        let blank = |kind| Statistics::new(Summary::of(kind, 0));
        let joiner = Self {
            options: options.clone(),
            kinds: kinds(schema)?,
            statistics: columns.iter().map(|column| blank(column.kind)).collect(),
            types: columns.into_iter().map(|column| column.message).collect(),
            end: MAGIC.len() as u64,
            rows: 0,
            stripes: Vec::new(),
            stripe_statistics: Vec::new(),
        };
        Ok((joiner, Bytes::from_static(MAGIC)))
    }

    /// Takes the next stripe and returns its part of the file, padding included; empty for a stripe without rows.
    ///
    /// # Errors
    /// [`JoinError`]; the joiner is then as it was.
    pub fn push(&mut self, stripe: EncodedStripe) -> Result<Bytes, JoinError> {
        if stripe.options != self.options {
            return Err(JoinError::OtherOptions);
        }
        if stripe.rows == 0 {
            return Ok(Bytes::new());
        }
        if stripe.kinds != self.kinds {
            return Err(JoinError::OtherSchema);
        }
        let padding = self.padding(stripe.bytes.len() as u64);
        let start = self.end + padding;
        let information = [start, stripe.index_bytes, stripe.data_bytes, stripe.footer_bytes, stripe.rows];
        let information = information.into_iter().zip(1..);
        self.stripes
            .push(information.fold(Message::default(), |message, (value, field)| message.uint(field, value)));
        let statistics: Vec<Message> = stripe.statistics.iter().map(Statistics::message).collect();
        self.stripe_statistics.push(Message::default().messages(1, &statistics));
        if self.rows == 0 {
            self.statistics = stripe.statistics;
        } else {
            self.statistics.iter_mut().zip(&stripe.statistics).for_each(|(all, new)| all.merge(new));
        }
        self.rows += stripe.rows;
        self.end = start + stripe.bytes.len() as u64;
        if padding == 0 {
            return Ok(stripe.bytes);
        }
        Ok([&vec![0; padding as usize][..], &stripe.bytes].concat().into())
    }

    /// What comes before a stripe so that it starts with a block: where it would reach into the next one, and what is
    /// left of this one is within the tolerance.
    fn padding(&self, stripe_bytes: u64) -> u64 {
        let OrcOptions { enable_padding, block_size_bytes, padding_tolerance, stripe_size_bytes, .. } =
            self.options;
        if !enable_padding {
            return 0;
        }
        let left = block_size_bytes - self.end % block_size_bytes;
        let within = (left as f64) < padding_tolerance * stripe_size_bytes as f64;
        if left < stripe_bytes && within { left } else { 0 }
    }

    /// The rows pushed so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file, which says `metadata` of itself, by key; the bytes are its statistics, footer and postscript.
    ///
    /// # Errors
    /// [`CompressError`]; the caller gives up on the file.
    pub fn finish(self, metadata: &[(String, String)]) -> Result<Bytes, CompressError> {
        let mut compressor = Compressor::new(self.options.compression)?;
        let mut out = Vec::new();
        let statistics = Message::default().messages(1, &self.stripe_statistics);
        compressor.compress(statistics.as_bytes(), &mut out)?;
        let statistics_bytes = out.len();
        compressor.compress(self.footer(metadata).as_bytes(), &mut out)?;
        let postscript = self.postscript(statistics_bytes as u64, (out.len() - statistics_bytes) as u64);
        out.extend_from_slice(postscript.as_bytes());
        out.push(postscript.as_bytes().len() as u8);
        Ok(out.into())
    }

    fn footer(&self, metadata: &[(String, String)]) -> Message {
        let item = |(key, value): &(String, String)| Message::default().bytes(1, key).bytes(2, value);
        let metadata: Vec<Message> = metadata.iter().map(item).collect();
        let statistics: Vec<Message> = self.statistics.iter().map(Statistics::message).collect();
        Message::default()
            .uint(1, MAGIC.len() as u64)
            .uint(2, self.end - MAGIC.len() as u64)
            .messages(3, &self.stripes)
            .messages(4, &self.types)
            .messages(5, &metadata)
            .uint(6, self.rows)
            .messages(7, &statistics)
            .uint(8, u64::from(self.options.row_index_stride))
            .uint(9, WRITER_UNKNOWN)
            .uint(11, PROLEPTIC_GREGORIAN)
            .bytes(12, concat!("standpipe ", env!("CARGO_PKG_VERSION")))
    }

    /// The only part that is never compressed, for it says how the others are. At most some 60 bytes.
    fn postscript(&self, statistics_bytes: u64, footer_bytes: u64) -> Message {
        let compression = match self.options.compression {
            Compression::None => 0,
            Compression::Zlib => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 4,
            Compression::Zstd => 5,
        };
        let minor = match self.options.format_version {
            FormatVersion::V0_11 => 11,
            FormatVersion::V0_12 => 12,
        };
        Message::default()
            .uint(1, footer_bytes)
            .uint(2, compression)
            .uint(3, CHUNK_BYTES as u64)
            .packed(4, [0, minor])
            .uint(5, statistics_bytes)
            .uint(6, WRITER_VERSION)
            .bytes(8000, MAGIC)
    }
}
