"""Keeps `SPEC.md`, `schema.json` and the generated vectors in step with the code.

    python protocol/generate.py            writes them
    python protocol/generate.py --check    writes nothing, exits 1 where they differ

A table of `SPEC.md` stands between `<!-- table: ... -->` and `<!-- end -->`. Its first columns
come from the code, the last ones (`since`, the meaning) are written by hand in the table itself
and kept: a row that the code has and the table has not gets a mark that `--check` refuses.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

import generate_vectors
import session_table
from packhorse_protocol import broker_messages, client_messages, limits, parts, results
from packhorse_protocol.connection import (
    BATCH_FIELD,
    BROKER_MAY_SEND,
    CLIENT_MAY_SEND,
    ConnectionState,
)
from packhorse_protocol.errors import CODE_SCOPES, RETRYABLE
from packhorse_protocol.fields import Bounds
from packhorse_protocol.messages import BROKER_MESSAGES, CLIENT_MESSAGES, RESULTS, Ok
from packhorse_protocol.shapes import (
    Choice,
    Field,
    Listing,
    Mapped,
    Nested,
    Scalar,
    Shape,
    fields_of,
)

HERE: Final = Path(__file__).parent
SPEC: Final = HERE / "SPEC.md"
SCHEMA: Final = HERE / "schema.json"
SESSION: Final = HERE / "vectors" / "session.json"

UNWRITTEN: Final = "(to be written)"
"""Stands in a hand-written column until somebody has written it."""

_TABLE: Final = re.compile(
    r"(?P<open><!-- table: (?P<name>[^\n]+) -->\n)(?P<body>.*?)(?P<close><!-- end -->)", re.DOTALL
)
_UNITS: Final = {"_ms": "ms", "_bytes": "bytes", "percent": "%"}
"""How a field's name ends, and the unit that it tells."""
_MOMENT: Final = re.compile(r"(.*_)?(at|until|since|before|deadline|next_attempt)")
"""Names of fields that hold a time."""
_MAX_INT: Final = 2**63 - 1
_SCHEMA_LINE_CHARS: Final = 120
_FLAT_MAP: Final = re.compile(r"\{[^{}]*\}")
_HEX_COLUMNS: Final = 32
"""Bytes on a line of the session's dump."""


# -- SPEC.md --------------------------------------------------------------------------------


def renewed_spec(text: str) -> str:
    """The text with each table's generated columns as the code has them."""
    return _TABLE.sub(lambda found: found["open"] + _table(found) + found["close"], text)


def unwritten(text: str) -> list[str]:
    """The lines of tables whose hand-written columns are not written."""
    return [line for line in text.splitlines() if UNWRITTEN in line]


def _table(found: re.Match[str]) -> str:
    kind, _, argument = found["name"].partition(" ")
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    match kind:
        case "fields":
            header = ("Key", "Type", "Default", "Since", "Meaning")
            rows = [
                (f"`{field.name}`", _type_text(field), _default_text(field))
                for field in fields_of(records()[argument])
            ]
        case "codes":
            header = ("Code", "Retryable", "When", "What to do")
            scope = CODE_SCOPES[argument]
            rows = [(f"`{code}`", "yes" if code in RETRYABLE else "no") for code in scope]
        case "messages":
            sent = CLIENT_MESSAGES if argument == "client" else BROKER_MESSAGES
            header = ("Tag", "States", "Meaning")
            rows = [(f"`{tag}`", _states_text(record)) for tag, record in sent.items()]
        case "limits":
            header = ("Name", "Value", "Meaning")
            rows = [(f"`{name}`", str(value)) for name, value in _constants()]
        case "arrivals":
            header = session_table.HEADER
            at_client = argument == "client"
            rows = session_table.rows_of_client() if at_client else session_table.rows_of_broker()
        case "session":
            return _session_text()
        case _:
            raise ValueError(f"SPEC.md asks for an unknown table: {found['name']}")
    return "".join(_rows(header, rows, _kept(found["body"])))


def _rows(
    header: tuple[str, ...], rows: list[tuple[str, ...]], kept: Mapping[str, list[str]]
) -> Iterator[str]:
    yield f"| {' | '.join(header)} |\n"
    yield f"|{' --- |' * len(header)}\n"
    for row in rows:
        by_hand = len(header) - len(row)
        cells = kept.get(row[0], [])[len(row) :] or [UNWRITTEN] * by_hand
        yield f"| {' | '.join((*row, *cells))} |\n"


