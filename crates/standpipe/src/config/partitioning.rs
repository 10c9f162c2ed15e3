//! The `partitioning` of a destination: which objects rows go to, by what is in them.

use std::time::Duration;

use standpipe_model::StreamName;
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::processors::MetadataExtraction;

use super::branches::BranchDraft;
use super::compound::Map;
use super::problem::{Problem, Spot};
use super::reader::Section;
use super::shapes::{Int, Size, Span, text};
use super::streams::{DestinationDraft, JOURNAL_LIMIT_MAX, StreamDraft};
use super::units::{format_duration, format_size};
use crate::processors::{JQ, PartitionKeysError, ProcessorSpec, check_partition_keys};
use crate::spec::{Partitioning, default_window};

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
    /// Whether `keys` came to no query, as was told.
    keys_are_wrong: bool,
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
        "How long a delivery may fail before an alarm is raised; it is tried on (`RetryOptions`).",
    );
    let window_bytes = section.optional(
        "window",
        Size(1 << 20..=JOURNAL_LIMIT_MAX),
        "Raw bytes of records after which a window closes before its interval is over; where absent a quarter of the \
         journal's limit, at most 8 GiB, shared by the stream's destinations that are planned.",
    );
    let spec = Partitioning {
        active_max: u32::try_from(limit).unwrap_or(u32::MAX),
        retry_ms: u64::try_from(retry.as_millis()).unwrap_or(u64::MAX),
        window_bytes,
    };
    let keys_are_wrong = query.is_none() && section.given("keys");
    Some(PartitioningDraft { spec, query, keys_are_wrong, window_spot: section.spot("window") })
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

