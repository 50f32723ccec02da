"""What every job carries and leaves behind, so that any queue's jobs are counted in one way.

A payload is 100 characters, of which the first 20 are the time at which it was sent. A handler
appends (sent, started) to one file: that is all a job does. Only the standard library is needed
here, for the peers run in an environment of their own.
"""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PAYLOAD_CHARS: Final = 100
_TIME_CHARS: Final = 20
_PAIR: Final = struct.Struct("<qq")

now_ns = time.monotonic_ns
"""The same clock in all processes of a machine."""

Mark = Callable[[str | bytes], None]
"""What a handler calls with its job's payload."""


def payload(sent_ns: int | None = None) -> str:
    """Of a job that is sent now, or was to be sent then."""
    sent_ns = now_ns() if sent_ns is None else sent_ns
    return f"{sent_ns:0{_TIME_CHARS}d}".ljust(PAYLOAD_CHARS, "x")


def marker(file: str) -> Mark:
    """Appends to that file, from as many processes as there may be."""
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def mark(of: str | bytes) -> None:
        os.write(opened, _PAIR.pack(int(of[:_TIME_CHARS]), now_ns()))

    return mark


class Marks:
    """The file, as who measures reads it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = 0
        file.touch()

    def count(self) -> int:
        """Jobs that have started since the last `take`."""
        return self._file.stat().st_size // _PAIR.size - self._seen

    def take(self) -> list[tuple[int, int]]:
        """When each was sent and when it started, in ns, since the last `take`."""
        with self._file.open("rb") as opened:
            opened.seek(self._seen * _PAIR.size)
            data = opened.read()
        whole = len(data) - len(data) % _PAIR.size
        found: list[tuple[int, int]] = list(_PAIR.iter_unpack(data[:whole]))
        self._seen += len(found)
        return found
