"""How things look: lines for people, objects for programs."""

import base64
import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from packhorse.errors import PayloadError
from packhorse.outcome import Outcome
from packhorse.payload import unpack_result
from packhorse_protocol.messages import Backoff, CancelRequest, Event, JobView, LogEntry

TIMES: Final = frozenset(
    {"at", "deadline", "delayed_until", "next_attempt", "paused_until", "since", "until"}
    | {"now_ms", "started_ms", "time_ms"}
)
"""Fields that are times in milliseconds since the epoch, beside all whose names end in `_at`."""

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"))


def write_json(value: object) -> None:
    """One line with one object."""
    click.echo(json.dumps(as_json(value), ensure_ascii=False, default=_as_text))


def write_rows(rows: Sequence[Sequence[str]]) -> None:
    """A name and numbers: columns, two spaces apart, the numbers to the right."""
    write_table(rows, left=(0,))


def write_table(rows: Sequence[Sequence[str]], left: Collection[int] | None = None) -> None:
    """Columns, two spaces apart; those in `left` (else all) begin at the left."""
    for line in aligned(rows, left):
        click.echo(line)


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] | None = None) -> list[str]:
    """The lines that `write_table` writes."""
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
    """A name and a value on each line; what is empty is left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "", (), {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        lines = str(value).splitlines() or [""]
        click.echo(f"{name.ljust(width)}  {lines[0]}".rstrip())
        for line in lines[1:]:
            click.echo(f"{' ' * width}  {line}".rstrip())


def as_json(value: object) -> Any:
    """Records as objects, without what has not happened; times as ISO 8601 in UTC."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {
            _json_name(name): time_text(item) if _is_time(name) else as_json(item)
            for name, item in named.items()
            if item is not None and not (_is_time(name) and not item) and not callable(item)
        }
    return value


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
    shown: dict[str, object] = as_json(outcome)
    shown.pop("data")
    return {**shown, **unpacked("result", outcome.data or None)}


def result_text(outcome: Outcome) -> str:
    """The result of a job that completed, for people."""
    (value,) = unpacked("result", outcome.data).values()
    return value_text(value)


def job_object(view: JobView) -> dict[str, object]:
    """A job for `show --json`."""
    shown = as_json(view)
    for name, data in (("payload", view.payload), ("result", view.result)):
        shown.pop(name, None)
        shown.update(unpacked(name, data or None))
    return {str(name): value for name, value in shown.items()}


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
        "error": f"{error.type}: {error.message}" if error is not None else None,
        "traceback": error.traceback if error is not None else None,
    }
    for name, data in (("payload", view.payload), ("result", view.result)):
        for shown, value in unpacked(name, data or None).items():
            pairs[shown] = value_text(value)
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


def value_text(value: object) -> str:
    """Any value on one line, as JSON where that can hold it."""
    return json.dumps(as_json(value), ensure_ascii=False, default=_as_text)


def event_line(event: Event) -> str:
    """A line of `watch`."""
    progress = event.progress
    told = "removed" if event.removed else event.state
    done = f"{progress.percent}% {progress.text}".rstrip() if progress is not None else None
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


def _as_text(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
