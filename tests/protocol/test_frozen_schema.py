"""The tables of each recorded version still hold: SPEC.md, section 19, on `schema.json`."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import pytest

import generate
from tests.protocol.record_transcript import schema_of
from tests.protocol.scenarios import SCENARIOS

Schema: TypeAlias = dict[str, Any]

NOW: Final = json.loads(generate.SCHEMA.read_text())


def broken(was: Schema, now: Schema) -> Iterator[str]:
    """Where a later version's tables are against the rules."""
    for code in was["codes"]:
        if code not in now["codes"]:
            yield f"code {code['code']}"
    for side in ("client_messages", "broker_messages"):
        for tag, told in was[side].items():
            if now[side].get(tag) != told:
                yield f"message {tag}"
    senders = {side: _records_of(was, side) for side in ("client", "broker")}
    for name, record in was["records"].items():
        sent_by = [side for side, records in senders.items() if name in records]
        yield from _of_record(name, record, now["records"].get(name, {"fields": []}), sent_by)


def _records_of(schema: Schema, side: str) -> set[str]:
    """Names of the records that a side sends."""
    ahead = [told["record"] for told in schema[f"{side}_messages"].values()]
    if side == "broker":
        ahead += [
            told["results"] for told in schema["client_messages"].values() if "results" in told
        ]
        ahead += ["Problem"]
    found: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name not in found and name in schema["records"]:
            found.add(name)
            ahead += re.findall(r'"record": "(\w+)"', json.dumps(schema["records"][name]))
    return found


def _of_record(name: str, was: Schema, now: Schema, sent_by: list[str]) -> Iterator[str]:
    earlier = {field["name"]: field for field in was["fields"]}
    later = {field["name"]: field for field in now["fields"]}
    for field, told in earlier.items():
        if field not in later or not all(_holds(told, later[field], side) for side in sent_by):
            yield f"{name}.{field}"
    for field in later.keys() - earlier.keys():
        if later[field]["required"]:
            yield f"{name}.{field} is required"


def _holds(was: Schema, now: Schema, sender: str) -> bool:
    """Whether what earlier clients send is still good, or what they are sent good for them."""
    if now.keys() != was.keys():
        return False
    sent, read = (was, now) if sender == "client" else (now, was)
    if sent.get("min", 0) < read.get("min", 0) or sent.get("max", 0) > read.get("max", 0):
        return False
    if not set(sent.get("values", [])) <= set(read.get("values", [])):
        return False
    return all(
        _holds(was[key], now[key], sender) if isinstance(was[key], dict) else was[key] == now[key]
        for key in was.keys() - {"min", "max", "values"}
    )


@pytest.mark.parametrize("version", SCENARIOS)
def test_the_tables_only_grow(version: str) -> None:
    assert list(broken(json.loads(schema_of(version).read_text()), NOW)) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('"name": "persistent"', '"name": "stays"', {"JobView.persistent", "NewJob.persistent"}),
        ('"default": 200', '"default": 300', {"Backoff.factor_percent"}),
        ('"code": "quota"', '"code": "budget"', {"code quota"}),
        ('"max": 65536', '"max": 65535', {"TypeSchema.schema"}),
        ('"joined"', '"merged"', {"Created.duplicate"}),
        ('"drain": {', '"leave": {', {"message drain"}),
        ('"max": 65536', '"max": 65537', {"SchemaView.schema"}),
        ('"taken_back"', '"taken_back", "lent"', {"Revocation.reason"}),
        ('"reject", "join"', '"reject", "wait", "join"', {"Unique.on_duplicate"}),
        ('"max": 100000}', '"max": 200000}', set()),
    ],
)
def test_what_breaks_them_is_noticed(before: str, after: str, expected: set[str]) -> None:
    text = json.dumps(NOW)
    assert before in text
    assert set(broken(NOW, json.loads(text.replace(before, after)))) == expected


def test_new_keys_have_defaults() -> None:
    later = json.loads(json.dumps(NOW))
    fields = later["records"]["NewJob"]["fields"]
    fields.append({"name": "new", "required": False, "default": 0, "type": "integer"})
    assert list(broken(NOW, later)) == []
    fields[-1]["required"] = True
    assert list(broken(NOW, later)) == ["NewJob.new is required"]
