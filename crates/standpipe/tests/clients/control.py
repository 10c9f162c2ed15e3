"""Manages delivery streams with boto3, as it comes; each phase checks what it gets and prints a JSON summary.

    control.py ENDPOINT create|check|update|delete

The configuration file is expected to have a stream "fixed"; the buckets "lake" and "raw" are used.
"""

import json
import sys
import time

import boto3
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/anything"
HINTS = {"SizeInMBs": 1, "IntervalInSeconds": 1}


def destination(bucket, prefix, **more):
    return {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{bucket}", "Prefix": prefix, "BufferingHints": HINTS, **more}


def refused(code, call, **arguments):
    """The message with which the call is refused; it must be."""
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
        return error.response["Error"]["Message"]
    raise AssertionError(f"{arguments} was not refused")


def describe(client, name):
    return client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]


def create(client):
    arn = client.create_delivery_stream(DeliveryStreamName="plain", DeliveryStreamType="DirectPut",
                                        S3DestinationConfiguration=destination("lake", "plain/"))["DeliveryStreamARN"]
    assert arn == "arn:aws:firehose:us-east-1:000000000000:deliverystream/plain", arn
    extended = destination("lake", "extended/", CompressionFormat="GZIP", S3BackupMode="Enabled",
                           S3BackupConfiguration=destination("raw", "copy/"))
    client.create_delivery_stream(DeliveryStreamName="extended", ExtendedS3DestinationConfiguration=extended)
    in_use = refused("ResourceInUseException", client.create_delivery_stream, DeliveryStreamName="plain",
                     S3DestinationConfiguration=destination("lake", ""))
    fixed = refused("InvalidArgumentException", client.delete_delivery_stream, DeliveryStreamName="fixed")
    return {"in_use": in_use, "fixed": fixed} | check(client)


def check(client):
    names = client.list_delivery_streams()["DeliveryStreamNames"]
    assert names == ["extended", "fixed", "plain"], names
    page = client.list_delivery_streams(Limit=1, ExclusiveStartDeliveryStreamName="extended")
    assert page["DeliveryStreamNames"] == ["fixed"] and page["HasMoreDeliveryStreams"], page
    plain, extended = describe(client, "plain"), describe(client, "extended")
    assert plain["DeliveryStreamStatus"] == extended["DeliveryStreamStatus"] == "ACTIVE"
    (given,) = plain["Destinations"]
    assert given["S3DestinationDescription"]["BucketARN"] == "arn:aws:s3:::lake", given
    assert given["S3DestinationDescription"]["CompressionFormat"] == "UNCOMPRESSED", given
    (given,) = extended["Destinations"]
    shown = given["ExtendedS3DestinationDescription"]
    assert shown["S3BackupMode"] == "Enabled" and shown["CompressionFormat"] == "GZIP", shown
    assert shown["S3BackupDescription"]["BucketARN"] == "arn:aws:s3:::raw", shown
    assert shown["BufferingHints"] == HINTS and shown["RoleARN"] == ROLE, shown
    return {"versions": [plain["VersionId"], extended["VersionId"]],
            "created": [plain["CreateTimestamp"].timestamp(), extended["CreateTimestamp"].timestamp()]}


def update(client):
    before = describe(client, "extended")
    arguments = {"DeliveryStreamName": "extended", "DestinationId": before["Destinations"][0]["DestinationId"],
                 "ExtendedS3DestinationUpdate": {"Prefix": "changed/"}}
    stale = refused("ConcurrentModificationException", client.update_destination,
                    CurrentDeliveryStreamVersionId="77", **arguments)
    client.update_destination(CurrentDeliveryStreamVersionId=before["VersionId"], **arguments)
    after = describe(client, "extended")
    (given,) = after["Destinations"]
    shown = given["ExtendedS3DestinationDescription"]
    assert shown["Prefix"] == "changed/" and shown["CompressionFormat"] == "GZIP", shown
    assert after["LastUpdateTimestamp"] >= after["CreateTimestamp"] == before["CreateTimestamp"]
    return {"stale": stale, "version": after["VersionId"]}


def delete(client):
    client.delete_delivery_stream(DeliveryStreamName="plain")
    # It is DELETING for a moment.
    deadline = time.monotonic() + 60
    while "plain" in client.list_delivery_streams()["DeliveryStreamNames"]:
        assert time.monotonic() < deadline, "plain is still there"
    gone = refused("ResourceNotFoundException", client.describe_delivery_stream, DeliveryStreamName="plain")
    refused("ResourceNotFoundException", client.delete_delivery_stream, DeliveryStreamName="plain")
    refused("ResourceNotFoundException", client.put_record, DeliveryStreamName="plain", Record={"Data": b"x"})
    assert client.list_delivery_streams()["DeliveryStreamNames"] == ["extended", "fixed"]
    return {"gone": gone}


def main():
    endpoint, phase = sys.argv[1:]
    client = boto3.client("firehose", endpoint_url=endpoint)
    print(json.dumps({"create": create, "check": check, "update": update, "delete": delete}[phase](client)))


if __name__ == "__main__":
    main()
