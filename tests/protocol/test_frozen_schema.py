"""The tables of each recorded version still hold: SPEC.md, section 19, on `schema.json`."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

import generate
from tests.protocol.record_transcript import schema_of
from tests.protocol.scenarios import SCENARIOS

NOW: Final = json.loads(generate.SCHEMA.read_text())


def broken(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Where a later version's tables are against the rules."""
    for code in was["codes"]:
        if code not in now["codes"]:
            yield f"code {code['code']}"
    for side in ("client_messages", "broker_messages"):
        for tag, told in was[side].items():
            if now[side].get(tag) != told:
                yield f"message {tag}"
    for name, record in was["records"].items():
        yield from _of_record(name, record, now["records"].get(name, {"fields": []}))


def _of_record(name: str, was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    earlier = {field["name"]: field for field in was["fields"]}
    later = {field["name"]: field for field in now["fields"]}
    for field, told in earlier.items():
        if field not in later or not _holds(told, later[field]):
            yield f"{name}.{field}"
    for field in later.keys() - earlier.keys():
        if later[field]["required"]:
            yield f"{name}.{field} is required"


def _holds(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a shape is what it was, or only wider."""
    if now.keys() != was.keys():
        return False
    if now.get("min", 0) > was.get("min", 0) or now.get("max", 0) < was.get("max", 0):
        return False
    return all(
        _holds(was[key], now[key]) if isinstance(was[key], dict) else was[key] == now[key]
        for key in was.keys() - {"min", "max"}
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
        ('"max": 65536', '"max": 65535', {"TypeSchema.schema", "SchemaView.schema"}),
        ('"joined"', '"merged"', {"Created.duplicate"}),
        ('"drain": {', '"leave": {', {"message drain"}),
        ('"max": 65536', '"max": 65537', set()),
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
