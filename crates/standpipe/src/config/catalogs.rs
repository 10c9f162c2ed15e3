//! The `catalogs` section: where the columns of tables are that are not in the file.

use std::path::PathBuf;
use std::time::Duration;

use super::compound::Sub;
use super::reader::Section;
use super::shapes::{FilePath, Span, Url};
use super::stores::{Region, S3Keys, s3_keys};

/// How AWS Glue is reached, or a server that speaks its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlueConfig {
    /// The address; AWS's own for the region where absent.
    pub endpoint: Option<String>,
    /// The region to sign for; `us-east-1` where absent.
    pub region: Option<String>,
    /// Fixed credentials; the usual chain where absent.
    pub credentials: Option<S3Keys>,
    /// Certificate authorities (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take.
    pub timeout: Duration,
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
    let endpoint = section.optional("endpoint", Url, "Its address; AWS's own for the region where absent.");
    let region = section.optional("region", Region, "The region to sign for; `us-east-1` where absent.");
    let credentials = s3_keys(section);
    let ca_file = section.optional(
        "ca_file",
        FilePath,
        "Certificate authorities (PEM) that are trusted beside the system's.",
    );
    let timeout = section.or("timeout", Span::secs(1..=60), "5s", "How long one call may take.");
    let refresh = section.or(
        "refresh",
        Span::secs(1..=86_400),
        "5m",
        "How often a table is asked for again. What has changed counts for the batches that close from then on.",
    );
    Some(GlueConfig { endpoint, region, credentials, ca_file, timeout, refresh })
}
