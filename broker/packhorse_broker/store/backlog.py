"""Work that waits for its batch: bounded in number and bytes, taken in the order of arrival."""

from collections import deque
from typing import Final

from packhorse_broker.store.work import Work

MAX_BATCH: Final = 1_000
"""Commands in one transaction: past it the gain per command is small and the wait grows."""

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Bodies and outcomes in one transaction: the store takes it in one piece."""

MAX_WAITING: Final = 100_000
"""Commands that wait; more are refused as unavailable, so that memory stays bounded."""

MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
"""Bodies and outcomes that wait, likewise."""


class Backlog:
    """`add` what is submitted, `next_batch` for the next transaction."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Work, int]] = deque()
        self.size = 0
        """Commands that wait."""
        self._size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, work: Work) -> bool:
        """Whether there was room for it."""
        if self.size >= MAX_WAITING or self._size_bytes >= MAX_WAITING_BYTES:
            return False
        size_bytes = work.size_bytes
        self._waiting.append((work, size_bytes))
        self.size += work.size
        self._size_bytes += size_bytes
        return True

    def next_batch(self) -> list[Work]:
        """The oldest, as many as go into one transaction; at least one if any waits."""
        batch: list[Work] = []
        size = size_bytes = 0
        while self._waiting:
            work, work_bytes = self._waiting[0]
            if batch and (
                size + work.size > MAX_BATCH or size_bytes + work_bytes > MAX_BATCH_BYTES
            ):
                break
            batch.append(self._pop())
            size += work.size
            size_bytes += work_bytes
        return batch

    def overdue(self, since_s: float) -> list[Work]:
        """Takes out what was submitted before then."""
        found: list[Work] = []
        while self._waiting and self._waiting[0][0].since_s < since_s:
            found.append(self._pop())
        return found

    def _pop(self) -> Work:
        work, size_bytes = self._waiting.popleft()
        self.size -= work.size
        self._size_bytes -= size_bytes
        return work
