"""Work that waits for its batch: bounded in number and bytes, what ends or claims jobs before what
creates them.

Creates come from producers, who may be faster than the store for any time; all else is bounded by
the jobs that run. So creates wait in a lane of their own, from which they have a share of each
batch, and part of the room is not for them. Work that concerns a job whose create still waits,
by its id, waits behind it: commands for one job stay in the order of arrival.
"""

from collections import deque
from typing import Final, TypeAlias

from packhorse_broker.store.work import Result, Submission, Work, creates, job_ids

MAX_BATCH: Final = 1_000
"""Commands in one transaction: past it the gain per command is small and the wait grows."""

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Bodies and outcomes in one transaction: the store takes it in one piece."""

CREATES_BESIDE: Final = MAX_BATCH // 4
"""Creates in a batch while other work waits too, as far as they come in whole requests. It is a
small batch then, so that what comes next waits for less."""

CREATES_BESIDE_BYTES: Final = MAX_BATCH_BYTES // 4

MAX_WAITING: Final = 100_000
"""Commands that wait; more are refused as unavailable, so that memory stays bounded."""

MAX_WAITING_BYTES: Final = 128 * 1024 * 1024
"""Bodies and outcomes that wait, likewise."""

KEPT_PERCENT: Final = 20
"""So much of this is not for creates: producers fill what they may, and jobs have to end."""

CROWDED_PERCENT: Final = 25
"""From so much of this on those who create are slowed down, so that few have to be refused."""

_Lane: TypeAlias = deque[tuple[Work, int]]
"""Work and its bytes, oldest first."""


class Room:
    """What waits in all backlogs of a broker: its memory is one."""

    __slots__ = ("size", "size_bytes")

    def __init__(self) -> None:
        self.size = 0
        self.size_bytes = 0

    def has_any(self, percent: int) -> bool:
        """Whether less than so much of it is taken."""
        return (
            self.size * 100 < MAX_WAITING * percent
            and self.size_bytes * 100 < MAX_WAITING_BYTES * percent
        )


class Backlog:
    """`add` what is submitted, `next_batch` for the next transaction."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._first: _Lane = deque()
        self._creates: _Lane = deque()
        """Creates, and what may not overtake them."""
        self._created: dict[str, int] = {}
        """Jobs that the work in that lane concerns, and how often."""
        self._passed_over = False
        """Whether the last batch had no room for the next of the creates."""
        self.size = 0
        """Commands that wait."""

    def __bool__(self) -> bool:
        return bool(self._first or self._creates)

    @property
    def crowded(self) -> bool:
        """Whether so much waits, here or in others, that whoever creates is to be slowed down."""
        return not self._room.has_any(CROWDED_PERCENT)

    def add(self, work: Work) -> bool:
        """Whether there was room for it."""
        is_create = creates(work)
        if not self._room.has_any(100 - KEPT_PERCENT if is_create else 100):
            return False
        if not work.size:
            barrier = _after_both(work)
            self._put(self._first, barrier)
            self._put(self._creates, barrier)
        elif is_create or (self._created and any(job in self._created for job in job_ids(work))):
            created = self._created
            for job in job_ids(work):
                created[job] = created.get(job, 0) + 1
            self._put(self._creates, work)
        else:
            self._put(self._first, work)
        return True

    def next_batch(self) -> list[Work]:
        """The oldest of each lane, as many as go into one transaction; at least one if any
        waits."""
        batch = _Batch()
        if self._first and self._creates:
            self._take_of_both(batch)
        else:
            self._take(self._first or self._creates, batch, MAX_BATCH, MAX_BATCH_BYTES)
        return batch.work

    def _take_of_both(self, batch: "_Batch") -> None:
        if not self._passed_over:
            most, most_bytes = MAX_BATCH - CREATES_BESIDE, MAX_BATCH_BYTES - CREATES_BESIDE_BYTES
            self._take(self._first, batch, most, most_bytes)
        taken = len(batch.work)
        most = min(batch.size + CREATES_BESIDE, MAX_BATCH)
        most_bytes = min(batch.size_bytes + CREATES_BESIDE_BYTES, MAX_BATCH_BYTES)
        self._take(self._creates, batch, most, most_bytes)
        self._passed_over = len(batch.work) == taken

    def overdue(self, since_s: float) -> list[Work]:
        """Takes out what was submitted before then."""
        found: list[Work] = []
        for lane in (self._first, self._creates):
            while lane and lane[0][0].since_s < since_s:
                found.append(self._pop(lane)[0])
        return found

    def _put(self, lane: _Lane, work: Work) -> None:
        size_bytes = work.size_bytes
        lane.append((work, size_bytes))
        self.size += work.size
        self._room.size += work.size
        self._room.size_bytes += size_bytes

    def _take(self, lane: _Lane, batch: "_Batch", most: int, most_bytes: int) -> None:
        """Adds to the batch until it has so much; at least one to one that is empty."""
        while lane:
            work, size_bytes = lane[0]
            if batch.work and (
                batch.size + work.size > most or batch.size_bytes + size_bytes > most_bytes
            ):
                return
            batch.add(*self._pop(lane))

    def _pop(self, lane: _Lane) -> tuple[Work, int]:
        work, size_bytes = lane.popleft()
        self.size -= work.size
        self._room.size -= work.size
        self._room.size_bytes -= size_bytes
        if lane is self._creates:
            created = self._created
            for job in job_ids(work):
                left = created[job] - 1
                if left:
                    created[job] = left
                else:
                    del created[job]
        return work, size_bytes


class _Batch:
    """What has been taken for a transaction."""

    __slots__ = ("size", "size_bytes", "work")

    def __init__(self) -> None:
        self.work: list[Work] = []
        self.size = 0
        self.size_bytes = 0

    def add(self, work: Work, size_bytes: int) -> None:
        self.work.append(work)
        self.size += work.size
        self.size_bytes += size_bytes


def _after_both(work: Work) -> Submission:
    """Stands in for work without commands, which waits for all that was submitted before it: it is
    put into both lanes, and done when it was taken from both."""
    lanes = 2

    def done(_: list[Result], durable: bool) -> None:
        nonlocal lanes
        lanes -= 1
        if not lanes:
            work.done([], durable)

    return Submission((), done, work.since_s)
