"""How things look: lines for people, objects for programs; and the only way out.

Names, texts and values come from others, and a terminal obeys what stands in them: no command
prints but by this module, which shows every control character as text.
"""

import base64
import json
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click
from msgspec import Struct

from packhorse.errors import PayloadError
from packhorse.outcome import Outcome, failure
from packhorse.payload import unpack_result
from packhorse.watching import FINISHED
from packhorse_protocol.messages import (
    Backoff,
    CancelRequest,
    Event,
    JobView,
    LogEntry,
    Progress,
    State,
)

TIMES: Final = frozenset(
    {"at", "deadline", "delayed_until", "next_attempt", "paused_until", "since", "until"}
    | {"now_ms", "started_ms", "time_ms"}
)
"""Fields that are times in milliseconds since the epoch, beside all whose names end in `_at`."""

LINE_CHARS: Final = 79
"""A changing line is overwritten with blanks, which needs no escape codes, and may not wrap."""

_CONTROLS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal acts upon, ends a line, turns the direction of a line, or can't be written."""

_NAMED: Final[Mapping[str, str]] = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"))


def shown(text: str) -> str:
    """One line of text that a terminal can only show: control characters are escaped."""
    return _CONTROLS.sub(_escaped, text)


def write_line(text: str) -> None:
    """A line for people, on stdout."""
    click.echo(shown(text))


def tell(text: str) -> None:
    """A line beside the data, on stderr."""
    click.echo(shown(text), err=True)


def tell_over(text: str) -> None:
    """The line on stderr that changes, where `rewrites_lines`; nothing at last."""
    click.echo(f"\r{shown(text)[:LINE_CHARS]:{LINE_CHARS}}", err=True, nl=False)
    if not text:
        click.echo("\r", err=True, nl=False)


def write_json(value: object, *, indent: int | None = None) -> None:
    """One object, on one line if nothing else is said."""
    click.echo(json_text(value, indent=indent))


def json_text(value: object, *, indent: int | None = None) -> str:
    """Any value as JSON; bytes as `{"base64": "..."}`."""
    text = json.dumps(as_json(value), ensure_ascii=False, default=_beyond_json, indent=indent)
    # In JSON all that is left of control characters stands in texts, but for the line ends that
    # `indent` makes.
    return _CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else _as_unicode(found), text)


def check_raw() -> None:
    """Raises `UsageError` where raw bytes would go to a terminal."""
    if sys.stdout.isatty():
        raise click.UsageError("--raw writes bytes as they are: send them to a file or a program")


def write_raw(outcome: Outcome) -> None:
    """The result alone: bytes and text as they are, any other value as JSON. Of a FAILED job there
    is none, and what was wrong is told."""
    if not outcome.ok:
        tell(f"error: {failure(outcome)}")
        return
    try:
        value = unpack_result(outcome.data)
    except PayloadError:
        value = outcome.data  # packed by no Python client: they may mean anything
    if not isinstance(value, bytes):
        value = (value if isinstance(value, str) else json_text(value)).encode()
    click.echo(value, nl=False)


def write_rows(rows: Sequence[Sequence[str]]) -> None:
    """A name and numbers: columns, two spaces apart, the numbers to the right."""
    write_table(rows, left=(0,))


def write_table(rows: Sequence[Sequence[str]], left: Collection[int] | None = None) -> None:
    """Columns, two spaces apart; those in `left` (else all) begin at the left."""
    write_lines(aligned(rows, left))


def write_lines(lines: Iterable[str]) -> None:
    """Lines for people, on stdout."""
    for line in lines:
        write_line(line)


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] | None = None) -> list[str]:
    """The lines that `write_table` writes."""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if left is None or column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def fits(lines: Sequence[str]) -> bool:
    """Whether no line breaks on the terminal; anything else has room for lines of any length."""
    if not sys.stdout.isatty():
        return True
    return max(map(len, lines), default=0) <= shutil.get_terminal_size().columns


