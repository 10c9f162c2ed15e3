//! The control plane over the wire.

use serde_json::{Value, json};

use crate::harness::Server;
use standpipe_ingest::DestinationKind;

fn terraform() -> Value {
    json!({
        "DeliveryStreamName": "clicks",
        "DeliveryStreamType": "DirectPut",
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": "arn:aws:s3:::lake",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
            "CompressionFormat": "GZIP",
            "CloudWatchLoggingOptions": {"Enabled": false},
            "DataFormatConversionConfiguration": {"Enabled": false},
            "DynamicPartitioningConfiguration": {"Enabled": false},
            "ProcessingConfiguration": {"Enabled": false},
            "S3BackupMode": "Disabled",
            "FileExtension": "",
            "CustomTimeZone": "UTC",
        },
    })
}

#[tokio::test]
async fn streams_are_made_described_listed_changed_and_deleted() {
    let server = Server::start().await;
    let answer = server.call("CreateDeliveryStream", &terraform()).await;
    assert_eq!(
        answer.text(),
        r#"{"DeliveryStreamARN":"arn:aws:firehose:eu-west-1:123456789012:deliverystream/clicks"}"#
    );
    let created = server.memory.created.lock().unwrap().pop().unwrap();
    assert_eq!(created.destination.kind, DestinationKind::ExtendedS3);
    assert_eq!(
        Value::Object(created.destination.configuration),
        terraform()["ExtendedS3DestinationConfiguration"]
    );

    let answer =
        server.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "clicks", "Limit": 1})).await;
    assert_eq!(answer.json()["DeliveryStreamDescription"]["DeliveryStreamName"], "clicks");
    let answer = server.call("ListDeliveryStreams", &json!({"Limit": 2})).await;
    assert_eq!(answer.text(), r#"{"DeliveryStreamNames":["a","b"],"HasMoreDeliveryStreams":true}"#);
    let answer = server.call("ListDeliveryStreams", &json!({})).await;
    assert_eq!(answer.text(), r#"{"DeliveryStreamNames":["a","b","c"],"HasMoreDeliveryStreams":false}"#);

    let mut update = json!({
        "DeliveryStreamName": "clicks",
        "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": "p/"},
    });
    assert_eq!(server.call("UpdateDestination", &update).await.text(), "{}");
    assert_eq!(server.memory.updated.lock().unwrap().len(), 1);
    update["CurrentDeliveryStreamVersionId"] = json!("2");
    server.call("UpdateDestination", &update).await.is_error(
        400,
        "ConcurrentModificationException",
        "Cannot update firehose: clicks since the current version id: 1 and specified version id: 2 do not match",
    );
    assert_eq!(
        server.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "clicks"})).await.text(),
        "{}"
    );
}

#[tokio::test]
async fn refusals_name_what_is_wrong() {
    let server = Server::start().await;
    let mut taken = terraform();
    taken["DeliveryStreamName"] = json!("taken");
    server.call("CreateDeliveryStream", &taken).await.is_error(
        400,
        "ResourceInUseException",
        "Firehose taken under accountId 123456789012 already exists",
    );
    server.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "gone"})).await.is_error(
        400,
        "ResourceNotFoundException",
        "Firehose gone under account 123456789012 not found.",
    );
    server.call("CreateDeliveryStream", &json!({"DeliveryStreamName": "x"})).await.is_error(
        400,
        "InvalidArgumentException",
        "Exactly one destination configuration is supported for a Firehose",
    );
    let mut partitioned = terraform();
    partitioned["ExtendedS3DestinationConfiguration"]["DynamicPartitioningConfiguration"]["Enabled"] =
        json!(true);
    server.call("CreateDeliveryStream", &partitioned).await.is_error(
        400,
        "InvalidArgumentException",
        "ExtendedS3DestinationConfiguration.DynamicPartitioningConfiguration is not available",
    );
    server.call("TagDeliveryStream", &json!({"DeliveryStreamName": "clicks"})).await.is_error(
        400,
        "InvalidArgumentException",
        "TagDeliveryStream is not available in this version of standpipe.",
    );
    server.call("ListDeliveryStreams", &json!({"Limit": 0})).await.is_error(
        400,
        "ValidationException",
        "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value greater \
         than or equal to 1",
    );
}
