//! What the tests of all processors use: a chunk of these records, and what became of them.

use standpipe_model::{Position, StreamName, Timestamp};

use super::*;
use crate::{Chain, Processor, Record, Source, Transformed};

/// Runs a processor over records, twice: every record is accounted for, and the same comes out both times.
pub(super) fn run(processor: impl Processor + 'static, records: &[impl AsRef<[u8]>]) -> Transformed {
    let source = Source {
        stream: StreamName::parse("s").unwrap(),
        stream_arn: "arn:aws:firehose:us-east-1:000000000000:deliverystream/s".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let records: Vec<Record> = (0..)
        .zip(records)
        .map(|(position, data)| Record {
            position: Position(position),
            arrived_at: Timestamp(1),
            data: data.as_ref().to_vec().into(),
        })
        .collect();
    let chain = Chain::new(vec![Box::new(processor)]);
    let done = chain.run(&source, &records);
    assert_eq!(done, chain.run(&source, &records), "the same records gave another result");
    assert!(chain.is_pure());
    let mut accounted: Vec<u32> = done.rows.iter().map(|row| row.origin.record).collect();
    accounted.extend(done.failures.keys());
    accounted.sort_unstable();
    accounted.dedup();
    assert_eq!(accounted.len() as u64 + done.dropped, records.len() as u64, "a record is unaccounted for");
    done
}

/// The rows as text.
pub(super) fn kept(done: &Transformed) -> Vec<String> {
    done.rows.iter().map(|row| String::from_utf8(row.data.to_vec()).unwrap()).collect()
}

/// The codes of the failures.
pub(super) fn codes(done: &Transformed) -> Vec<&str> {
    done.failures.values().map(|failure| &failure.code[..]).collect()
}

#[test]
fn processors_of_the_api_run_in_the_order_of_firehose() {
    let mut types = [
        "AppendDelimiterToRecord",
        "MetadataExtraction",
        "Lambda",
        "RecordDeAggregation",
        "CloudWatchLogProcessing",
        "Decompression",
    ];
    types.sort_by_key(|name| Stage::of(name));
    assert_eq!(
        types,
        [
            "Decompression",
            "CloudWatchLogProcessing",
            "RecordDeAggregation",
            "Lambda",
            "MetadataExtraction",
            "AppendDelimiterToRecord"
        ]
    );
    assert_eq!(Stage::of("KplDeAggregation"), None, "it is not of the API");
}

#[test]
fn an_option_error_shows_the_beginning_of_a_value_only() {
    let error = OptionError::new("jq", "program", "é".repeat(100), "is wrong");
    assert_eq!(error.to_string(), format!("jq: program `{}…` is wrong", "é".repeat(60)));
}
