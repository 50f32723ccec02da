"""The record of a run: what each program asked, what it was answered, what was done to it.

One JSON object a line, written with one system call each, so that a process that is killed loses
at most the line that it was writing. A request is recorded before its bytes leave (`invoke`) and
again when it is settled:

    ok      it was done
    fail    it was refused and changed nothing
    info    it may have been done, or may yet be: the connection went, or the store was away

An `invoke` without any of these belongs to a process that was killed: the same as `info`.
"""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

Kind = Literal["invoke", "ok", "fail", "info", "push", "begin", "end", "note", "fault"]

NS_PER_MS: Final = 1_000_000


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a create asked for, as far as a promise depends on it. Durations in ms, 0: none."""

    attempts: int = 1
    delay_ms: int = 0
    backoff_ms: int = 0
    """Of a fixed backoff."""
    idle_ms: int = 0
    run_ms: int = 0
    total_ms: int = 0
    persistent: bool = False
    handle: bool = False
    """Its creator is to handle the outcome."""
    unique: str = ""
    """A unique key, held until the job has finished."""
    join: bool = False
    """Where another job holds the key, become a handler of that one."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Fields that say nothing are left out."""

    at: int
    """CLOCK_MONOTONIC in ns: the same clock in all processes of the machine."""
    who: str
    """A client's id, or the supervisor."""
    kind: Kind
    op: str
    """The request or push by its tag; the kind of fault; what a note is about."""
    call: str = ""
    """Ties an answer to its `invoke`."""
    job: str = ""
    name: str = ""
    """What a job's payload says: the create that made it."""
    token: str = ""
    fence: int = 0
    attempt: int = 0
    version: int = 0
    state: str = ""
    code: str = ""
    """Of a refusal or a revocation; the reason of a FAILED outcome."""
    text: str = ""
    """A result, or a line of a log."""
    group: str = ""
    epoch: str = ""
    """The store's identity."""
    finished_at: int = 0
    """By the store's clock, ms."""
    created_at: int = 0
    registered_at: int = 0
    number: int = 0
    """What the op says it is: attempts of a `retry`, ms of a wait, a client's timeout, a pid, ns
    of what was `rolled back` until now."""
    flag: bool = False
    """`existed` of a create, `resumed` of a hello, `retry` of a fail, `removed` of an event."""
    slot: str = ""
    """Where it was `rolled back`, if that is known: a partition by its number, or `CLIENTS`."""
    not_met: bool = False
    """Done, though what the broker waits for before it answers had not come in time."""
    asked: Asked | None = None

    def line(self) -> str:
        return _encode(self).decode()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode

SUPERVISOR: Final = "supervisor"

ROLLED_BACK: Final = "rolled back"
"""The note of a span in which the store acknowledged what it lost: it ends with the note."""

CLIENTS: Final = "c"
"""The slot of the clients' registry."""

FOLDER_SUFFIX: Final = ".jsonl"


class Recorder:
    """Appends a program's entries to its own file. `process` tells its lives apart."""

    def __init__(self, folder: Path, who: str, process: str = "") -> None:
        self.who = who
        self._process = process
        self._calls = 0
        path = folder / f"{who}{FOLDER_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def next_call(self) -> str:
        self._calls += 1
        return f"{self.who}/{self._process}/{self._calls}"

    def write(self, kind: Kind, op: str, **fields: object) -> int:
        """When it was written."""
        at = time.monotonic_ns()
        # The encoder checks nothing: a wrong field would only be found when the run is judged.
        entry = Entry(at=at, who=self.who, kind=kind, op=op, **fields)  # type: ignore[arg-type]
        os.write(self._file, _encode(entry) + b"\n")
        return at

    def close(self) -> None:
        os.close(self._file)


def read(folder: Path) -> list[Entry]:
    """All that a run recorded, in the order of time. A line that was cut short is left out."""
    entries: list[Entry] = []
    for path in sorted(folder.glob(f"*{FOLDER_SUFFIX}")):
        entries += _lines(path)
    return sorted(entries, key=lambda entry: entry.at)


def _lines(path: Path) -> Iterator[Entry]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield _decode(line)


def written(entries: Iterable[Entry]) -> str:
    """Entries as they stand in a file."""
    return "\n".join(entry.line() for entry in entries)
