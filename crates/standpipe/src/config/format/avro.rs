//! The section `avro` of a format.

use standpipe_convert::avro::Compression;

use super::super::reader::Section;
use super::super::shapes::{Choice, text};
use super::FormatDraft;
use crate::spec::OutputFormat;

const COMPRESSION: Choice<Compression> = Choice(&[
    ("snappy", Compression::Snappy),
    ("deflate", Compression::Deflate),
    ("zstandard", Compression::Zstandard),
    ("none", Compression::None),
]);

pub(super) fn avro(section: &mut Section<'_, '_>) -> Option<FormatDraft> {
    let schema = section.required("schema", text(3..=2_000), "The table's name under `schemas`.");
    let compression = section.or("compression", COMPRESSION, "snappy", "How blocks are compressed.");
    Some(FormatDraft { schema: schema?, output: OutputFormat::Avro { compression }, spots: section.spots() })
}
