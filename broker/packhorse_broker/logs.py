"""The broker's log: structlog to stderr, for people on a terminal, one JSON a line otherwise.

    set_up(level="info", log_format="auto")          once, before the first line

A line is a constant event name and fields: `_log.info("store.ready", url=url)`. Lines of the
standard library's loggers (asyncio's, those of libraries) come out the same way. Payloads,
results and secrets never do: bytes are shown by their size, long text is cut, and the values
of local variables are left out of tracebacks.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]

MAX_FIELD_CHARS: Final = 2_000
"""A longer field is cut: names and texts of clients must not swell the log. Tracebacks may be."""

_LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_WITHHELD: Final = frozenset(
    {"credentials", "password", "payload", "result", "secret", "session_secret", "token"}
)


def set_up(
    *,
    level: Level = "info",
    log_format: Format = "auto",
    stream: TextIO | None = None,
    process: int | None = None,
) -> None:
    """Where all log lines of this process go from now on; can be called again.

    `stream` is stderr unless given. Colours follow NO_COLOR, FORCE_COLOR and TERM. `process`: of
    several that share the log, the number that each of its lines has.
    """
    target = sys.stderr if stream is None else stream
    output = _Output(target)
    console = log_format == "console" or (log_format == "auto" and target.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([_numbered(process)] if process is not None else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _withhold,
            *(_console(target) if console else _json()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: output,
        # Modules hold their loggers from before this call, so none may keep an older set-up.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStructlog):
            root.removeHandler(handler)
    root.addHandler(_ToStructlog())
    root.setLevel(_LEVELS[level])


def set_up_unless_done() -> None:
    """For a broker inside somebody's program: warnings to stderr, unless the program has set up
    structlog itself. The standard library's loggers are the program's own affair."""
    if not structlog.is_configured():
        output = _Output(sys.stderr)
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=lambda *_: output,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _withhold,
                *_console(sys.stderr),
            ],
        )


def _numbered(process: int) -> Processor:
    """An event about another process keeps that one's number."""

    def number(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return number


def _console(target: TextIO) -> list[Processor]:
    return [
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=_wants_colors(target),
            # The richer formatter would show the values of local variables.
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]


def _wants_colors(target: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return target.isatty() and os.environ.get("TERM") != "dumb"


def _withhold(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Bytes by their size, secrets not at all, long text cut."""
    for name, value in event.items():
        event[name] = _shown(name, value)
    return event


def _shown(name: object, value: object) -> object:
    if name in _WITHHELD:
        return "(withheld)"
    match value:
        case bytes() | bytearray() | memoryview():
            return f"({len(value)} bytes)"
        case str() if len(value) > MAX_FIELD_CHARS:
            return f"{value[:MAX_FIELD_CHARS]}... ({len(value)} characters)"
        case dict():
            return {key: _shown(key, part) for key, part in value.items()}
        case list():
            return [_shown(None, part) for part in value]
        # An exc_info is a tuple too; its parts pass unchanged.
        case tuple():
            return tuple(_shown(None, part) for part in value)
    return value


def _printable(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Control characters escaped: a client's name must not move the cursor or fake a line."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(
                letter if letter.isprintable() else repr(letter)[1:-1] for letter in value
            )
    return event


class _Output:
    """Writes lines to a stream whose reader may go away: that costs lines, never the broker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write_line(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write_line


class _ToStructlog(logging.Handler):
    """Passes records of the standard library's loggers on."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        structlog.get_logger().log(
            record.levelno, message, logger=record.name, exc_info=record.exc_info
        )
