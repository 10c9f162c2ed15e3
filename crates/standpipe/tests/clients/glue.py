"""Calls an operation of Glue with boto3: endpoint, operation, and its input in JSON."""

import json
import sys

import boto3

endpoint, operation, given = sys.argv[1:]
glue = boto3.client("glue", endpoint_url=endpoint)
getattr(glue, operation)(**json.loads(given))
