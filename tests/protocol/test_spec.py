"""`SPEC.md` and `schema.json` say what the code does."""

import json
import re
from collections import Counter
from typing import Final, get_args

import pytest
from click.testing import CliRunner

import generate
import packhorse_protocol
from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    RETRYABLE,
    ROLES,
    Code,
    State,
    errors,
    limits,
    messages,
)
from packhorse_protocol.connection import ConnectionState
from packhorse_protocol.shapes import Choice, fields_of
from tests.protocol.vectors import PROTOCOL

SPEC: Final = (PROTOCOL / "SPEC.md").read_text()


def section(heading: str) -> str:
    """The text from a heading to the next one of the same kind."""
    level = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^{level} |\Z)", SPEC, re.M | re.S)
    assert found is not None, heading
    return found[1]


def test_the_tables_are_those_of_the_code() -> None:
    assert generate.renewed_spec(SPEC) == SPEC


def test_every_hand_written_column_is_written() -> None:
    assert generate.unwritten(SPEC) == []
    assert not re.search(r"\|  \|", SPEC)


def test_the_schema_is_that_of_the_code() -> None:
    assert (PROTOCOL / "schema.json").read_text() == generate.schema_text()


def test_the_schema_tells_every_message_code_and_state() -> None:
    schema = json.loads(generate.schema_text())
    assert list(schema["client_messages"]) == list(CLIENT_MESSAGES)
    assert list(schema["broker_messages"]) == list(BROKER_MESSAGES)
    assert [entry["code"] for entry in schema["codes"]] == list(Code)
    assert list(schema["states"]) == [state.name for state in ConnectionState]
    assert schema["limits"]["DEFAULT_PORT"] == limits.DEFAULT_PORT
    told = schema["client_messages"]
    assert told["extend"] == {"record": "Extend", "results": "Extended", "items": "claims"}
    assert told["join"] == {"record": "Join", "results": "Done"}
    records = schema["records"]
    assert records["Progress"]["fields"] == [
        {"name": "percent", "required": True, "type": "integer", "min": 0, "max": 100},
        {"name": "text", "required": False, "default": "", "type": "text", "min": 0, "max": 1024},
    ]


def test_the_check_finds_nothing_and_writes_nothing() -> None:
    result = CliRunner().invoke(generate.main, ["--check"])
    assert result.exit_code == 0
    assert result.output == ""


def test_a_new_field_and_a_removed_row_are_noticed() -> None:
    row = next(line for line in SPEC.splitlines() if line.startswith("| `grace_ms` |"))
    renewed = generate.renewed_spec(SPEC.replace(row + "\n", ""))
    [unwritten] = generate.unwritten(renewed)
    assert unwritten.startswith("| `grace_ms` |")
    more = SPEC.replace(row, row + "\n| `gone` | name | absent | 1.0 | was dropped |")
    assert generate.renewed_spec(more) == SPEC


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown table"):
        generate.renewed_spec("<!-- table: nothing -->\n<!-- end -->")


def test_every_message_has_a_section_with_its_table() -> None:
    for tag, record in [*CLIENT_MESSAGES.items(), *BROKER_MESSAGES.items()]:
        text = section(f"### `{tag}`")
        fields = record.__annotations__
        if tag != "ok" and fields:
            assert f"<!-- table: fields {record.__name__} -->" in text
        assert all(f"| `{name}` |" in text for name in fields)


def test_the_table_of_ok_is_that_of_its_record() -> None:
    table = section("### `ok`").partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert rows == list(messages.Ok.__annotations__)
    shown = get_args(get_args(messages.Ok.__annotations__["durability"])[0])
    assert f"| `durability` | `{shown[0]}` | absent |" in table


def test_every_part_has_a_section() -> None:
    parts = set(generate.records()) - {
        record.__name__ for record in [*CLIENT_MESSAGES.values(), *BROKER_MESSAGES.values()]
    }
    for name in parts:
        assert re.search(rf"^#### {name}$", SPEC, re.M), name


def test_links_lead_to_sections() -> None:
    headings = re.findall(r"^#+ (.*)$", SPEC, re.M)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]*)\)", SPEC))
    assert links <= anchors, links - anchors


def test_every_code_is_in_one_table() -> None:
    for code in Code:
        assert len(re.findall(rf"^\| `{code}` \|", section("## 17. Errors"), re.M)) == 1
    assert sorted(c for codes in errors.CODE_SCOPES.values() for c in codes) == sorted(Code)
    assert set(Code) >= RETRYABLE


def test_every_request_is_allowed_to_one_role() -> None:
    table = section("## 7. Registration")
    rows = dict(re.findall(r"^\| `?(\w+)`? \| (`.*) \|$", table, re.M))
    assert [role for role in rows if role in ROLES] == list(ROLES)
    told = [tag for role in (*ROLES, "any") for tag in re.findall(r"`(\w+)`", rows[role])]
    assert {tag for tag in told if tag in CLIENT_MESSAGES} == set(CLIENT_MESSAGES) - {"hello"}


def test_every_request_says_what_its_repetition_does() -> None:
    table = section("## 18. Repeating requests")
    told = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", table, re.M)))
    assert set(told) == {tag for tag, record in CLIENT_MESSAGES.items() if record in RESULTS}


@pytest.mark.parametrize(
    ("heading", "record", "field"),
    [
        ("## 1. Words", "JobView", "reason"),
        ("#### Backoff", "Backoff", "type"),
        ("#### Backoff", "Backoff", "jitter"),
        ("### Unique keys", "Unique", "scope"),
        ("#### Revocation", "Revocation", "reason"),
        ("#### Cause", "Cause", "code"),
    ],
)
def test_every_choice_has_a_row_that_explains_it(heading: str, record: str, field: str) -> None:
    shapes = {field.name: field.shape for field in fields_of(generate.records()[record])}
    choice = shapes[field]
    assert isinstance(choice, Choice)
    rows = re.findall(r"^\| `(\w+)` \|", section(heading), re.M)
    assert set(choice.values) <= set(rows)


def test_every_state_has_a_row() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \|", section("## 1. Words"), re.M)
    assert rows == list(get_args(State))


def test_headings_differ() -> None:
    headings = Counter(re.findall(r"^#+ .*$", SPEC, re.M))
    assert [heading for heading, times in headings.items() if times > 1] == []


def test_numbers_in_the_text_are_the_limits() -> None:
    text = section("## 3. Frames") + section("## 4. Values")
    for number in (
        limits.HANDSHAKE_FRAME_BYTES,
        limits.MAX_ARRAY_ITEMS,
        limits.MAX_MAP_ITEMS,
        limits.MAX_ELEMENTS,
        limits.MAX_NAME_CHARS,
        4 * limits.MAX_TRACEBACK_CHARS,
    ):
        assert str(number) in text
    assert str(limits.DEFAULT_PORT) in section("## 2. Transport")
    assert str(limits.MAX_DURATION_MS) in section("#### Backoff")


def test_the_package_exports_what_it_says() -> None:
    assert sorted(packhorse_protocol.__all__) == sorted(set(packhorse_protocol.__all__))
    for name in packhorse_protocol.__all__:
        assert getattr(packhorse_protocol, name) is not None
    public = set(generate.records()) | {"Ok"}
    assert public <= set(packhorse_protocol.__all__)
    assert messages.Ok is packhorse_protocol.Ok
