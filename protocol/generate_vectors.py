"""Writes the vectors that follow from the tables: every field at its bounds, and every code.

    python protocol/generate.py            writes them, with `SPEC.md` and `schema.json`

For each field of each record, in one message that holds it: absent, its default spelled out, nil,
the least and the most, one less and one more, each choice, and what is of another type. Whether
such a value is good is said here, from the shape alone; a codec that judges otherwise is an error.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgpack

from field_cases import REQUEST_ID, Case, Fields, cases, with_field
from packhorse_protocol import codec
from packhorse_protocol.errors import CODE_SCOPES, RETRYABLE, Code, MalformedMessage
from packhorse_protocol.framing import frame
from packhorse_protocol.messages import BROKER_MESSAGES, CLIENT_MESSAGES, RESULTS, Ok
from packhorse_protocol.parts import Problem
from packhorse_protocol.shapes import Field, Listing, Nested, fields_of

VECTORS: Final = Path(__file__).parent / "vectors"
CLIENT_FIELDS: Final = VECTORS / "client_fields.json"
BROKER_FIELDS: Final = VECTORS / "broker_fields.json"
CODES: Final = VECTORS / "codes.json"

SHOWN_BYTES: Final = 400
"""The longest body whose value is shown."""
MOST_IN_JSON: Final = 2**53

OK_CASES: Final = {
    "id": (
        Case("absent", False, absent=True),
        Case("0", False, 0),
        Case("text", False, "7"),
        Case("of the request", True, REQUEST_ID),
    ),
    "results": (
        Case("absent", False, absent=True),
        Case("nil", False),
        Case("a map instead", False, {}),
        Case("an item that is nil", False, [None]),
        Case("an item with what it requires", True, [{}]),
    ),
    "durability": (
        Case("absent", True, absent=True),
        Case("nil", True),
        Case("not_met", True, "not_met"),
        Case("no choice", False, "none of these"),
        Case("binary", False, b"x"),
    ),
}

_REPEATED: Final = re.compile(rb"(.{1,96}?)\1{15,}", re.DOTALL)
"""Bytes that are written as one part, with how often it stands there."""


@dataclass(frozen=True)
class Place:
    """Where a record stands in a message: `path` is empty where it is the message itself."""

    sender: str
    tag: str
    answers: str | None
    path: str
    within: Callable[[Fields], Fields]

    def below(self, path: str, within: Callable[[Fields], Fields]) -> "Place":
        """Of a part of this record."""
        return Place(self.sender, self.tag, self.answers, _joined(self.path, path), within)


def files() -> dict[Path, str]:
    """All that is generated here."""
    return {
        CLIENT_FIELDS: _text("What a client may send, field by field", _of("client")),
        BROKER_FIELDS: _text(
            "What a broker may send, field by field", chain(_of("broker"), _of_ok())
        ),
        CODES: _text("Every code, as a client meets it", _of_codes()),
    }


# -- where records stand --------------------------------------------------------------------


def places() -> dict[type, Place]:
    """Record -> the first message that holds it, as near to its surface as there is one."""
    found: dict[type, Place] = {}
    ahead = deque(_messages())
    while ahead:
        record, place = ahead.popleft()
        if record in found:
            continue
        found[record] = place
        ahead += _parts(record, place)
    return found


def _messages() -> Iterator[tuple[type, Place]]:
    for sender, messages in (("client", CLIENT_MESSAGES), ("broker", BROKER_MESSAGES)):
        for tag, record in messages.items():
            if record is not Ok:
                yield record, Place(sender, tag, None, "", _tagged(tag))
    for tag, request in CLIENT_MESSAGES.items():
        if request in RESULTS:
            yield RESULTS[request], Place("broker", "ok", tag, "results[0]", _answer)
    yield Problem, Place("broker", "ok", "get", "results[0]", lambda it: _answer({"problem": it}))


def _tagged(tag: str) -> Callable[[Fields], Fields]:
    return lambda fields: {"t": tag, **fields}


def _answer(entry: Fields) -> Fields:
    return {"t": "ok", "id": REQUEST_ID, "results": [entry]}


def _parts(record: type, place: Place) -> Iterator[tuple[type, Place]]:
    for field in fields_of(record):
        match field.shape:
            case Nested(record=part):
                yield part, place.below(field.name, _within(record, place, field, in_array=False))
            case Listing(item=Nested(record=part)):
                path = f"{field.name}[0]"
                yield part, place.below(path, _within(record, place, field, in_array=True))


def _within(
    record: type, place: Place, field: Field, *, in_array: bool
) -> Callable[[Fields], Fields]:
    def within(fields: Fields) -> Fields:
        value = [fields] if in_array else fields
        return place.within(with_field(record, field.name, value))

    return within


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# -- vectors --------------------------------------------------------------------------------


def _of(sender: str) -> Iterator[Fields]:
    for record, place in places().items():
        if place.sender == sender:
            for field in fields_of(record):
                for case in cases(field):
                    yield _vector(record, place, field, case)


def _vector(record: type, place: Place, field: Field, case: Case) -> Fields:
    fields = with_field(record, field.name, case.value)
    if case.absent:
        fields.pop(field.name, None)
    path = _joined(place.path, field.name)
    return _judged(f"{record.__name__}.{field.name}", path, case, place.within(fields), place)


def _of_ok() -> Iterator[Fields]:
    """Of the one message that has no table in code: what its entries are depends on the request."""
    place = Place("broker", "ok", "take", "", lambda fields: fields)
    for name, values in OK_CASES.items():
        for case in values:
            value: Fields = {**_answer({}), name: case.value}
            if case.absent:
                del value[name]
            yield _judged(f"Ok.{name}", name, case, value, place)


def _judged(field: str, path: str, case: Case, value: Fields, place: Place) -> Fields:
    """The vector of a message, with what the codec makes of it, which has to be as it should."""
    told = place.answers if place.answers is not None else place.tag
    vector: Fields = {"name": f"{told}: {path}: {case.name}", "field": field}
    if place.answers is not None:
        vector["answers"] = place.answers
    body: bytes = msgpack.packb(value)
    vector["body"] = parts_of(body)
    found = _read(body, place)
    if case.good is isinstance(found, MalformedMessage):
        raise AssertionError(f"{vector['name']}: {found}")
    if isinstance(found, MalformedMessage):
        vector["error"] = {
            "code": str(found.code),
            "path": found.path,
            "request_id": found.request_id,
        }
    elif len(body) <= SHOWN_BYTES:
        vector["value"] = _shown(found)
    return vector


def _read(body: bytes, place: Place) -> Fields | MalformedMessage:
    """What the codec makes of it: the message as it is written without defaults, or the error."""
    try:
        if place.sender == "client":
            encoded = codec.encode(codec.decode_client_message(body))
        else:
            encoded = codec.encode(codec.decode_broker_message(body, _results_for(place.answers)))
    except MalformedMessage as error:
        return error
    fields: Fields = msgpack.unpackb(encoded)
    return fields


def _results_for(answered: str | None) -> Callable[[int], type | None]:
    record = None if answered is None else RESULTS[CLIENT_MESSAGES[answered]]
    return lambda _: record


def _of_codes() -> Iterator[Fields]:
    for scope, codes in CODE_SCOPES.items():
        for code in codes:
            yield {"name": f"{scope}: {code}", "code": str(code), **_refusal(scope, code)}


def _refusal(scope: str, code: Code) -> Fields:
    problem: Fields = {"code": str(code), "message": "for people"}
    if code in RETRYABLE:
        problem["retryable"] = True
    match scope:
        case "connection":
            value: Fields = {"t": "error", **problem, "closing": True}
            answers: Fields = {}
        case "request":
            value = {"t": "error", "code": str(code), "message": "for people", "id": REQUEST_ID}
            value |= {"retryable": True} if code in RETRYABLE else {}
            answers = {"answers": "get"}
        case _:
            value = _answer({"problem": problem})
            answers = {"answers": "get"}
    return {**answers, "frame": frame(msgpack.packb(value)).hex(), "value": value}


# -- JSON -----------------------------------------------------------------------------------


def parts_of(body: bytes) -> list[Fields]:
    """A body in hex, what is repeated in it written once."""
    parts: list[Fields] = []
    at = 0
    for found in _REPEATED.finditer(body) if len(body) > SHOWN_BYTES else ():
        if found.start() > at:
            parts.append({"hex": body[at : found.start()].hex()})
        times = len(found[0]) // len(found[1])
        parts.append({"hex": found[1].hex(), "times": times})
        at = found.end()
    if at < len(body):
        parts.append({"hex": body[at:].hex()})
    return parts


def _shown(value: Any) -> Any:
    """A value as JSON has it; see vectors/README.md."""
    match value:
        case bytes():
            return {"$bin": value.hex()}
        case int() if not isinstance(value, bool) and abs(value) > MOST_IN_JSON:
            return {"$int": str(value)}
        case dict():
            return {key: _shown(item) for key, item in value.items()}
        case list():
            return [_shown(item) for item in value]
        case _:
            return value


def _text(about: str, vectors: Iterator[Fields]) -> str:
    """A line for each vector."""
    lines = ",\n".join(f"    {json.dumps(vector, ensure_ascii=False)}" for vector in vectors)
    about = json.dumps(f"{about}; generated, see README.md.")
    return f'{{\n  "about": {about},\n  "vectors": [\n{lines}\n  ]\n}}\n'
