//! Descriptions of destinations other than S3, with the members that the tables look at.

use aws_sdk_firehose::types::{
    HttpEndpointDestinationDescription, RedshiftDestinationDescription, SplunkDestinationDescription,
};
use serde_json::{Value, json};

use super::output::s3;

pub(super) fn http_endpoint(of: &HttpEndpointDestinationDescription) -> Value {
    json!({
        "EndpointConfiguration": of.endpoint_configuration().map(|endpoint| {
            json!({ "Url": endpoint.url(), "Name": endpoint.name() })
        }),
        "BufferingHints": of.buffering_hints().map(|hints| {
            json!({ "SizeInMBs": hints.size_in_mbs(), "IntervalInSeconds": hints.interval_in_seconds() })
        }),
        "RequestConfiguration": of.request_configuration().map(|request| {
            json!({ "ContentEncoding": request.content_encoding().map(|encoding| encoding.as_str()) })
        }),
        "RetryOptions": of.retry_options().map(|retry| json!({ "DurationInSeconds": retry.duration_in_seconds() })),
        "S3BackupMode": of.s3_backup_mode().map(|mode| mode.as_str()),
        "S3DestinationDescription": of.s3_destination_description().map(s3),
    })
}

pub(super) fn splunk(of: &SplunkDestinationDescription) -> Value {
    json!({
        "HECEndpoint": of.hec_endpoint(),
        "HECEndpointType": of.hec_endpoint_type().map(|kind| kind.as_str()),
        "HECAcknowledgmentTimeoutInSeconds": of.hec_acknowledgment_timeout_in_seconds(),
        "RetryOptions": of.retry_options().map(|retry| json!({ "DurationInSeconds": retry.duration_in_seconds() })),
        "S3BackupMode": of.s3_backup_mode().map(|mode| mode.as_str()),
        "S3DestinationDescription": of.s3_destination_description().map(s3),
    })
}

pub(super) fn redshift(of: &RedshiftDestinationDescription) -> Value {
    json!({
        "RoleARN": of.role_arn(),
        "ClusterJDBCURL": of.cluster_jdbcurl(),
        "CopyCommand": of.copy_command().map(|copy| {
            json!({
                "DataTableName": copy.data_table_name(),
                "DataTableColumns": copy.data_table_columns(),
                "CopyOptions": copy.copy_options(),
            })
        }),
        "Username": of.username(),
        "RetryOptions": of.retry_options().map(|retry| json!({ "DurationInSeconds": retry.duration_in_seconds() })),
        "S3BackupMode": of.s3_backup_mode().map(|mode| mode.as_str()),
        "S3DestinationDescription": of.s3_destination_description().map(s3),
    })
}
