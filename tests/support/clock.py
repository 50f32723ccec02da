"""The store's time as a test wants it."""


class ManualClock:
    """Stands still until it is moved; places in the queue grow by one with each."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self._now_ms = now_ms
        self._order = 0

    def now_ms(self) -> int:
        return self._now_ms

    def next_order(self) -> int:
        self._order += 1
        return self._order

    def forward(self, ms: int) -> None:
        self._now_ms += ms
