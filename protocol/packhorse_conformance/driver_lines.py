"""What a driver writes, line by line: `DRIVER.md` says what may stand there."""

import json
from typing import Any, Final, TypeAlias

from packhorse_conformance.verdict import Failed, expect

Line: TypeAlias = dict[str, Any]

EVENTS: Final = frozenset(
    {
        "running",
        "ended",
        "outcome",
        "news",
        "disconnected",
        "connected",
        "draining",
        "closed",
    }
)


def read_line(text: bytes, number: int) -> Line:
    """An answer or an event. Raises `Failed`, which says what is wrong with which line."""
    at = f"line {number} of the driver:"
    found = _map(text)
    if found is None:
        raise Failed(f"{at} one JSON object", text.decode(errors="replace").rstrip())
    if "event" in found:
        known = isinstance(found["event"], str) and found["event"] in EVENTS
        expect(known, f"{at} an event that DRIVER.md knows", found)
        return found
    expect(type(found.get("id")) is int, f"{at} `id`, the number of an instruction", found)
    expect(("ok" in found) != ("error" in found), f"{at} either `ok` or `error`", found)
    if "ok" in found:
        expect(isinstance(found["ok"], dict), f"{at} `ok`, which is a map", found)
        return found
    error = found["error"]
    right = isinstance(error, dict) and (
        isinstance(error.get("code"), str)
        and isinstance(error.get("message"), str)
        and isinstance(error.get("retryable"), bool)
    )
    expect(
        right,
        f"{at} `error`, a map with the texts `code` and `message` and the boolean `retryable`",
        found,
    )
    return found


def _map(text: bytes) -> Line | None:
    """None for what is no JSON, or no map."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
