//! From the SDK's outputs to JSON under the API's names.

use aws_sdk_firehose::operation::list_tags_for_delivery_stream::ListTagsForDeliveryStreamOutput;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use aws_sdk_firehose::types::{
    BufferingHints, CloudWatchLoggingOptions, DeliveryStreamDescription,
    DeliveryStreamEncryptionConfiguration, DestinationDescription, EncryptionConfiguration,
    ExtendedS3DestinationDescription, ProcessingConfiguration, S3DestinationDescription,
};
use serde_json::{Value, json};

use super::conversion;
use super::described;

/// What is not set is not there.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            members.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

pub(super) fn batch(put: &PutRecordBatchOutput) -> Value {
    let entries = put.request_responses().iter().map(|entry| {
        json!({
            "RecordId": entry.record_id(),
            "ErrorCode": entry.error_code(),
            "ErrorMessage": entry.error_message(),
        })
    });
    json!({
        "FailedPutCount": put.failed_put_count(),
        "Encrypted": put.encrypted(),
        "RequestResponses": entries.collect::<Vec<_>>(),
    })
}

pub(super) fn tags(list: &ListTagsForDeliveryStreamOutput) -> Value {
    let tags = list.tags().iter().map(|tag| json!({ "Key": tag.key(), "Value": tag.value() }));
    without_nulls(json!({ "Tags": tags.collect::<Vec<_>>(), "HasMoreTags": list.has_more_tags() }))
}

pub(super) fn stream(stream: &DeliveryStreamDescription) -> Value {
    let hint = stream
        .source()
        .and_then(|source| source.direct_put_source_description())
        .map(|source| json!({ "DirectPutSourceDescription": { "ThroughputHintInMBs": source.throughput_hint_in_mbs() } }));
    let failure = stream
        .failure_description()
        .map(|failure| json!({ "Type": failure.r#type().as_str(), "Details": failure.details() }));
    json!({
        "DeliveryStreamName": stream.delivery_stream_name(),
        "DeliveryStreamARN": stream.delivery_stream_arn(),
        "DeliveryStreamStatus": stream.delivery_stream_status().as_str(),
        "FailureDescription": failure,
        "DeliveryStreamEncryptionConfiguration": stream.delivery_stream_encryption_configuration().map(encryption_state),
        "DeliveryStreamType": stream.delivery_stream_type().as_str(),
        "VersionId": stream.version_id(),
        "CreateTimestamp": stream.create_timestamp().map(|at| at.as_secs_f64()),
        "LastUpdateTimestamp": stream.last_update_timestamp().map(|at| at.as_secs_f64()),
        "Source": hint,
        "Destinations": stream.destinations().iter().map(destination).collect::<Vec<_>>(),
        "HasMoreDestinations": stream.has_more_destinations(),
    })
}

fn encryption_state(state: &DeliveryStreamEncryptionConfiguration) -> Value {
    json!({
        "KeyARN": state.key_arn(),
        "KeyType": state.key_type().map(|kind| kind.as_str()),
        "Status": state.status().map(|status| status.as_str()),
        "FailureDescription": state.failure_description().map(|failure| failure.details()),
    })
}

fn destination(destination: &DestinationDescription) -> Value {
    json!({
        "DestinationId": destination.destination_id(),
        "S3DestinationDescription": destination.s3_destination_description().map(s3),
        "ExtendedS3DestinationDescription": destination.extended_s3_destination_description().map(extended),
        "HttpEndpointDestinationDescription":
            destination.http_endpoint_destination_description().map(described::http_endpoint),
        "SplunkDestinationDescription": destination.splunk_destination_description().map(described::splunk),
        "RedshiftDestinationDescription": destination.redshift_destination_description().map(described::redshift),
    })
}

pub(super) fn s3(s3: &S3DestinationDescription) -> Value {
    json!({
        "RoleARN": s3.role_arn(),
        "BucketARN": s3.bucket_arn(),
        "Prefix": s3.prefix(),
        "ErrorOutputPrefix": s3.error_output_prefix(),
        "BufferingHints": s3.buffering_hints().map(hints),
        "CompressionFormat": s3.compression_format().as_str(),
        "EncryptionConfiguration": s3.encryption_configuration().map(encryption),
        "CloudWatchLoggingOptions": s3.cloud_watch_logging_options().map(logging),
    })
}

fn extended(extended: &ExtendedS3DestinationDescription) -> Value {
    let conversion = extended.data_format_conversion_configuration();
    json!({
        "RoleARN": extended.role_arn(),
        "BucketARN": extended.bucket_arn(),
        "Prefix": extended.prefix(),
        "ErrorOutputPrefix": extended.error_output_prefix(),
        "BufferingHints": extended.buffering_hints().map(hints),
        "CompressionFormat": extended.compression_format().as_str(),
        "EncryptionConfiguration": extended.encryption_configuration().map(encryption),
        "CloudWatchLoggingOptions": extended.cloud_watch_logging_options().map(logging),
        "S3BackupMode": extended.s3_backup_mode().map(|mode| mode.as_str()),
        "S3BackupDescription": extended.s3_backup_description().map(s3),
        "ProcessingConfiguration": extended.processing_configuration().map(processing),
        "DynamicPartitioningConfiguration": extended.dynamic_partitioning_configuration().map(|each| json!({
            "Enabled": each.enabled(),
            "RetryOptions": each.retry_options().map(|retry| json!({ "DurationInSeconds": retry.duration_in_seconds() })),
        })),
        "DataFormatConversionConfiguration": conversion.map(conversion::described),
        "FileExtension": extended.file_extension(),
        "CustomTimeZone": extended.custom_time_zone(),
    })
}

fn processing(processing: &ProcessingConfiguration) -> Value {
    let processors = processing.processors().iter().map(|processor| {
        let parameters = processor.parameters().iter().map(|parameter| {
            json!({ "ParameterName": parameter.parameter_name().as_str(), "ParameterValue": parameter.parameter_value() })
        });
        json!({ "Type": processor.r#type().as_str(), "Parameters": parameters.collect::<Vec<_>>() })
    });
    json!({ "Enabled": processing.enabled(), "Processors": processors.collect::<Vec<_>>() })
}

fn hints(hints: &BufferingHints) -> Value {
    json!({ "SizeInMBs": hints.size_in_mbs(), "IntervalInSeconds": hints.interval_in_seconds() })
}

fn encryption(encryption: &EncryptionConfiguration) -> Value {
    json!({
        "NoEncryptionConfig": encryption.no_encryption_config().map(|mode| mode.as_str()),
        "KMSEncryptionConfig":
            encryption.kms_encryption_config().map(|key| json!({ "AWSKMSKeyARN": key.awskms_key_arn() })),
    })
}

fn logging(options: &CloudWatchLoggingOptions) -> Value {
    json!({
        "Enabled": options.enabled(),
        "LogGroupName": options.log_group_name(),
        "LogStreamName": options.log_stream_name(),
    })
}
