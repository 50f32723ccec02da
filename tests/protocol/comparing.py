"""Whether an answer is what a client of an earlier version would take it for: SPEC.md, section 19.

Both are read by the tables of that version: what is left out has its default, what it does not know
is not looked at. What has to be the same is the same; what a broker makes up (tokens, ids, cursors)
is learned where it is met first; of times and texts for people the type counts.
"""

import re
from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

MADE_BY_BROKER: Final = frozenset({"token", "secret", "cursor", "store", "broker"})
MADE_ID: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{16}(~[0-9a-f]{8})?")
"""An id that a broker made."""
MOMENT: Final = re.compile(r"(.*_)?(at|until|since|before|deadline|next_attempt)")
"""Names of fields that hold a time: 0 where there is none, and then always."""
OF_TODAY: Final = frozenset(
    {
        *("Limits.frame_bytes", "Limits.batch", "Limits.in_flight", "Welcome.heartbeat_ms"),
        *("Welcome.now_ms", "Welcome.library", "Welcome.kept", "BrokerInfo.kept"),
        *("BrokerInfo.library", "BrokerInfo.schema", "BrokerInfo.started_ms", "BrokerInfo.now_ms"),
        *("BrokerInfo.connections", "BrokerInfo.commits", "BrokerInfo.conflicts"),
        *("Claim.remaining_ms", "Extended.remaining_ms", "Cancellation.grace_ms"),
        *("TypeView.latency_ms", "Minute.wait_ms", "Minute.run_ms", "LogEntry.time_ms"),
        *("Refused.message", "Problem.message", "Cause.message"),
        *("Refused.retry_after_ms", "Problem.retry_after_ms"),
    }
)
"""What differs from day to day, and from one machine to another."""

GROWING: Final = frozenset({"Welcome.features", "Refused.details", "Problem.details"})
"""To which later versions may add."""


class Different(AssertionError):
    """An answer is not what it was."""


class Comparison:
    """Of one session with its replay; `learned` grows with what is compared."""

    def __init__(self, schema: Schema) -> None:
        self._records = {name: record["fields"] for name, record in schema["records"].items()}
        self.learned: dict[Any, Any] = {}
        """What the broker of the recording had made, and what stands for it now."""

    def translated(self, value: Any) -> Any:
        """What the client sends, with what today's broker has made."""
        match value:
            case dict():
                return {self.translated(key): self.translated(item) for key, item in value.items()}
            case list():
                return [self.translated(item) for item in value]
            case str() | bytes():
                return self.learned.get(value, value)
            case _:
                return value

    def check(self, record: str, was: dict[str, Any], found: Any, path: str) -> None:
        """Raises `Different`, which names the field."""
        if not isinstance(found, dict):
            raise Different(f"{path}: no map any more, but {found!r}")
        for field in self._records[record]:
            name = field["name"]
            if field["required"] and name not in found:
                raise Different(f"{path}.{name} is missing: there is {sorted(found)}")
            before = was.get(name, field.get("default"))
            now = found.get(name, field.get("default"))
            self._value(f"{record}.{name}", field, before, now, f"{path}.{name}")

    def _value(self, name: str, shape: dict[str, Any], was: Any, found: Any, path: str) -> None:
        if type(was) is not type(found) and not _is_empty_binary(was, found):
            raise Different(f"{path}: was {was!r}, is {found!r}")
        match shape["type"]:
            case _ if was is None:
                return
            case "array" | "map" if name in GROWING:
                self._grown(was, found, path)
            case "record":
                self.check(shape["record"], was, found, path)
            case "array":
                if len(was) != len(found):
                    raise Different(f"{path}: had {len(was)} items, has {found!r}")
                for place, (before, now) in enumerate(zip(was, found, strict=True)):
                    self._value(name, shape["items"], before, now, f"{path}[{place}]")
            case "map":
                if set(was) != set(found):
                    raise Different(f"{path}: had {sorted(was)}, has {sorted(found)}")
                for key, before in was.items():
                    self._value(name, shape["values"], before, found[key], f"{path}[{key!r}]")
            case _:
                self._scalar(name, was, found, path)

    def _grown(self, was: Any, found: Any, path: str) -> None:
        lost = set(was) - set(found)
        changed = [key for key in was if isinstance(was, dict) and was[key] != found.get(key)]
        if lost or changed:
            raise Different(f"{path}: was {was!r}, is {found!r}")

    def _scalar(self, name: str, was: Any, found: Any, path: str) -> None:
        key = name.partition(".")[2]
        if name in OF_TODAY:
            return
        if MOMENT.fullmatch(key) and isinstance(was, int):
            same = bool(was) == bool(found)
        elif key in MADE_BY_BROKER or (isinstance(was, str) and MADE_ID.fullmatch(was)):
            same = self.learned.setdefault(was, found) == found
        else:
            same = was == found
        if not same:
            raise Different(f"{path}: was {was!r}, is {found!r}")


def _is_empty_binary(was: Any, found: Any) -> bool:
    """A default that JSON has as an empty text."""
    return {type(was), type(found)} == {str, bytes} and not was and not found
