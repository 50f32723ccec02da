"""How long a run may still take, on this process's own clock."""

import time


class Deadline:
    """Counts down what the broker said remains: clocks of different machines are not compared."""

    __slots__ = ("_at_s",)

    def __init__(self, remaining_ms: int | None) -> None:
        """`remaining_ms` None: no limit."""
        self.move(remaining_ms)

    def move(self, remaining_ms: int | None) -> None:
        """So long from now on."""
        self._at_s = None if remaining_ms is None else time.monotonic() + remaining_ms / 1_000

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, 0 when it is over; None: without limit."""
        return None if self._at_s is None else max(0.0, self._at_s - time.monotonic())
