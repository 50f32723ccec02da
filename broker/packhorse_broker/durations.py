"""Durations: whole milliseconds in the code, `250ms`, `30s` or `1h30m` in files and flags."""

import re
from typing import Final

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""Largest first: the order in which the units are written."""
_TEXT: Final = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_MILLISECONDS: Final = re.compile(r"\d+", re.ASCII)

MAX_CHARS: Final = 32
"""Longer text is refused unread: no duration of use needs it, and parsing digits costs time."""


def parse_ms(value: int | str) -> int:
    """Milliseconds from a whole number of them, or from text with units from large to small.

    Raises ValueError for anything else: negative, fractional, empty, or units out of order.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no duration")
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value} is no duration: it is negative")
        return value
    text = value.strip()
    if len(text) > MAX_CHARS:
        raise ValueError(f"{text[:MAX_CHARS]!r}... is no duration: it is too long")
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    found = _TEXT.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no duration: write 250ms, 30s, 1h30m")
    return sum(
        int(number) * unit_ms
        for number, unit_ms in zip(found.groups(default="0"), _UNITS_MS.values(), strict=True)
    )


def format_ms(duration_ms: int) -> str:
    """The shortest text that `parse_ms` reads back as the same duration."""
    rest_ms = duration_ms
    text = ""
    for unit, unit_ms in _UNITS_MS.items():
        number, rest_ms = divmod(rest_ms, unit_ms)
        if number:
            text += f"{number}{unit}"
    return text or "0ms"
