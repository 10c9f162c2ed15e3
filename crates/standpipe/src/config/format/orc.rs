//! The section `orc` of a format.

use standpipe_convert::orc::{Compression, FormatVersion, OptionsError, OrcOptions};

use super::super::compound::List;
use super::super::reader::Section;
use super::super::shapes::{Choice, Int, Part, Size, Truth, text};
use super::{FormatDraft, table};
use crate::spec::OutputFormat;

/// The compression by our words and by those of the Firehose API.
const COMPRESSION: Choice<Compression> = Choice(&[
    ("snappy", Compression::Snappy),
    ("zlib", Compression::Zlib),
    ("zstd", Compression::Zstd),
    ("lz4", Compression::Lz4),
    ("none", Compression::None),
    ("SNAPPY", Compression::Snappy),
    ("ZLIB", Compression::Zlib),
    ("NONE", Compression::None),
]);

const VERSION: Choice<FormatVersion> = Choice(&[
    ("0.12", FormatVersion::V0_12),
    ("0.11", FormatVersion::V0_11),
    ("V0_12", FormatVersion::V0_12),
    ("V0_11", FormatVersion::V0_11),
]);

pub(super) fn orc(section: &mut Section<'_, '_>) -> Option<FormatDraft> {
    let (schema, columns_max) = table(section);
    let compression =
        section.or("compression", COMPRESSION, "snappy", "How the streams of a stripe are compressed.");
    let stripe_size = section.or(
        "stripe_size",
        Size(1 << 20..=4 << 30),
        "64MiB",
        "The most bytes of a stripe; about 16 MiB of columns in memory are one in any case (`StripeSizeBytes`).",
    );
    let dictionary_threshold = section.or(
        "dictionary_threshold",
        Part,
        "0.8",
        "The most different values, as a part of all values of a stripe, with which a column of text has a dictionary: 0 for \
         never, 1 for always (`DictionaryKeyThreshold`, which is 0 in the API where absent).",
    );
    let version = section.or("version", VERSION, "0.12", "The version of the format (`FormatVersion`).");
    let mut options = OrcOptions {
        stripe_size_bytes: stripe_size,
        compression,
        dictionary_key_threshold: dictionary_threshold,
        format_version: version,
        ..OrcOptions::default()
    };
    indexes(section, &mut options);
    padding(section, &mut options);
    Some(FormatDraft {
        schema: schema?,
        columns_max,
        output: OutputFormat::Orc(options),
        spots: section.spots(),
    })
}

fn indexes(section: &mut Section<'_, '_>, options: &mut OrcOptions) {
    let stride = section.or(
        "row_index_stride",
        Int(0..=2_147_483_647),
        "10000",
        "The rows of which readers find statistics, and that they can pass over; 0 for none (`RowIndexStride`).",
    );
    let bloom_filters = section.optional(
        "bloom_filters",
        List(text(1..=1_024)),
        "Columns that readers can ask whether so many rows have a value; members of structs after a dot \
         (`BloomFilterColumns`).",
    );
    options.row_index_stride = u32::try_from(stride).unwrap_or(u32::MAX);
    options.bloom_filter_columns = bloom_filters.unwrap_or_default();
    options.bloom_filter_fpp = section.or(
        "bloom_filter_fpp",
        Part,
        "0.05",
        "How many values that are not there pass such a filter (`BloomFilterFalsePositiveProbability`).",
    );
}

fn padding(section: &mut Section<'_, '_>, options: &mut OrcOptions) {
    options.enable_padding = section.or(
        "padding",
        Truth,
        "false",
        "Whether stripes are moved so that they do not cross the blocks of a file system, as of HDFS (`EnablePadding`).",
    );
    options.padding_tolerance = section.or(
        "padding_tolerance",
        Part,
        "0.05",
        "The most bytes that a stripe is moved by, as a part of `stripe_size` (`PaddingTolerance`).",
    );
    options.block_size_bytes = section.or(
        "block_size",
        Size(1 << 20..=4 << 30),
        "256MiB",
        "The bytes of a block of that file system (`BlockSizeBytes`).",
    );
}

/// The key that an error of the options is about.
pub(super) fn setting(error: &OptionsError) -> &'static str {
    match error {
        OptionsError::BloomFilter { .. } => "bloom_filter_fpp",
        OptionsError::BloomFilterWithoutIndex => "row_index_stride",
        OptionsError::BloomFilterColumn(_) => "bloom_filters",
        OptionsError::BlockSize => "block_size",
        OptionsError::Part { .. } | OptionsError::Type(_) => "schema",
    }
}
