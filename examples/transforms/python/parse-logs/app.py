"""Lines of an access log (Apache's and nginx's combined format) to JSON objects; what is no such line fails."""

import json
import re

import wit_world
from wit_world.imports.types import Outcome_Dropped, Outcome_Failed, Outcome_Ok, Record, Transformed

LINE = re.compile(
    r'(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<at>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+)[^"]*" '
    r'(?P<status>\d{3}) (?P<bytes>\d+|-)'
)


def outcome(record: Record):
    """What becomes of one line."""
    line = record.data.decode("utf-8", "replace").rstrip("\r\n")
    if not line:
        return Outcome_Dropped()
    found = LINE.match(line)
    if found is None:
        return Outcome_Failed("this is no line of an access log")
    fields = found.groupdict()
    fields["status"] = int(fields["status"])
    fields["bytes"] = 0 if fields["bytes"] == "-" else int(fields["bytes"])
    data = json.dumps(fields, separators=(",", ":")).encode()
    return Outcome_Ok(Transformed(data, [("status", f"{fields['status'] // 100}xx")], []))


class WitWorld(wit_world.WitWorld):
    """The function."""

    def process(self, batch: list[Record]):
        return [outcome(record) for record in batch]
