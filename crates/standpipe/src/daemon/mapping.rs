//! Between AWS's destination members and standpipe's own specification.
//!
//! A bucket ARN leads to a configured store, unless the role ARN does; a log group leads to the delivery log. What was
//! given is kept as it was, so that it can be merged and described; the specification is derived from it.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use standpipe_ingest::shape::{enabled, text};
use standpipe_ingest::{ApiError, Destination, DestinationKind};
use standpipe_model::{Compression, DestinationId, Encryption, ObjectOptions, StreamName};
use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::processors::{DECOMPRESSED_BYTES_MAX, Stage};

use super::{conversion, endpoints, processing};
use crate::catalog::Definition;
use crate::config::{Config, StoreConfig};
use crate::processors::{PartitionKeysError, ProcessorSpec, WasmCall, check, check_partition_keys};
use crate::spec::{Branch, Buffering, LogTarget, Partitioning, S3Destination, StreamSpec};

const MIB: u64 = 1 << 20;
/// Where a table's own error output is.
const TABLE_PREFIX: &str = "S3ErrorOutputPrefix";

/// The specification that a destination comes to, whose rules have been checked.
///
/// # Errors
/// `InvalidArgumentException`, in AWS's words where it has them.
pub(super) fn to_spec(
    name: &StreamName,
    kind: DestinationKind,
    configuration: &Map<String, Value>,
    config: &Config,
) -> Result<StreamSpec, ApiError> {
    let endpoint = endpoints::endpoint(kind, configuration)?;
    let of_store = match endpoint.is_some() || kind == DestinationKind::Iceberg {
        true => configuration.get("S3Configuration").and_then(Value::as_object).unwrap_or(configuration),
        false => configuration,
    };
    let mut of_store = Cow::Borrowed(of_store);
    let of_table = conversion::table_of(configuration).and_then(|table| table.get(TABLE_PREFIX));
    if let Some(prefix) = of_table.filter(|prefix| *prefix != "") {
        of_store.to_mut().insert("ErrorOutputPrefix".to_owned(), prefix.clone());
    }
    let mut destination = to_destination(&of_store, config)?;
    let backup = match text(configuration, "S3BackupMode") {
        _ if endpoints::backs_up_all(configuration) => Some(destination.clone()),
        "Enabled" => {
            let backup = configuration.get("S3BackupConfiguration").and_then(Value::as_object);
            backup.map(|backup| to_destination(backup, config)).transpose()?
        }
        _ => None,
    };
    if let Some(endpoint) = &endpoint {
        if endpoint.target.is_staged() {
            check_staging(&destination, config)?;
        }
        // Where the API knows no others, batches are those of the bucket.
        if kind != DestinationKind::Redshift {
            destination.buffering = buffering(configuration.get("BufferingHints"));
        }
        destination.logging = logging(configuration);
    }
    destination.endpoint = endpoint;
    if kind == DestinationKind::Iceberg {
        destination.buffering = buffering(configuration.get("BufferingHints"));
        destination.logging = logging(configuration);
        destination.conversion = Some(conversion::appended(configuration, config)?);
        destination.patience = Some(endpoints::patience(kind, configuration));
    }
    let processors = processors(configuration, config)?;
    check_keys(configuration, &processors)?;
    Ok(StreamSpec {
        name: name.clone(),
        id: DestinationId::primary(),
        destination,
        backup,
        processors,
        further: Vec::new(),
        journal_limit_bytes: None,
        retention_ms: 0,
        encryption_key: None,
    })
}

/// Checks that what is staged there can be loaded.
fn check_staging(destination: &S3Destination, config: &Config) -> Result<(), ApiError> {
    match config.stores.get(&destination.store) {
        Some(StoreConfig::S3(_)) => Ok(()),
        _ => Err(ApiError::invalid_argument(format!(
            "The store '{}' of bucket {} is not of type s3, and COPY reads from S3 only.",
            destination.store, destination.bucket
        ))),
    }
}

/// Checks that the partition keys that the prefix asks for are those that the processors give.
fn check_keys(configuration: &Map<String, Value>, processors: &[ProcessorSpec]) -> Result<(), ApiError> {
    if partitioning(configuration).is_none() {
        return Ok(());
    }
    let keys = object_keys(configuration)?;
    check_partition_keys(&keys.partition_keys(), processors).map_err(|error| match error {
        PartitionKeysError::Unasked(_) => ApiError::invalid_argument(
            "MetaDataExtraction JQ Query can't contain keys that are not present in the S3 Prefix expression",
        ),
        other => ApiError::invalid_argument(other.to_string()),
    })
}

