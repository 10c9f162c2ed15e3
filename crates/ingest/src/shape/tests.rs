//! Violations and type errors, in AWS's words.

use serde_json::json;

use super::*;
use crate::{ErrorCode, Operation};

fn check_input(operation: Operation, input: &Value) -> Result<Value, crate::ApiError> {
    check(input_of(operation), input).map(Value::Object)
}

#[track_caller]
fn refused(operation: Operation, input: Value, code: ErrorCode, expect: &str) {
    let error = check_input(operation, &input).unwrap_err();
    assert_eq!((error.code, error.message.as_deref()), (code, Some(expect)));
}

fn s3(members: Value) -> Value {
    let mut all = json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"});
    let given = members.as_object().cloned().unwrap_or_default();
    all.as_object_mut().unwrap().extend(given);
    json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": all})
}

/// Compiles every pattern and reads every default that a structure reaches.
fn visit(structure: &Structure) {
    fn shape(inner: &Shape) {
        match inner {
            Shape::Text(Text { pattern: Some(pattern), .. }) => drop(pattern.matches("")),
            Shape::List { element, .. } => shape(element),
            Shape::Map { key, value } => [key, value].into_iter().for_each(|inner| shape(inner)),
            Shape::Structure(structure) => visit(structure),
            _ => {}
        }
    }
    for member in structure.members {
        shape(&member.shape);
        if let Some(default) = member.default {
            let value: Value = serde_json::from_str(default).unwrap();
            let mut violations = Vec::new();
            walk::constrain(&member.shape, &value, member.name, &mut violations);
            assert_eq!(violations, Vec::<String>::new());
        }
    }
}

#[test]
fn every_pattern_compiles_and_every_default_is_json() {
    Operation::ALL
        .into_iter()
        .flat_map(|operation| [input_of(operation), output_of(operation)])
        .for_each(visit);
}

#[test]
fn wrong_types_are_serialization_exceptions() {
    let list = |input: Value, expect: &str| {
        refused(Operation::ListDeliveryStreams, input, ErrorCode::Serialization, expect);
    };
    list(json!({"DeliveryStreamType": 1}), "class java.math.BigDecimal can not be converted to an String");
    list(json!({"DeliveryStreamType": true}), "class java.lang.Boolean can not be converted to an String");
    list(json!({"DeliveryStreamType": []}), "Start of list found where not expected");
    list(json!({"DeliveryStreamType": {}}), "Start of structure or map found where not expected.");
    list(json!({"Limit": "1"}), "class java.lang.String can not be converted to an Integer");
    list(json!({"Limit": true}), "class java.lang.Boolean can not be converted to an Integer");

    let delete = |input: Value, expect: &str| {
        refused(Operation::DeleteDeliveryStream, input, ErrorCode::Serialization, expect);
    };
    delete(json!({"AllowForceDelete": "foo"}), "'FOO' can not be converted to an Boolean");
    delete(json!({"AllowForceDelete": 1}), "class java.math.BigDecimal can not be converted to an Boolean");

    let put = |input: Value, expect: &str| {
        refused(Operation::PutRecordBatch, input, ErrorCode::Serialization, expect);
    };
    put(json!({"Records": 1}), "Expected list or null");
    put(json!({"Records": {}}), "Start of structure or map found where not expected.");
    put(json!({"Records": [1]}), "Expected null");
    put(json!({"Records": [[]]}), "Start of list found where not expected");
    put(json!({"Records": [{"Data": 1}]}), "class java.math.BigDecimal can not be converted to a Blob");
    put(json!({"Records": [{"Data": true}]}), "class java.lang.Boolean can not be converted to a Blob");
    put(
        json!({"Records": [{"Data": "YQ"}]}),
        "'YQ' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 2",
    );
}

#[test]
fn lenient_forms_come_out_in_their_own_type() {
    assert_eq!(
        check_input(
            Operation::DeleteDeliveryStream,
            &json!({"DeliveryStreamName": "s", "AllowForceDelete": "YES", "Unknown": {"a": 1}})
        ),
        Ok(json!({"DeliveryStreamName": "s", "AllowForceDelete": true}))
    );
    assert_eq!(
        check_input(Operation::ListDeliveryStreams, &json!({"Limit": 3.9, "DeliveryStreamType": null})),
        Ok(json!({"Limit": 3}))
    );
}

#[test]
fn broken_constraints_are_listed_together() {
    let check = |operation, input, expect| refused(operation, input, ErrorCode::Validation, expect);
    check(
        Operation::DescribeDeliveryStream,
        json!({}),
        "1 validation error detected: Value null at 'deliveryStreamName' failed to satisfy constraint: Member must \
         not be null",
    );
    check(
        Operation::DescribeDeliveryStream,
        json!({"DeliveryStreamName": "", "Limit": 0}),
        "3 validation errors detected: Value at 'deliveryStreamName' failed to satisfy constraint: Member must have \
         length greater than or equal to 1; Value at 'deliveryStreamName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value at 'limit' failed to satisfy constraint: Member \
         must have value greater than or equal to 1",
    );
    check(
        Operation::ListDeliveryStreams,
        json!({"Limit": 10_001}),
        "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value less \
         than or equal to 10000",
    );
    check(
        Operation::CreateDeliveryStream,
        s3(json!({"RoleARN": null, "CompressionFormat": "gzip"})),
        "2 validation errors detected: Value null at 'extendedS3DestinationConfiguration.roleARN' failed to satisfy \
         constraint: Member must not be null; Value at 'extendedS3DestinationConfiguration.compressionFormat' failed \
         to satisfy constraint: Member must satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]",
    );
    check(
        Operation::CreateDeliveryStream,
        s3(
            json!({"ProcessingConfiguration": {"Processors": [{"Type": "NotLambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": " "}]}]}}),
        ),
        "2 validation errors detected: Value at \
         'extendedS3DestinationConfiguration.processingConfiguration.processors.1.member.type' failed to satisfy \
         constraint: Member must satisfy enum value set: [Decompression, Lambda, RecordDeAggregation, \
         MetadataExtraction, AppendDelimiterToRecord, CloudWatchLogProcessing]; Value at \
         'extendedS3DestinationConfiguration.processingConfiguration.processors.1.member.parameters.1.member.parameterValue' \
         failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!\\s*$).+",
    );
}

