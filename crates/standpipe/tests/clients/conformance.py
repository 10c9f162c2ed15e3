"""Runs steps of the conformance tables with boto3 or with the AWS CLI; README.md describes the lines it reads and writes.

    conformance.py boto3|awscli
"""

import base64
import contextlib
import datetime
import io
import json
import os
import re
import sys

import awscli.clidriver
import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


class Boto3:
    """The SDK; one client for each endpoint, credentials and number of attempts."""

    def __init__(self):
        self.clients = {}
        self.attempts = 0

    def client(self, wanted):
        key = json.dumps(wanted, sort_keys=True)
        if key not in self.clients:
            config = Config(retries={"total_max_attempts": wanted["attempts"]}) if wanted["attempts"] else None
            client = boto3.client("firehose", region_name="us-east-1", endpoint_url=wanted["endpoint"], config=config,
                                  aws_access_key_id=wanted["access_key_id"],
                                  aws_secret_access_key=wanted["secret_access_key"],
                                  aws_session_token=wanted["session_token"])
            client.meta.events.register("before-send.firehose", self.count)
            self.clients[key] = client
        return self.clients[key]

    def count(self, **_):
        self.attempts += 1

    def run(self, wanted, operation, given):
        client = self.client(wanted)
        self.attempts = 0
        shape = client.meta.service_model.operation_model(operation).input_shape
        try:
            output = getattr(client, xform_name(operation))(**decoded(given, shape))
        except ClientError as error:
            told = error.response
            return {"error": {"code": told["Error"]["Code"], "message": told["Error"]["Message"],
                              "status": told["ResponseMetadata"]["HTTPStatusCode"]}, "attempts": self.attempts}
        except BotoCoreError as error:
            return without_answer(error, self.attempts)
        del output["ResponseMetadata"]
        return {"output": output, "attempts": self.attempts}


class AwsCli:
    """The command line, in this process, since starting Python anew for each step takes a second."""

    def __init__(self):
        self.drivers = {}
        self.attempts = 0

    def driver(self, wanted):
        key = json.dumps(wanted, sort_keys=True)
        if key not in self.drivers:
            driver = awscli.clidriver.create_clidriver()
            driver.session.register("before-send.firehose", self.count)
            self.drivers[key] = driver
        return self.drivers[key]

    def count(self, **_):
        self.attempts += 1

    def run(self, wanted, operation, given):
        variables = {"AWS_ACCESS_KEY_ID": wanted["access_key_id"], "AWS_SECRET_ACCESS_KEY": wanted["secret_access_key"],
                     "AWS_SESSION_TOKEN": wanted["session_token"], "AWS_MAX_ATTEMPTS": wanted["attempts"]}
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = str(value)
        self.attempts = 0
        driver = self.driver(wanted)
        shape = driver.session.get_service_model("firehose").operation_model(operation).input_shape
        try:
            # Version 1 sends the text of a blob in such a JSON document as the blob's bytes.
            given = decoded(given, shape, lambda data: base64.b64decode(data).decode())
        except UnicodeDecodeError as error:
            return {"refused": str(error), "attempts": 0}
        printed, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            status = driver.main(["firehose", xform_name(operation, "-"), "--endpoint-url", wanted["endpoint"], "--region",
                                  "us-east-1", "--output", "json", "--cli-input-json", json.dumps(given)])
        if status == 0:
            output = json.loads(printed.getvalue() or "{}")
            return {"output": output, "attempts": self.attempts}
        error = re.search(r"An error occurred \((\w+)\) when calling the \w+ operation(?: \([^)]*\))?: (.*)", told.getvalue(), re.S)
        if error:
            return {"error": {"code": error[1], "message": error[2].rstrip("\n")}, "attempts": self.attempts}
        return without_answer(told.getvalue().strip(), self.attempts)


def without_answer(error, attempts):
    """What went wrong before a request was sent, or after it without an answer."""
    if attempts == 0:
        return {"refused": str(error), "attempts": 0}
    return {"error": {"code": "NoAnswer", "message": str(error)}, "attempts": attempts}


def decoded(value, shape, decode=base64.b64decode):
    """The input with its blobs, which come as base64, as the client wants them."""
    if value is None or shape is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        return {name: decoded(member, shape.members.get(name), decode) for name, member in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [decoded(element, shape.member, decode) for element in value]
    if shape.type_name == "blob" and isinstance(value, str):
        return decode(value)
    return value


def plain(value):
    """What JSON cannot hold, for json.dumps."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    raise TypeError(f"{value!r} has no form in JSON")


def main():
    client = {"boto3": Boto3, "awscli": AwsCli}[sys.argv[1]]()
    for line in sys.stdin:
        step = json.loads(line)
        outcome = client.run(step["client"], step["operation"], step["input"])
        print(json.dumps(outcome, default=plain), flush=True)


if __name__ == "__main__":
    main()
