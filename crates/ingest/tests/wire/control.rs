//! The control plane over the wire.

use serde_json::{Value, json};

use crate::harness::Server;
use standpipe_ingest::{DestinationKind, EncryptionInput, KeyType, Tags};

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
async fn tags_and_encryption_reach_the_service_and_are_answered_in_its_words() {
    let server = Server::start().await;
    let mut create = terraform();
    create["Tags"] = json!([{"Key": "team", "Value": "data"}, {"Key": "empty"}]);
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    let customer = json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": key});
    create["DeliveryStreamEncryptionConfigurationInput"] = customer.clone();
    server.call("CreateDeliveryStream", &create).await.json();
    let created = server.memory.created.lock().unwrap().pop().unwrap();
    let tags = [("empty", ""), ("team", "data")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(created.tags, Tags::from(tags));
    let by_key = EncryptionInput { key_type: KeyType::CustomerManagedCmk, key_arn: Some(key.to_owned()) };
    assert_eq!(created.encryption, Some(by_key.clone()));

    let name = json!({"DeliveryStreamName": "clicks"});
    let with = |member: &str, value: Value| {
        let mut input = name.clone();
        input[member] = value;
        input
    };
    let tag = with("Tags", json!([{"Key": "a", "Value": "1"}, {"Key": "b"}]));
    assert_eq!(server.call("TagDeliveryStream", &tag).await.text(), "{}");
    let list = server.call("ListTagsForDeliveryStream", &with("Limit", json!(1))).await;
    assert_eq!(list.json(), json!({"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": true}));
    assert_eq!(server.call("UntagDeliveryStream", &with("TagKeys", json!(["a"]))).await.text(), "{}");
    let list = server.call("ListTagsForDeliveryStream", &name).await;
    assert_eq!(list.json(), json!({"Tags": [{"Key": "b", "Value": ""}], "HasMoreTags": false}));

    let start = with("DeliveryStreamEncryptionConfigurationInput", customer);
    assert_eq!(server.call("StartDeliveryStreamEncryption", &start).await.text(), "{}");
    assert_eq!(server.memory.encryption.lock().unwrap().take(), Some(by_key));
    server.call("StartDeliveryStreamEncryption", &name).await.json();
    let owned = EncryptionInput { key_type: KeyType::AwsOwnedCmk, key_arn: None };
    assert_eq!(*server.memory.encryption.lock().unwrap(), Some(owned));
    assert_eq!(server.call("StopDeliveryStreamEncryption", &name).await.text(), "{}");
    assert_eq!(*server.memory.encryption.lock().unwrap(), None);
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
    server
        .call("TagDeliveryStream", &json!({"DeliveryStreamName": "s", "Tags": [{"Key": "aws:k", "Value": "v"}]}))
        .await
        .is_error(
            400,
            "ValidationException",
            "1 validation error detected: Value at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: ^(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:\\/=+\\-@%]*$",
        );
    server
        .call(
            "StartDeliveryStreamEncryption",
            &json!({"DeliveryStreamName": "s",
                "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "CUSTOMER_MANAGED_CMK"}}),
        )
        .await
        .is_error(
            400,
            "InvalidArgumentException",
            "KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK",
        );
    server.call("ListDeliveryStreams", &json!({"Limit": 0})).await.is_error(
        400,
        "ValidationException",
        "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value greater \
         than or equal to 1",
    );
}

#[tokio::test]
async fn a_kind_of_destination_that_there_is_not_yet_is_refused_by_name_before_its_own_rules() {
    let server = Server::start().await;
    let mut snowflake = terraform();
    snowflake["ExtendedS3DestinationConfiguration"] = Value::Null;
    snowflake["SnowflakeDestinationConfiguration"] = json!({
        "RoleARN": "arn:aws:iam::123456789012:role/firehose",
        "AccountUrl": "https://me.snowflakecomputing.com", "User": "u", "PrivateKey": "M".repeat(256),
        "Database": "d", "Schema": "s", "Table": "t",
        "S3Configuration": {"RoleARN": "arn:aws:iam::123456789012:role/firehose", "BucketARN": "arn:aws:s3:::b"},
    });
    server.call("CreateDeliveryStream", &snowflake).await.is_error(
        400,
        "InvalidArgumentException",
        "SnowflakeDestinationConfiguration is not available in this version of standpipe.",
    );
    snowflake["SnowflakeDestinationConfiguration"]["PrivateKey"] = Value::Null;
    server.call("CreateDeliveryStream", &snowflake).await.is_error(
        400,
        "InvalidArgumentException",
        "SnowflakeDestinationConfiguration is not available in this version of standpipe.",
    );
}
