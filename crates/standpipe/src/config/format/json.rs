//! The section `json` of a format.

use super::super::reader::Section;
use super::super::shapes::text;
use super::FormatDraft;
use crate::spec::OutputFormat;

pub(super) fn json(section: &mut Section<'_, '_>) -> Option<FormatDraft> {
    let schema = section.required("schema", text(3..=2_000), "The table's name under `schemas`.");
    Some(FormatDraft { schema: schema?, output: OutputFormat::Json, spots: section.spots() })
}
