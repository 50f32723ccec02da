"""Which of the waiting jobs at the head of a queue this broker claims, where others claim too.

Brokers that all took the first jobs of one queue would abort each other's transactions. So each
leaves those to the others that are theirs: a job belongs to the broker at which it was queued, for
a moment, unless that has no place for it, and then to one that its entry picks among those whose
runners take the type. What its owner does not claim soon is anybody's, one broker after the other.
First come, first served holds but for the jobs that stand at the head of the queue together.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple
from zlib import crc32

from packhorse_broker.store.keys import job_of_member, order_ms_of

LEAST_SHARE: Final = 50
"""So many of its own jobs a broker is to find at the head of a long queue, even for one claim:
what stands there longest is mostly others'."""

SHARED_WINDOW: Final = 1_000
"""Entries of a queue that are looked at, at most, to find a broker's own among them."""

OWNER_MS: Final = 100
"""How long a job at the head of a queue is its owner's; then for as long it is the next one's."""

FORGOTTEN_MS: Final = 10_000
"""A queue that was not looked at for so long has perhaps no runners here any more."""

MAX_NOTED: Final = 10_000
"""Jobs of which it is remembered where they were queued."""


class Rivals(NamedTuple):
    """Brokers whose runners take a type, in an order that all of them know, and which of them
    this one is."""

    brokers: tuple[str, ...]
    place: int

    def turn(self, member: bytes, passed_on_by: str | None) -> int:
        """How many come before this broker to claim an entry of the queue. One that has passed it
        on, for want of a place, comes last."""
        place, count = self.place, len(self.brokers)
        if passed_on_by in self.brokers:
            last = self.brokers.index(passed_on_by)
            if last == place:
                return count - 1
            place -= place > last
            count -= 1
        return (crc32(member) - place) % count


ALONE: Final = Rivals(("",), 0)


class Shares:
    """`window` says how far to look, `own` which of what was found to claim."""

    def __init__(self, rivals: Callable[[str], Rivals], now_ms: Callable[[], int]) -> None:
        """`now_ms`: by the store's clock."""
        self._rivals = rivals
        self.now_ms = now_ms
        self._kept: dict[str, int] = {}
        """Jobs that were queued here and that nobody was told of, and until when they are ours."""
        self._passed_on: dict[str, str] = {}
        """Jobs that a broker queued and has no place for, and which. It matters while they are new:
        later all must agree on what they can see of the job."""
        self._seen: dict[str, dict[str, int]] = {}
        """By type: jobs seen at the head of the queue, and since when."""
        self._looked_ms: dict[str, int] = {}
        """When each of these queues was looked at; the longest ago comes first."""

    def keep(self, jobs: Iterable[str]) -> None:
        """This broker queues these jobs and has places for them: nobody else is told."""
        until_ms = self.now_ms() + OWNER_MS
        for job_id in jobs:
            self._kept.pop(job_id, None)
            self._kept[job_id] = until_ms
        _forget(self._kept)

    def passed_on(self, jobs: Iterable[str], broker: str) -> None:
        """A broker, perhaps this one, queues these and has no places for them."""
        for job_id in jobs:
            self._passed_on.pop(job_id, None)
            self._passed_on[job_id] = broker
        _forget(self._passed_on)

    def alone(self, job_type: str) -> bool:
        """Whether no other broker claims jobs of the type."""
        return len(self._rivals(job_type).brokers) == 1

    def window(self, job_type: str, claims: int) -> int:
        """How many entries at the head of the queue are looked at for so many claims."""
        brokers = len(self._rivals(job_type).brokers)
        if brokers == 1:
            return claims
        return max(claims, min(max(claims, LEAST_SHARE) * brokers, SHARED_WINDOW))

    def own(self, job_type: str, members: Sequence[bytes]) -> tuple[list[str], bool]:
        """Of entries of the queue the jobs to claim, in their order; and whether others were left
        to their owners, who may be slow: then it is to be looked again after OWNER_MS."""
        rivals = self._rivals(job_type)
        if len(rivals.brokers) == 1:
            self._forget_queue(job_type)
            return [job_of_member(member) for member in members], False
        now_ms = self.now_ms()
        before = self._seen.get(job_type, {})
        self._forget_queue(job_type)
        seen: dict[str, int] = {}
        own: list[str] = []
        for member in members:
            job_id = job_of_member(member)
            if self._kept.get(job_id, 0) > now_ms:
                own.append(job_id)
                continue
            seen[job_id] = since_ms = before.get(job_id, now_ms)
            new = order_ms_of(member) + OWNER_MS > now_ms
            passed_on_by = self._passed_on.get(job_id) if new else None
            turn = rivals.turn(member, passed_on_by)
            if (passed_on_by or not new) and since_ms + turn * OWNER_MS <= now_ms:
                own.append(job_id)
        self._seen[job_type] = seen
        self._looked_ms[job_type] = now_ms
        while self._looked_ms[oldest := next(iter(self._looked_ms))] < now_ms - FORGOTTEN_MS:
            self._forget_queue(oldest)
        return own, len(own) < len(members)

    def _forget_queue(self, job_type: str) -> None:
        self._seen.pop(job_type, None)
        self._looked_ms.pop(job_type, None)


def _forget(noted: dict[str, Any]) -> None:
    """The oldest, when there are many: by then they do not matter any more."""
    if len(noted) > MAX_NOTED:
        for job_id in list(islice(noted, len(noted) - MAX_NOTED)):
            del noted[job_id]
