"""The store's time, told by this machine's monotonic clock in between.

Times in records are the store's, so that brokers on several machines agree. What is measured
here is a difference that is set anew again and again; a step of this machine's wall clock
changes nothing.
"""

import time
from typing import Final

MAX_DRIFT_MS: Final = 2_000
"""A larger disagreement between the store's clock and ours means that one of them was set."""

DRIFT_MS_PER_S: Final = 0.05
"""How fast two clocks may part: what was measured is worth that much less with every second."""


class StoreClock:
    """Milliseconds since the epoch by the store's clock. `set` it before the first use."""

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - monotonic_ms()
        self._behind_ms = float("inf")
        """By how much it may be behind the store's, when it was measured."""
        self._measured_ms = 0.0
        self._newest_ms = 0
        self._newest_order = 0

    def set(self, store_ms: float, asked_ms: float, answered_ms: float) -> float:
        """Takes over what the store said between two moments of `monotonic_ms`.

        The store read its clock somewhere between the two, at the latest when it answered: so
        taken, this clock is never ahead, and nothing is due too early. The answer to a question
        that took long says little; the best one counts until one comes that is better, or that
        shows that a clock was set. Returns by how many milliseconds the two had drifted apart for
        sure.
        """
        behind_ms = answered_ms - asked_ms
        offset_ms = store_ms - answered_ms
        parted_ms = DRIFT_MS_PER_S * (answered_ms - self._measured_ms) / 1000
        known_behind_ms = self._behind_ms + parted_ms
        apart_ms = offset_ms - self._offset_ms
        drifted = apart_ms > known_behind_ms or -apart_ms > behind_ms + parted_ms
        if drifted or behind_ms <= known_behind_ms:
            self._offset_ms = offset_ms
            self._behind_ms = behind_ms
            self._measured_ms = answered_ms
        return apart_ms if drifted else 0.0

    def now_ms(self) -> int:
        """Never less than it was before."""
        now_ms = int(time.monotonic() * 1000 + self._offset_ms)
        if now_ms > self._newest_ms:
            self._newest_ms = now_ms
        return self._newest_ms

    def next_order(self) -> int:
        """Microseconds since the epoch, larger with each call: a place in a queue."""
        order = int((time.monotonic() * 1000 + self._offset_ms) * 1000)
        self._newest_order = order if order > self._newest_order else self._newest_order + 1
        return self._newest_order


def monotonic_ms() -> float:
    """This machine's monotonic clock: for intervals, unrelated to any date."""
    return time.monotonic() * 1000