def write_pairs(pairs: Mapping[str, object]) -> None:
    """A name and a value on each line; a list has a line for each; what is empty is left out."""
    told = {name: value for name, value in pairs.items() if value not in (None, "", (), {}, [])}
    width = max(map(len, told), default=0)
    for name, value in told.items():
        first, *others = map(str, value if isinstance(value, list) else [value])
        write_line(f"{name.ljust(width)}  {first}".rstrip())
        for line in others:
            write_line(f"{' ' * width}  {line}".rstrip())


def as_json(value: object) -> Any:
    """Records as objects, without what has not happened; times as ISO 8601 in UTC."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    names = _field_names(value)
    if names is not None:
        named = {name: getattr(value, name) for name in names}
        return {
            _json_name(name): time_text(item) if _is_time(name) else as_json(item)
            for name, item in named.items()
            if item is not None and not (_is_time(name) and not item) and not callable(item)
        }
    return value


def _field_names(value: object) -> Sequence[str] | None:
    """None where it is no record."""
    if isinstance(value, Struct):
        return value.__struct_fields__
    if is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in fields(value)]
    return None


def unpacked(name: str, data: bytes | None) -> dict[str, object]:
    """A payload or result by name: its value, or `<name>_base64` where it is no msgpack."""
    if data is None:
        return {}
    try:
        return {name: unpack_result(data)}
    except PayloadError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def outcome_object(outcome: Outcome) -> dict[str, object]:
    """How a job ended, for `--json`: its result as what it means."""
    told: dict[str, object] = as_json(outcome)
    told.pop("data")
    return {**told, **unpacked("result", outcome.data or None)}


def result_text(outcome: Outcome) -> str:
    """The result of a job that completed, for people: on one line, as JSON."""
    try:
        return json_text(unpack_result(outcome.data))
    except PayloadError:
        return json_text(outcome.data)


def job_object(view: JobView) -> dict[str, object]:
    """A job for `show --json`."""
    told: dict[str, object] = as_json(view)
    for name, data in (("payload", view.payload), ("result", view.result)):
        told.pop(name, None)
        told.update(unpacked(name, data or None))
    return told


def job_pairs(view: JobView) -> dict[str, object]:
    """A job for people."""
    progress = view.progress
    error = view.error
    reason = f"{view.reason}, {view.expired} timeout" if view.expired else view.reason
    pairs: dict[str, object] = {
        "job": view.id,
        "type": view.type,
        "state": f"{view.state} ({reason})" if reason else view.state,
        "attempt": f"{view.current_attempt} of {view.attempts}",
        "progress": f"{progress.percent}%  {progress.text}" if progress is not None else None,
        "runner": view.runner,
        "handlers": ", ".join((*view.handlers, *(f"group {name}" for name in view.groups))),
        "key": view.key,
        "headers": ", ".join(f"{name}={value}" for name, value in (view.headers or {}).items()),
        **_terms(view),
        "persistent": "yes" if view.persistent else None,
        "cancel": _cancel_text(view.cancel) if view.cancel is not None else None,
        "created": _created_text(view),
        "delayed until": time_text(view.delayed_until),
        "queued": time_text(view.queued_at),
        "started": time_text(view.started_at),
        "deadline": time_text(view.deadline),
        "finished": time_text(view.finished_at),
        "kept until": time_text(view.expires_at),
        "log": f"{view.log_end - view.log_first} lines" if view.log_end else None,
        "error": f"{error.type}: {error.message}".split("\n") if error is not None else None,
        "traceback": error.traceback.splitlines() if error is not None else None,
    }
    for name, data in (("payload", view.payload), ("result", view.result)):
        for told, value in unpacked(name, data or None).items():
            pairs[told] = json_text(value)
    return pairs


def _terms(view: JobView) -> dict[str, object]:
    """On what terms it runs, and how often that went wrong."""
    unique, timeouts = view.unique, view.timeouts
    ended = {
        "failed": view.failed,
        "lost": view.lost,
        "timed out": view.timed_out,
        "released": view.released,
        "retried by hand": view.retried,
    }
    limits = {
        "idle": timeouts.idle_ms if timeouts is not None else None,
        "run": timeouts.run_ms if timeouts is not None else None,
        "total": timeouts.total_ms if timeouts is not None else None,
    }
    return {
        "priority": view.priority or None,
        "labels": ", ".join(view.labels),
        "unique": f"{unique.key} ({unique.scope})" if unique is not None else None,
        "backoff": _backoff_text(view.backoff) if view.backoff is not None else None,
        "lost limit": view.lost_limit,
        "keep": duration_text(view.keep_ms) if view.keep_ms is not None else None,
        "timeouts": ", ".join(f"{name} {duration_text(ms)}" for name, ms in limits.items() if ms),
        "so far": ", ".join(f"{count} {how}" for how, count in ended.items() if count),
    }


def _created_text(view: JobView) -> str | None:
    created = time_text(view.created_at)
    return f"{created} by {view.created_by}" if view.created_by else created


def _backoff_text(backoff: Backoff) -> str:
    delays = backoff.delays_ms if backoff.type == "list" else (backoff.delay_ms,)
    parts = [f"{backoff.type} {', '.join(map(duration_text, delays))}"]
    if backoff.type == "exponential":
        parts.append(f"x {backoff.factor_percent / 100:g}")
    if backoff.max_ms is not None:
        parts.append(f"at most {duration_text(backoff.max_ms)}")
    if backoff.jitter != "none":
        share = f" {backoff.jitter_percent}%" if backoff.jitter == "share" else ""
        parts.append(f"jitter {backoff.jitter}{share}")
    return ", ".join(parts)


def _cancel_text(cancel: CancelRequest) -> str:
    said = f"by {cancel.by} at {time_text(cancel.at)}"
    return f"{said}: {cancel.why}" if cancel.why else said


class EventLines:
    """Lines of `watch`: what is new of each job, once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[State | None, Progress | None]] = {}

    def line(self, event: Event) -> str | None:
        """None: nothing is new but the log."""
        known_state, known = self._known.get(event.job, (None, None))
        state = event.state or known_state
        if state in ("PENDING", "QUEUED"):
            known = None  # the next attempt begins anew
        new = event.progress if event.progress != known else None
        self._known[event.job] = (state, event.progress or known)
        if state == known_state and new is None and not event.removed:
            return None
        told: str | None = state
        if event.removed:
            # Ended, with nobody to keep it for; or taken away before it could end.
            told = f"{state}, gone" if state in FINISHED else "removed"
        done = f"{new.percent}% {new.text}".rstrip() if new is not None else None
        return "  ".join(part for part in (event.job, told, done) if part)


