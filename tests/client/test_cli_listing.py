"""`list` against a real broker: what it finds, and how that looks."""

import re

import pytest

from packhorse import NewJob
from packhorse.cli import listing
from tests.client.terminal import Terminal


async def test_list(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a", "--label", "x", "--label", "y")
    await terminal("create", "later", "--id", "b", "--delay", "1h")
    await terminal("create", "fail", "--id", "c", "--persistent", "--wait")
    said = await terminal("list")
    header, *rows = said.out.splitlines()
    assert header.split() == ["JOB", "TYPE", "STATE", "ATTEMPT", "WHEN", "LABELS"]
    found = {row[0]: row[1:] for row in (re.split("  +", row) for row in rows)}
    assert set(found) == {"a", "b", "c"}
    assert found["a"][:3] == ["later", "QUEUED", "0/1"]
    assert found["a"][-1] in ("x y", "y x")
    assert re.fullmatch(r"in (59m\d+s|1h)", found["b"][3])
    assert found["c"][:3] == ["fail", "FAILED (FAILED)", "1/1"]
    assert re.fullmatch(r"\d+m?s ago", found["c"][3])


async def test_list_what_matches(terminal: Terminal) -> None:
    for job_id in "abc":
        await terminal("create", "later", "--id", job_id, "--label", job_id, "--unique", job_id)

    async def ids(*options: str) -> list[str]:
        said = await terminal("list", "--json", *options)
        assert said.status == 0
        return [shown["id"] for shown in said.objects()]

    assert sorted(await ids("--type", "later", "--state", "queued")) == ["a", "b", "c"]
    assert await ids("--label", "b") == ["b"]
    assert await ids("--type", "later", "--unique", "c") == ["c"]
    assert await ids("--state", "failed") == []
    assert sorted(await ids("--since", "1h")) == ["a", "b", "c"]
    assert await ids("--until", "1h") == []
    assert await ids("--type", "later", "--newest-first") == ["c", "b", "a"]
    said = await terminal("list", "--type", "later", "--limit", "2")
    assert len(said.out.splitlines()) == 3
    assert said.err == "there are more than 2: --limit N or --all\n"
    assert len(await ids("--all")) == 3


async def test_a_long_list(terminal: Terminal) -> None:
    async with terminal.broker.connect() as client:
        await client.create_many(NewJob("later", n) for n in range(1_001))
    said = await terminal("list", "--all")
    assert said.out.count("QUEUED") == 1_001
    assert said.out.count("STATE") == 1


def headers(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if line.startswith("JOB ")]


ALWAYS = ["JOB", "TYPE", "STATE", "ATTEMPT", "WHEN"]


async def test_columns_are_there_where_they_hold_something(terminal: Terminal) -> None:
    await terminal("create", "plain", "--id", "a")
    await terminal("create", "urgent", "--id", "b", "--priority", "-5")
    await terminal("create", "daily", "--id", "c", "--unique", "today", "--label", "x")
    assert headers((await terminal("list", "--type", "plain")).out) == [ALWAYS]
    assert headers((await terminal("list", "--type", "none")).out) == [ALWAYS]
    assert headers((await terminal("list", "--type", "urgent")).out) == [[*ALWAYS, "PRIO"]]
    said = await terminal("list")
    assert headers(said.out) == [[*ALWAYS, "PRIO", "UNIQUE", "LABELS"]]
    found = {line.split()[0]: line.split()[6:] for line in said.out.splitlines()[1:]}
    assert found == {"a": [], "b": ["-5"], "c": ["today", "x"]}


async def test_a_header_stands_where_columns_change(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK_JOBS", 2)
    async with terminal.broker.connect() as client:
        priorities = [5, 5, 5, 0, 0, 0, 0, 0]
        await client.create_many(NewJob("later", priority=each) for each in priorities)
    said = await terminal("list")
    assert headers(said.out) == [[*ALWAYS, "PRIO"], ALWAYS]
    assert said.out.count("QUEUED") == 8
    assert said.out.splitlines()[5].split() == ALWAYS


async def test_a_narrow_terminal_has_no_broken_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [f"--label={name * 8}" for name in "abc"]
    await terminal("create", "daily", "--id", "long", "--unique", "k" * 40, *labels)
    await terminal("create", "daily", "--id", "short", "--priority", "5")
    monkeypatch.setenv("COLUMNS", "80")
    wide = await terminal("list")
    assert max(map(len, wide.out.splitlines())) > 80  # whole for whatever reads it
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    narrow = await terminal("list")
    assert max(map(len, narrow.out.splitlines())) <= 80
    assert headers(narrow.out) == [[*ALWAYS, "PRIO"]]
    lines = narrow.out.splitlines()
    below = next(number for number, line in enumerate(lines) if line.startswith("long "))
    assert lines[below + 1] == f"    unique  {'k' * 40}"
    assert sorted(lines[below + 2].split()) == ["aaaaaaaa", "bbbbbbbb", "cccccccc", "labels"]
    monkeypatch.setenv("COLUMNS", "200")
    assert headers((await terminal("list")).out) == headers(wide.out)
