//! AWS's rules on what is done to records on the way: processors, format conversion, dynamic partitioning.

use serde_json::{Map, Value};

use super::rules::{block, refuse, require};
use crate::ApiError;
use crate::shape::{enabled, not_disabled, text};

type Members = Map<String, Value>;
type Checked = Result<(), ApiError>;

/// A processor as given.
struct Processor<'a> {
    kind: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Processor<'a> {
    fn of(processor: &'a Value) -> Self {
        let member = |of: &'a Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default();
        let parameters = processor.get("Parameters").and_then(Value::as_array).into_iter().flatten();
        let parameters =
            parameters.map(|given| (member(given, "ParameterName"), member(given, "ParameterValue")));
        Self { kind: member(processor, "Type"), parameters: parameters.collect() }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.parameter(name).map(|value| value.trim().parse().unwrap_or(f64::NAN))
    }
}

fn processors(processing: &Members) -> Vec<Processor<'_>> {
    let list = processing.get("Processors").and_then(Value::as_array).into_iter().flatten();
    list.map(Processor::of).collect()
}

/// Whether the processors say which table a record goes to.
pub(super) fn routes(processing: &Members) -> bool {
    let routes = |processor: &Processor<'_>| matches!(processor.kind, "Lambda" | "MetadataExtraction");
    enabled(processing) && processors(processing).iter().any(routes)
}

/// Checks a `ProcessingConfiguration`, which counts only where it is enabled.
pub(super) fn check(processing: &Members) -> Checked {
    if !enabled(processing) {
        return Ok(());
    }
    let processors = processors(processing);
    for processor in &processors {
        let names = processor.parameters.iter().map(|(name, _)| name);
        let duplicate = names.clone().enumerate().any(|(at, name)| names.clone().take(at).any(|n| n == name));
        require(!duplicate, "Duplicate ProcessorParameter passed to ProcessingConfiguration.")?;
    }
    require(
        (1..=5).contains(&processors.len()),
        "A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled.",
    )?;
    let count = |kind: &str| processors.iter().filter(|processor| processor.kind == kind).count();
    require(count("Lambda") <= 1, "Cannot have more than 1 Lambda processor.")?;
    require(
        count("CloudWatchLogProcessing") == 0 || count("Decompression") > 0,
        "CloudWatchLogProcessingProcessor can only be enabled with DecompressionProcessor",
    )?;
    processors.iter().try_for_each(check_processor)
}

fn check_processor(processor: &Processor<'_>) -> Checked {
    let parameter = |name: &str| processor.parameter(name);
    match processor.kind {
        "Lambda" => check_lambda(processor),
        "MetadataExtraction" => require(
            parameter("JsonParsingEngine") == Some("JQ-1.6"),
            "MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6",
        ),
        "RecordDeAggregation" => {
            require(
                matches!(parameter("SubRecordType"), Some("JSON" | "DELIMITED")),
                "SubRecordType has to be one of JSON, DELIMITED",
            )?;
            require(
                parameter("SubRecordType") != Some("DELIMITED") || parameter("Delimiter").is_some(),
                "Delimiter should be present for DELIMITED",
            )
        }
        "CloudWatchLogProcessing" => require(
            parameter("DataMessageExtraction").is_none_or(|value| {
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            }),
            "Invalid parameter value for DataMessageExtraction. Allowed values are True and False.",
        ),
        _ => Ok(()),
    }
}

fn check_lambda(processor: &Processor<'_>) -> Checked {
    let Some(arn) = processor.parameter("LambdaArn") else {
        return refuse("LambdaArn is required when Lambda processor is used.");
    };
    require(is_function(arn), "Invalid lambda ARN.")?;
    let (size, interval) = (processor.number("BufferSizeInMBs"), processor.number("BufferIntervalInSeconds"));
    require(
        size.is_some() == interval.is_some(),
        "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.",
    )?;
    require(
        size.is_none_or(|size| (0.2..=3.0).contains(&size)),
        "BufferSizeInMBs for lambda processor must be between 0.2 and 3.",
    )?;
    require(
        interval.is_none_or(|interval| (0.0..=900.0).contains(&interval)),
        "BufferIntervalInSeconds for lambda processor must be between 0 and 900.",
    )?;
    require(
        processor.number("NumberOfRetries").is_none_or(|retries| (0.0..=300.0).contains(&retries)),
        "Number of retries for lambda must be between 0 and 300.",
    )
}

