"""The fields of messages, called what the caller of this package calls them.

The protocol names what is wrong by where it stands in a message, `Create.jobs[0].delay_ms: must
be ...`. Who created a job wrote `delay`, and that is what the error begins with.
"""

import re
from collections.abc import Mapping
from typing import Final

_PATH: Final = re.compile(
    r"""
    (?:(?P<message>[A-Z]\w+)\.)?  # Create.
    (?P<items>jobs|types|schemas|claims|reports)?  # jobs
    (?(items)\[\d+\](?:\.(?=\w))?)  # [0].
    (?P<field>[a-z_]+(?:\.[a-z_]+)*)?  # timeouts.run_ms
    (?P<entry>\[(?:\d+|'(?:\\.|[^'\\])*'|"[^"]*")(?:\.{3})?\])?  # ['traceparent'] or [3]
    :[ ]
    """,
    re.VERBOSE,
)

_ITEMS: Final[Mapping[str | None, str]] = {
    "jobs": "job_id",
    "types": "job_type",
    "schemas": "schema",
    "claims": "claim",
    "reports": "report",
}
"""What stands in a message's list by itself."""

_FIELDS: Final[Mapping[str, str]] = {
    "id": "job_id",
    "job": "job_id",
    "type": "job_type",
    "after": "job_type",
    "client": "client_id",
    "unique.key": "unique",
    "timeouts.idle_ms": "idle_timeout",
    "timeouts.run_ms": "run_timeout",
    "timeouts.total_ms": "total_timeout",
    "keep_complete.keep_ms": "complete",
    "keep_complete.keep_jobs": "complete",
    "keep_failed.keep_ms": "failed",
    "keep_failed.keep_jobs": "failed",
    "paused_until": "until",
    "run_ms": "extend",
    "groups": "group",
    "messages": "message",
}
"""Fields with another name here; of the others only the unit goes, which is written here."""

_NO_TEXT: Final = re.compile(r"[A-Z]\w+ holds a text (?=that UTF-8 can't express)")


def as_written(said: str) -> str:
    """What the protocol says of a value, beginning with the argument that held it."""
    found = _PATH.match(said)
    if found is None or not (found["items"] or found["field"]):
        return _NO_TEXT.sub("there is a text ", said)
    rest = said[found.end() :]
    field = found["field"]
    if field is None:
        return f"{_ITEMS[found['items']]}: {rest}"
    entry = found["entry"] or ""
    named = "" if entry[1:-1].isdecimal() else entry
    return f"{_FIELDS.get(field, field.removesuffix('_ms'))}{named}: {rest}"
