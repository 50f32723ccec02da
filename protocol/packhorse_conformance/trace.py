"""What passed lately in one scenario, and what it waits for: shown when it fails."""

import time
from collections import deque
from typing import Final

from packhorse_conformance.values import NotReadable, shown, unpacked

LAST_LINES: Final = 20


class Trace:
    """Frames of all connections of a scenario, and the driver's lines."""

    def __init__(self) -> None:
        self.awaited = "the scenario's end"
        """What the scenario waits for now."""
        self._began_s = time.monotonic()
        self._notes: deque[tuple[float, str, bytes | str]] = deque(maxlen=LAST_LINES)

    def frame(self, way: str, body: bytes) -> None:
        """A frame went this way: `1 client -> broker`."""
        self._notes.append((time.monotonic() - self._began_s, way, body))

    def line(self, way: str, text: str) -> None:
        """A line of a driver, or what happened to a connection."""
        self._notes.append((time.monotonic() - self._began_s, way, text))

    def lines(self) -> list[str]:
        """The last of them, decoded."""
        return [f"{at:7.3f}  {way:20} {_decoded(what)}" for at, way, what in self._notes]


def _decoded(what: bytes | str) -> str:
    if isinstance(what, str):
        return what
    try:
        return shown(unpacked(what))
    except NotReadable as error:
        return f"{shown(what)} ({error})"
