"""Reads every ORC file of a folder with pyarrow and pyorc, and compares it with the JSON beside it.

Prints "checked <count>" in the end, or fails at the first difference.
"""

import datetime
import decimal
import itertools
import json
import math
import pathlib
import struct
import sys

import pyarrow
import pyorc
from pyarrow import orc
from pyorc.enums import TypeKind
from pyorc.predicates import PredicateColumn

EPOCH = datetime.datetime(1970, 1, 1)
DAY = datetime.date(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)
PLAIN = decimal.Context(prec=60)


def plain(value):
    """A value that is not nested as the JSON has it."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return str(value)
        case float():
            return "nan" if math.isnan(value) else struct.pack(">d", value).hex()
        case bytes():
            return value.hex()
        case decimal.Decimal():
            return value
        case datetime.datetime():
            return str((value.replace(tzinfo=None) - EPOCH) // MICROSECOND)
        case datetime.date():
            return str((value - DAY).days)
    raise TypeError(type(value))


def by_type(value, kind):
    """pyarrow's value: a map is a list of pairs there, and only its type tells."""
    if value is None:
        return None
    if pyarrow.types.is_list(kind):
        return [by_type(item, kind.value_type) for item in value]
    if pyarrow.types.is_map(kind):
        return {"map": [[key, by_type(item, kind.item_type)] for key, item in value]}
    if pyarrow.types.is_struct(kind):
        return {"struct": [by_type(value[field.name], field.type) for field in kind]}
    return plain(value)


def by_value(value):
    """pyorc's value: a struct is a tuple."""
    match value:
        case list():
            return [by_value(item) for item in value]
        case dict():
            return {"map": [[key, by_value(item)] for key, item in value.items()]}
        case tuple():
            return {"struct": [by_value(item) for item in value]}
    return plain(value)


def same(found, expected):
    """Decimals are numbers: their readers differ in the zeros at the end."""
    if isinstance(found, decimal.Decimal):
        return found == decimal.Decimal(expected, PLAIN)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in found)
    return found == expected


def check_rows(name, found, expected):
    assert len(found) == len(expected), f"{name}: {len(found)} rows, {len(expected)} expected"
    for at, (row, wanted) in enumerate(zip(found, expected)):
        assert same(row, wanted), f"{name}, row {at}:\n{row}\n{wanted}"
    return 1


def arrow_rows(table):
    """Works for record batches too."""
    columns = [[by_type(value, field.type) for value in table.column(at).to_pylist()]
               for at, field in enumerate(table.schema)]
    return [list(row) for row in zip(*columns)]


def check_pyarrow(path, expected):
    file = orc.ORCFile(path)
    found = {
        "compression": file.compression,
        "row_index_stride": file.row_index_stride,
        "file_version": file.file_version,
        "metadata": {key.decode(): value.decode() for key, value in (file.metadata or {}).items()},
        "stripes": [file.read_stripe(at).num_rows for at in range(file.nstripes)],
    }
    assert found == expected["file"], f"{path}: {found}"
    assert file.nrows == len(expected["rows"]) and file.nstripe_statistics == file.nstripes
    assert "standpipe " in file.software_version, file.software_version
    checked = check_rows(path, arrow_rows(file.read()), expected["rows"])
    starts = itertools.accumulate(found["stripes"], initial=0)
    for at, (start, rows) in enumerate(zip(starts, found["stripes"])):
        stripe = arrow_rows(file.read_stripe(at))
        checked += check_rows(f"{path}, stripe {at}", stripe, expected["rows"][start : start + rows])
    return checked


def check_pyorc(path, expected):
    with open(path, "rb") as stream:
        reader = pyorc.Reader(stream)
        assert str(reader.schema) == expected["schema"], str(reader.schema)
        rows = [list(map(by_value, row)) for row in reader]
        checked = check_rows(f"{path}, pyorc", rows, expected["rows"])
        # From within stripes and row groups, by the positions of the row index.
        for start in range(0, len(rows), expected.get("seek_step", 97)) if expected["file"]["row_index_stride"] else []:
            reader.seek(start)
            found = [list(map(by_value, row)) for row in itertools.islice(reader, 5)]
            checked += check_rows(f"{path}, from {start}", found, expected["rows"][start : start + 5])
        return checked + check_statistics(path, reader, rows)


