"""JSON to Parquet and ORC by pyarrow, and to Parquet by DuckDB, each on one thread: formats.py FILE FOLDER NAME:TYPE…

Prints what formats.rs reads. Both are told the columns, as standpipe is, so that neither has to find out.
"""

import json
import os
import sys
import time

import duckdb
import pyarrow
import pyarrow.json
import pyarrow.orc
import pyarrow.parquet

ARROW = {"int": pyarrow.int32(), "string": pyarrow.string(), "timestamp": pyarrow.timestamp("us")}
DUCKDB = {"int": "INTEGER", "string": "VARCHAR", "timestamp": "TIMESTAMP"}


def measured(by, to, convert, source, target):
    """The better of two looks."""
    looks = []
    for _ in range(2):
        began = time.process_time()
        convert(source, target)
        looks.append(time.process_time() - began)
    return {"by": by, "to": to, "mb_per_cpu_s": os.path.getsize(source) / 1e6 / min(looks),
            "file_mb": os.path.getsize(target) / 1e6}


def main():
    source, folder, *columns = sys.argv[1:]
    columns = [column.split(":") for column in columns]
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)

    def read(source):
        schema = pyarrow.schema([(name, ARROW[kind]) for name, kind in columns])
        return pyarrow.json.read_json(source, read_options=pyarrow.json.ReadOptions(use_threads=False),
                                      parse_options=pyarrow.json.ParseOptions(explicit_schema=schema))

    def parquet_by_pyarrow(source, target):
        pyarrow.parquet.write_table(read(source), target, compression="snappy")

    def orc_by_pyarrow(source, target):
        pyarrow.orc.write_table(read(source), target, compression="snappy")

    def parquet_by_duckdb(source, target):
        one = duckdb.connect(config={"threads": 1})
        named = ", ".join(f"'{name}': '{DUCKDB[kind]}'" for name, kind in columns)
        one.execute(f"COPY (SELECT * FROM read_json('{source}', format='newline_delimited', columns={{{named}}})) "
                    f"TO '{target}' (FORMAT parquet, COMPRESSION snappy)")

    print(json.dumps([
        measured("pyarrow", "parquet, snappy", parquet_by_pyarrow, source, f"{folder}/pyarrow.parquet"),
        measured("DuckDB", "parquet, snappy", parquet_by_duckdb, source, f"{folder}/duckdb.parquet"),
        measured("pyarrow", "orc, snappy", orc_by_pyarrow, source, f"{folder}/pyarrow.orc"),
    ]))


main()
