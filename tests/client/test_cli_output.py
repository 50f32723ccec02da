import asyncio
import re
from typing import Any

import click
import pytest

from packhorse.cli import options, output
from packhorse.cli.create import _show_progress
from packhorse.client import Client
from packhorse.job import Job
from packhorse.outcome import from_view
from packhorse_protocol.messages import (
    Event,
    Events,
    JobView,
    LogEntry,
    Progress,
    State,
    Watch,
    Watched,
)
from tests.client.scripted import ScriptedBroker, connected


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows([("TYPE", "N"), ("a", "100"), ("longer", "5")])
    assert capsys.readouterr().out == "TYPE      N\na       100\nlonger    5\n"


def test_pairs_leave_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_pairs(
        {"a": 1, "none": None, "empty": "", "longer": ["two", "  lines"], "no": [], "zero": 0}
    )
    assert capsys.readouterr().out == "a       1\nlonger  two\n          lines\nzero    0\n"
    output.write_pairs({})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, {}),
        (b"\x05", {"x": 5}),
        (b"", {"x": None}),
        (b"\xc1", {"x_base64": "wQ=="}),
    ],
)
def test_bytes_are_shown_as_what_they_hold(data: bytes | None, shown: object) -> None:
    assert output.unpacked("x", data) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ä", '"ä"'),
        (None, "null"),
        (b"\x00\x01", '{"base64": "AAE="}'),
        ({1: b"\x00\x01", "b": (1, 2.5)}, '{"1": {"base64": "AAE="}, "b": [1, 2.5]}'),
        ("a\nb\x1b[2J\x7f\x9b\u202e", r'"a\nb\u001b[2J\u007f\u009b\u202e"'),
    ],
)
def test_any_value_fits_on_a_line(value: object, text: str) -> None:
    found = output.json_text(value)
    assert found == text


def test_times() -> None:
    assert output.time_text(0) is None
    assert output.time_text(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"


def test_a_line_of_a_log() -> None:
    entry = LogEntry(offset=0, time_ms=1, attempt=2, type="progress", message="", percent=7)
    assert output.log_line(entry) == "1970-01-01T00:00:00.001Z  #2  7%"


def test_a_job_as_an_object() -> None:
    view = JobView(
        id="a", type="t", state="QUEUED", version=1, created_at=1, payload=b"\x81\xa1x\x05"
    )
    shown = output.job_object(view)
    assert shown["payload"] == {"x": 5}
    assert shown["created_at"] == "1970-01-01T00:00:00.001Z"
    assert "started_at" not in shown
    assert "result" not in shown


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        (b"\xc4\x02\x00\xff", b"\x00\xff"),
        (b"\xa2hi", b"hi"),
        (b"\x93\x01\x02\x03", b"[1, 2, 3]"),
        (b"\xc1 raw", b"\xc1 raw"),
        (b"", b"null"),
    ],
)
def test_a_raw_result_is_what_it_holds(
    capfdbinary: pytest.CaptureFixture[bytes], data: bytes, raw: bytes
) -> None:
    job = JobView(id="a", type="t", state="COMPLETE", version=1, created_at=1, result=data)
    outcome = from_view(job, asyncio.Future)
    assert outcome is not None
    output.write_raw(outcome)
    assert capfdbinary.readouterr().out == raw


def event(state: State | None = None, percent: int | None = None, **more: Any) -> Event:
    progress = None if percent is None else Progress(percent=percent, text="done")
    return Event(job="a", version=1, state=state, progress=progress, **more)


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        (
            [event("STARTED", 50), event("STARTED", 50), event(percent=60), event("COMPLETE", 60)],
            ["a  STARTED  50% done", "a  STARTED  60% done", "a  COMPLETE"],
        ),
        ([event("STARTED"), event("COMPLETE", removed=True)], ["a  STARTED", "a  COMPLETE, gone"]),
        ([event("FAILED", removed=True)], ["a  FAILED, gone"]),
        ([event("STARTED"), event(removed=True)], ["a  STARTED", "a  removed"]),
        ([event("STARTED"), event()], ["a  STARTED"]),
        (
            [event("STARTED", 50), event("PENDING", 50), event("STARTED", 50)],
            ["a  STARTED  50% done", "a  PENDING  50% done", "a  STARTED"],
        ),
    ],
)
def test_lines_of_watch_say_what_is_new(events: list[Event], lines: list[str]) -> None:
    shown = output.EventLines()
    assert [line for each in events if (line := shown.line(each)) is not None] == lines


async def shown_progress(scripted: ScriptedBroker, events: list[Event]) -> None:
    """Shows the progress of a job that has these events and then ends."""
    async with connected(scripted) as (client, peer):
        showing = asyncio.create_task(_show_progress(job_of(client)))
        peer.ok(await peer.expect(Watch), Watched(state="STARTED", version=1))
        for event in events:
            peer.send(Events(events=(event,)))
        peer.send(Events(events=(Event(job="a", version=99, state="COMPLETE"),)))
        await showing


def job_of(client: Client) -> Job:
    return Job(client._session, "a", job_type="thumb")


HALF = Event(job="a", version=2, progress=Progress(percent=50, text="x" * 100))


async def test_progress_on_a_terminal_changes_its_line(
    scripted: ScriptedBroker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "rewrites_lines", lambda: True)
    await shown_progress(scripted, [HALF])
    shown = capsys.readouterr().err
    assert shown == f"\ra thumb  50%  {'x' * 65}\r{' ' * 79}\r"


async def test_progress_elsewhere_is_a_line(
    scripted: ScriptedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    await shown_progress(scripted, [HALF])
    assert capsys.readouterr().err == f"a thumb  50%  {'x' * 65}\n"


@pytest.mark.parametrize(("term", "rewrites"), [("xterm", True), ("dumb", False)])
def test_only_a_capable_terminal_changes_lines(
    monkeypatch: pytest.MonkeyPatch, term: str, rewrites: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", term)
    assert output.rewrites_lines() is rewrites


def test_a_command_says_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann\n")
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 200)
    first, second = options.client_id(), options.client_id()
    assert first.startswith("ann@hhh")
    assert len(first) <= 128
    assert first != second


def test_a_command_says_in_whose_name_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(options.WHO_VARIABLE, "ops")
    assert re.fullmatch("ops-[0-9a-f]{8}", options.client_id())
    with click.Context(click.Command("x")) as context:
        context.meta[options.WHO] = "night shift"
        assert re.fullmatch("night shift-[0-9a-f]{8}", options.client_id())


def test_a_user_without_name_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert options.client_id().startswith("somebody@")


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (90_500, "1m30s"),
        (3_600_000, "1h"),
        (3_605_000, "1h"),
        (26 * 3_600_000 + 61_000, "1d2h"),
    ],
)
def test_durations(time_ms: int, text: str) -> None:
    assert output.duration_text(time_ms) == text


def test_times_as_seen_from_now() -> None:
    assert output.relative(0, 5_000) == ""
    assert output.relative(2_000, 5_000) == "3s ago"
    assert output.relative(65_000, 5_000) == "in 1m"
