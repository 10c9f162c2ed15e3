//! A stream's processors as AWS's members describe them, where they can.

use serde_json::{Value, json};
use standpipe_transform::processors::Stage;

use crate::processors::{JQ, ProcessorSpec};

/// The most processors that the API has room for.
const PROCESSORS_MAX: usize = 5;

/// A `ProcessingConfiguration`; `None` where there is nothing to tell, or the API cannot tell it: it has no such
/// processor, or runs them in another order.
pub(crate) fn described(specs: &[ProcessorSpec]) -> Option<Value> {
    let known: Vec<(Stage, Value)> = specs.iter().map(member).collect::<Option<_>>()?;
    let stages = known.iter().map(|(stage, _)| *stage);
    if !(1..=PROCESSORS_MAX).contains(&known.len()) || !stages.is_sorted() {
        return None;
    }
    let processors: Vec<Value> = known.into_iter().map(|(_, processor)| processor).collect();
    Some(json!({"Enabled": true, "Processors": processors}))
}

/// A processor's stage, and what it is in the API.
fn member(spec: &ProcessorSpec) -> Option<(Stage, Value)> {
    let (kind, parameters) = match spec {
        ProcessorSpec::Decompress { .. } => ("Decompression", vec![("CompressionFormat", "GZIP".to_owned())]),
        ProcessorSpec::CloudwatchLogs { messages_only } => {
            ("CloudWatchLogProcessing", vec![("DataMessageExtraction", messages_only.to_string())])
        }
        ProcessorSpec::RecordDeAggregation { delimiter: None } => {
            ("RecordDeAggregation", vec![("SubRecordType", "JSON".to_owned())])
        }
        ProcessorSpec::RecordDeAggregation { delimiter: Some(delimiter) } => {
            let kind = ("SubRecordType", "DELIMITED".to_owned());
            ("RecordDeAggregation", vec![kind, ("Delimiter", delimiter.clone())])
        }
        ProcessorSpec::MetadataExtraction { query } => {
            let engine = ("JsonParsingEngine", JQ.to_owned());
            ("MetadataExtraction", vec![("MetadataExtractionQuery", query.clone()), engine])
        }
        ProcessorSpec::AppendDelimiter(delimiter) => {
            // The API takes no value of white space alone.
            let written = delimiter.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
            ("AppendDelimiterToRecord", vec![("Delimiter", written)])
        }
        _ => return None,
    };
    let parameter = |(name, value)| json!({"ParameterName": name, "ParameterValue": value});
    let parameters: Vec<Value> = parameters.into_iter().map(parameter).collect();
    Some((Stage::of(kind)?, json!({"Type": kind, "Parameters": parameters})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_api_can_say_is_described() {
        let apart = ProcessorSpec::RecordDeAggregation { delimiter: None };
        let logs = ProcessorSpec::CloudwatchLogs { messages_only: true };
        let ends = ProcessorSpec::AppendDelimiter("\n#\\n".to_owned());
        let known = [logs.clone(), apart.clone(), ends];
        assert_eq!(
            described(&known),
            Some(json!({"Enabled": true, "Processors": [
                {"Type": "CloudWatchLogProcessing",
                 "Parameters": [{"ParameterName": "DataMessageExtraction", "ParameterValue": "true"}]},
                {"Type": "RecordDeAggregation",
                 "Parameters": [{"ParameterName": "SubRecordType", "ParameterValue": "JSON"}]},
                {"Type": "AppendDelimiterToRecord",
                 "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n#\\n"}]},
            ]}))
        );
        let csv = ProcessorSpec::CsvToJson(standpipe_transform::processors::CsvToJsonOptions::default());
        let six = vec![logs.clone(); 6];
        for unsaid in [vec![], vec![apart, logs], vec![csv], six] {
            assert_eq!(described(&unsaid), None, "{unsaid:?}");
        }
    }
}
