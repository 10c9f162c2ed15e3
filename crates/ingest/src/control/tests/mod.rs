//! The inputs of the control plane, typed.

use serde_json::json;

mod rules;

use super::*;
use crate::ErrorCode;

fn input(operation: Operation, value: &Value) -> Input<'static> {
    let structure = shape::input_of(operation);
    Input { members: shape::check(structure, value).unwrap(), structure, account: "123456789012" }
}

fn s3(extra: &Value) -> Value {
    let mut all = json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"});
    all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    all
}

#[test]
fn exactly_one_destination_is_taken() {
    let check = |value: Value, expect: Result<DestinationKind, &str>| {
        let created = input(Operation::CreateDeliveryStream, &value).create();
        let expect = expect.map_err(|text| ApiError::invalid_argument(text.to_owned()));
        assert_eq!(created.map(|created| created.destination.kind), expect, "{value}");
    };
    let plain = s3(&json!({}));
    let exactly_one = Err("Exactly one destination configuration is supported for a Firehose");
    check(json!({"DeliveryStreamName": "s"}), exactly_one);
    check(json!({"DeliveryStreamName": "s", "S3DestinationConfiguration": plain}), Ok(DestinationKind::S3));
    check(
        json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": plain}),
        Ok(DestinationKind::ExtendedS3),
    );
    check(
        json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": plain, "S3DestinationConfiguration": plain}),
        exactly_one,
    );
    check(
        json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": plain, "IcebergDestinationConfiguration": {"S3Configuration": plain, "RoleARN": "arn:aws:iam::123456789012:role/r", "CatalogConfiguration": {}}}),
        exactly_one,
    );
    check(
        json!({"DeliveryStreamName": "s", "IcebergDestinationConfiguration": {
            "RoleARN": "arn:aws:iam::123456789012:role/r", "CatalogConfiguration": {}, "S3Configuration": plain,
            "DestinationTableConfigurationList": [
                {"DestinationTableName": "t", "DestinationDatabaseName": "d", "UniqueKeys": ["id"]}]}}),
        Err(
            "IcebergDestinationConfiguration.DestinationTableConfigurationList.UniqueKeys is not available in this version of standpipe.",
        ),
    );
    let domain = json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "IndexName": "i", "S3Configuration": plain,
        "DomainARN": "arn:aws:es:eu-west-1:123456789012:domain/logs"});
    check(
        json!({"DeliveryStreamName": "s", "AmazonopensearchserviceDestinationConfiguration": domain}),
        Err(
            "AmazonopensearchserviceDestinationConfiguration.DomainARN is not available in this version of standpipe.",
        ),
    );
}

#[test]
fn inputs_carry_their_members_and_defaults() {
    let list = input(Operation::ListDeliveryStreams, &json!({})).list();
    assert_eq!(list, ListDeliveryStreams { limit: 10, stream_type: None, exclusive_start: None });

    let update = json!({
        "DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": "3", "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": "p/"},
    });
    let update = input(Operation::UpdateDestination, &update).update().unwrap();
    assert_eq!((update.current_version_id.as_str(), update.update.kind), ("3", DestinationKind::ExtendedS3));
    assert_eq!(Value::Object(update.update.configuration), json!({"Prefix": "p/"}));

    let create = json!({
        "DeliveryStreamName": "s", "DirectPutSourceConfiguration": {"ThroughputHintInMBs": 7},
        "S3DestinationConfiguration": s3(&json!({})),
    });
    assert_eq!(
        input(Operation::CreateDeliveryStream, &create).create().unwrap().throughput_hint_in_mbs,
        Some(7)
    );
}

#[test]
fn of_a_tag_key_that_is_given_twice_the_last_value_counts() {
    let twice = json!({"DeliveryStreamName": "s", "Tags": [{"Key": "k", "Value": "1"}, {"Key": "k"}]});
    let tags = input(Operation::TagDeliveryStream, &twice).tags();
    assert_eq!(tags, Tags::from([("k".to_owned(), String::new())]));
}

#[test]
fn a_stream_named_like_a_folder_link_cannot_be_made_and_is_never_found() {
    let create = json!({"DeliveryStreamName": "..", "S3DestinationConfiguration": s3(&json!({}))});
    let error = input(Operation::CreateDeliveryStream, &create).create().unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let error =
        input(Operation::DeleteDeliveryStream, &json!({"DeliveryStreamName": ".."})).delete().unwrap_err();
    assert_eq!(error, ApiError::stream_not_found("..", "123456789012"));
}
