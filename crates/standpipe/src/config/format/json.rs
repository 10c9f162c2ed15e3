//! The section `json` of a format.

use super::super::reader::Section;
use super::{FormatDraft, table};
use crate::spec::OutputFormat;

pub(super) fn json(section: &mut Section<'_, '_>) -> Option<FormatDraft> {
    let (schema, columns_max) = table(section);
    Some(FormatDraft { schema: schema?, columns_max, output: OutputFormat::Json, spots: section.spots() })
}
