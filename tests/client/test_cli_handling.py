"""`wait`, `handle` and `outcomes` against a real broker."""

import asyncio
import sys

import pytest

from tests.client.terminal import Terminal, run


async def test_wait_shows_how_jobs_ended(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=cat.png", "--id", "good", "--delay", "200ms")
    await terminal("create", "fail", "--id", "bad", "--delay", "200ms")
    said = await terminal("wait", "good", "bad", "--timeout", "20s")
    assert said.status == 1
    assert set(said.out.splitlines()) == {
        'good  COMPLETE  ["cat.png?w=64"]',
        "bad  FAILED  error: Fail: not today",
    }


async def test_wait_for_any(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=cat.png", "--id", "soon", "--delay", "200ms")
    await terminal("create", "later", "--id", "late", "--delay", "1h")
    said = await terminal("wait", "late", "soon", "--any", "--json")
    assert said.status == 0
    [outcome] = said.objects()
    assert (outcome["job"], outcome["state"], outcome["result"]) == (
        "soon",
        "COMPLETE",
        ["cat.png?w=64"],
    )


async def test_wait_for_what_does_not_end_in_time_or_is_not_there(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "late", "--delay", "1h")
    said = await terminal("wait", "late", "--timeout", "50ms")
    assert (said.status, said.out) == (124, "")
    assert said.err == "error: not ended within 50ms: late\n"
    said = await terminal("wait", "late", "--any", "--timeout", "50ms")
    assert (said.status, said.out) == (124, "")
    said = await terminal("wait", "nobody")
    assert (said.status, said.err) == (3, "error: job nobody: there is no such job [not_found]\n")


async def test_wait_shows_those_that_have_ended(terminal: Terminal) -> None:
    """Whatever becomes of the others."""
    await terminal("create", "later", "--id", "late", "--delay", "1h")
    for timeout, status in (("1s", 124), (None, 3)):
        await terminal("create", "fail", "--id", "bad", "--delay", "50ms")
        more = ("late", "--timeout", timeout) if timeout else ("bad", "nobody")
        said = await terminal("wait", "bad", "--handle", *more)
        assert (said.status, said.out) == (status, "bad  FAILED  error: Fail: not today\n")
        assert (await terminal("show", "bad")).status == 3  # it was handled
    assert (await terminal("show", "late")).status == 0


@pytest.mark.parametrize("handling", [False, True])
async def test_wait_takes_the_outcome_from_nobody(terminal: Terminal, *, handling: bool) -> None:
    """It leaves a job as if it had not been there; with --handle as one handler of it."""
    options = ("--handle",) if handling else ()
    await terminal("create", "fail", "--id", "kept")
    await terminal("create", "fail", "--id", "owed", "--group", "shop")
    await terminal("create", "fail", "--id", "lasting", "--persistent")
    await terminal("create", "thumb", "url=a", "--id", "fleeting", "--delay", "200ms")
    for job_id in ("kept", "owed", "lasting", "fleeting"):
        said = await terminal("wait", job_id, *options)
        assert said.out.startswith(f"{job_id}  ")
    left = {job["id"] for job in (await terminal("list", "--json")).objects()}
    assert left == ({"owed", "lasting"} if handling else {"kept", "owed", "lasting"})
    [owed] = (await terminal("show", "owed", "--json")).objects()
    assert (owed["handlers"], owed["groups"]) == ([], ["shop"])
    if not handling:
        [kept] = (await terminal("show", "kept", "--json")).objects()
        assert kept["handlers"] == []
        assert kept["expires_at"] > kept["finished_at"]


async def test_a_group_can_not_handle_what_is_not_there(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a", "--delay", "1h")
    said = await terminal("handle", "nobody", "a", "--group", "shop")
    assert (said.status, said.out) == (3, "")
    assert said.err == "error: job nobody: there is no such job [not_found]\n"
    [shown] = (await terminal("show", "a", "--json")).objects()
    assert shown["groups"] == ["shop"]


async def test_wait_says_why_a_job_failed(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a", "--delay", "1h", "--keep", "1h")
    await terminal("cancel", "a")
    said = await terminal("wait", "a")
    assert (said.status, said.out) == (1, "a  FAILED  CANCELLED  error: it was cancelled\n")


async def test_outcomes_of_a_group(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=a", "--id", "a", "--group", "shop")
    await terminal("create", "later", "--id", "b", "--delay", "1h", "--keep", "1h")
    assert (await terminal("handle", "b", "--group", "shop")).status == 0
    await terminal("cancel", "b")
    said = await terminal("outcomes", "--group", "shop", "--limit", "2", "--json")
    assert said.status == 0
    shown = {outcome["job"]: outcome for outcome in said.objects()}
    assert {name: outcome["state"] for name, outcome in shown.items()} == {
        "a": "COMPLETE",
        "b": "FAILED",
    }
    assert {outcome["group"] for outcome in shown.values()} == {"shop"}
    said = await terminal("outcomes", "--group", "shop", "--timeout", "50ms")
    assert (said.status, said.out) == (124, "")
    assert said.err == "error: no outcome of group shop came within 50ms\n"
    assert (await terminal("show", "a")).status == 3


async def test_outcomes_that_came_in_time(terminal: Terminal) -> None:
    command = ("outcomes", "--group", "shop", "--timeout", "1s")
    await terminal("create", "fail", "--id", "a", "--group", "shop")
    said = await terminal(*command)
    assert (said.status, said.out) == (0, "a  FAILED  error: Fail: not today\n")
    await terminal("create", "fail", "--id", "b", "--group", "shop")
    said = await terminal(*command, "--limit", "2")
    assert (said.status, said.out) == (124, "b  FAILED  error: Fail: not today\n")
    assert said.err == "error: only 1 outcomes of group shop came within 1s\n"


async def test_a_result_can_be_had_as_bytes(terminal: Terminal) -> None:
    await terminal("create", "bytes", "--id", "a", "--keep", "1h")
    said = await terminal("wait", "a")
    assert (said.status, said.out) == (0, 'a  COMPLETE  {"base64": "AP8="}\n')
    said = await terminal("wait", "a", "--json")
    assert said.objects()[0]["result"] == {"base64": "AP8="}
    url = ("--url", terminal.url)
    for command in (("wait", "a", "--raw"), ("create", "bytes", "--wait", "--raw")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "packhorse.cli", *command, *url),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"\x00\xff")
    said = await terminal("create", "fail", "--wait", "--raw")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("error: job ")
    await terminal("create", "fail", "--id", "bad", "--keep", "1h")
    said = await terminal("wait", "bad", "--raw")
    assert (said.status, said.out) == (1, "")
    assert said.err == "error: job bad (fail) FAILED: Fail: not today\n"


@pytest.mark.parametrize(
    "command",
    [
        ("wait", "a", "b", "--raw"),
        ("wait", "a", "--raw", "--json"),
        ("create", "a", "--raw"),
        ("create", "a", "--wait", "--raw", "--json"),
    ],
)
def test_where_raw_bytes_can_not_be(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    said = run(capsys, *command)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("error: --raw ")


@pytest.mark.parametrize("command", [("wait", "a"), ("create", "a", "--wait")])
def test_no_raw_bytes_go_to_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = run(capsys, *command, "--raw")
    assert said.status == 2
    assert said.err.startswith("error: --raw writes bytes as they are")


async def test_outcomes_that_come_while_it_looks(terminal: Terminal) -> None:
    looking = asyncio.create_task(terminal("outcomes", "--group", "shop", "--limit", "1"))
    async with terminal.broker.connect() as client:
        await client.create("thumb", {"url": "a"}, job_id="a", group="shop")
    said = await looking
    assert (said.status, said.out) == (0, 'a  COMPLETE  ["a?w=64"]\n')


@pytest.mark.parametrize("command", [("wait", "a"), ("outcomes", "--group", "g")])
def test_a_timeout_that_is_none(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    said = run(capsys, *command, "--timeout", "soon")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("error: --timeout")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("wait", "handle", "outcomes"):
        found = run(capsys, command, "--help")
        assert found.status == 0
        assert found.out.count(f"  packhorse {command}") >= 2
        assert max(map(len, found.out.splitlines())) <= 80


async def test_watch_prints_what_becomes_of_jobs(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=a", "--id", "a", "--delay", "300ms", "--keep", "1h")
    await terminal("create", "later", "--id", "b", "--delay", "1h")
    watching = asyncio.create_task(terminal("watch", "a", "b"))
    async with terminal.broker.connect() as client:
        async for _ in client.watch("a"):
            pass
        await client.remove("b")
    said = await watching
    assert said.status == 0
    lines = said.out.splitlines()
    assert "b  PENDING" in lines
    assert lines[-1] == "b  removed"
    assert any(line.startswith("a  COMPLETE") for line in lines)
    assert len(lines) == len(set(lines))
    assert (await terminal("watch", "nobody")).status == 3


async def test_watch_says_how_a_job_ended_that_is_kept_for_nobody(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=a", "--id", "a", "--delay", "300ms")
    said = await terminal("watch", "a")
    assert said.status == 0
    *_, last = said.out.splitlines()
    assert last.startswith("a  COMPLETE, gone")
