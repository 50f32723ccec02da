"""Which waiting jobs a batch of claims may take: the heads of the queues that are drawn from.

A queue is sorted by falling priority and, within one, by the order of arrival. So that a stream
of urgent jobs starves nobody, one of every FAIR_EVERY claims of a type goes to another priority:
in turn to the next lower one that has jobs waiting, and from the lowest back to the top. With n
priorities waiting each gets at least one of FAIR_EVERY x (n + 1) claims, its oldest first.

Of a long queue of one priority, from which no other broker claims, more is read than one batch
takes: the next ones, which come soon, need not ask. Each record is watched and read all the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from packhorse_broker.jobs.model import Job, State
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

READ_ON: Final = 3
"""So many times as many entries as a batch takes are read for those that come after it."""

MAX_READ_ON: Final = 200
"""Past that an exchange more or less costs little beside the jobs."""

READ_ON_MS: Final = 20
"""How long they may be taken for the head of the queue: another broker may create what is to come
before them."""


class _Rest:
    """The head of a queue as it was read, less what has been drawn since."""

    __slots__ = ("jobs", "read_ms")

    def __init__(self, jobs: deque[str], read_ms: int) -> None:
        self.jobs = jobs
        self.read_ms = read_ms


class _Turns:
    """How far the fair turns of a type have come."""

    __slots__ = ("claims", "draws", "long", "mixed_draws", "rest", "score", "undrawable")

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
        self.long = False
        """Whether the queue held more than the last draw took."""
        self.rest: _Rest | None = None


class Window:
    """The head of a queue, as far as a batch wants it, and what its fair turns may take."""

    def __init__(
        self, candidates: deque[str], fair: deque[str], *, full: bool, left: bool, claims: int
    ) -> None:
        self.candidates = candidates
        self.fair = fair
        self.full = full
        """Whether the queue may hold more."""
        self.left = left
        """Whether jobs were left to other brokers."""
        self.claims = claims
        """Claims since the last fair turn."""
        self.rest: _Rest | None = None
        """What was read beyond the candidates."""
        self.undrawable = 0
        """Candidates that were passed over though nobody in this batch took them."""
        self.mixed = False
        """Whether a job of another priority than the plain one was seen."""
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


class Candidates:
    """`asking` before a batch of draws, `windows` with the store's answers, `settled` after it."""

    def __init__(
        self, keys: PartitionKeys, shares: Shares, in_use: Callable[[str], bool] = lambda _: True
    ) -> None:
        """`in_use`: whether anybody takes a type; others are forgotten, if there are many."""
        self._keys = keys
        self._shares = shares
        self._turns = TypeNotes(_Turns, in_use)
        self._asked: dict[str, tuple[int, int]] = {}
        """How many entries were asked for, and for fair turns: who else claims may be another one
        by the answer."""
        self._queued_again: set[str] = set()
        """Types of which the batch queues jobs that are not new."""

    def asking(self, wanted: Mapping[str, int]) -> list[bytes]:
        """The commands for so many candidates of each type."""
        commands: list[bytes] = []
        self._asked.clear()
        for job_type, claims in wanted.items():
            turns = self._turns[job_type]
            fair = _fair_turns(turns, claims)
            if self._serves(job_type, turns, claims, fair):
                continue
            turns.rest = None
            key = self._keys.queue(job_type)
            count = self._shares.window(job_type, claims) + turns.undrawable
            if turns.long and self._reads_on(job_type, turns, fair):
                count += min(READ_ON * claims, MAX_READ_ON)
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
            turns = self._turns[job_type]
            if turns.rest is not None:
                found[job_type] = _of_rest(turns.rest, claims, turns.claims)
                continue
            members = next(answers)
            own, left = self._shares.own(job_type, members)
            count, fair = self._asked[job_type]
            depth = claims + turns.undrawable
            window = Window(
                deque(own[:depth]),
                deque(),
                full=bool(own) and (len(members) == count or len(own) > depth),
                left=left,
                claims=turns.claims,
            )
            if len(own) > depth and self._reads_on(job_type, turns, fair):
                window.rest = _Rest(deque(own[depth:]), self._shares.now_ms())
            if fair:
                _put_fair(window, next(answers))
            found[job_type] = window
        return found

    def _serves(self, job_type: str, turns: _Turns, claims: int, fair: int) -> bool:
        """Whether what was read before is enough for so many claims."""
        rest = turns.rest
        return (
            rest is not None
            and len(rest.jobs) >= claims
            and rest.read_ms + READ_ON_MS >= self._shares.now_ms()
            and self._reads_on(job_type, turns, fair)
        )

    def _reads_on(self, job_type: str, turns: _Turns, fair: int) -> bool:
        """Whether the entries of the queue are claimed in their order, and by this broker alone."""
        return not (fair or turns.mixed_draws or turns.undrawable) and self._shares.alone(job_type)

    def changed(self, before: Job | None, job: Job) -> None:
        """The batch that was decided changes a job."""
        if job.terms is not None and job.terms.priority:
            self._turns[job.type].mixed_draws = MIXED_DRAWS
        if before is not None and job.state is State.QUEUED and job.type in self._turns:
            # Perhaps at a former place, and what was read of the queue lacks it.
            self._turns[job.type].rest = None
            self._queued_again.add(job.type)

    def forget_rests(self) -> None:
        """What was read of the queues is not what is there."""
        for turns in self._turns.values():
            turns.rest = None

    def settled(self, windows: Mapping[str, Window]) -> None:
        """The batch was committed."""
        for job_type, window in windows.items():
            turns = self._turns[job_type]
            turns.undrawable = min(window.undrawable, MAX_UNDRAWABLE)
            turns.draws += 1
            turns.mixed_draws = MIXED_DRAWS if window.mixed else max(0, turns.mixed_draws - 1)
            turns.claims = window.claims
            turns.long = window.more
            turns.rest = None if job_type in self._queued_again else _left_of(window)
            if window.probed and (window.took_turn or not window.fair):
                turns.score = window.fair_score
        self._queued_again.clear()


def _of_rest(rest: _Rest, claims: int, claims_before: int) -> Window:
    jobs = deque(rest.jobs)
    candidates = deque(jobs.popleft() for _ in range(claims))
    window = Window(candidates, deque(), full=True, left=False, claims=claims_before)
    window.rest = _Rest(jobs, rest.read_ms)
    return window


def _left_of(window: Window) -> _Rest | None:
    """What the next draw may begin with."""
    rest = window.rest
    if rest is None or window.undrawable or window.mixed:
        return None
    rest.jobs.extendleft(reversed(window.candidates))
    return rest


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