/// What makes the keys of the destination's objects.
fn object_keys(configuration: &Map<String, Value>) -> Result<ObjectKeys, ApiError> {
    let keys = ObjectKeys::new(
        StreamName::parse("check").expect("the name follows the rule"),
        text(configuration, "Prefix"),
        text(configuration, "ErrorOutputPrefix"),
        text(configuration, "CustomTimeZone"),
        text(configuration, "FileExtension"),
        partitioning(configuration).is_some(),
    );
    keys.map_err(|error| ApiError::invalid_argument(error.to_string()))
}

fn to_destination(configuration: &Map<String, Value>, config: &Config) -> Result<S3Destination, ApiError> {
    object_keys(configuration)?;
    let owned = |name| text(configuration, name).to_owned();
    let arn = text(configuration, "BucketARN");
    let bucket = arn.rsplit(":::").next().unwrap_or_default();
    let store = config.store_for(bucket, text(configuration, "RoleARN")).ok_or_else(|| {
        ApiError::invalid_argument(format!(
            "No store is configured for bucket {bucket} of {arn}: list it under a store's 'buckets', name a store for the \
             role under 'roles', or set 'default_store'."
        ))
    })?;
    Ok(S3Destination {
        store: store.to_owned(),
        bucket: bucket.to_owned(),
        prefix: owned("Prefix"),
        error_output_prefix: owned("ErrorOutputPrefix"),
        compression: compression(text(configuration, "CompressionFormat"))?,
        compression_level: None,
        delimiter: String::new(),
        file_extension: owned("FileExtension"),
        custom_time_zone: owned("CustomTimeZone"),
        buffering: buffering(configuration.get("BufferingHints")),
        object: ObjectOptions { encryption: encryption(configuration), ..ObjectOptions::default() },
        logging: logging(configuration),
        partitioning: partitioning(configuration),
        conversion: conversion::conversion(configuration, config)?,
        endpoint: None,
        patience: None,
    })
}

fn partitioning(configuration: &Map<String, Value>) -> Option<Partitioning> {
    let block = configuration.get("DynamicPartitioningConfiguration")?.as_object()?;
    let seconds = block.get("RetryOptions").and_then(|retry| retry.get("DurationInSeconds")?.as_u64());
    let default = Partitioning::default();
    let given = || Partitioning { retry_ms: seconds.map_or(default.retry_ms, |s| s * 1000), ..default };
    enabled(block).then(given)
}

/// AWS's processors run in an order of their own, whatever their order in the call.
fn processors(configuration: &Map<String, Value>, config: &Config) -> Result<Vec<ProcessorSpec>, ApiError> {
    let processing = configuration.get("ProcessingConfiguration").and_then(Value::as_object);
    let Some(processing) = processing.filter(|processing| enabled(processing)) else {
        return Ok(Vec::new());
    };
    let listed = processing.get("Processors").and_then(Value::as_array).into_iter().flatten();
    let mut specs: Vec<(Option<Stage>, ProcessorSpec)> = listed
        .filter_map(Value::as_object)
        .map(|given| processor(given, config))
        .collect::<Result<_, _>>()?;
    specs.sort_by_key(|(stage, _)| *stage);
    let specs: Vec<ProcessorSpec> = specs.into_iter().map(|(_, spec)| spec).collect();
    check(&specs).map_err(|error| ApiError::invalid_argument(error.to_string()))?;
    Ok(specs)
}

fn processor(
    given: &Map<String, Value>,
    config: &Config,
) -> Result<(Option<Stage>, ProcessorSpec), ApiError> {
    let kind = text(given, "Type");
    let parameters = given.get("Parameters").and_then(Value::as_array).into_iter().flatten();
    let parameters: Map<String, Value> = parameters
        .filter_map(|parameter| {
            let name = parameter.get("ParameterName")?.as_str()?;
            Some((name.to_owned(), parameter.get("ParameterValue")?.clone()))
        })
        .collect();
    let spec = match kind {
        "Decompression" => ProcessorSpec::Decompress { limit_bytes: DECOMPRESSED_BYTES_MAX },
        "CloudWatchLogProcessing" => ProcessorSpec::CloudwatchLogs {
            messages_only: text(&parameters, "DataMessageExtraction").eq_ignore_ascii_case("true"),
        },
        "RecordDeAggregation" => ProcessorSpec::RecordDeAggregation {
            delimiter: (text(&parameters, "SubRecordType") == "DELIMITED")
                .then(|| text(&parameters, "Delimiter").to_owned()),
        },
        "MetadataExtraction" => ProcessorSpec::MetadataExtraction {
            query: text(&parameters, "MetadataExtractionQuery").to_owned(),
        },
        "Lambda" => ProcessorSpec::Wasm(function(&parameters, config)?),
        "AppendDelimiterToRecord" => match text(&parameters, "Delimiter") {
            "" => ProcessorSpec::AppendDelimiter("\\n".to_owned()),
            delimiter => ProcessorSpec::AppendDelimiter(delimiter.to_owned()),
        },
        // The API's tables have refused the others.
        other => return Err(ApiError::invalid_argument(format!("Processor {other} is not available."))),
    };
    Ok((Stage::of(kind), spec))
}

