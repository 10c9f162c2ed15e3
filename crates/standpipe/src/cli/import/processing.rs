//! What is done to records on the way, as keys of the file: processors and dynamic partitioning.

use serde_json::{Map, Value};
use standpipe_transform::processors::{
    DECOMPRESSED_BYTES_MAX, MetadataExtraction, RecordDeAggregation, Stage,
};

use super::members;
use super::stream::{Fields, Scope, Yaml, enabled, open, text};
use crate::config;

/// The key of the processors, which the mapping of a stream moves to where the file has it.
pub(super) const PROCESSORS: &str = "processors";

const PROCESSOR_ADVICE: &str =
    "not taken over; see whether one of standpipe's processors does it, and list that under processors";
/// The longest retry duration in the API.
const RETRY_MAX_S: u32 = 7_200;

/// Maps a `ProcessingConfiguration`, into the order in which AWS runs its processors.
pub(super) fn processing(value: &Value, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    if !enabled(value)? {
        return Ok(());
    }
    let mut given = members(Some(value));
    given.remove("Enabled");
    let mut scope = scope.within("ProcessingConfiguration");
    let listed = given.remove("Processors").unwrap_or_default();
    let mut taken = Vec::new();
    for (index, given) in listed.as_array().into_iter().flatten().enumerate() {
        let kind = given.get("Type").and_then(Value::as_str).unwrap_or_default();
        let done = match kind {
            "AppendDelimiterToRecord" => delimiter(&Parameters(given), yaml),
            "Lambda" => {
                lambda(&Parameters(given), &mut scope).map(|fields| taken.push((Stage::of(kind), fields)))
            }
            kind => processor(kind, &Parameters(given)).map(|fields| taken.push((Stage::of(kind), fields))),
        };
        if let Err(why) = done {
            scope.note(&format!("Processors[{index}]"), given, why);
        }
    }
    scope.leave(given, &[]);
    taken.sort_by_key(|(stage, _)| *stage);
    if !taken.is_empty() {
        yaml.list(PROCESSORS, taken.into_iter().map(|(_, fields)| fields).collect());
    }
    Ok(())
}

/// The parameters of a processor.
struct Parameters<'a>(&'a Value);

impl Parameters<'_> {
    fn get(&self, name: &str) -> Result<Option<String>, String> {
        let all = self.0.get("Parameters").and_then(Value::as_array).into_iter().flatten();
        let mut named = all.filter(|parameter| parameter.get("ParameterName").is_some_and(|n| n == name));
        let value = named.next().map(|parameter| parameter.get("ParameterValue").unwrap_or(&Value::Null));
        value.map(|value| text(value).map_err(|why| format!("{name} {why}"))).transpose()
    }
}

/// A processor as an item of `processors`.
fn processor(kind: &str, parameters: &Parameters<'_>) -> Result<Fields, String> {
    let get = |name: &str| parameters.get(name);
    let mut options = Fields::default();
    let key = match kind {
        "Decompression" => {
            // What the API's processor goes to, where the file's default is less.
            options.text("limit", format!("{}MiB", DECOMPRESSED_BYTES_MAX >> 20));
            "decompress"
        }
        "CloudWatchLogProcessing" => {
            let messages_only = get("DataMessageExtraction")?.unwrap_or_default();
            options.0.push(("messages_only", Yaml::Truth(messages_only.eq_ignore_ascii_case("true"))));
            "cloudwatch_logs"
        }
        "RecordDeAggregation" => {
            let (by, delimiter) = (get("SubRecordType")?.unwrap_or_default(), get("Delimiter")?);
            RecordDeAggregation::new(&by, delimiter.as_deref()).map_err(|error| error.to_string())?;
            if let Some(delimiter) = delimiter.filter(|_| by == "DELIMITED") {
                options.text("delimiter_base64", delimiter);
            }
            "record_deaggregation"
        }
        "MetadataExtraction" => {
            let query = get("MetadataExtractionQuery")?.unwrap_or_default();
            let engine = get("JsonParsingEngine")?.unwrap_or_default();
            MetadataExtraction::new(&query, &engine).map_err(|error| error.to_string())?;
            options.text("query", query);
            "metadata_extraction"
        }
        _ => return Err(PROCESSOR_ADVICE.to_owned()),
    };
    let mut fields = Fields::default();
    fields.fields(key, options);
    Ok(fields)
}

/// The call of a function in the place of a Lambda function.
fn lambda(parameters: &Parameters<'_>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    let arn = parameters.get("LambdaArn")?.unwrap_or_default();
    let name = arn.split(':').nth(6).filter(|name| config::is_function_name(name));
    let name = name.ok_or_else(|| format!("{arn:?} is not the ARN of a function"))?;
    let mut call = Fields::default();
    call.text("function", name);
    if let Some(retries) = parameters.get("NumberOfRetries")? {
        call.text("retries", retries);
    }
    if let Some(size) = parameters.get("BufferSizeInMBs")? {
        call.text("batch", format!("{size}MiB"));
    }
    scope.remark("LambdaArn", &format!("{arn}; build the function {name} as WebAssembly"));
    scope.functions.insert(name.to_owned());
    let mut fields = Fields::default();
    fields.fields("wasm", call);
    Ok(fields)
}

/// The text behind each record, which the API has with its escapes written out.
fn delimiter(parameters: &Parameters<'_>, yaml: &mut Fields) -> Result<(), String> {
    let written = parameters.get("Delimiter")?.unwrap_or("\\n".to_owned());
    let delimiter = written.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t");
    match delimiter.as_str() {
        "\n" => yaml.text("delimiter", "newline"),
        "none" | "newline" => return Err("the file has another meaning for that text".to_owned()),
        other if other.len() > 64 => return Err("a delimiter may have 64 bytes".to_owned()),
        other => yaml.text("delimiter", other),
    }
    Ok(())
}

/// Whether there are partitions: the block is enabled, and says so.
pub(super) fn is_partitioned(given: &Map<String, Value>) -> bool {
    given.get("DynamicPartitioningConfiguration").is_some_and(|block| enabled(block).unwrap_or(false))
}

/// Maps a `DynamicPartitioningConfiguration`, whose prefix has been found to be right.
pub(super) fn partitioning(value: &Value, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    if !enabled(value)? {
        return Ok(());
    }
    let mut given = members(Some(value));
    given.remove("Enabled");
    let options = given.remove("RetryOptions").unwrap_or_default();
    if let Some(why) = open(&options) {
        return Err(format!("RetryOptions {why}"));
    }
    let mut fields = Fields::default();
    retry(&options, &mut fields)?;
    scope.within("DynamicPartitioningConfiguration").leave(given, &[]);
    yaml.fields("partitioning", fields);
    Ok(())
}

/// Maps `RetryOptions`.
pub(super) fn retry(options: &Value, yaml: &mut Fields) -> Result<(), String> {
    let Some(seconds) = options.get("DurationInSeconds") else { return Ok(()) };
    let seconds = text(seconds).map_err(|why| format!("DurationInSeconds {why}"))?;
    let allowed = seconds.parse().is_ok_and(|seconds: u32| seconds <= RETRY_MAX_S);
    if !allowed {
        return Err(format!("DurationInSeconds is {seconds}, the API allows 0 to {RETRY_MAX_S}"));
    }
    yaml.text("retry", format!("{seconds}s"));
    Ok(())
}
