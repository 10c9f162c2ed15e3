//! The built-in processors: one file each, and JSON and jq, which several use.
//!
//! AWS's run in the order of [`Stage`]; ours run where they are listed.
//!
//! # Reading order
//! [`OptionError`] → a simple one ([`AppendDelimiterToRecord`]) → `jq`, whose programs [`MetadataExtraction`] and
//! [`Enrich`] run too.
//!
//! # Invariants
//! - A processor keeps, drops or fails each record, whatever is in it; none panics, and none takes memory or time out
//!   of proportion to its limits.
//! - None is impure.

mod append_delimiter;
mod cloudwatch_logs;
mod csv_to_json;
mod decompression;
mod enrich;
mod jq;
pub(crate) mod json;
mod kpl;
mod metadata_extraction;
mod record_deaggregation;
mod redact;

pub use append_delimiter::AppendDelimiterToRecord;
pub use cloudwatch_logs::CloudWatchLogProcessing;
pub use csv_to_json::{Column, CsvToJson, CsvToJsonOptions, Header};
pub use decompression::{DECOMPRESSED_BYTES_MAX, Decompression};
pub use enrich::{Enrich, EnrichOptions, OnMiss};
pub use jq::{Jq, JqOptions};
pub use kpl::KplDeAggregation;
pub use metadata_extraction::MetadataExtraction;
pub use record_deaggregation::{RecordDeAggregation, SUB_RECORDS_MAX, SubRecordType};
pub use redact::{Method, Redact, RedactOptions};

/// An option that a processor cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{processor}: {field} `{value}` {reason}")]
pub struct OptionError {
    /// The processor.
    pub processor: &'static str,
    /// The option.
    pub field: &'static str,
    /// What it is, shortened.
    pub value: String,
    /// What is wrong with it, with the limit where there is one.
    pub reason: String,
}

impl OptionError {
    /// The characters of a value that are shown.
    const SHOWN: usize = 60;

    fn new(
        processor: &'static str,
        field: &'static str,
        value: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> Self {
        let value = value.to_string();
        let value = match value.char_indices().nth(Self::SHOWN) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value,
        };
        Self { processor, field, value, reason: reason.into() }
    }
}

/// Where the processors of the Firehose API run, whatever their order in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Records that the Kinesis Producer Library put together are taken apart.
    KplDeAggregation,
    /// `Decompression`.
    Decompression,
    /// `CloudWatchLogProcessing`.
    CloudWatchLogProcessing,
    /// `RecordDeAggregation`.
    RecordDeAggregation,
    /// `Lambda`.
    Lambda,
    /// `MetadataExtraction`.
    MetadataExtraction,
    /// `AppendDelimiterToRecord`, behind the conversion of the format.
    AppendDelimiterToRecord,
}

impl Stage {
    /// The stage of a processor, by its `Type` in the Firehose API.
    pub fn of(processor_type: &str) -> Option<Self> {
        Some(match processor_type {
            "Decompression" => Self::Decompression,
            "CloudWatchLogProcessing" => Self::CloudWatchLogProcessing,
            "RecordDeAggregation" => Self::RecordDeAggregation,
            "Lambda" => Self::Lambda,
            "MetadataExtraction" => Self::MetadataExtraction,
            "AppendDelimiterToRecord" => Self::AppendDelimiterToRecord,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
