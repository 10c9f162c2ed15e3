//! A stream's processors as AWS's members describe them, where they can.

use serde_json::{Value, json};
use standpipe_transform::processors::Stage;

use crate::processors::{JQ, ProcessorSpec, WasmCall};

/// The most processors that the API has room for.
const PROCESSORS_MAX: usize = 5;

/// The ARN that a function of this daemon would have as a Lambda function, by its name.
pub(crate) type Own<'a> = dyn Fn(&str) -> String + 'a;

/// Parameters by name.
type Parameters = Vec<(&'static str, String)>;

/// A `ProcessingConfiguration`; `None` where there is nothing to tell, or the API cannot tell it: it has no such
/// processor, or runs them in another order.
pub(crate) fn described(specs: &[ProcessorSpec], own: &Own<'_>) -> Option<Value> {
    let known: Vec<(Stage, Value)> = specs.iter().map(|spec| member(spec, own)).collect::<Option<_>>()?;
    let stages = known.iter().map(|(stage, _)| *stage);
    if !(1..=PROCESSORS_MAX).contains(&known.len()) || !stages.is_sorted() {
        return None;
    }
    let processors: Vec<Value> = known.into_iter().map(|(_, processor)| processor).collect();
    Some(json!({"Enabled": true, "Processors": processors}))
}

/// A processor's stage, and what it is in the API.
fn member(spec: &ProcessorSpec, own: &Own<'_>) -> Option<(Stage, Value)> {
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
        ProcessorSpec::Wasm(call) => ("Lambda", called(call, own)?),
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

/// The parameters of a call; a function that no ARN was given for gets one of this daemon.
fn called(call: &WasmCall, own: &Own<'_>) -> Option<Parameters> {
    let mut parameters = vec![("LambdaArn", call.arn.clone().unwrap_or_else(|| own(&call.function)))];
    parameters.extend(call.retries.map(|retries| ("NumberOfRetries", retries.to_string())));
    if let Some(bytes) = call.batch_bytes {
        let mib = bytes as f64 / f64::from(1 << 20);
        if !(0.2..=3.0).contains(&mib) {
            return None;
        }
        // The API takes neither without the other.
        parameters.push(("BufferSizeInMBs", mib.to_string()));
        parameters.push(("BufferIntervalInSeconds", "60".to_owned()));
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_api_can_say_is_described() {
        let apart = ProcessorSpec::RecordDeAggregation { delimiter: None };
        let logs = ProcessorSpec::CloudwatchLogs { messages_only: true };
        let ends = ProcessorSpec::AppendDelimiter("\n#\\n".to_owned());
        let call = WasmCall { batch_bytes: Some(1 << 19), ..WasmCall::of("clean") };
        let little = WasmCall { batch_bytes: Some(1 << 10), ..call.clone() };
        let known = [logs.clone(), apart.clone(), ProcessorSpec::Wasm(call), ends];
        let own = |name: &str| format!("arn:of:{name}");
        assert_eq!(
            described(&known, &own),
            Some(json!({"Enabled": true, "Processors": [
                {"Type": "CloudWatchLogProcessing",
                 "Parameters": [{"ParameterName": "DataMessageExtraction", "ParameterValue": "true"}]},
                {"Type": "RecordDeAggregation",
                 "Parameters": [{"ParameterName": "SubRecordType", "ParameterValue": "JSON"}]},
                {"Type": "Lambda", "Parameters": [
                    {"ParameterName": "LambdaArn", "ParameterValue": "arn:of:clean"},
                    {"ParameterName": "BufferSizeInMBs", "ParameterValue": "0.5"},
                    {"ParameterName": "BufferIntervalInSeconds", "ParameterValue": "60"}]},
                {"Type": "AppendDelimiterToRecord",
                 "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n#\\n"}]},
            ]}))
        );
        let csv = ProcessorSpec::CsvToJson(standpipe_transform::processors::CsvToJsonOptions::default());
        let six = vec![logs.clone(); 6];
        for unsaid in [vec![], vec![apart, logs], vec![csv], vec![ProcessorSpec::Wasm(little)], six] {
            assert_eq!(described(&unsaid, &own), None, "{unsaid:?}");
        }
    }
}
