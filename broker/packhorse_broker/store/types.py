"""What is set about a type, as it is stored, and what this broker knows of it.

The settings of a type are watched by every transaction that creates its jobs or draws from its
queue, so a pause holds from the moment in which it was committed. For what is less urgent the
book, filled from what transactions read and renewed now and then, is near enough.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgpack
from msgspec import Struct
from msgspec.structs import astuple, replace

from packhorse_broker.jobs.model import Retention
from packhorse_broker.store.records import CorruptRecord

_packer: Final = msgpack.Packer(use_bin_type=True, autoreset=True)


class TypeSettings(Struct, frozen=True):
    """The stored settings of a type. Fields are only added, at the end and with a default."""

    paused: bool = False
    paused_until: int = 0
    """When a pause ends by itself, in ms; 0: it does not."""
    draining: bool = False
    """Whether new jobs are refused."""
    keep_complete_ms: int | None = None
    """How long finished jobs that nobody handles are kept; None: the broker's own retention."""
    keep_complete_jobs: int | None = None
    """And how many of them at most; None: no bound."""
    keep_failed_ms: int | None = None
    keep_failed_jobs: int | None = None
    max_jobs: int = 0
    """Jobs of the type, in all states, past which no more are created; 0: no bound."""
    max_bytes: int = 0
    """Bytes of their bodies and outcomes, likewise."""
    has_schema: bool = False
    changed_at: int = 0
    by: str | None = None
    why: str = ""
    paused_at: int = 0
    """When it was paused, or its pause was changed; who did it and why are kept though other
    settings are changed later."""
    paused_by: str | None = None
    paused_why: str = ""
    number: int = 0
    """Of the change that made them: of two copies the higher is the newer."""

    def gives_out(self, now_ms: int) -> bool:
        """Whether jobs may be claimed now."""
        return not self.paused or bool(self.paused_until and self.paused_until <= now_ms)

    def retention(self, default: Retention) -> Retention:
        """How long its finished jobs are kept."""
        if self.keep_complete_ms is None and self.keep_failed_ms is None:
            return default
        return Retention(
            default.complete_ms if self.keep_complete_ms is None else self.keep_complete_ms,
            default.failed_ms if self.keep_failed_ms is None else self.keep_failed_ms,
        )


PLAIN: Final = TypeSettings()
"""Of a type of which nothing was set."""


def encode_settings(settings: TypeSettings) -> bytes:
    packed: bytes = _packer.pack(astuple(settings))
    return packed


def decode_settings(data: bytes | None) -> TypeSettings:
    """PLAIN where nothing is stored. Raises CorruptRecord."""
    if data is None:
        return PLAIN
    try:
        fields: list[Any] = msgpack.unpackb(data, raw=False)
        return TypeSettings(*fields)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(data)} bytes are no settings of a type: {error!r}") from error


class SettingsChange(Struct, frozen=True):
    """What is to change about a type; None: it stays."""

    paused: bool | None = None
    """Pausing anew is for good unless `paused_until` says otherwise, resuming forgets it."""
    paused_until: int | None = None
    draining: bool | None = None
    keep_complete: tuple[int | None, int | None] | None = None
    """How long in ms, None: as the broker has it; and at most how many jobs, None: no bound."""
    keep_failed: tuple[int | None, int | None] | None = None
    max_jobs: int | None = None
    max_bytes: int | None = None

    def made_to(self, settings: TypeSettings) -> TypeSettings:
        """The settings afterwards; who did it, when and why are left as they are."""
        changed: dict[str, Any] = {}
        if self.paused is not None:
            changed = {"paused": self.paused, "paused_until": 0}
        if self.paused_until is not None:
            changed["paused_until"] = self.paused_until
        for name in ("draining", "max_jobs", "max_bytes"):
            value = getattr(self, name)
            if value is not None:
                changed[name] = value
        if self.keep_complete is not None:
            changed["keep_complete_ms"], changed["keep_complete_jobs"] = self.keep_complete
        if self.keep_failed is not None:
            changed["keep_failed_ms"], changed["keep_failed_jobs"] = self.keep_failed
        return replace(settings, **changed)


class StoredSchema(Struct, frozen=True):
    """A type's JSON Schema. Fields are only added, at the end and with a default."""

    schema: bytes
    by: str
    at: int


def encode_schema(schema: StoredSchema) -> bytes:
    packed: bytes = _packer.pack(astuple(schema))
    return packed


def decode_schema(data: bytes | None) -> StoredSchema | None:
    """None where nothing is stored. Raises CorruptRecord."""
    if data is None:
        return None
    try:
        fields: list[Any] = msgpack.unpackb(data, raw=False)
        return StoredSchema(*fields)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(data)} bytes are no schema of a type: {error!r}") from error


class TypeBook:
    """What this broker last read of each type's settings. Types of which nothing is set are not
    in it."""

    def __init__(self) -> None:
        self._known: dict[str, TypeSettings] = {}

    def __getitem__(self, job_type: str) -> TypeSettings:
        return self._known.get(job_type, PLAIN)

    def __iter__(self) -> Iterator[tuple[str, TypeSettings]]:
        return iter(tuple(self._known.items()))

    def clear(self) -> None:
        self._known.clear()

    def put(self, job_type: str, settings: TypeSettings) -> None:
        """What was read; an older copy teaches nothing."""
        if settings.number < self[job_type].number:
            return
        if settings == PLAIN:
            self._known.pop(job_type, None)
        else:
            self._known[job_type] = settings
