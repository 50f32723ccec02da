"""Durations as people write them -> milliseconds."""

import re
from datetime import timedelta
from typing import Final, TypeAlias

from packhorse.errors import InvalidValue

Duration: TypeAlias = str | int | float | timedelta
"""`"1h30m"`, `"250ms"`, a number of seconds, or a `timedelta`."""

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")
_MAX_MS: Final = 10 * 365 * 86_400_000
"""Ten years: far above any sense, far below what an event loop's timer can take."""


def milliseconds(duration: Duration, name: str = "duration") -> int:
    """The duration in whole milliseconds, rounded; `name` is for the error.

    Raises `InvalidValue` for what is no duration, is negative or is above ten years.
    """
    if isinstance(duration, timedelta):
        found = duration.total_seconds() * 1_000
    elif isinstance(duration, str):
        text = duration.strip().replace(" ", "")
        if not _WHOLE.fullmatch(text):
            raise InvalidValue(f"{name}: {duration!r} is no duration: write 250ms, 30s or 1h30m")
        found = sum(float(number) * _UNIT_MS[unit] for number, unit in _PART.findall(text))
    elif isinstance(duration, int | float):
        found = duration * 1_000
    else:
        raise InvalidValue(f"{name}: {duration!r} is no duration: write 250ms, 30s or 1h30m")
    if not 0 <= found <= _MAX_MS:
        raise InvalidValue(f"{name}: {duration!r} must be between 0 and ten years")
    return round(found)


def seconds(duration: Duration, name: str = "duration") -> float:
    """The same in seconds, for the event loop's timers."""
    return milliseconds(duration, name) / 1_000