#[test]
fn the_keys_and_values_of_maps_are_constrained_together() {
    let serde = json!({"OpenXJsonSerDe": {"ColumnToJsonKeyMappings": {"a b": "x", "c": " "}}});
    let conversion = json!({"InputFormatConfiguration": {"Deserializer": serde}});
    let path = "extendedS3DestinationConfiguration.dataFormatConversionConfiguration.inputFormatConfiguration.\
         deserializer.openXJsonSerDe.columnToJsonKeyMappings";
    let lengths = "Member must have length less than or equal to 1024, Member must have length greater than or equal to 1";
    let pattern = "Member must satisfy regular expression pattern";
    refused(
        Operation::CreateDeliveryStream,
        s3(json!({"DataFormatConversionConfiguration": conversion})),
        ErrorCode::Validation,
        &format!(
            "2 validation errors detected: Value at '{path}' failed to satisfy constraint: Map keys must satisfy \
             constraint: [{lengths}, {pattern}: ^\\S+$]; Value at '{path}' failed to satisfy constraint: Map value must \
             satisfy constraint: [{lengths}, {pattern}: ^(?!\\s*$).+]"
        ),
    );
}

#[test]
fn no_more_than_ten_violations_are_listed() {
    let records = vec![json!({}); 12];
    let error = check_input(Operation::PutRecordBatch, &json!({"Records": records})).unwrap_err();
    let message = error.message.unwrap();
    assert!(
        message.starts_with("10 validation errors detected: Value null at 'deliveryStreamName'"),
        "{message}"
    );
    assert!(message.contains("'records.9.member.data'") && !message.contains("records.10"), "{message}");
}

#[test]
fn what_has_an_effect_is_supported_and_so_is_what_is_off_and_the_rest_is_named() {
    let create = input_of(Operation::CreateDeliveryStream);
    for inert in [
        json!({"DataFormatConversionConfiguration": {"Enabled": false}}),
        json!({"DataFormatConversionConfiguration": {
            "SchemaConfiguration": {"RoleARN": "r", "CatalogId": "c", "DatabaseName": "d", "TableName": "t", "VersionId": "1"},
            "InputFormatConfiguration": {"Deserializer": {"HiveJsonSerDe": {"TimestampFormats": ["millis"]}}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"MaxPaddingBytes": 1, "WriterVersion": "V2"}}},
        }}),
        json!({"DataFormatConversionConfiguration": {"OutputFormatConfiguration": {"Serializer": {"OrcSerDe": {
            "EnablePadding": true, "PaddingTolerance": 0.5, "BloomFilterColumns": ["a"], "FormatVersion": "V0_11",
        }}}}}),
        json!({"ProcessingConfiguration": {"Enabled": false}}),
        json!({"ProcessingConfiguration": {"Enabled": false, "Processors": [{"Type": "Lambda"}]}}),
        json!({"DynamicPartitioningConfiguration": {"Enabled": false}}),
        json!({"DynamicPartitioningConfiguration": {"Enabled": true}}),
        json!({"CloudWatchLoggingOptions": {"Enabled": true, "LogGroupName": "g", "LogStreamName": "s"}}),
        json!({"FileExtension": "", "CustomTimeZone": "UTC"}),
        json!({"FileExtension": ".json", "CustomTimeZone": "Europe/Berlin"}),
        json!({"EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": "arn:aws:kms:eu-west-1:123456789012:key/k"}}}),
        json!({"S3BackupMode": "Enabled"}),
    ] {
        let input = check_input(Operation::CreateDeliveryStream, &s3(inert.clone())).unwrap();
        assert_eq!(unsupported(create, &input), None, "{inert}");
    }
    for (active, path) in [
        (
            json!({"DeliveryStreamName": "s", "DeliveryStreamType": "MSKAsSource"}),
            "DeliveryStreamType 'MSKAsSource'".to_owned(),
        ),
        (
            json!({"DeliveryStreamName": "s", "MSKSourceConfiguration": {
                "MSKClusterARN": "arn:c", "TopicName": "t",
                "AuthenticationConfiguration": {"RoleARN": "arn:aws:iam::123456789012:role/r", "Connectivity": "PUBLIC"},
            }}),
            "MSKSourceConfiguration".to_owned(),
        ),
    ] {
        let input = check_input(Operation::CreateDeliveryStream, &active).unwrap();
        let expect = format!("{path} is not available in this version of standpipe.");
        assert_eq!(unsupported(create, &input), Some(crate::ApiError::invalid_argument(expect)), "{active}");
    }
}
