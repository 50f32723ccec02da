"""The store's time, told by this machine's monotonic clock in between.

Times in records are the store's, so that brokers on several machines agree. What is measured
here is a difference that is set anew again and again; a step of this machine's wall clock
changes nothing.
"""

import time
from typing import Final

MAX_DRIFT_MS: Final = 2_000
"""A larger disagreement between the store's clock and ours means that one of them was set."""


MAX_SAMPLE_MS: Final = 250
"""What the store says of the time is too old when the answer took longer."""


class StoreClock:
    """Milliseconds since the epoch by the store's clock. `set` it before the first use."""

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - monotonic_ms()
        self._told = False
        self._newest_ms = 0
        self._newest_order = 0

    def set(self, store_ms: int, asked_ms: float, answered_ms: float) -> float:
        """Takes over what the store said between two moments of `monotonic_ms`.

        Returns by how many milliseconds it had drifted, 0 for an answer that was too slow to say.
        """
        if answered_ms - asked_ms > MAX_SAMPLE_MS and self._told:
            return 0.0
        offset_ms = store_ms - (asked_ms + answered_ms) / 2
        drift_ms = offset_ms - self._offset_ms if self._told else 0.0
        self._offset_ms = offset_ms
        self._told = True
        return drift_ms

    def now_ms(self) -> int:
        """Never less than it was before."""
        self._newest_ms = max(self._newest_ms, int(monotonic_ms() + self._offset_ms))
        return self._newest_ms

    def next_order(self) -> int:
        """Microseconds since the epoch, larger with each call: a place in a queue."""
        order = int((monotonic_ms() + self._offset_ms) * 1000)
        self._newest_order = order if order > self._newest_order else self._newest_order + 1
        return self._newest_order


def monotonic_ms() -> float:
    """This machine's monotonic clock: for intervals, unrelated to any date."""
    return time.monotonic() * 1000
