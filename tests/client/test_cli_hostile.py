"""What others have written reaches a terminal as text: nothing it would obey, no faked line."""

import asyncio
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import packhorse.cli
from packhorse import ThreadContext, Worker
from packhorse.cli import output
from packhorse.cli.work import _OneLine
from packhorse_broker.local import LocalBroker
from tests.client.terminal import Terminal, run

HOSTILE = "a\x1b[31m\x9b2J\x07\x7f\r\nfaked  line\u2028\u202eä漢👍"
"""A colour, an erased screen, a bell, a new line, a turned direction; and what may stay."""

ACTED_UPON = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]")
"""All but the line feed, by which lines end."""


@pytest_asyncio.fixture
async def terminal(
    store_url: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Terminal]:
    """A broker whose worker says what it should not."""
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        worker = Worker(dial=broker.dial)

        @worker.job("bad")
        def bad(ctx: ThreadContext, *, fail: bool = True) -> object:
            ctx.progress(50, HOSTILE)
            ctx.log(HOSTILE)
            if fail:
                raise ValueError(HOSTILE)
            return {HOSTILE: [HOSTILE]}

        async with worker:
            yield Terminal(broker, capsys)


async def on_a_terminal(url: str, *arguments: str) -> str:
    """What a command writes to a terminal, as text."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "PACKHORSE_URL": url, "TERM": "xterm", "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "packhorse.cli", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    written = await asyncio.to_thread(_all_of, ours)
    await process.wait()
    return written.decode().replace("\r\n", "\n")


def _all_of(terminal: int) -> bytes:
    found = b""
    try:
        while more := os.read(terminal, 65_536):
            found += more
    except OSError:  # the last process that had it open has ended
        pass
    os.close(terminal)
    return found


async def test_no_command_lets_anything_through(terminal: Terminal) -> None:
    why = ("--why", HOSTILE)
    async with terminal.broker.connect() as client:
        headers = {"h": HOSTILE}
        failed = await client.create("bad", job_id="failed", persistent=True, headers=headers)
        await client.create("bad", {"fail": False}, job_id="complete", persistent=True)
        async for _ in client.watch("failed", "complete"):
            pass
        await client.create("bad", job_id="for-group", group="g")
        await client.create("later", job_id="cancelled", persistent=True)
        await client.cancel("cancelled", why=HOSTILE)
        await client.pause("later", why=HOSTILE)
        await client.publish_schema("later", {"title": HOSTILE})
        assert (await failed.get()).headers == headers
    commands = [
        *(("show", job_id) for job_id in ("failed", "complete", "cancelled")),
        *(("logs", job_id) for job_id in ("failed", "complete", "cancelled")),
        *(("wait", job_id) for job_id in ("failed", "complete", "cancelled")),
        *(("show", "failed", "--json"), ("wait", "complete", "--json")),
        *(("logs", "-f", "failed"), ("watch", "failed"), ("attempts", "failed")),
        *(("why", "failed"), ("actions",), ("types", "later"), ("schema", "get", "later")),
        *(("outcomes", "--group", "g", "--limit", "1"), ("list",), ("rm", HOSTILE)),
        *(("purge", HOSTILE, "--yes", *why), ("cancel", "cancelled", *why), (HOSTILE,)),
    ]
    written = await asyncio.gather(*(on_a_terminal(terminal.url, *each) for each in commands))
    for command, text in zip(commands, written, strict=True):
        assert text, command
        assert not ACTED_UPON.search(text), (command, text)
        assert "\nfaked" not in text, command
    said = dict(zip(commands, written, strict=True))
    for command in (("show", "failed"), ("logs", "failed"), ("attempts", "failed")):
        assert r"a\x1b[31m\x9b2J\x07\x7f\r" in said[command]
        assert "ä漢👍" in said[command]
    # While a job is followed its line changes, by carriage returns.
    for fail in ("true", "false"):
        text = await on_a_terminal(terminal.url, "create", "bad", f"fail:={fail}", "--wait")
        assert not ACTED_UPON.search(text.replace("\r", "")), text
        assert "\nfaked" not in text


async def test_objects_hold_what_was_written(terminal: Terminal) -> None:
    said = await terminal("create", "bad", "fail:=false", "--wait", "--json")
    [shown] = said.objects()
    assert shown["result"] == {HOSTILE: [HOSTILE]}
    assert not ACTED_UPON.search(said.out)


def test_a_worker_logs_its_jobs_errors_on_one_line() -> None:
    record = logging.LogRecord("packhorse", logging.WARNING, "", 1, "%s", (HOSTILE,), None)
    assert _OneLine("%(message)s").format(record) == output.shown(HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record.exc_info = sys.exc_info()
    text = _OneLine("%(message)s").format(record)
    assert text.count("\n") > 2
    assert not ACTED_UPON.search(text)


def test_a_text_is_shown_on_one_line_and_shown_again_the_same() -> None:
    once = output.shown("a\tb\nc\x1b\u2028\ud800 é \\")
    assert once == r"a\tb\nc\x1b\u2028\ud800 é " + "\\"
    assert output.shown(once) == once


def test_an_error_of_ours_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "show", "a", HOSTILE)
    assert said.status == 2
    assert not ACTED_UPON.search(said.err)


def test_nothing_is_printed_but_by_one_module() -> None:
    folder = Path(packhorse.cli.__file__).parent
    printing = [
        path.name
        for path in folder.glob("*.py")
        if re.search(r"click\.s?echo|print\(", path.read_text())
    ]
    assert printing == ["output.py"]
