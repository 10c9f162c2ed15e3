//! The `partitioning` of a destination: which objects rows go to, by what is in them.

use std::time::Duration;

use standpipe_model::StreamName;
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::processors::MetadataExtraction;

use super::compound::Map;
use super::problem::{Problem, Spot};
use super::reader::Section;
use super::shapes::{Int, Size, Span, text};
use super::streams::{JOURNAL_LIMIT_MAX, StreamDraft};
use super::units::{format_duration, format_size};
use crate::processors::{JQ, PartitionKeysError, ProcessorSpec, check_partition_keys};
use crate::spec::Partitioning;

/// The most partitions that a window may have: twice what the service goes to. Each of them is an object that the plan of
/// a batch names.
const ACTIVE_MAX: u64 = 10_000;
/// The least age at which a window closes.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// A `partitioning` that was read.
#[derive(Debug, Clone)]
pub(super) struct PartitioningDraft {
    pub(super) spec: Partitioning,
    /// The query that `keys` come to.
    pub(super) query: Option<String>,
    window_spot: Spot,
}

/// Reads the section.
pub(super) fn partitioning(section: &mut Section<'_, '_>) -> Option<PartitioningDraft> {
    let query = keys(section);
    let limit = section.or(
        "limit",
        Int(1..=ACTIVE_MAX),
        "500",
        "The most partitions within a window; rows of further ones go to the error output.",
    );
    let retry = section.or(
        "retry",
        Span::secs(0..=7200),
        "5m",
        "For how long the delivery of a partition's object is tried again (`RetryOptions`).",
    );
    let window_bytes = section.optional(
        "window",
        Size(1 << 20..=JOURNAL_LIMIT_MAX),
        "Raw bytes of records after which a window closes before its interval is over; where absent a quarter of the \
         journal's limit, at most 8 GiB.",
    );
    let spec = Partitioning {
        active_max: u32::try_from(limit).unwrap_or(u32::MAX),
        retry_ms: u64::try_from(retry.as_millis()).unwrap_or(u64::MAX),
        window_bytes,
    };
    Some(PartitioningDraft { spec, query, window_spot: section.spot("window") })
}

/// The query that makes an object of `keys`.
fn keys(section: &mut Section<'_, '_>) -> Option<String> {
    let named = section.optional(
        "keys",
        Map(text(1..=16_384)),
        "Partition keys by name, each with a jq program that gives its value; short for the processor `metadata_extraction`.",
    )?;
    let mut members = Vec::new();
    for (name, _, program) in named {
        let program = program?;
        // By itself first: what a program lacks or has too much of must not reach into the others.
        if let Err(error) = MetadataExtraction::new(&program, JQ) {
            section.refuse("keys", format!("{name}: {error}"));
            return None;
        }
        let end_of_comment = if program.contains('#') { "\n" } else { "" };
        members.push(format!("{}: ({program}{end_of_comment})", serde_json::Value::from(name)));
    }
    let query = format!("{{{}}}", members.join(", "));
    match MetadataExtraction::new(&query, JQ) {
        Ok(_) => Some(query),
        Err(error) => {
            section.refuse("keys", error);
            None
        }
    }
}

/// Adds the query as a processor: behind those that change what is in a row, before those that only end it.
pub(super) fn extract(query: String, processors: &mut Vec<ProcessorSpec>) {
    let ends = |processor: &ProcessorSpec| matches!(processor, ProcessorSpec::AppendDelimiter(_));
    let at = processors.len() - processors.iter().rev().take_while(|processor| ends(processor)).count();
    processors.insert(at, ProcessorSpec::MetadataExtraction { query });
}

/// Checks a stream's partitioning against everything else that is said of it.
pub(super) fn check(stream: &StreamDraft, journal_limit: Option<u64>, problems: &mut Vec<Problem>) {
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    if let Some(backup) = stream.backup.as_ref().filter(|backup| backup.partitioning.is_some()) {
        let message = "a backup has no partitions: it gets the records as they came".to_owned();
        refuse(backup.spots.of("partitioning"), message);
    }
    let Some(destination) = &stream.destination else { return };
    let Some(partitioning) = &destination.partitioning else {
        if stream.processors.iter().any(|spec| matches!(spec, ProcessorSpec::MetadataExtraction { .. })) {
            let message = "metadata_extraction gives partition keys, which only a destination with \"partitioning\" uses";
            refuse(stream.spots.of("processors"), message.to_owned());
        }
        return;
    };
    if destination.spec.buffering.interval() < INTERVAL_MIN {
        let message = format!(
            "{} is below the least allowed with \"partitioning\", {}: rows are partitioned that come within the interval",
            format_duration(destination.spec.buffering.interval()),
            format_duration(INTERVAL_MIN)
        );
        refuse(destination.interval_spot.clone(), message);
    }
    if let (Some(window), Some(limit)) = (partitioning.spec.window_bytes, journal_limit)
        && window > limit / 2
    {
        let message = format!(
            "{} is more than half of the journal's limit, {}: a window could not close before the journal is full",
            format_size(window),
            format_size(limit)
        );
        refuse(partitioning.window_spot.clone(), message);
    }
    let any = StreamName::parse("any").expect("the name follows the rule");
    let spec = &destination.spec;
    // What is wrong with the prefixes is told by itself.
    let Ok(keys) = ObjectKeys::new(any, &spec.prefix, &spec.error_output_prefix, "", "", true) else {
        return;
    };
    match check_partition_keys(&keys.partition_keys(), &stream.processors) {
        Ok(()) => {}
        Err(error @ PartitionKeysError::Missing(_)) => {
            refuse(destination.spots.of("prefix"), error.to_string());
        }
        Err(error) if partitioning.query.is_some() => {
            refuse(destination.spots.of("partitioning"), error.to_string());
        }
        Err(error) => refuse(stream.spots.of("processors"), error.to_string()),
    }
}