def log_line(entry: LogEntry) -> str:
    """A line of `logs`."""
    percent = f"{entry.percent}% " if entry.percent is not None else ""
    by = f"{entry.by}: " if entry.type == "action" and entry.by else ""
    return f"{time_text(entry.time_ms)}  #{entry.attempt}  {percent}{by}{entry.message}".rstrip()


def time_text(time_ms: int) -> str | None:
    """ISO 8601, UTC, to the millisecond."""
    if not time_ms:
        return None
    moment = datetime.fromtimestamp(time_ms / 1_000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def minute_text(time_ms: int) -> str:
    """A minute, in UTC."""
    return datetime.fromtimestamp(time_ms / 1_000, tz=UTC).strftime("%Y-%m-%dT%H:%MZ")


def duration_text(time_ms: int) -> str:
    """In the largest two units: `250ms`, `90s` is `1m30s`, `26h` is `1d2h`."""
    if time_ms < 1_000:
        return f"{time_ms}ms"
    found = []
    for unit_ms, name in _UNITS:
        count, time_ms = divmod(time_ms, unit_ms)
        if count:
            found.append(f"{count}{name}")
        elif found:
            break
    return "".join(found[:2])


def relative(time_ms: int, now_ms: int) -> str:
    """A time as seen from now: `2m ago`, `in 3h`."""
    if not time_ms:
        return ""
    if time_ms > now_ms:
        return f"in {duration_text(time_ms - now_ms)}"
    return f"{duration_text(now_ms - time_ms)} ago"


def rewrites_lines() -> bool:
    """Whether stderr is a terminal that can show a line that changes."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _is_time(name: str) -> bool:
    return name in TIMES or name.endswith("_at")


def _json_name(name: str) -> str:
    return name.removesuffix("_ms") if name in TIMES else name


def _beyond_json(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return str(value)


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    code = ord(letter)
    return _NAMED.get(letter) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _as_unicode(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
