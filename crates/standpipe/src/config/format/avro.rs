//! The section `avro` of a format.

use standpipe_convert::avro::Compression;

use super::super::reader::Section;
use super::super::shapes::Choice;
use super::{FormatDraft, table};
use crate::spec::OutputFormat;

const COMPRESSION: Choice<Compression> = Choice(&[
    ("snappy", Compression::Snappy),
    ("deflate", Compression::Deflate),
    ("zstandard", Compression::Zstandard),
    ("none", Compression::None),
]);

pub(super) fn avro(section: &mut Section<'_, '_>) -> Option<FormatDraft> {
    let (schema, columns_max) = table(section);
    let compression = section.or("compression", COMPRESSION, "snappy", "How blocks are compressed.");
    Some(FormatDraft {
        schema: schema?,
        columns_max,
        output: OutputFormat::Avro { compression },
        spots: section.spots(),
    })
}