/// The function that the ARN of a Lambda function leads to, by its name.
fn function(parameters: &Map<String, Value>, config: &Config) -> Result<WasmCall, ApiError> {
    let arn = text(parameters, "LambdaArn");
    let name = arn.split(':').nth(6).unwrap_or_default();
    if !config.functions.contains_key(name) {
        return Err(ApiError::invalid_argument(format!(
            "No function is configured for LambdaArn {arn}: configure one with the name {name} under 'functions'."
        )));
    }
    // What they may be was checked by the API's rules.
    let number = |name: &str| text(parameters, name).trim().parse::<f64>().ok();
    Ok(WasmCall {
        arn: Some(arn.to_owned()),
        retries: number("NumberOfRetries").map(|retries| retries as u32),
        batch_bytes: number("BufferSizeInMBs").map(|mib| (mib * MIB as f64) as usize),
        ..WasmCall::of(name)
    })
}

fn compression(format: &str) -> Result<Compression, ApiError> {
    if format.is_empty() {
        return Ok(Compression::Uncompressed);
    }
    // The names are the API's own; ours that it does not know were refused by its tables before.
    serde_json::from_value(format.into())
        .map_err(|_| ApiError::invalid_argument(format!("CompressionFormat {format} is not known.")))
}

fn buffering(hints: Option<&Value>) -> Buffering {
    let default = Buffering::default();
    let number = |name: &str| hints.and_then(|hints| hints.get(name)).and_then(Value::as_u64);
    Buffering {
        size_bytes: number("SizeInMBs").map_or(default.size_bytes, |mib| mib * MIB),
        interval_ms: number("IntervalInSeconds").map_or(default.interval_ms, |seconds| seconds * 1000),
    }
}

fn logging(configuration: &Map<String, Value>) -> Option<LogTarget> {
    let options = configuration.get("CloudWatchLoggingOptions")?.as_object()?;
    let target = || LogTarget {
        group: text(options, "LogGroupName").to_owned(),
        stream: text(options, "LogStreamName").to_owned(),
    };
    enabled(options).then(target)
}

fn encryption(configuration: &Map<String, Value>) -> Encryption {
    let arn = configuration
        .get("EncryptionConfiguration")
        .and_then(|e| e.pointer("/KMSEncryptionConfig/AWSKMSKeyARN"));
    arn.and_then(Value::as_str)
        .map_or(Encryption::BucketDefault, |key| Encryption::Kms { key: key.to_owned() })
}

/// The destination as the API was given it, or as it would have been given a stream of the configuration file.
pub(super) fn destination(definition: &Definition, config: &Config) -> Destination {
    match &definition.configuration {
        Some(configuration) => Destination { kind: definition.kind, configuration: configuration.clone() },
        None => from_spec(&definition.spec, config),
    }
}

/// What a stream of the configuration file looks like in the API's members: the first of its destinations.
pub(crate) fn from_spec(spec: &StreamSpec, config: &Config) -> Destination {
    from_branch(&spec.destination, &spec.processors, spec.backup.as_ref(), config)
}

/// What its further destinations look like, by id.
pub(super) fn further<'a>(
    spec: &'a StreamSpec,
    config: &'a Config,
) -> impl Iterator<Item = (&'a DestinationId, Destination)> {
    let members =
        |branch: &'a Branch| (&branch.id, from_branch(&branch.destination, &branch.processors, None, config));
    spec.further.iter().map(members)
}

