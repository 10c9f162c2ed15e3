"""Reads files with other readers and compares each value: read.py FOLDER, which holds NAME.json beside
NAME.parquet or NAME.avro."""

import datetime
import decimal
import json
import pathlib
import sys

import avro.datafile
import avro.io
import duckdb
import fastavro
import pyarrow.parquet


def plain(value):
    """A value as JSON would have it."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    if isinstance(value, dict):
        return {key: plain(of) for key, of in value.items()}
    if isinstance(value, list):
        return [plain(of) for of in value]
    return value


def by_pyarrow(path):
    table = pyarrow.parquet.read_table(path)
    maps = lambda kind: pyarrow.types.is_map(kind)

    def of(kind, value):
        if value is None:
            return None
        if maps(kind):
            return {key: of(kind.item_type, item) for key, item in value}
        if pyarrow.types.is_list(kind):
            return [of(kind.value_type, item) for item in value]
        if pyarrow.types.is_struct(kind):
            return {field.name: of(field.type, value[field.name]) for field in kind}
        return plain(value)

    columns = {field.name: [of(field.type, value) for value in table[field.name].to_pylist()] for field in table.schema}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def by_duckdb(path):
    result = duckdb.sql(f"SELECT * FROM read_parquet('{path}')")

    def of(kind, value):
        if value is None:
            return None
        if kind.id == "map":
            if isinstance(value, dict) and set(value) == {"key", "value"} and isinstance(value["key"], list):
                value = dict(zip(value["key"], value["value"]))
            item = dict(kind.children)["value"]
            return {key: of(item, one) for key, one in value.items()}
        if kind.id == "list":
            return [of(dict(kind.children)["child"], item) for item in value]
        if kind.id == "struct":
            return {name: of(child, value[name]) for name, child in kind.children}
        return plain(value)

    names, kinds = result.columns, result.types
    return [{name: of(kind, value) for name, kind, value in zip(names, kinds, row)} for row in result.fetchall()]


def by_fastavro(path):
    with open(path, "rb") as file:
        reader = fastavro.reader(file)
        assert reader.metadata["standpipe.stream"] == "s", reader.metadata
        return [plain(row) for row in reader]


def by_avro(path):
    with avro.datafile.DataFileReader(open(path, "rb"), avro.io.DatumReader()) as reader:
        return [plain(row) for row in reader]


READERS = {".parquet": (by_pyarrow, by_duckdb), ".avro": (by_fastavro, by_avro)}


def main():
    files = [path for path in sorted(pathlib.Path(sys.argv[1]).iterdir()) if path.suffix in READERS]
    for path in files:
        expected = json.loads(path.with_suffix(".json").read_text())
        for reader in READERS[path.suffix]:
            read = reader(path)
            if len(read) != len(expected):
                sys.exit(f"{reader.__name__} {path}: {len(read)} rows, expected are {len(expected)}")
            for number, (row, wanted) in enumerate(zip(read, expected)):
                for name, value in wanted.items():
                    if row[name] != value:
                        sys.exit(f"{reader.__name__} {path} row {number} {name}: {row[name]!r}, expected is {value!r}")
    print(len(files))


main()
