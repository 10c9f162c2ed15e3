//! The `catalogs` section: where the columns of tables are that are not in the file.

use std::time::Duration;

use super::compound::Sub;
use super::reader::Section;
use super::shapes::Span;
use super::stores::{AwsService, aws_service};

/// How AWS Glue is reached, or a server that speaks its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlueConfig {
    /// How it is reached.
    pub service: AwsService,
    /// How often a table is asked for again.
    pub refresh: Duration,
}

/// Reads the section.
pub(super) fn catalogs(section: &mut Section<'_, '_>) -> Option<GlueConfig> {
    section.optional(
        "catalogs",
        Sub(|section| section.optional("glue", Sub(glue), "AWS Glue, or a server that speaks its language.")),
        "Where the columns of tables are that are not under `schemas`.",
    )
}

fn glue(section: &mut Section<'_, '_>) -> Option<GlueConfig> {
    let service = aws_service(section, "Its address; AWS's own for the region where absent.");
    let refresh = section.or(
        "refresh",
        Span::secs(1..=86_400),
        "5m",
        "How often a table is asked for again. What has changed counts for the batches that close from then on.",
    );
    Some(GlueConfig { service, refresh })
}