/// Checks the partitioning of a branch against everything else that is said of it.
pub(super) fn check(branch: &BranchDraft, journal_limit: Option<u64>, problems: &mut Vec<Problem>) {
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    let Some(destination) = &branch.destination else { return };
    let Some(partitioning) = &destination.partitioning else {
        if branch.processors.iter().any(|spec| matches!(spec, ProcessorSpec::MetadataExtraction { .. })) {
            let message = "metadata_extraction gives partition keys, which only a destination with \"partitioning\" uses";
            refuse(branch.spots.of("processors"), message.to_owned());
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
    if partitioning.keys_are_wrong {
        return;
    }
    match check_partition_keys(&keys.partition_keys(), &branch.processors) {
        Ok(()) => {}
        Err(error @ PartitionKeysError::Missing(_)) => {
            refuse(destination.spots.of("prefix"), error.to_string());
        }
        Err(error) if partitioning.query.is_some() => {
            refuse(destination.spots.of("partitioning"), error.to_string());
        }
        Err(error) => refuse(branch.spots.of("processors"), error.to_string()),
    }
}

/// The windows of a stream, or what batches come to of which a plan is made for their functions' sake, share its journal's
/// limit with the records that they are made of: there has to be room for all of them at once. Sizes that nobody gave
/// are made to fit.
pub(super) fn check_together(
    stream: &mut StreamDraft,
    journal_limit: Option<u64>,
    problems: &mut Vec<Problem>,
) {
    let name = stream.name.as_ref().map_or("", StreamName::as_str);
    let planned = stream.branches.iter_mut().filter(|branch| branch.is_planned());
    let planned: Vec<_> = planned.filter_map(|branch| branch.destination.as_mut()).collect();
    let count = planned.len();
    let Some(limit) = journal_limit.filter(|_| count > 1) else { return };
    let given: Vec<Option<(u64, &Spot)>> = planned.iter().map(|draft| given_window(draft)).collect();
    let default = default_window(limit, given.iter().map(|given| given.map(|(window, _)| window)));
    let absent = given.iter().filter(|given| given.is_none()).count() as u64;
    let given = || given.iter().flatten();
    let taken = given().fold(0_u64, |sum, (window, _)| sum.saturating_add(*window));
    let fits = taken.saturating_add(default.saturating_mul(absent)) <= limit / 2;
    // One that is too large by itself is told by itself.
    let alone = given().any(|(window, _)| *window > limit / 2);
    if let Some((window, spot)) = given().max_by_key(|(window, _)| *window).filter(|_| !fits && !alone) {
        let message = format!(
            "{} makes {} for the {count} destinations of \"{name}\" that are planned, half or more of the journal's limit, \
             {}: what is made of their windows would not fit in beside the records",
            format_size(*window),
            format_size(taken),
            format_size(limit)
        );
        problems.push(Problem { spot: (*spot).clone(), message });
    }
    for draft in planned {
        if draft.partitioning.is_none() && !draft.size_is_given {
            let size = &mut draft.spec.buffering.size_bytes;
            *size = default.min(*size);
        }
    }
}

/// What a destination that is planned says of its window, and where.
fn given_window(draft: &DestinationDraft) -> Option<(u64, &Spot)> {
    match &draft.partitioning {
        Some(PartitioningDraft { spec, window_spot, .. }) => Some((spec.window_bytes?, window_spot)),
        None => draft.size_is_given.then_some((draft.spec.buffering.size_bytes, &draft.size_spot)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good, load, with_destination};
    use super::*;
    use crate::spec::{Buffering, StreamSpec};

    const PREFIXES: &str = "prefix: \"a=!{partitionKeyFromQuery:a}/\", error_output_prefix: \"e/!{firehose:error-output-type}/\"";

    const QUERY: &str = "[{metadata_extraction: {query: \"{a: .b}\"}}]";

    /// A stream with those prefixes; `s3` stands behind them.
    fn partitioned(s3: &str, processors: &str) -> String {
        with_destination(&format!("{{{PREFIXES}, {s3}}}")) + &format!("  processors: {processors}\n")
    }

    fn loaded(text: &str) -> StreamSpec {
        good(text).streams.remove(0)
    }

    fn extraction(query: &str) -> ProcessorSpec {
        ProcessorSpec::MetadataExtraction { query: query.to_owned() }
    }

    #[test]
    fn a_stream_with_partitions_is_read_with_its_defaults() {
        let spec = loaded(&partitioned("partitioning: {}", QUERY));
        assert_eq!(spec.destination.partitioning, Some(Partitioning::default()));
        assert_eq!(spec.processors, [extraction("{a: .b}")]);
        let s3 = "partitioning: {limit: 7, retry: 0s, window: 5GiB}, buffering: {size: 1KiB, interval: 1ms}";
        let spec = loaded(&partitioned(s3, QUERY));
        let expected = Partitioning { active_max: 7, retry_ms: 0, window_bytes: Some(5 << 30) };
        assert_eq!(spec.destination.partitioning, Some(expected));
        assert_eq!(spec.destination.buffering, Buffering { size_bytes: 1 << 10, interval_ms: 1 });
    }

    #[test]
    fn keys_are_a_query_before_what_ends_the_rows() {
        let prefix = "prefix: \"!{partitionKeyFromQuery:a}/!{partitionKeyFromQuery:b c}\", error_output_prefix: \
                      \"!{firehose:error-output-type}\"";
        let keys = "partitioning: {keys: {a: \".x, 1 # why\", b c: '.y | tostring'}}";
        let text = with_destination(&format!("{{{prefix}, {keys}}}"));
        let query = extraction("{\"a\": (.x, 1 # why\n), \"b c\": (.y | tostring)}");
        assert_eq!(loaded(&text).processors, std::slice::from_ref(&query));
        let ends = ProcessorSpec::AppendDelimiter("\n".to_owned());
        let apart = ProcessorSpec::RecordDeAggregation { delimiter: None };
        let text =
            format!("{text}  processors: [{{record_deaggregation: {{}}}}, {{append_delimiter: \"\\n\"}}]\n");
        assert_eq!(loaded(&text).processors, [apart, query, ends]);
    }

    #[test]
    fn delimiters_are_taken_as_they_are_or_in_base64() {
        for (options, expected) in [
            ("{}", None),
            ("{delimiter: \"####\"}", Some("IyMjIw==")),
            ("{delimiter: \"\\n\"}", Some("Cg==")),
            ("{delimiter_base64: IyMjIw==}", Some("IyMjIw==")),
        ] {
            let text =
                with_destination("{}") + &format!("  processors: [{{record_deaggregation: {options}}}]\n");
            let delimiter = expected.map(str::to_owned);
            assert_eq!(
                loaded(&text).processors,
                [ProcessorSpec::RecordDeAggregation { delimiter }],
                "{options}"
            );
        }
        let text = with_destination("{}");
        refused(
            &format!("{text}  processors: [{{record_deaggregation: {{delimiter_base64: \"#\"}}}}]\n"),
            "streams[0].processors[0].record_deaggregation: RecordDeAggregation: Delimiter `#` has to be base64",
        );
    }

    /// `expect` is the one problem, without the file's name and the line.
    #[track_caller]
    fn refused(text: &str, expect: &str) {
        let problems = load(&[("standpipe.yaml", text)]).map(drop).expect_err(expect);
        let told: Vec<_> = problems.iter().filter_map(|problem| problem.splitn(4, ':').nth(3)).collect();
        assert_eq!(told, [format!(" {expect}")], "{text}");
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_its_place() {
        for (s3, processors, expect) in [
            (
                "bucket: b",
                "[]",
                "prefix: Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning \
                 is enabled.",
            ),
            (
                "partitioning: {}, buffering: {interval: 0}",
                QUERY,
                "buffering.interval: 0s is below the least allowed with \"partitioning\", 1ms: rows are partitioned that \
                 come within the interval",
            ),
            (
                "partitioning: {limit: 10001}",
                QUERY,
                "partitioning.limit: 10001 is above the most allowed, 10000",
            ),
            ("partitioning: {retry: 121m}", QUERY, "partitioning.retry: 2h1m is above the most allowed, 2h"),
            (
                "partitioning: {}",
                "[]",
                "prefix: the prefix asks for the key a, which no metadata extraction gives",
            ),
            (
                "partitioning: {keys: {a: .a, c: .c}}",
                "[]",
                "partitioning: the metadata extraction gives the key c, which the prefix does not ask for",
            ),
            (
                "partitioning: {keys: {a: \".a) + (.b\"}}",
                "[]",
                "partitioning.keys: a: MetadataExtraction: MetadataExtractionQuery `.a) + (.b` is no jq: expected token \
                 at `) + (.b`",
            ),
        ] {
            refused(&partitioned(s3, processors), &format!("streams[0].destination.s3.{expect}"));
        }
    }

    #[test]
    fn partitions_are_checked_against_the_rest_of_the_stream() {
        refused(
            &partitioned("partitioning: {}", "[{metadata_extraction: {query: \"{a: .b, c}\"}}]"),
            "streams[0].processors: the metadata extraction gives the key c, which the prefix does not ask for",
        );
        refused(
            &partitioned("partitioning: {window: 6MiB}", &format!("{QUERY}\n  journal_limit: 10MiB")),
            "streams[0].destination.s3.partitioning.window: 6MiB is more than half of the journal's limit, 10MiB: a \
             window could not close before the journal is full",
        );
        let backup = format!("{QUERY}\n  backup: {{s3: {{{PREFIXES}, partitioning: {{}}}}}}");
        refused(
            &partitioned("partitioning: {}", &backup),
            "streams[0].backup.s3.partitioning: a backup has no partitions: it gets the records as they came",
        );
        refused(
            &format!("{}  processors: {QUERY}\n", with_destination("{}")),
            "streams[0].processors: metadata_extraction gives partition keys, which only a destination with \
             \"partitioning\" uses",
        );
        // The size is where objects are cut, and closes nothing.
        let small = format!("{QUERY}\n  journal_limit: 8MiB");
        good(&partitioned("partitioning: {}, buffering: {size: 64MiB}", &small));
    }

    /// A stream with a journal of so much and these destinations; `call` calls a function.
    fn several(limit: &str, entries: &[String]) -> String {
        format!(
            "stores: {{disk: {{type: file, path: /tmp/x}}}}\nfunctions: {{call: {{path: /tmp/x.wasm}}}}\nstreams:\n- name: \
             many\n  journal_limit: {limit}\n  destinations: [{}]\n",
            entries.join(", ")
        )
    }

    fn entry(id: &str, partitioning: &str) -> String {
        let s3 = format!(
            "prefix: \"{id}/!{{partitionKeyFromQuery:a}}/\", error_output_prefix: \"{id}/!{{firehose:error-output-type}}/\""
        );
        format!("{{id: {id}, s3: {{{s3}, partitioning: {partitioning}}}, processors: {QUERY}}}")
    }

    fn calling(id: &str, buffering: &str) -> String {
        let s3 = format!("prefix: {id}/, buffering: {buffering}");
        format!("{{id: {id}, s3: {{{s3}}}, processors: [{{wasm: call}}]}}")
    }

    #[test]
    fn windows_of_several_destinations_fit_into_a_journal_together() {
        let by_default: Vec<_> = (0..8).map(|n| entry(&format!("p{n}"), "{}")).collect();
        let calls: Vec<_> = (0..8).map(|n| calling(&format!("c{n}"), "{}")).collect();
        for (limit, text) in [("1MiB", 1 << 20), ("100MiB", 100 << 20), ("1TiB", 1_u64 << 40)] {
            let spec = loaded(&several(limit, &[&*by_default, &calls].concat()));
            let sizes =
                spec.destinations().into_iter().map(|id| spec.buffering_of(&id, text).unwrap().size_bytes);
            let sizes: Vec<u64> = sizes.collect();
            assert!(
                sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<u64>() <= text / 4,
                "{limit}: {sizes:?}"
            );
        }
        // What is given leaves the rest to the others.
        let beside = loaded(&several("10MiB", &[entry("a", "{window: 4608KiB}"), entry("b", "{}")]));
        let sizes = beside.destinations().into_iter().map(|id| beside.buffering_of(&id, 10 << 20));
        let sizes: Vec<u64> = sizes.map(|buffering| buffering.unwrap().size_bytes >> 10).collect();
        assert_eq!(sizes, [4608, 512]);
        // One alone has what it always had.
        let alone = loaded(&several("100MiB", &by_default[..1]));
        assert_eq!(alone.buffering_of(&alone.id, 100 << 20).unwrap().size_bytes, 25 << 20);
        let text = [entry("a", "{window: 3MiB}"), calling("b", "{size: 2MiB}")];
        good(&several("10MiB", &text));
    }

    #[test]
    fn windows_that_only_fit_one_by_one_are_refused_at_the_largest() {
        let told = |field: &str, window: &str, sum: &str, count: u32| {
            format!(
                "streams[0].{field}: {window} makes {sum} for the {count} destinations of \"many\" that are planned, half \
                 or more of the journal's limit, 10MiB: what is made of their windows would not fit in beside the records"
            )
        };
        let (large, small) = (entry("a", "{window: 4MiB}"), entry("b", "{window: 2MiB}"));
        refused(
            &several("10MiB", &[small, large.clone()]),
            &told("destinations[1].s3.partitioning.window", "4MiB", "6MiB", 2),
        );
        refused(
            &several("10MiB", &[calling("b", "{size: 5MiB}"), large]),
            &told("destinations[0].s3.buffering.size", "5MiB", "9MiB", 2),
        );
        let full = [entry("a", "{window: 3MiB}"), entry("b", "{window: 3MiB}"), entry("c", "{}")];
        refused(&several("10MiB", &full), &told("destinations[1].s3.partitioning.window", "3MiB", "6MiB", 3));
    }

    #[test]
    fn queries_that_do_not_say_their_keys_are_trusted() {
        for query in [".keys", "{a: 1} + .more"] {
            let processors = format!("[{{metadata_extraction: {{query: \"{query}\"}}}}]");
            loaded(&partitioned("partitioning: {}", &processors));
        }
    }
}
