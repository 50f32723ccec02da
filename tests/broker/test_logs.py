import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from packhorse_broker.logs import MAX_FIELD_CHARS, set_up


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A pipe whose reader ended."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process's logging as it was before the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


log = structlog.get_logger("of-a-module-from-before-the-set-up")


def test_a_pipe_gets_one_json_object_a_line() -> None:
    stream = io.StringIO()
    set_up(stream=stream)
    log.info("store.ready", url="unix:///x", text="two\nlines")
    [line] = lines(stream)
    assert line["event"] == "store.ready"
    assert line["level"] == "info"
    assert (line["url"], line["text"]) == ("unix:///x", "two\nlines")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_a_terminal_gets_text_with_colours() -> None:
    stream = Terminal()
    set_up(stream=stream)
    log.info("store.ready", url="unix:///x")
    assert "store.ready" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    stream = Terminal()
    set_up(stream=stream)
    log.info("store.ready")
    assert "\x1b[" not in stream.getvalue()


def test_colours_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    set_up(log_format="console", stream=stream)
    log.info("store.ready")
    assert "\x1b[" in stream.getvalue()


def test_the_format_can_be_chosen() -> None:
    terminal = Terminal()
    set_up(log_format="json", stream=terminal)
    log.info("store.ready")
    assert lines(terminal)[0]["event"] == "store.ready"
    pipe = io.StringIO()
    set_up(log_format="console", stream=pipe)
    log.info("store.ready", n=3)
    assert "n=3" in pipe.getvalue()
    assert not pipe.getvalue().startswith("{")


def test_less_important_lines_are_left_out() -> None:
    stream = io.StringIO()
    set_up(level="warning", stream=stream)
    log.info("no")
    logging.getLogger("library").info("no")
    log.warning("yes")
    logging.getLogger("library").warning("yes, %s", "too")
    assert [line["event"] for line in lines(stream)] == ["yes", "yes, too"]


def test_lines_of_other_loggers_come_out_the_same_way_once() -> None:
    stream = io.StringIO()
    # pytest's own handler would fail the test for the second line.
    logging.getLogger().handlers.clear()
    set_up(stream=io.StringIO())
    set_up(stream=stream)
    logging.getLogger("asyncio").error("took %d ms", 5)
    logging.getLogger("broken").error("no %d", "number")
    first, second = lines(stream)
    assert (first["event"], first["logger"], first["level"]) == ("took 5 ms", "asyncio", "error")
    assert second["event"] == "no %d"


async def test_an_exception_that_asyncio_finds_is_logged() -> None:
    stream = io.StringIO()
    set_up(stream=stream)
    logged = asyncio.Event()

    def fail() -> None:
        asyncio.get_running_loop().call_soon(logged.set)
        raise RuntimeError("planted")

    asyncio.get_running_loop().call_soon(fail)
    await logged.wait()
    [line] = lines(stream)
    assert line["logger"] == "asyncio"
    assert "RuntimeError: planted" in line["exception"]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_exceptions_are_shown_without_local_values(log_format: Any) -> None:
    stream = io.StringIO()
    set_up(log_format=log_format, stream=stream)
    payload = "the customer's " + "data"
    try:
        raise ValueError("planted")
    except ValueError:
        log.exception("request.failed", size=len(payload))
    assert "ValueError: planted" in stream.getvalue()
    assert "the customer's data" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_payloads_and_secrets_never_come_out(log_format: Any) -> None:
    stream = io.StringIO()
    set_up(log_format=log_format, stream=stream)
    log.info(
        "job.created",
        payload="hush",
        token=b"hush",
        body=b"hush",
        inside={"secret": "hush", "list": [b"hush", (bytearray(b"hush"),)]},
    )
    text = stream.getvalue()
    assert "hush" not in text
    assert "(withheld)" in text
    assert "(4 bytes)" in text


def test_long_text_is_cut() -> None:
    stream = io.StringIO()
    set_up(stream=stream)
    log.info("client.hello", client="x" * (MAX_FIELD_CHARS * 3))
    [line] = lines(stream)
    assert line["client"] == f"{'x' * MAX_FIELD_CHARS}... ({MAX_FIELD_CHARS * 3} characters)"


def test_a_name_cannot_fake_a_line_or_move_the_cursor() -> None:
    stream = Terminal()
    set_up(stream=stream)
    log.info("client.hello", client="mule\nfake\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in stream.getvalue()
    assert "mule\\nfake" in stream.getvalue()


def test_a_reader_that_went_away_costs_nothing_but_lines() -> None:
    set_up(stream=Gone())
    log.info("store.ready")
    closed = io.StringIO()
    set_up(log_format="json", stream=closed)
    closed.close()
    log.info("store.ready")


def test_bound_context_is_in_the_line() -> None:
    stream = io.StringIO()
    set_up(stream=stream)
    with structlog.contextvars.bound_contextvars(connection=7):
        log.info("client.hello")
    assert lines(stream)[0]["connection"] == 7


def test_it_writes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    log.info("store.ready")
    out, err = capsys.readouterr()
    assert out == ""
    assert "store.ready" in err


def test_lines_of_one_of_several_processes_have_its_number() -> None:
    stream = io.StringIO()
    set_up(log_format="json", stream=stream, process=2)
    log.info("store.ready")
    log.info("process.ended", process=1)
    own, others = map(json.loads, stream.getvalue().splitlines())
    assert own["process"] == 2
    assert others["process"] == 1
