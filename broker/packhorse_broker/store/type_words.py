"""What a change of a type's settings was, in words: for the list of what was done by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from packhorse_broker.durations import format_ms
from packhorse_broker.store.types import TypeSettings

MAX_WHY_CHARS: Final = 1_024
"""As many as an action may say on the wire."""


def why_of_change(before: TypeSettings, after: TypeSettings, why: str) -> str:
    """`paused; max_jobs 100: the server is down`: what is different now, then the reason given,
    of which the end is cut off if both are too long."""
    told = "; ".join(_differences(before, after))
    return (f"{told}: {why}" if why else told)[:MAX_WHY_CHARS]


def _differences(before: TypeSettings, after: TypeSettings) -> Iterator[str]:
    if (after.paused, after.paused_until) != (before.paused, before.paused_until):
        yield _pause(after)
    if after.draining != before.draining:
        yield "draining" if after.draining else "no longer draining"
    for name in ("max_jobs", "max_bytes"):
        limit = getattr(after, name)
        if limit != getattr(before, name):
            yield f"{name} {limit}" if limit else f"no {name}"
    for name in ("keep_complete", "keep_failed"):
        keep_ms, keep_jobs = _kept(after, name)
        if (keep_ms, keep_jobs) != _kept(before, name):
            yield f"{name} {_retention(keep_ms, keep_jobs)}"


def _pause(settings: TypeSettings) -> str:
    if not settings.paused:
        return "resumed"
    if not settings.paused_until:
        return "paused"
    try:
        end = datetime.fromtimestamp(settings.paused_until / 1_000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return "paused"  # until a year that no calendar has
    return f"paused until {end.isoformat(timespec='seconds').replace('+00:00', 'Z')}"


def _kept(settings: TypeSettings, name: str) -> tuple[int | None, int | None]:
    return getattr(settings, f"{name}_ms"), getattr(settings, f"{name}_jobs")


def _retention(keep_ms: int | None, keep_jobs: int | None) -> str:
    time = "as the broker is set up" if keep_ms is None else format_ms(keep_ms)
    return time if keep_jobs is None else f"{time}, at most {keep_jobs}"
