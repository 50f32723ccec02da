"""Which waiting jobs a batch of claims may take: the heads of the queues that are drawn from.

A queue is sorted by falling priority and, within one, by the order of arrival. So that a stream
of urgent jobs starves nobody, one of every FAIR_EVERY claims of a type goes to another priority:
in turn to the next lower one that has jobs waiting, and from the lowest back to the top. With n
priorities waiting each gets at least one of FAIR_EVERY x (n + 1) claims, its oldest first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from packhorse_broker.jobs.model import Job
from packhorse_broker.store.keys import PartitionKeys, job_of_member
from packhorse_broker.store.packing import pack
from packhorse_broker.store.shares import Shares
from packhorse_broker.store.type_notes import TypeNotes

FAIR_EVERY: Final = 8
"""One of so many claims is a fair turn, the others go to the highest priority."""

PROBE_EVERY: Final = 16
"""Draws from a queue of plain priorities only, after which others are looked for."""

MIXED_DRAWS: Final = 1_000
"""Draws after which a queue is taken for a plain one again, if no other priority was seen."""

MAX_UNDRAWABLE: Final = 1_000
"""Entries at the head of a queue that are looked past because they can't be claimed."""

AHEAD_MS: Final = 20
"""So long what was looked at for the next batch is taken for the head of the queue."""


class _Turns:
    """How far the fair turns of a type have come."""

    __slots__ = ("claims", "draws", "mixed_draws", "score", "undrawable")

    def __init__(self) -> None:
        self.claims = 0
        """Claims since the last fair turn."""
        self.score: bytes | None = None
        """Of the queue, at which the last fair turn was; None: before the top."""
        self.mixed_draws = 0
        """For so many more draws the queue counts as one of several priorities."""
        self.draws = 0
        self.undrawable = 0
        """How many entries at the head of the queue to look past."""


class Window:
    """The head of a queue, as far as a batch wants it, and what its fair turns may take."""

    def __init__(
        self,
        candidates: deque[str],
        fair: deque[str],
        *,
        full: bool,
        left: bool,
        claims: int,
        ahead: bool = False,
    ) -> None:
        self.candidates = candidates
        self.fair = fair
        self.full = full
        """Whether the queue may hold more."""
        self.left = left
        """Whether jobs were left to other brokers."""
        self.claims = claims
        """Claims since the last fair turn."""
        self.ahead = ahead
        """Whether it was looked at before the batch was asked for."""
        self.undrawable = 0
        """Candidates that were passed over though nobody in this batch took them."""
        self.mixed = False
        """Whether a job of another priority than the plain one was seen."""
        self.was_short = False
        """Whether a claim found nothing to take."""
        self.probed = False
        self.took_turn = False
        self.fair_score: bytes | None = None

    def next(self) -> tuple[str, bool] | None:
        """The next job to try, and whether it is at the head; None: there is no more."""
        if self.fair and self.claims >= FAIR_EVERY - 1:
            return self.fair.popleft(), False
        if self.candidates:
            return self.candidates.popleft(), True
        return (self.fair.popleft(), False) if self.fair else None

    def took(self, job: Job, *, head: bool) -> None:
        """The job was claimed."""
        if job.terms is not None and job.terms.priority:
            self.mixed = True
        if head:
            self.claims = min(self.claims + 1, FAIR_EVERY)
        else:
            self.claims = 0
            self.took_turn = True

    @property
    def more(self) -> bool:
        """Whether the queue may hold more jobs than were taken."""
        return self.full or bool(self.candidates)


def nothing_waits() -> Window:
    """Of a queue that was not looked at, for it is known to be empty."""
    return Window(deque(), deque(), full=False, left=False, claims=0)


class _Head(NamedTuple):
    """Entries at the head of a queue, and how many were asked for."""

    members: list[bytes]
    asked: int

    @property
    def is_full(self) -> bool:
        """Whether the queue may hold more."""
        return len(self.members) == self.asked