fn from_branch(
    destination: &S3Destination,
    processors: &[ProcessorSpec],
    backup: Option<&S3Destination>,
    config: &Config,
) -> Destination {
    let mut members = from_destination(destination, config);
    if let Some(conversion) = destination.conversion.as_ref().filter(|of| of.appends()) {
        let mut own = conversion::described_table(conversion);
        for name in ["RoleARN", "BufferingHints", "CloudWatchLoggingOptions"] {
            own.extend(members.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        own.extend(destination.patience.map(endpoints::described_patience));
        own.insert("S3Configuration".to_owned(), backup_of(destination, config));
        describe_processors(processors, config, &mut own);
        return Destination { kind: DestinationKind::Iceberg, configuration: own };
    }
    let Some(endpoint) = &destination.endpoint else {
        if let Some(backup) = backup {
            members.insert("S3BackupMode".to_owned(), "Enabled".into());
            members.insert("S3BackupConfiguration".to_owned(), backup_of(backup, config));
        }
        describe_processors(processors, config, &mut members);
        return Destination { kind: DestinationKind::ExtendedS3, configuration: members };
    };
    let mut own = endpoints::described(endpoint);
    for name in ["RoleARN", "BufferingHints", "CloudWatchLoggingOptions"] {
        // One has no role of its own, the other no batches but those of its bucket.
        let lacks = matches!(
            (endpoint.target.kind(), name),
            (DestinationKind::Splunk, "RoleARN") | (DestinationKind::Redshift, "BufferingHints")
        );
        if lacks || own.contains_key(name) {
            continue;
        }
        own.extend(members.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    // The API knows of one store of an endpoint: a copy elsewhere is told as one there.
    if let Some(backup) = backup {
        let kind = endpoint.target.kind();
        own.insert("S3BackupMode".to_owned(), endpoints::mode_of_all(kind).into());
        let of_two = kind == DestinationKind::Redshift;
        own.extend(of_two.then(|| ("S3BackupConfiguration".to_owned(), backup_of(backup, config))));
    }
    own.insert("S3Configuration".to_owned(), backup_of(destination, config));
    describe_processors(processors, config, &mut own);
    Destination { kind: endpoint.target.kind(), configuration: own }
}

fn describe_processors(processors: &[ProcessorSpec], config: &Config, members: &mut Map<String, Value>) {
    let processing = processing::described(processors, &|name| config.function_arn(name));
    members.extend(processing.map(|processing| ("ProcessingConfiguration".to_owned(), processing)));
}

/// A store as one that gets copies or error output.
fn backup_of(destination: &S3Destination, config: &Config) -> Value {
    let mut members = from_destination(destination, config);
    // Only an extended destination has members for these.
    for name in ["FileExtension", "CustomTimeZone"] {
        members.remove(name);
    }
    Value::Object(members)
}

fn from_destination(destination: &S3Destination, config: &Config) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    let role =
        config.roles.iter().find(|(_, store)| **store == destination.store).map(|(arn, _)| arn.clone());
    let role = role.unwrap_or_else(|| format!("arn:aws:iam::{}:role/standpipe", config.account_id));
    put("RoleARN", role.as_str().into());
    put("BucketARN", format!("arn:aws:s3:::{}", destination.bucket).into());
    for (name, text) in [
        ("Prefix", &destination.prefix),
        ("ErrorOutputPrefix", &destination.error_output_prefix),
        ("FileExtension", &destination.file_extension),
        ("CustomTimeZone", &destination.custom_time_zone),
    ] {
        if !text.is_empty() {
            put(name, text.as_str().into());
        }
    }
    let hints = destination.buffering;
    let size = hints.size_bytes.div_ceil(MIB);
    put("BufferingHints", json!({"SizeInMBs": size, "IntervalInSeconds": hints.interval_ms.div_ceil(1000)}));
    put("CompressionFormat", serde_json::to_value(destination.compression).unwrap_or_default());
    if let Encryption::Kms { key } = &destination.object.encryption {
        put("EncryptionConfiguration", json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": key}}));
    }
    if let Some(LogTarget { group, stream }) = &destination.logging {
        let options = json!({"Enabled": true, "LogGroupName": group, "LogStreamName": stream});
        put("CloudWatchLoggingOptions", options);
    }
    if let Some(partitioning) = &destination.partitioning {
        let retry = json!({"DurationInSeconds": partitioning.retry_ms.div_ceil(1000)});
        put("DynamicPartitioningConfiguration", json!({"Enabled": true, "RetryOptions": retry}));
    }
    if let Some(given) = &destination.conversion
        && let Some(mut described) = conversion::described(given)
    {
        let role_arn = given.table.role_arn.as_ref().unwrap_or(&role);
        described["SchemaConfiguration"]["RoleARN"] = role_arn.as_str().into();
        put("DataFormatConversionConfiguration", described);
    }
    members
}
