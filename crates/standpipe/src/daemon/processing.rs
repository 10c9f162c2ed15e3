//! A stream's processors as AWS's members describe them, where they can.

use serde_json::{Value, json};
use standpipe_transform::processors::Stage;

use crate::config::Config;
use crate::processors::{JQ, ProcessorSpec, WasmCall};

/// The most processors that the API has room for.
const PROCESSORS_MAX: usize = 5;

/// Parameters by name.
type Parameters = Vec<(&'static str, String)>;

/// A `ProcessingConfiguration`; `None` where there is nothing to tell, or the API cannot tell it: it has no such
/// processor, or runs them in another order.
pub(crate) fn described(specs: &[ProcessorSpec], config: &Config) -> Option<Value> {
    let known: Vec<(Stage, &str, Parameters)> =
        specs.iter().map(|spec| member(spec, config)).collect::<Option<_>>()?;
    let stages = known.iter().map(|(stage, ..)| *stage);
    if !(1..=PROCESSORS_MAX).contains(&known.len()) || !stages.is_sorted() {
        return None;
    }
    let processor = |(_, kind, parameters): (Stage, &str, Parameters)| {
        let parameter = |(name, value)| json!({"ParameterName": name, "ParameterValue": value});
        let parameters: Vec<Value> = parameters.into_iter().map(parameter).collect();
        json!({"Type": kind, "Parameters": parameters})
    };
    let processors: Vec<Value> = known.into_iter().map(processor).collect();
    Some(json!({"Enabled": true, "Processors": processors}))
}

/// A processor's stage, type and parameters.
fn member(spec: &ProcessorSpec, config: &Config) -> Option<(Stage, &'static str, Parameters)> {
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
        ProcessorSpec::Wasm(call) => ("Lambda", called(call, config)?),
        ProcessorSpec::AppendDelimiter(delimiter) => {
            // The API takes no value of white space alone.
            let written = delimiter.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
            ("AppendDelimiterToRecord", vec![("Delimiter", written)])
        }
        _ => return None,
    };
    Some((Stage::of(kind)?, kind, parameters))
}

/// The parameters of a call; a function that no ARN was given for gets one of this daemon.
fn called(call: &WasmCall, config: &Config) -> Option<Parameters> {
    let Config { region, account_id, .. } = config;
    let own = || format!("arn:aws:lambda:{region}:{account_id}:function:{}", call.function);
    let mut parameters = vec![("LambdaArn", call.arn.clone().unwrap_or_else(own))];
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