class Candidates:
    """`asking` before a batch of draws, `windows` with the store's answers, `settled` after it.

    Behind a batch that left jobs in its queues goes `asking_ahead`; `ahead` then has the windows of
    the batch that comes next, if it comes soon and wants no more.
    """

    def __init__(
        self,
        keys: PartitionKeys,
        shares: Shares,
        now_ms: Callable[[], int],
        in_use: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`in_use`: whether anybody takes a type; others are forgotten, if there are many."""
        self._keys = keys
        self._shares = shares
        self._now_ms = now_ms
        self._turns = TypeNotes(_Turns, in_use)
        self._asked: dict[str, tuple[int, int]] = {}
        """How many entries were asked for, and for fair turns: who else claims may be another one
        by the answer."""
        self._asked_ahead: dict[str, int] = {}
        self._asked_ahead_ms = 0

    def asking(self, wanted: Mapping[str, int]) -> list[bytes]:
        """The commands for so many candidates of each type."""
        commands: list[bytes] = []
        self._asked.clear()
        for job_type, claims in wanted.items():
            key = self._keys.queue(job_type)
            turns = self._turns[job_type]
            count = self._shares.window(job_type, claims) + turns.undrawable
            fair = _fair_turns(turns, claims)
            self._asked[job_type] = count, fair
            commands.append(pack(("ZRANGE", key, 0, count - 1)))
            if fair:
                after = b"(" + turns.score if turns.score is not None else b"-inf"
                commands.append(
                    pack(("ZRANGE", key, after, "+inf", "BYSCORE", "LIMIT", 0, fair, "WITHSCORES"))
                )
        return commands

    def windows(self, wanted: Mapping[str, int], replies: Iterable[Any]) -> dict[str, Window]:
        """What the store answered to `asking` with the same types."""
        answers = iter(replies)
        found: dict[str, Window] = {}
        for job_type, claims in wanted.items():
            count, fair = self._asked[job_type]
            head = _Head(next(answers), count)
            found[job_type] = window = self._window(job_type, claims, head)
            if fair:
                _put_fair(window, next(answers))
        return found

    def _window(self, job_type: str, claims: int, head: _Head, *, ahead: bool = False) -> Window:
        own, left = self._shares.own(job_type, head.members)
        turns = self._turns[job_type]
        return Window(
            deque(own[: claims + turns.undrawable]),
            deque(),
            full=head.is_full and bool(own),
            left=left,
            claims=turns.claims,
            ahead=ahead,
        )

    def asking_ahead(self, windows: Mapping[str, Window], wanted: Mapping[str, int]) -> list[bytes]:
        """The commands that look at queues of one priority, from which more can be drawn, for the
        next batch. They see what the transaction before them has left."""
        self._asked_ahead.clear()
        self._asked_ahead_ms = self._now_ms()
        for job_type, window in windows.items():
            turns = self._turns[job_type]
            if not window.full or window.mixed or turns.mixed_draws or window.left:
                continue
            likely = wanted[job_type] * 3 // 2 + 8
            self._asked_ahead[job_type] = self._shares.window(job_type, likely) + window.undrawable
        return [
            pack(("ZRANGE", self._keys.queue(job_type), 0, count - 1))
            for job_type, count in self._asked_ahead.items()
        ]

    def ahead(
        self, wanted: Mapping[str, int], replies: Sequence[list[bytes]]
    ) -> dict[str, Window] | None:
        """The windows for so many claims of each type, if all were looked at far enough.

        `replies`: what the store answered to `asking_ahead`; none, if that can't be had any more.
        """
        if not replies or self._now_ms() > self._asked_ahead_ms + AHEAD_MS:
            return None
        known = {
            job_type: _Head(members, count)
            for (job_type, count), members in zip(self._asked_ahead.items(), replies, strict=True)
        }
        found: dict[str, Window] = {}
        for job_type, claims in wanted.items():
            turns = self._turns[job_type]
            head = known.get(job_type)
            enough = self._shares.window(job_type, claims) + turns.undrawable
            if head is None or head.asked < enough or not head.is_full:
                return None
            if _fair_turns(turns, claims):
                return None
            found[job_type] = self._window(job_type, claims, head, ahead=True)
        return found

    def mixed(self, job_type: str) -> None:
        """A job of another priority than the plain one comes into the queue."""
        self._turns[job_type].mixed_draws = MIXED_DRAWS

    def settled(self, windows: Mapping[str, Window]) -> None:
        """The batch was committed."""
        for job_type, window in windows.items():
            turns = self._turns[job_type]
            turns.undrawable = min(window.undrawable, MAX_UNDRAWABLE)
            turns.draws += 1
            turns.mixed_draws = MIXED_DRAWS if window.mixed else max(0, turns.mixed_draws - 1)
            turns.claims = window.claims
            if window.probed and (window.took_turn or not window.fair):
                turns.score = window.fair_score


def _fair_turns(turns: _Turns, claims: int) -> int:
    """How many of the claims may be fair turns; 0 mostly where there is one priority only."""
    if turns.mixed_draws:
        return (turns.claims + claims) // FAIR_EVERY
    return 0 if turns.draws % PROBE_EVERY else 1


def _put_fair(window: Window, reply: list[bytes]) -> None:
    """The jobs of one priority: those that have the first one's score."""
    window.probed = True
    members, scores = reply[::2], reply[1::2]
    if scores:
        window.fair_score = scores[0]
        window.mixed = scores[0] not in (b"0", b"-0")
    window.fair.extend(
        job_of_member(member)
        for member, score in zip(members, scores, strict=True)
        if score == scores[0]
    )
