//! The section `parquet` of a format.

use standpipe_convert::parquet::{Compression, ParquetOptions, Statistics};

use super::super::compound::{Either, List, Sub};
use super::super::reader::{Cursor, ReadSection, Section, Shape};
use super::super::schema::Schema;
use super::super::shapes::{Choice, Int, Size, Truth, text};
use super::{FormatDraft, table};
use crate::spec::OutputFormat;

/// The compression by our words and by those of the Firehose API.
pub(in super::super) const COMPRESSION: Choice<Compression> = Choice(&[
    ("snappy", Compression::Snappy),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("lz4_raw", Compression::Lz4Raw),
    ("none", Compression::Uncompressed),
    ("SNAPPY", Compression::Snappy),
    ("GZIP", Compression::Gzip),
    ("UNCOMPRESSED", Compression::Uncompressed),
]);

pub(super) fn parquet(section: &mut Section<'_, '_>) -> Option<FormatDraft> {
    let (schema, columns_max) = table(section);
    let compression = section.or("compression", COMPRESSION, "snappy", "How pages are compressed.");
    let block_size = section.or(
        "block_size",
        Size(1 << 20..=4 << 30),
        "256MiB",
        "The most bytes of a row group; about 16 MiB of columns in memory are one in any case (`BlockSizeBytes`).",
    );
    let row_group_rows =
        section.or("row_group_rows", Int(1..=1 << 31), "1048576", "The most rows of a row group.");
    let page_size = section.or(
        "page_size",
        Size(1 << 10..=1 << 30),
        "1MiB",
        "The most bytes of a page (`PageSizeBytes`).",
    );
    let dictionary = section.or(
        "dictionary",
        Truth,
        "true",
        "Whether values that come again are kept once (`EnableDictionaryCompression`, which is false in the API where absent).",
    );
    let writer_version = section.or(
        "writer_version",
        Choice(&[("V1", 1), ("V2", 2)]),
        "V1",
        "The format of pages (`WriterVersion`).",
    );
    let statistics = section.or(
        "statistics",
        Choice(&[("none", Statistics::None), ("chunk", Statistics::Chunk), ("page", Statistics::Page)]),
        "page",
        "What readers find of the values of columns: nothing, the least and the greatest of each row group, or of each page \
         too.",
    );
    let (bloom_filters, sort_columns) = by_column(section);
    let max_padding = section.or(
        "max_padding",
        Size(0..=4 << 30),
        "0",
        "Accepted, without effect: object stores have no blocks that row groups could cross (`MaxPaddingBytes`).",
    );
    let options = ParquetOptions {
        block_size_bytes: block_size,
        page_size_bytes: page_size,
        compression,
        dictionary,
        writer_version,
        max_padding_bytes: max_padding,
        statistics,
        bloom_filters,
        sort_columns,
        row_group_rows,
    };
    Some(FormatDraft {
        schema: schema?,
        columns_max,
        output: OutputFormat::Parquet(options),
        spots: section.spots(),
    })
}

/// The columns with bloom filters, and those that rows are sorted by.
fn by_column(section: &mut Section<'_, '_>) -> (Vec<String>, Vec<(String, bool)>) {
    let bloom_filters = section.optional(
        "bloom_filters",
        List(text(1..=1_024)),
        "Columns that readers can ask whether a row group has a value.",
    );
    let sort_columns = section.optional(
        "sort_columns",
        List(Either(SortBy, Sub(sort_by as ReadSection<(String, bool)>))),
        "Columns that the rows of a row group are sorted by: a name, or `column` and `descending`.",
    );
    (bloom_filters.unwrap_or_default(), sort_columns.unwrap_or_default())
}

/// A column to sort by, upwards.
struct SortBy;

impl Shape for SortBy {
    type Out = (String, bool);

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<(String, bool)> {
        text(1..=1_024).read(at).map(|column| (column, false))
    }

    fn schema(&self) -> Schema {
        Schema::Text
    }
}

fn sort_by(section: &mut Section<'_, '_>) -> Option<(String, bool)> {
    let column = section.required("column", text(1..=1_024), "The column.");
    let descending = section.or("descending", Truth, "false", "Whether the greatest value is first.");
    Some((column?, descending))
}