/// `arn:<partition>:lambda:<region>:<account>:function:<name>[:<version or alias>]`.
fn is_function(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "lambda", _, _, "function", name] | ["arn", _, "lambda", _, _, "function", name, _]
        if !name.is_empty())
}

/// Checks format conversion, which is on unless it is switched off.
pub(super) fn check_conversion(members: &Members) -> Checked {
    let conversion = block(members, "DataFormatConversionConfiguration");
    let Some(conversion) = conversion.filter(|conversion| not_disabled(conversion)) else { return Ok(()) };
    require(
        matches!(text(members, "CompressionFormat"), "" | "UNCOMPRESSED"),
        "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled. To \
         enable compression within the converted output format, set the appropriate serialization option in the output \
         format configuration.",
    )?;
    require(
        size_is_at_least_64(members),
        "BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled.",
    )?;
    for name in ["InputFormatConfiguration", "OutputFormatConfiguration", "SchemaConfiguration"] {
        if !conversion.contains_key(name) {
            return refuse(format!("{name} must not be null"));
        }
    }
    check_serde(conversion, "InputFormatConfiguration", "Deserializer")?;
    check_serde(conversion, "OutputFormatConfiguration", "Serializer")?;
    let schema = block(conversion, "SchemaConfiguration");
    for (name, shown) in
        [("RoleARN", "RoleArn"), ("DatabaseName", "DatabaseName"), ("TableName", "TableName")]
    {
        if schema.is_some_and(|schema| text(schema, name).is_empty()) {
            return refuse(format!("SchemaConfiguration.{shown} must not be null or empty"));
        }
    }
    Ok(())
}

fn check_serde(conversion: &Members, parent: &str, name: &str) -> Checked {
    let chosen = block(conversion, parent).and_then(|format| block(format, name)).map_or(0, Map::len);
    match chosen {
        0 => refuse(format!("{name} must not be null")),
        1 => Ok(()),
        _ => {
            refuse(format!("More than one {} specified. Only one may be chosen.", name.to_ascii_lowercase()))
        }
    }
}

fn size_is_at_least_64(members: &Members) -> bool {
    let size = block(members, "BufferingHints").and_then(|hints| hints.get("SizeInMBs")?.as_u64());
    size.is_none_or(|size| size >= 64)
}

/// Checks dynamic partitioning against the prefix and the processors.
pub(super) fn check_partitioning(members: &Members) -> Checked {
    let on = block(members, "DynamicPartitioningConfiguration").is_some_and(enabled);
    let processing = block(members, "ProcessingConfiguration").filter(|processing| enabled(processing));
    let prefix = text(members, "Prefix");
    let partitions =
        prefix.contains("!{partitionKeyFromQuery:") || prefix.contains("!{partitionKeyFromLambda:");
    if on {
        require(
            partitions,
            "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled",
        )?;
        require(
            size_is_at_least_64(members),
            "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
        )?;
        let interval = block(members, "BufferingHints").and_then(|hints| hints.get("IntervalInSeconds"));
        return require(
            interval != Some(&Value::from(0)),
            "BufferingHints.IntervalInSeconds must be at least 1 when Dynamic Partitioning is enabled.",
        );
    }
    require(
        !partitions,
        "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled.",
    )?;
    for kind in processing.map(processors).unwrap_or_default().iter().map(|processor| processor.kind) {
        if matches!(kind, "MetadataExtraction" | "RecordDeAggregation") {
            return refuse(format!(
                "class com.amazonaws.services.firehose.internal.model.{kind}Processor can only be present when Dynamic \
                 Partitioning is enabled."
            ));
        }
    }
    Ok(())
}