def _kept(body: str) -> dict[str, list[str]]:
    """First cell -> all cells of each row that the table has now."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in body.splitlines()
        if line.startswith("| ")
    ]
    return {row[0]: row for row in rows}


def _type_text(field: Field) -> str:
    unit = next((unit for suffix, unit in _UNITS.items() if field.name.endswith(suffix)), "")
    if _MOMENT.fullmatch(field.name):
        unit = "ms since the epoch"
    return _shape_text(field.shape) + (f", {unit}" if unit else "")


def _shape_text(shape: Shape) -> str:
    match shape:
        case Scalar(bounds=None):
            return "boolean"
        case Scalar(type=kind, bounds=Bounds(low=low, high=high, printable=True)):
            return "name" if high == limits.MAX_NAME_CHARS else f"name {_span(low, high)}"
        case Scalar(type=kind, bounds=Bounds(low=low, high=high)):
            words = {int: "integer", str: "text", bytes: "binary"}
            return f"{words[kind]} {_span(low, high)}"
        case Choice(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case Listing(item=item, bounds=Bounds(low=low, high=high)):
            return f"array {_span(low, high)} of {_shape_text(item)}"
        case Mapped(key=key, value=value, bounds=bounds):
            size = f" {_span(bounds.low, bounds.high)}" if bounds else ""
            return f"map{size} of {_shape_text(key)} to {_shape_text(value)}"
        case Nested(record=record):
            return f"[{record.__name__}](#{record.__name__.lower()})"
    raise TypeError(f"no words for {shape!r}")


def _span(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low}..{'2^63-1' if high == _MAX_INT else high}"


def _default_text(field: Field) -> str:
    if field.required:
        return "required"
    match field.default:
        case None:
            return "absent"
        case bool(value):
            return "true" if value else "false"
        case int(value):
            return str(value)
        case str(value) if value:
            return f"`{value}`"
        case _:
            return "empty"


def _states_text(record: type) -> str:
    table = CLIENT_MAY_SEND if record in CLIENT_MESSAGES.values() else BROKER_MAY_SEND
    return ", ".join(state.name for state, allowed in table.items() if record in allowed)


def _constants() -> Iterator[tuple[str, int]]:
    for name, value in vars(limits).items():
        if name.isupper() and isinstance(value, int):
            yield name, value


def _session_text() -> str:
    session = json.loads(SESSION.read_text())
    lines: list[str] = []
    for step in session["steps"]:
        frame = step["frame"]
        arrow = "client -> broker" if step["from"] == "client" else "broker -> client"
        lines += [f"**{arrow}** {step['words']}\n", "\n", "```\n"]
        lines += [
            " ".join(re.findall("..", frame[start : start + 2 * _HEX_COLUMNS])) + "\n"
            for start in range(0, len(frame), 2 * _HEX_COLUMNS)
        ]
        lines += [f"{json.dumps(step['value'], ensure_ascii=False)}\n", "```\n", "\n"]
    return "".join(lines)


# -- schema.json ----------------------------------------------------------------------------


def schema() -> dict[str, object]:
    """The protocol for programs: what a generator of clients needs."""
    return {
        "protocol": "packhorse",
        "version": limits.PROTOCOL_VERSION,
        "limits": dict(_constants()),
        "codes": [
            {"code": str(code), "scope": scope, "retryable": code in RETRYABLE}
            for scope, codes in CODE_SCOPES.items()
            for code in codes
        ],
        "states": {
            state.name: {
                "client": _tags(CLIENT_MESSAGES, CLIENT_MAY_SEND[state]),
                "broker": _tags(BROKER_MESSAGES, BROKER_MAY_SEND[state]),
            }
            for state in ConnectionState
        },
        "client_messages": {
            tag: {"record": record.__name__}
            | ({"results": RESULTS[record].__name__} if record in RESULTS else {})
            | ({"items": BATCH_FIELD[record]} if record in BATCH_FIELD else {})
            for tag, record in CLIENT_MESSAGES.items()
        },
        "broker_messages": {
            tag: {"record": record.__name__} for tag, record in BROKER_MESSAGES.items()
        },
        "records": {
            name: {"fields": [_field_schema(field) for field in fields_of(record)]}
            for name, record in records().items()
        },
    }


def records() -> dict[str, type]:
    """Name -> record, of all that cross the wire but `Ok`, whose results depend on the request."""
    return {
        name: value
        for module in (client_messages, broker_messages, parts, results)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and value is not Ok
    }


def _tags(sent: Mapping[str, type], allowed: frozenset[type]) -> list[str]:
    return [tag for tag, record in sent.items() if record in allowed]


def _field_schema(field: Field) -> dict[str, object]:
    told: dict[str, object] = {"name": field.name, "required": field.required}
    if not field.required:
        # Binary defaults are all empty: an empty text stands for them.
        told["default"] = "" if field.default == b"" else field.default
    return told | _shape_schema(field.shape)


def _shape_schema(shape: Shape) -> dict[str, object]:
    match shape:
        case Scalar(bounds=None):
            return {"type": "boolean"}
        case Scalar(type=kind, bounds=Bounds(low=low, high=high, printable=printable)):
            words = {int: "integer", str: "text", bytes: "binary"}
            return {"type": "name" if printable else words[kind], "min": low, "max": high}
        case Choice(values=values):
            return {"type": "choice", "values": list(values)}
        case Listing(item=item, bounds=Bounds(low=low, high=high)):
            return {"type": "array", "min": low, "max": high, "items": _shape_schema(item)}
        case Mapped(key=key, value=value, bounds=bounds):
            size = {"min": bounds.low, "max": bounds.high} if bounds else {}
            return {
                "type": "map",
                **size,
                "keys": _shape_schema(key),
                "values": _shape_schema(value),
            }
        case Nested(record=record):
            return {"type": "record", "record": record.__name__}
    raise TypeError(f"no schema for {shape!r}")


def schema_text() -> str:
    """The schema as JSON, each short map that holds no other one on a line of its own."""
    text = json.dumps(schema(), indent=2, ensure_ascii=False)
    return _FLAT_MAP.sub(_on_one_line, text) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    line = " ".join(found[0].split())
    return line if len(line) <= _SCHEMA_LINE_CHARS else found[0]


# -- the command ----------------------------------------------------------------------------


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where the files differ.")
def main(check: bool) -> None:
    wanted = {
        SPEC: renewed_spec(SPEC.read_text()),
        SCHEMA: schema_text(),
        **generate_vectors.files(),
    }
    problems = [f"SPEC.md: {line}" for line in unwritten(wanted[SPEC])]
    for path, text in wanted.items():
        if path.exists() and path.read_text() == text:
            continue
        if check:
            problems.append(f"{path.name} differs from the code: run python protocol/generate.py")
        else:
            path.write_text(text)
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
