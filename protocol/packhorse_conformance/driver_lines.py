"""What a driver writes, line by line: `DRIVER.md` says what may stand there."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from packhorse_conformance.verdict import Failed, expect

Line: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, type]

EVENTS: Final[Mapping[str, Fields]] = {
    "running": {"job": str, "type": str, "attempt": int},
    "ended": {"job": str, "how": str},
    "outcome": {"outcome": dict},
    "news": {"news": dict},
    "disconnected": {},
    "connected": {},
    "draining": {},
    "closed": {"code": str},
}
"""What each has beside its name."""

ENDS: Final = frozenset({"complete", "failed", "released", "cancelled", "revoked", "stale"})
"""What `how` of the event `ended` may be."""

OK: Final[Mapping[str, Fields]] = {
    "connect": {"client": str, "secret": str},
    "create": {"jobs": list},
    "wait": {"job": str, "state": str},
    "get": {"jobs": list},
    "logs": {"entries": list},
    "cancel": {"state": str},
}
"""What the `ok` of an instruction has at least."""

PROBLEM: Final[Fields] = {"code": str, "message": str}
ERROR: Final[Fields] = {**PROBLEM, "retryable": bool}

WORDS: Final[Mapping[type, str]] = {
    bool: "a boolean",
    dict: "a map",
    int: "an integer",
    list: "a list",
    str: "a text",
}


def read_line(text: bytes, number: int) -> Line:
    """An answer or an event. Raises `Failed`, which says what is wrong with which line."""
    at = f"line {number} of the driver:"
    found = _map(text)
    if found is None:
        raise Failed(f"{at} one JSON object", text.decode(errors="replace").rstrip())
    if "event" in found:
        known = isinstance(found["event"], str) and found["event"] in EVENTS
        expect(known, f"{at} an event that DRIVER.md knows", found)
        _check(f"{at} the event `{found['event']}`", found, EVENTS[found["event"]], found)
        right = found["event"] != "ended" or found["how"] in ENDS
        expect(right, f"{at} `how` as one of {', '.join(sorted(ENDS))}", found)
        return found
    expect(_is(int, found.get("id")), f"{at} `id`, the number of an instruction", found)
    expect(("ok" in found) != ("error" in found), f"{at} either `ok` or `error`", found)
    if "ok" in found:
        _check(f"{at} `ok`", found["ok"], {}, found)
    else:
        _check(f"{at} `error`", found["error"], ERROR, found)
    return found


def check_ok(line: Line, number: int, instruction: str) -> None:
    """That an `ok` has what this instruction is answered by. Raises `Failed`."""
    at = f"line {number} of the driver, which answers `{instruction}`:"
    fields = OK.get(instruction, {})
    _check(f"{at} `ok`", line["ok"], fields, line)
    for name in [name for name, kind in fields.items() if kind is list]:
        for place, entry in enumerate(line["ok"][name]):
            what = f"{at} `{name}[{place}]`"
            _check(what, entry, {}, line)
            if "problem" in entry:
                _check(f"{what}.`problem`", entry["problem"], PROBLEM, line)


def _check(what: str, found: object, fields: Fields, line: Line) -> None:
    """That it is a map with these fields."""
    names = ", ".join(f"`{name}` ({WORDS[kind]})" for name, kind in fields.items())
    right = isinstance(found, dict) and all(
        _is(kind, found.get(name)) for name, kind in fields.items()
    )
    expect(right, f"{what} as a map with {names}" if names else f"{what} as a map", line)


def _is(kind: type, value: object) -> bool:
    """A boolean is no integer here."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _map(text: bytes) -> Line | None:
    """None for what is no JSON, or no map."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
