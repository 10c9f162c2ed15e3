"""JSON to Parquet by pyarrow and DuckDB, each on one thread: formats.py FILE FOLDER. Prints what formats.rs reads."""

import json
import os
import sys
import time

import duckdb
import pyarrow
import pyarrow.json
import pyarrow.parquet


def measured(by, convert, source, target):
    """The better of two looks."""
    looks = []
    for _ in range(2):
        began = time.process_time()
        convert(source, target)
        looks.append(time.process_time() - began)
    return {"by": by, "to": "parquet, snappy", "mb_per_cpu_s": os.path.getsize(source) / 1e6 / min(looks),
            "file_mb": os.path.getsize(target) / 1e6}


def by_pyarrow(source, target):
    read = pyarrow.json.ReadOptions(use_threads=False)
    pyarrow.parquet.write_table(pyarrow.json.read_json(source, read_options=read), target, compression="snappy")


def by_duckdb(source, target):
    one = duckdb.connect(config={"threads": 1})
    one.execute(f"COPY (SELECT * FROM read_json('{source}', format='newline_delimited')) TO '{target}' "
                "(FORMAT parquet, COMPRESSION snappy)")


def main():
    source, folder = sys.argv[1:]
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    readers = {"pyarrow": by_pyarrow, "DuckDB": by_duckdb}
    print(json.dumps([measured(by, convert, source, f"{folder}/{by}.parquet") for by, convert in readers.items()]))


main()
