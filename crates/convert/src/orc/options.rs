//! What an ORC file is written by: the members of Firehose's `OrcSerDe`.

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};

use super::bloom;
use super::types::{Kind, UnsupportedType, types};

/// How the streams of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Deflate, without a header.
    Zlib,
    /// Raw snappy.
    #[default]
    Snappy,
    /// LZ4 blocks; ours.
    Lz4,
    /// Zstandard frames; ours.
    Zstd,
}

/// The version of the format, by which readers of that version know what they can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FormatVersion {
    /// 0.11: run-length encoding of version 1.
    V0_11,
    /// 0.12: run-length encoding of version 2, which every reader of the last ten years knows.
    #[default]
    V0_12,
}

/// How ORC files are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrcOptions {
    /// What the rows of a stripe should take in memory, for whoever cuts them; and what a tolerance is a part of.
    pub stripe_size_bytes: u64,
    /// The size of the blocks of the file system that stripes are aligned to.
    pub block_size_bytes: u64,
    /// The rows of a row group, which has its own statistics and bloom filters; 0 for a file without row indexes.
    pub row_index_stride: u32,
    /// Whether stripes are aligned to blocks.
    pub enable_padding: bool,
    /// The most bytes that a padding may take, as a part of `stripe_size_bytes`.
    pub padding_tolerance: f64,
    /// The compression.
    pub compression: Compression,
    /// The columns that have bloom filters, in any case; members of structs after a dot. A column's members have
    /// filters with it.
    pub bloom_filter_columns: Vec<String>,
    /// How many of the values that are not in a row group pass its bloom filter, as a part.
    pub bloom_filter_fpp: f64,
    /// The most different values, as a part of all values of a stripe, with which a column of text has a dictionary:
    /// 0 for never, 1 for always.
    pub dictionary_key_threshold: f64,
    /// The version of the format.
    pub format_version: FormatVersion,
}

/// What is validated is a number.
impl Eq for OrcOptions {}

impl Default for OrcOptions {
    fn default() -> Self {
        Self {
            stripe_size_bytes: 64 << 20,
            block_size_bytes: 256 << 20,
            row_index_stride: 10_000,
            enable_padding: false,
            padding_tolerance: 0.05,
            compression: Compression::default(),
            bloom_filter_columns: Vec::new(),
            bloom_filter_fpp: 0.05,
            dictionary_key_threshold: 0.0,
            format_version: FormatVersion::default(),
        }
    }
}

/// The options fit no file, or not the schema.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// A part of a whole is none.
    #[error("{option} is {value}, allowed are 0 to 1")]
    Part {
        /// The option.
        option: &'static str,
        /// Its value.
        value: f64,
    },
    /// A bloom filter would need no bits, or too many.
    #[error(
        "bloom filters of {rows} rows and a false positive probability of {fpp} take {bits} bits, allowed are 1 to {max}",
        max = bloom::BITS_MAX
    )]
    BloomFilter {
        /// The rows of a row group.
        rows: u32,
        /// The probability.
        fpp: f64,
        /// What they would take.
        bits: f64,
    },
    /// Bloom filters without row groups.
    #[error("bloom filters need a row index: row_index_stride is 0")]
    BloomFilterWithoutIndex,
    /// A column that should have a bloom filter is not there, or has no values that one could hold.
    #[error("there is no column '{0}' that can have a bloom filter")]
    BloomFilterColumn(String),
    /// Stripes are to be aligned to blocks of nothing.
    #[error("block_size_bytes is 0, and padding aligns to blocks")]
    BlockSize,
    /// The schema has a type that ORC has not.
    #[error(transparent)]
    Type(#[from] UnsupportedType),
}

impl OrcOptions {
    /// Checks the options against the schema of a table.
    ///
    /// # Errors
    /// [`OptionsError`]; show it beside the setting.
    pub fn validate(&self, schema: &Schema) -> Result<(), OptionsError> {
        for (option, value) in [
            ("padding_tolerance", self.padding_tolerance),
            ("bloom_filter_fpp", self.bloom_filter_fpp),
            ("dictionary_key_threshold", self.dictionary_key_threshold),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(OptionsError::Part { option, value });
            }
        }
        if self.enable_padding && self.block_size_bytes == 0 {
            return Err(OptionsError::BlockSize);
        }
        let types = types(schema)?;
        if self.bloom_filter_columns.is_empty() {
            return Ok(());
        }
        if self.row_index_stride == 0 {
            return Err(OptionsError::BloomFilterWithoutIndex);
        }
        let (rows, fpp) = (self.row_index_stride, self.bloom_filter_fpp);
        let bits = bloom::bits(rows, fpp);
        if !(1.0..=bloom::BITS_MAX).contains(&bits) {
            return Err(OptionsError::BloomFilter { rows, fpp, bits });
        }
        let can_have = |column: &&String| {
            types.iter().any(|found| found.kind.has_bloom_filter() && is_within(&found.path, column))
        };
        match self.bloom_filter_columns.iter().find(|column| !can_have(column)) {
            Some(column) => Err(OptionsError::BloomFilterColumn(column.clone())),
            None => Ok(()),
        }
    }

    /// Whether a column has bloom filters.
    pub(super) fn has_bloom_filter(&self, kind: Kind, path: &str) -> bool {
        kind.has_bloom_filter() && self.bloom_filter_columns.iter().any(|column| is_within(path, column))
    }
}

/// Whether a path is the column's own or leads further into it; case tells no columns apart.
fn is_within(path: &str, column: &str) -> bool {
    let (path, column) = (path.to_lowercase(), column.to_lowercase());
    path.strip_prefix(&column).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
