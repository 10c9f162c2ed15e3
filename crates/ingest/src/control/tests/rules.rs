//! AWS's rules across members, each in AWS's words.

use serde_json::{Value, json};

use super::super::*;

fn s3() -> Value {
    json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"})
}

/// `base` with further members; a null removes one.
fn with(mut base: Value, extra: Value) -> Value {
    for (name, value) in extra.as_object().unwrap() {
        base[name] = value.clone();
    }
    base.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    base
}

#[track_caller]
fn check(kind: DestinationKind, configuration: &Value, expect: Option<&str>) {
    let configuration = configuration.as_object().unwrap().clone();
    let checked = check_destination(&Destination { kind, configuration: configuration.clone() });
    let expect = expect.map_or(Ok(()), |text| Err(ApiError::invalid_argument(text.to_owned())));
    assert_eq!(checked, expect, "{}", Value::Object(configuration));
}

#[test]
fn those_of_s3_hold_for_the_backup_too() {
    let check = |extra: Value, expect: Option<&str>| {
        let whole = with(s3(), extra);
        check(DestinationKind::ExtendedS3, &whole, expect);
        let nested = with(s3(), json!({"S3BackupMode": "Enabled", "S3BackupConfiguration": whole}));
        check(DestinationKind::ExtendedS3, &nested, expect);
    };
    let hints = Some("BufferingHints must specify both SizeInMBs and IntervalInSeconds, or neither.");
    check(json!({}), None);
    check(json!({"BufferingHints": {}}), None);
    check(json!({"BufferingHints": {"SizeInMBs": 1}}), hints);
    check(json!({"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0}}), None);
    let encryption = Some("Exactly one of NoEncryptionConfig or KMSEncryptionConfig must be specified");
    check(json!({"EncryptionConfiguration": {}}), encryption);
    check(json!({"EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"}}), None);
    let no_backup = Some("S3 backup destination configuration is required when enabling S3 backup.");
    check(json!({"S3BackupMode": "Enabled"}), no_backup);
    check(json!({"S3BackupMode": "Disabled"}), None);
    let logged = |group: Value, stream: Value| {
        let options = with(json!({"Enabled": true}), json!({"LogGroupName": group, "LogStreamName": stream}));
        json!({"CloudWatchLoggingOptions": options})
    };
    check(
        logged(Value::Null, json!("s")),
        Some("CloudWatch Log Group Name is required if CloudWatch Logging is enabled"),
    );
    check(
        logged(json!("g"), Value::Null),
        Some("CloudWatch Log Stream Name is required if CloudWatch Logging is enabled"),
    );
    check(logged(json!("g"), json!("s")), None);
}

/// A `ProcessingConfiguration` of these processors: type and parameters.
fn processing(processors: &[(&str, &[(&str, &str)])]) -> Value {
    let processors = processors.iter().map(|(kind, parameters)| {
        let parameters =
            parameters.iter().map(|(name, value)| json!({"ParameterName": name, "ParameterValue": value}));
        json!({"Type": kind, "Parameters": parameters.collect::<Vec<_>>()})
    });
    json!({"Enabled": true, "Processors": processors.collect::<Vec<_>>()})
}

#[test]
fn those_of_processors() {
    let check = |processors: &[(&str, &[(&str, &str)])], expect: Option<&str>| {
        let whole = with(s3(), json!({"ProcessingConfiguration": processing(processors)}));
        check(DestinationKind::ExtendedS3, &whole, expect);
    };
    const ARN: (&str, &str) = ("LambdaArn", "arn:aws:lambda:us-east-1:123456789012:function:f:live");
    const APPEND: (&str, &[(&str, &str)]) = ("AppendDelimiterToRecord", &[]);
    let lambda = |parameters: &[(&str, &str)], expect: Option<&str>| check(&[("Lambda", parameters)], expect);
    check(
        &[],
        Some("A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled."),
    );
    check(
        &[APPEND; 6],
        Some("A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled."),
    );
    check(&[APPEND; 5], None);
    lambda(&[ARN, ARN], Some("Duplicate ProcessorParameter passed to ProcessingConfiguration."));
    check(&[("Lambda", &[ARN]), ("Lambda", &[ARN])], Some("Cannot have more than 1 Lambda processor."));
    lambda(&[ARN], None);
    lambda(&[], Some("LambdaArn is required when Lambda processor is used."));
    lambda(&[("LambdaArn", "arn:aws:s3:::b")], Some("Invalid lambda ARN."));
    lambda(
        &[ARN, ("BufferSizeInMBs", "1")],
        Some(
            "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.",
        ),
    );
    for (size, interval, expect) in [
        ("0.2", "0", None),
        ("0.1", "0", Some("BufferSizeInMBs for lambda processor must be between 0.2 and 3.")),
        ("x", "0", Some("BufferSizeInMBs for lambda processor must be between 0.2 and 3.")),
        ("3", "901", Some("BufferIntervalInSeconds for lambda processor must be between 0 and 900.")),
    ] {
        lambda(&[ARN, ("BufferSizeInMBs", size), ("BufferIntervalInSeconds", interval)], expect);
    }
    lambda(
        &[ARN, ("NumberOfRetries", "301")],
        Some("Number of retries for lambda must be between 0 and 300."),
    );
    let logs: (&str, &[(&str, &str)]) = ("CloudWatchLogProcessing", &[("DataMessageExtraction", "maybe")]);
    check(&[logs], Some("CloudWatchLogProcessingProcessor can only be enabled with DecompressionProcessor"));
    check(
        &[("Decompression", &[]), logs],
        Some("Invalid parameter value for DataMessageExtraction. Allowed values are True and False."),
    );
    let split = |parameters: &[(&str, &str)], expect: &str| {
        check(&[("RecordDeAggregation", parameters)], Some(expect));
    };
    split(&[("SubRecordType", "CSV")], "SubRecordType has to be one of JSON, DELIMITED");
    split(&[("SubRecordType", "DELIMITED")], "Delimiter should be present for DELIMITED");
    let class = "class com.amazonaws.services.firehose.internal.model";
    let only = "can only be present when Dynamic Partitioning is enabled.";
    split(&[("SubRecordType", "JSON")], &format!("{class}.RecordDeAggregationProcessor {only}"));
    let query = |parameters: &[(&str, &str)], expect: &str| {
        check(&[("MetadataExtraction", parameters)], Some(expect));
    };
    query(
        &[("JsonParsingEngine", "JQ-1.5")],
        "MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6",
    );
    query(&[("JsonParsingEngine", "JQ-1.6")], &format!("{class}.MetadataExtractionProcessor {only}"));
}

#[test]
fn those_of_partitioning_and_format_conversion() {
    let check = |extra: Value, expect: Option<&str>| {
        check(DestinationKind::ExtendedS3, &with(s3(), extra), expect);
    };
    let on = json!({"Enabled": true});
    let prefix = "p=!{partitionKeyFromQuery:k}/";
    check(
        json!({"DynamicPartitioningConfiguration": on, "Prefix": "p/"}),
        Some("S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled"),
    );
    check(
        json!({"Prefix": prefix}),
        Some(
            "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled.",
        ),
    );
    check(
        json!({"DynamicPartitioningConfiguration": on, "Prefix": prefix,
            "BufferingHints": {"SizeInMBs": 63, "IntervalInSeconds": 60}}),
        Some("BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled."),
    );
    check(
        json!({"DynamicPartitioningConfiguration": on, "Prefix": prefix,
            "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 0}}),
        Some("BufferingHints.IntervalInSeconds must be at least 1 when Dynamic Partitioning is enabled."),
    );
    check(json!({"DynamicPartitioningConfiguration": on, "Prefix": prefix}), None);

    let good = json!({
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
        "SchemaConfiguration": {"RoleARN": "r", "DatabaseName": "d", "TableName": "t"},
    });
    let convert = |extra: Value, beside: Value, expect: Option<&str>| {
        check(with(json!({"DataFormatConversionConfiguration": with(good.clone(), extra)}), beside), expect);
    };
    convert(json!({}), json!({}), None);
    convert(json!({"OutputFormatConfiguration": {"Serializer": {"OrcSerDe": {}}}}), json!({}), None);
    convert(
        json!({}),
        json!({"CompressionFormat": "GZIP"}),
        Some(
            "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled. \
             To enable compression within the converted output format, set the appropriate serialization option in the \
             output format configuration.",
        ),
    );
    convert(
        json!({}),
        json!({"BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60}}),
        Some("BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled."),
    );
    for name in ["InputFormatConfiguration", "OutputFormatConfiguration", "SchemaConfiguration"] {
        convert(json!({ name: null }), json!({}), Some(&format!("{name} must not be null")));
    }
    convert(json!({"InputFormatConfiguration": {}}), json!({}), Some("Deserializer must not be null"));
    convert(
        json!({"OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}, "OrcSerDe": {}}}}),
        json!({}),
        Some("More than one serializer specified. Only one may be chosen."),
    );
    convert(
        json!({"SchemaConfiguration": {"DatabaseName": "d", "TableName": "t"}}),
        json!({}),
        Some("SchemaConfiguration.RoleArn must not be null or empty"),
    );
    convert(json!({"Enabled": false, "SchemaConfiguration": null}), json!({}), None);
}

#[track_caller]
fn check_beside_s3(kind: DestinationKind, extra: Value, expect: Option<&str>) {
    check(kind, &with(json!({"S3Configuration": s3()}), extra), expect);
}

#[test]
fn those_of_redshift() {
    let check =
        |extra: Value, expect: Option<&str>| check_beside_s3(DestinationKind::Redshift, extra, expect);
    check(json!({}), Some("Redshift Database Password is required for Redshift Destination"));
    check(json!({"SecretsManagerConfiguration": {"Enabled": true}}), Some("Invalid secret ARN: null"));
    check(json!({"SecretsManagerConfiguration": {"Enabled": true, "SecretARN": "a"}}), None);
    check(
        json!({"Password": "p", "S3Configuration": with(s3(), json!({"CompressionFormat": "ZIP"}))}),
        Some("Only the following compression formats are allowed when using Redshift: [UNCOMPRESSED, GZIP]"),
    );
    check(
        json!({"Password": "p", "S3Configuration": with(s3(), json!({"Prefix": "!{timestamp:yyyy}"}))}),
        Some("Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination"),
    );
}

#[test]
fn those_of_opensearch() {
    use DestinationKind::{AmazonOpenSearchServerless, Amazonopensearchservice, Elasticsearch};
    for kind in [Elasticsearch, Amazonopensearchservice] {
        check_beside_s3(
            kind,
            json!({}),
            Some("Provide either the Elasticsearch cluster endpoint or domain arn."),
        );
        check_beside_s3(
            kind,
            json!({"ClusterEndpoint": "https://h", "DomainARN": "a"}),
            Some(
                "Cannot provide both Elasticsearch cluster endpoint and domain ARN. Provide either the cluster endpoint \
                 or domain arn.",
            ),
        );
    }
    let typed = json!({"ClusterEndpoint": "https://h", "TypeName": "t"});
    check_beside_s3(Elasticsearch, typed.clone(), None);
    check_beside_s3(
        Amazonopensearchservice,
        typed,
        Some(
            "Types are deprecated in Elasticsearch version 7+ and all OpenSearch versions. TypeName must be empty.",
        ),
    );
    check_beside_s3(
        AmazonOpenSearchServerless,
        json!({}),
        Some("Must specify collection endpoint for delivery to OpenSearch serverless."),
    );
}

#[test]
fn those_of_splunk_and_http_endpoints() {
    let bad = Some("Invalid HECEndpoint. Supported endpoint format is https://<domain>:<port>.");
    for (endpoint, expect) in [
        ("https://h:8088", None),
        ("http://h:8088/", None),
        ("https://h", bad),
        ("h:8088", bad),
        ("https://h:8088/services", bad),
    ] {
        check_beside_s3(DestinationKind::Splunk, json!({"HECEndpoint": endpoint}), expect);
    }
    let attribute = json!({"AttributeName": "n", "AttributeValue": "v"});
    check_beside_s3(
        DestinationKind::HttpEndpoint,
        json!({"RequestConfiguration": {"CommonAttributes": [attribute, attribute]}}),
        Some("Http Endpoint Common Attributes have duplicate name n"),
    );
}

#[test]
fn those_of_snowflake() {
    let check =
        |extra: Value, expect: Option<&str>| check_beside_s3(DestinationKind::Snowflake, extra, expect);
    let keyed = |extra: Value| with(json!({"PrivateKey": "k", "User": "u"}), extra);
    check(json!({}), Some("PrivateKey must be provided."));
    check(json!({"PrivateKey": "k"}), Some("User must be provided."));
    check(
        keyed(json!({"SnowflakeRoleConfiguration": {"Enabled": true}})),
        Some("Must provide SnowflakeRole when SnowflakeRoleConfiguration is enabled."),
    );
    check(
        keyed(json!({"DataLoadingOption": "VARIANT_CONTENT_AND_METADATA_MAPPING", "ContentColumnName": "c"})),
        Some(
            "Must provide ContentColumnName and MetadataColumnName when Data Loading Option is \
             VARIANT_CONTENT_AND_METADATA_MAPPING.",
        ),
    );
    check(
        keyed(json!({"ContentColumnName": "c"})),
        Some(
            "Can't configure ContentColumnName when Data Loading Option is not VARIANT_CONTENT_MAPPING or \
             VARIANT_CONTENT_AND_METADATA_MAPPING",
        ),
    );
}

#[test]
fn those_of_iceberg() {
    let check = |extra: Value, expect: Option<&str>| check_beside_s3(DestinationKind::Iceberg, extra, expect);
    check(
        json!({"S3BackupMode": "AllData"}),
        Some("S3BackupMode.AllData is not supported for Iceberg as destination."),
    );
    let one_table = Some(
        "A single default destination table configuration must be provided when both Lambda and MetadataExtraction \
         processors are not provided",
    );
    check(json!({}), one_table);
    check(json!({"DestinationTableConfigurationList": [{}]}), None);
    let routed = processing(&[("MetadataExtraction", &[("JsonParsingEngine", "JQ-1.6")])]);
    check(json!({"ProcessingConfiguration": routed}), None);
}

#[test]
fn those_of_sources_and_keys() {
    let source = |members: Value, expect: Option<&str>| {
        let expect = expect.map_or(Ok(()), |text| Err(ApiError::invalid_argument(text.to_owned())));
        assert_eq!(rules::check_source(members.as_object().unwrap()), expect, "{members}");
    };
    source(json!({}), None);
    // AWS passes it over.
    source(json!({"DeliveryStreamType": "DirectPut", "KinesisStreamSourceConfiguration": {}}), None);
    source(
        json!({"DeliveryStreamType": "KinesisStreamAsSource"}),
        Some("KinesisSourceStreamConfig is mandatory for KinesisStreamAsSource stream type."),
    );
    source(
        json!({"DeliveryStreamType": "MSKAsSource"}),
        Some("MSKSourceConfig is mandatory for MSK as Source stream type."),
    );
    source(
        json!({"DeliveryStreamType": "DatabaseAsSource"}),
        Some("IcebergDestinationConfiguration must be specified for Database as Source."),
    );
    let owned = EncryptionInput { key_type: KeyType::AwsOwnedCmk, key_arn: Some("arn".to_owned()) };
    let error = rules::check_encryption(&owned).unwrap_err();
    assert_eq!(error.message.as_deref(), Some("KeyARN cannot be specified when KeyType is AWS_OWNED_CMK"));
}