def check_statistics(path, reader, rows):
    """Of the columns that are not nested: what all of the file's values say."""
    scopes = [(reader, rows)]
    first = 0
    # pyorc sums up the row groups of a stripe.
    for stripe in reader.iter_stripes() if reader.row_index_stride else []:
        scopes.append((stripe, rows[first : first + len(stripe)]))
        first += len(stripe)
    for scope, rows in scopes:
        for at in range(len(rows[0])):
            values = [row[at] for row in rows if row[at] is not None]
            column = next(number for number, name in names(reader.schema) if name == f"c{at}")
            found = scope[column].statistics
            where = f"{path}, c{at}: {found}"
            assert found["number_of_values"] == len(values), where
            assert found["has_null"] == (len(values) < len(rows)), where
            if found["kind"] in (TypeKind.BYTE, TypeKind.SHORT, TypeKind.INT, TypeKind.LONG) and values:
                numbers = list(map(int, values))
                assert (found["minimum"], found["maximum"]) == (min(numbers), max(numbers)), where
                # Sums of 64 bits may not be said, of which pyorc makes a wrong one for the stripe.
                assert found["kind"] == TypeKind.LONG or found["sum"] == sum(numbers), where
            elif found["kind"] == TypeKind.STRING and values:
                assert found["total_length"] == sum(len(value.encode()) for value in values), where
                texts = [value.encode() for value in values]
                # Bounds of longer texts stand in fields that the C++ library does not read.
                if max(map(len, texts)) <= 1024:
                    assert (found["minimum"], found["maximum"]) == (min(values), max(values)), where
            elif found["kind"] == TypeKind.BOOLEAN:
                assert found["true_count"] == sum(values), where
            elif found["kind"] == TypeKind.DECIMAL and values:
                assert (found["minimum"], found["maximum"]) == (min(values), max(values)), where
            elif found["kind"] in (TypeKind.TIMESTAMP, TypeKind.DATE) and values:
                # Of timestamps pyorc tells milliseconds only, and takes those before 1970 for others.
                unit = 1000 if found["kind"] == TypeKind.TIMESTAMP else 1
                for bound, value in ("minimum", min(map(int, values))), ("maximum", max(map(int, values))):
                    if unit == 1 or value % 1_000_000 == 0 or value >= 0:
                        assert int(plain(found[bound])) // unit == value // unit, where
    return len(scopes)


def names(schema):
    """The columns of the root by their numbers."""
    number = 1
    for name, kind in schema.fields.items():
        yield number, name
        number += columns(kind)


def columns(kind):
    children = {
        TypeKind.LIST: lambda: [kind.type],
        TypeKind.MAP: lambda: [kind.key, kind.value],
        TypeKind.STRUCT: lambda: kind.fields.values(),
    }.get(kind.kind, list)()
    return 1 + sum(map(columns, children))


def check_predicates(path, expected):
    """Reading with a predicate leaves out row groups, by their statistics and bloom filters, and loses no row."""
    checked = 0
    for predicate in expected["predicates"]:
        kind, name, literal, present = (predicate[key] for key in ("kind", "column", "value", "present"))
        digits = {"precision": 18, "scale": 4} if kind == "DECIMAL" else {}
        value = {"DECIMAL": decimal.Decimal, "DATE": lambda days: DAY + datetime.timedelta(int(days)),
                 "TIMESTAMP": lambda micros: (EPOCH + int(micros) * MICROSECOND).replace(tzinfo=datetime.timezone.utc),
                 "DOUBLE": float, "LONG": int, "STRING": str}[kind](literal)
        column = PredicateColumn(TypeKind[kind], name, **digits)
        with open(path, "rb") as stream:
            reader = pyorc.Reader(stream, predicate=column == value)
            assert list(next(reader.iter_stripes()).bloom_filter_columns) == expected["bloom_filters"]
        with open(path, "rb") as stream:
            read = [row[0] for row in pyorc.Reader(stream, predicate=column == value)]
        groups = len(read) / expected["file"]["row_index_stride"]
        where = f"{path}, {name} = {value!r}: {groups} row groups"
        assert groups <= predicate["groups"], where
        assert present is None or present in read, where
        checked += 1
    return checked


def main():
    checked = 0
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.orc")):
        expected = json.loads(path.with_suffix(".json").read_text())
        checked += check_pyarrow(path, expected) + check_pyorc(path, expected)
        if "predicates" in expected:
            checked += check_predicates(path, expected)
    print("checked", checked)


main()
