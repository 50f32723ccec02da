"""`why`, `attempts`, `actions` and the commands about types against a real broker."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from packhorse.cli.jobtypes import _type_row
from packhorse.cli.moments import moment
from packhorse.cli.schema import check_arguments
from packhorse_protocol.messages import GetSchema, Retention, TypeView
from tests.client.scripted import ScriptedBroker, connected
from tests.client.terminal import Terminal, run

# -- looking --------------------------------------------------------------------------------------


async def test_why(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a")
    said = await terminal("why", "a")
    assert said.out.splitlines()[0] == "a is QUEUED"
    assert "later" in said.out.splitlines()[1]
    [shown] = (await terminal("why", "a", "--json")).objects()
    assert (shown["state"], shown["causes"][0]["code"]) == ("QUEUED", "no_runner")
    assert (await terminal("why", "gone")).status == 3


async def test_attempts(terminal: Terminal) -> None:
    await terminal("create", "fail", "--id", "a", "--attempts", "2", "--persistent", "--wait")
    said = await terminal("attempts", "a")
    header, first, second = said.out.splitlines()
    assert header.split() == ["ATTEMPT", "ENDED", "RUNNER", "STARTED", "TOOK", "ERROR"]
    assert re.fullmatch(r"1 +failed +\w+ +20\S+Z +\d+ms +Fail: not today", first)
    assert second.startswith("2 ")
    shown = (await terminal("attempts", "a", "--json")).objects()
    assert [attempt["attempt"] for attempt in shown] == [1, 2]
    assert shown[0]["error"]["message"] == "not today"


async def test_actions(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a")
    await terminal("cancel", "a", "--why", "first")
    await terminal("pause", "later", "--why", "second")
    said = await terminal("actions")
    header, newest, older = said.out.splitlines()
    assert header.split() == ["WHEN", "ACTION", "BY", "TYPE", "JOB", "WHY"]
    assert re.fullmatch(r"20\S+Z +configure +\S+@\S+ +later +paused: second", newest)
    assert re.fullmatch(r"20\S+Z +cancel +\S+@\S+ +later +a +first", older)
    shown = (await terminal("actions", "--json", "--limit", "1")).objects()
    assert [(action["action"], action["why"]) for action in shown] == [
        ("configure", "paused: second")
    ]
    assert (await terminal("actions", "--before", "1h", "--json")).out == ""


# -- types ----------------------------------------------------------------------------------------


async def test_types_and_their_settings(terminal: Terminal) -> None:
    await terminal("create", "later")
    for command in (
        ("pause", "later", "--for", "1h"),
        ("drain", "later", "--why", "w"),
        ("retention", "later", "--complete", "1h", "--failed", "2d", "--failed-jobs", "7"),
        ("limit", "later", "--jobs", "5", "--bytes", "1000", "--why", "disk is full"),
    ):
        said = await terminal(*command)
        assert (said.status, said.out, said.err) == (0, "", "")
    said = await terminal("types", "later")
    header, row, pause = said.out.splitlines()
    assert pause.startswith("later paused until 20")
    assert header.split() == [
        *("TYPE", "PENDING", "QUEUED", "STARTED", "COMPLETE", "FAILED"),
        *("WAIT", "RUNNERS", "SETTINGS", "SET", "BY"),
    ]
    assert re.fullmatch(
        r"later +0 +1 +0 +0 +0 +\w+ +0  paused, until 20\S+Z, draining, "
        r"at most 5 jobs, at most 1000 bytes, COMPLETE kept 1h, FAILED kept 2d \(at most 7\) +"
        r"\S+@\S+: disk is full",
        row,
    )
    [shown] = (await terminal("types", "later", "--json")).objects()
    assert shown["keep_failed"] == {"keep_ms": 172_800_000, "keep_jobs": 7}
    assert (shown["paused"], shown["why"]) == (True, "disk is full")
    assert "@" in shown["by"]
    for undoing in (
        ("resume", "later"),
        ("undrain", "later"),
        ("limit", "later", "--jobs", "0", "--bytes", "0"),
    ):
        assert (await terminal(*undoing)).status == 0
    row = (await terminal("types", "later")).out.splitlines()[1]
    assert re.fullmatch(
        r"later +0 +1 +0 +0 +0 +\w+ +0  COMPLETE kept 1h, FAILED kept 2d \(at most 7\) +\S+@\S+",
        row,
    )
    shown_types = (await terminal("types", "--json")).objects()
    assert "later" in {shown["type"] for shown in shown_types}
    whys = [action["why"] for action in (await terminal("actions", "--json")).objects()]
    assert sorted(whys) == sorted(
        [
            f"paused until {shown['paused_until'][:19]}Z",
            "draining: w",
            "keep_complete 1h; keep_failed 2d, at most 7",
            "max_jobs 5; max_bytes 1000: disk is full",
            "resumed",
            "no longer draining",
            "no max_jobs; no max_bytes",
        ]
    )
    again = ("retention", "later", "--complete", "default", "--failed-jobs", "3")
    assert (await terminal(*again)).status == 0
    [shown] = (await terminal("types", "later", "--json")).objects()
    assert "keep_complete" not in shown or shown["keep_complete"] is None
    assert shown["keep_failed"] == {"keep_ms": 172_800_000, "keep_jobs": 3}


async def test_retention_keeps_what_is_not_named(terminal: Terminal) -> None:
    async def kept(*options: str) -> str:
        said = await terminal("retention", "later", *options)
        assert (said.status, said.err) == (0, "")
        [row] = (await terminal("types", "later")).out.splitlines()[1:]
        return re.split("  +", row)[8]

    assert await kept("--complete", "5m") == "COMPLETE kept 5m"
    assert await kept("--complete-jobs", "7") == "COMPLETE kept 5m (at most 7)"
    assert await kept("--complete", "1h") == "COMPLETE kept 1h (at most 7)"
    assert await kept("--complete", "default") == "COMPLETE kept as by default (at most 7)"
    await terminal("retention", "later", "--complete", "1h")
    assert await kept("--complete-jobs", "default") == "COMPLETE kept 1h"
    assert await kept("--failed", "2d") == "COMPLETE kept 1h, FAILED kept 2d"
    said = await terminal("retention", "later", "--failed-jobs", "few")
    assert said.status == 2
    assert "'few' is not a valid whole number" in said.err


async def test_types_tell_of_a_schema(terminal: Terminal, tmp_path: Path) -> None:
    await put(terminal, tmp_path, SCHEMA)
    row = (await terminal("types", "later")).out.splitlines()[1]
    assert row.endswith("  has a schema")


async def test_a_command_in_somebodys_name(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a", "--as", "ann")
    await terminal("cancel", "a", "--as", "night shift")
    [action] = (await terminal("actions", "--json")).objects()
    assert re.fullmatch("night shift-[0-9a-f]{8}", action["by"])
    for name in ("", "a\nb", "x" * 101):
        said = await terminal("info", "--as", name)
        assert (said.status, said.err.count("\n")) == (2, 1)


async def test_a_type_of_which_nothing_is_set(terminal: Terminal) -> None:
    await terminal("create", "later")
    await terminal("pause", "later")
    await terminal("resume", "later", "--why", "disk has room")
    row = (await terminal("types", "later")).out.splitlines()[1]
    assert re.fullmatch(r"later +0 +1 +0 +0 +0 +\w+ +0", row)


async def test_who_paused_a_type_and_why(terminal: Terminal) -> None:
    await terminal("pause", "later", "--why", "disk is full")
    row = (await terminal("types", "later")).out.splitlines()[1]
    assert re.fullmatch(r"later .*  paused +\S+@\S+: disk is full", row)


async def test_who_paused_a_type_that_was_changed_since(terminal: Terminal) -> None:
    await terminal("pause", "later", "--why", "too early")
    await terminal("resume", "later")
    await terminal("pause", "later", "--for", "1h", "--why", "disk is full")
    await terminal("pause", "other", "--why", "not this one")
    await terminal("limit", "later", "--jobs", "5", "--why", "paused or not")
    said = await terminal("types", "later", "other")
    *_, later, other, pause = said.out.splitlines()
    assert later.endswith(": paused or not")
    assert other.endswith(": not this one")
    assert re.fullmatch(r"later paused until 20\S+Z: disk is full \(by \S+@\S+, 20\S+Z\)", pause)
    pauses = {
        shown["type"]: shown["pause"]["why"].rpartition(": ")[2]
        for shown in (await terminal("types", "later", "other", "--json")).objects()
    }
    assert pauses == {"later": "disk is full", "other": "not this one"}
    assert "disk is full" not in (await terminal("types")).out
    await terminal("resume", "later")
    assert "disk is full" not in (await terminal("types", "later")).out


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (Retention(keep_jobs=5), "FAILED kept as by default (at most 5)"),
        (Retention(keep_ms=90_000, keep_jobs=5), "FAILED kept 1m30s (at most 5)"),
        (Retention(keep_ms=0), "FAILED not kept"),
        (Retention(keep_ms=90_000, keep_jobs=0), "FAILED not kept"),
    ],
)
def test_retention_in_words(kept: Retention, shown: str) -> None:
    found = TypeView(type="t", counts={}, keep_failed=kept, by="ann")
    assert _type_row(found)[-2:] == (shown, "ann")


async def test_pause_until(terminal: Terminal) -> None:
    await terminal("pause", "later", "--until", "2099-01-01T00:00Z")
    [shown] = (await terminal("types", "later", "--json")).objects()
    assert shown["paused_until"] == "2099-01-01T00:00:00.000Z"


async def test_purge(terminal: Terminal) -> None:
    await terminal("create", "fail", "--persistent", "--wait")
    await terminal("create", "fail", "--delay", "1h")
    assert (await terminal("purge", "fail", "--dry-run")).out == "would remove 1 jobs\n"
    assert (await terminal("purge", "fail")).err == "error: remove 1 jobs: say --yes\n"
    assert (await terminal("purge", "fail", "--yes")).out == "remove: 1 of 1 jobs\n"
    said = await terminal("purge", "fail", "--state", "pending", "--yes", "--json")
    assert said.objects() == [{"found": 1, "changed": 1, "duplicates": 0}]


async def test_minutes(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a")
    await terminal("cancel", "a")
    said = await terminal("minutes", "later")
    header, *rows = said.out.splitlines()
    assert header.split() == ["MINUTE", "CREATED", "STARTED", "COMPLETED", "FAILED", "CANCELLED"]
    assert sum(int(row.split()[1]) for row in rows) == 1
    shown = (await terminal("minutes", "later", "--since", "1h", "--json")).objects()
    assert sum(minute["created"] for minute in shown) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause"], "Missing argument 'TYPE...'."),
        (["pause", "t", "--for", "1h", "--until", "2099-01-01"], "--until or --for, not both"),
        (["pause", "t", "--for", "x"], "--for: 'x' is no duration: write 250ms, 30s or 1h30m"),
        (
            ["pause", "t", "--until", "x"],
            "--until: 'x' is no time: write 2026-12-01T08:00, or with a zone 08:00Z",
        ),
        (["pause", "t", "--until", "1960-01-01"], "--until: .* lies before 1970"),
        (["limit", "t"], "say --jobs or --bytes"),
        (["retention", "t"], "say --complete or --failed"),
        (["retention", "t", "--failed", "x"], "--failed: 'x' is no duration: .*"),
        (["schema", "put", "t", "/none"], "/none: No such file or directory"),
    ],
)
def test_a_wrong_argument_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    found = run(capsys, *arguments)
    assert (found.status, found.out) == (2, "")
    assert re.fullmatch(f"error: {said}\n", found.err)


def test_a_time_without_zone_is_local() -> None:
    assert moment("2026-12-01T08:00Z", "--at") == 1_796_112_000_000
    assert abs(moment("2026-12-01T08:00", "--at") - 1_796_112_000_000) <= 14 * 3_600_000


# -- schemas --------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"url": {"type": "string"}, "sizes": {"items": {"type": "integer"}}},
    "required": ["url"],
}


async def put(terminal: Terminal, folder: Path, schema: object) -> None:
    path = folder / "schema.json"
    path.write_text(json.dumps(schema))
    said = await terminal("schema", "put", "later", str(path))
    assert (said.status, said.err) == (0, "")


async def test_a_schema_is_stored_and_shown(terminal: Terminal, tmp_path: Path) -> None:
    said = await terminal("schema", "get", "later")
    assert (said.status, said.err) == (3, "error: type later has no schema\n")
    await put(terminal, tmp_path, SCHEMA)
    assert json.loads((await terminal("schema", "get", "later")).out) == SCHEMA
    await put(terminal, tmp_path, None)
    assert (await terminal("schema", "get", "later")).status == 3


async def test_arguments_are_checked_by_the_schema(terminal: Terminal, tmp_path: Path) -> None:
    await put(terminal, tmp_path, SCHEMA)
    for arguments, error in (
        ((), "later: 'url' is a required property"),
        (("url:=5",), "later: url: 5 is not of type 'string'"),
        (("url=x", 'sizes:=[1, "b"]'), "later: sizes.1: 'b' is not of type 'integer'"),
    ):
        said = await terminal("create", "later", *arguments)
        assert (said.status, said.out, said.err) == (2, "", f"error: {error}\n")
    assert (await terminal("create", "later", "url=x", "sizes:=[1]")).status == 0
    assert (await terminal("create", "later", "--no-check")).status == 0
    payload = tmp_path / "payload"
    payload.write_bytes(b"raw")
    assert (await terminal("create", "later", "--payload", str(payload))).status == 0


async def test_a_schema_fetches_nothing(terminal: Terminal, tmp_path: Path) -> None:
    await put(terminal, tmp_path, {"$ref": "http://127.0.0.1:1/schema.json"})
    said = await terminal("create", "later")
    assert said.status == 1
    assert said.err.startswith("error: the schema of later can't be used: ")
    assert said.err.count("\n") == 1


async def test_without_the_checker_nothing_is_checked(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    await put(terminal, tmp_path, SCHEMA)
    said = await terminal("create", "later", "--id", "a")
    assert (said.status, said.out) == (0, "a\n")
    assert said.err == "the arguments are not checked: pip install 'packhorse[cli]'\n"


async def test_who_may_not_read_is_not_checked(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        checking = asyncio.create_task(check_arguments(client, "t", {"a": 1}))
        peer.refuse(await peer.expect(GetSchema), "forbidden")
        await checking


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "a schema is a JSON object"),
        ('{"type": "nonsense"}', "no JSON Schema: "),
    ],
)
def test_a_schema_that_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text)
    found = run(capsys, "schema", "put", "t", str(path))
    assert (found.status, found.out) == (2, "")
    assert said in found.err
    assert found.err.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = (
        *("list", "why", "attempts", "actions", "cancel", "retry", "run-now", "rm", "types"),
        *("minutes", "pause", "resume", "drain", "undrain", "limit", "retention", "purge"),
        *("schema", "schema get", "schema put"),
    )
    for command in commands:
        found = run(capsys, *command.split(), "--help")
        assert found.status == 0
        assert found.out.count(f"  packhorse {command}") + found.out.count("| packhorse") >= 2
        assert max(map(len, found.out.splitlines())) <= 80
