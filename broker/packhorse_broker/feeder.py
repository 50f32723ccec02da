"""Pairs runners that have room with jobs that wait: claims by credit.

For each type at most one draw is under way. It carries one claim for each free place, in turn
over the runners, and what it brings is pushed. A queue is drawn from again while it may hold
more, and whenever something says that it might. A type that is paused gives out nothing, and
says that there is no more: it waits like an empty one. While nothing waits in a queue, what is
created is claimed in the same transaction (`coming`).

Among the types of one runner the free places are shared by weight (the rule is in `turns.py`).
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.contents import pack_error
from packhorse_broker.dealing import Deal
from packhorse_broker.jobs.commands import Claim, Fail, TakeBack
from packhorse_broker.jobs.model import Applied
from packhorse_broker.outages import Outages
from packhorse_broker.places import Places
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.shares import OWNER_MS
from packhorse_broker.store.work import Draw, Result, Submission, Work
from packhorse_broker.views import claim_view
from packhorse_protocol.messages import Error

_log = structlog.get_logger(__name__)

MAX_DRAW: Final = 500
"""Claims in one draw: half a batch, so that what runners report is never crowded out."""

FIRST_DRAW: Final = 32
"""Claims in the first draw of a queue of which nothing is known."""

MAX_DRAWING: Final = 16
"""Types that are drawn from at once; the others have their turn after them."""

EMPTY_DRAWS: Final = 3
"""Draws in a row that got nothing though the queue was not empty (other brokers were quicker),
after which the type waits for the next sign of work."""

NONCE_BYTES: Final = 8

_BODY_MISSING: Final = Error(type="BodyMissing", message="the store has lost the payload")


class Feeder:
    """`offer` when a runner may have room, `queued` when a type may have jobs."""

    def __init__(
        self,
        sessions: Sessions,
        submit: Callable[[Work], None],
        clock: StoreClock,
        outages: Outages,
        *,
        one_queue: bool,
    ) -> None:
        """`one_queue`: each type has one queue, in one partition."""
        self._one_queue = one_queue
        self._sessions = sessions
        self._submit = submit
        self._clock = clock
        self._outages = outages
        self._takers: dict[str, dict[Session, None]] = {}
        self._several: set[Session] = set()
        """Runners that take several types, among which they share their places."""
        self._may_wait: dict[str, int] = {}
        """Types whose queue may hold jobs, and how many draws in a row brought none. A type that
        was drawn from goes to the end."""
        self._free = Places()
        self._drawing: set[str] = set()
        self._signalled: dict[str, int] = {}
        """How many jobs of a type were queued since it was last drawn from."""
        self._appetite: dict[str, int] = {}
        """Types whose draws came back full, and how large the next one is."""
        self._claimed: set[str] = set()
        """Types of which jobs were claimed since somebody asked."""
        self._left: set[str] = set()
        """Types of which others had jobs left to them, that are to be looked at again."""
        self._pump_due = False
        self.paused = False
        """Set while the broker drains: no further claims."""

    def take(
        self,
        session: Session,
        types: dict[str, int],
        credit: int,
        weights: Mapping[str, int] | None = None,
    ) -> None:
        """Replaces what the runner takes; `weights` as in `turns.py`."""
        self.leave(session)
        session.takes = types
        session.credit = credit
        session.turns.weigh(types, weights or {})
        if types:
            self._free.add(session)
        if len(types) > 1:
            self._several.add(session)
        for job_type, most in types.items():
            if most:
                self._takers.setdefault(job_type, {})[session] = None
                self.queued(job_type)

    def leave(self, session: Session) -> None:
        """The runner takes nothing more."""
        for job_type in session.takes:
            takers = self._takers.get(job_type, {})
            takers.pop(session, None)
            if not takers:
                for known in (self._takers, self._may_wait, self._signalled, self._appetite):
                    known.pop(job_type, None)
        session.takes = {}
        self._free.drop(session)
        self._several.discard(session)

    def offer(self, session: Session) -> None:
        """The runner may have room."""
        if session.takes:
            self._pump_soon()

    def offer_at_once(self, session: Session) -> None:
        """The same, before what was submitted last is committed: a draw goes with it."""
        if session.takes and self._may_wait and not self.paused:
            self._pump()

    def queued(self, job_type: str, jobs: int = 0) -> None:
        """Jobs of this type may wait; `jobs`: so many were queued just now."""
        if job_type in self._takers:
            self._signalled[job_type] = self._signalled.get(job_type, 0) + jobs
            self._may_wait[job_type] = 0
            self._pump_soon()

    def coming(self, job_type: str, jobs: int) -> None:
        """So many jobs are created by what was submitted last: as far as runners have places,
        and nothing is known to wait that is older, they are claimed in the same transaction."""
        takers = self._takers.get(job_type)
        if not takers or self.paused or not self._one_queue:
            return
        if job_type in self._drawing or job_type in self._may_wait:
            return
        if self._several and (self._may_wait or self._drawing):
            return  # It is for the turns to say whose places these are.
        places = self._places(job_type, min(jobs, MAX_DRAW))
        if places:

            def drawn(claimed: list[Applied], _: bool) -> None:
                self._drawn(job_type, places, claimed)
                if self._may_wait:
                    self._pump_soon()

            self._submit(Draw(job_type, self._claims(job_type, places), drawn, of_created=True))

    def takes(self, job_type: str) -> bool:
        """Whether a runner here takes it."""
        return job_type in self._takers

    def thought_empty(self) -> list[str]:
        """Types that are taken here and that are not drawn from because nobody said that there
        are jobs. None while it is paused."""
        if self.paused:
            return []
        known = self._may_wait.keys() | self._drawing
        return [job_type for job_type in self._takers if job_type not in known]

    def claimed(self) -> set[str]:
        """Types of which jobs were claimed here since it was asked last."""
        claimed, self._claimed = self._claimed, set()
        return claimed

    def left(self, job_type: str) -> None:
        """Jobs were left to other brokers: they may be slow to claim them."""
        if job_type not in self._left:
            self._left.add(job_type)
            asyncio.get_running_loop().call_later(OWNER_MS / 1000, self._look_again, job_type)

    def _look_again(self, job_type: str) -> None:
        self._left.discard(job_type)
        self.queued(job_type)

    def has_places(self, job_type: str, jobs: int) -> bool:
        """Whether runners here have places for so many jobs that are queued now."""
        waiting = self._signalled.get(job_type, 0)
        return not self.paused and self._free.free().get(job_type, 0) >= waiting + jobs

    def queued_all(self) -> None:
        """Jobs of any type may wait: something may have been missed."""
        for job_type in self._takers:
            self.queued(job_type)

    def taken(self) -> dict[str, tuple[int, int]]:
        """By type: how many runners here take it, and the places that they have free for it."""
        free = self._free.free()
        return {
            job_type: (len(takers), free.get(job_type, 0))
            for job_type, takers in self._takers.items()
            if takers
        }

    def _pump_soon(self) -> None:
        if not self._pump_due and not self.paused:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self.paused:
            return
        waiting = [name for name in self._may_wait if name not in self._drawing]
        if self._several:
            self._draw_shared(waiting)
            return
        for job_type in waiting:
            if len(self._drawing) >= MAX_DRAWING:
                return
            places = self._places(job_type, self._most(job_type))
            if places:
                self._draw(job_type, places)

    def _draw_on(self, *, at_once: bool) -> None:
        """After a draw. `at_once`: so that the next one goes with what waits for the next batch;
        not where types share places, all of which are to be heard of before. A draw that brought
        nothing was perhaps refused as it was submitted."""
        if at_once and not self._several:
            self._pump()
        else:
            self._pump_soon()

    def _draw_shared(self, waiting: list[str]) -> None:
        more_types = MAX_DRAWING - len(self._drawing)
        if waiting and more_types > 0:
            most = {job_type: self._most(job_type) for job_type in waiting}
            deal = Deal(self._takers, most, self._drawing, more_types)
            for job_type, places in deal.places().items():
                self._draw(job_type, places)

    def _most(self, job_type: str) -> int:
        """How many claims the next draw may have."""
        signalled = self._signalled.get(job_type, 0)
        return min(max(signalled, self._appetite.get(job_type, FIRST_DRAW)), MAX_DRAW)

    def _places(self, job_type: str, most: int) -> list[Session]:
        """Free places for a type of which nobody else has the turn, reserved, in turn over its
        runners."""
        room = {
            session: room
            for session in self._takers.get(job_type, {})
            if (room := session.room_for(job_type))
        }
        places: list[Session] = []
        while room and len(places) < most:
            if len(room) == 1:
                [(session, left)] = room.items()
                places += [session] * min(left, most - len(places))
                break
            places += room
            room = {session: left - 1 for session, left in room.items() if left > 1}
        for session, claims in Counter(places).items():
            session.reserve(job_type, claims)
        return places

    def _draw(self, job_type: str, places: list[Session]) -> None:
        empty_draws = self._may_wait.pop(job_type)
        self._drawing.add(job_type)
        self._signalled.pop(job_type, None)

        def drawn(claimed: list[Applied], may_hold_more: bool) -> None:
            self._drawing.discard(job_type)
            self._drawn(job_type, places, claimed)
            if job_type in self._takers:
                self._learn(job_type, len(claimed), len(places))
                if may_hold_more and (claimed or empty_draws < EMPTY_DRAWS):
                    self._may_wait.setdefault(job_type, 0 if claimed else empty_draws + 1)
            if self._may_wait:
                self._draw_on(at_once=bool(claimed))

        self._submit(Draw(job_type, self._claims(job_type, places), drawn))

    def _claims(self, job_type: str, places: Sequence[Session]) -> list[Claim]:
        """A claim for each place. Another runner comes first next time."""
        takers = self._takers[job_type]
        takers[places[0]] = takers.pop(places[0])
        nonces = os.urandom(NONCE_BYTES * len(places))
        return [
            Claim(session.client, nonces[NONCE_BYTES * i : NONCE_BYTES * (i + 1)])
            for i, session in enumerate(places)
        ]

    def _drawn(self, job_type: str, places: list[Session], claimed: list[Applied]) -> None:
        declined = None
        for session, reserved in Counter(places).items():
            session.reserve(job_type, -reserved)
            if claimed and not (session.takes.get(job_type) and session.credit):
                declined = (declined or set()) | {session}
        if self._several:
            _count_turns(job_type, places, claimed)
        if claimed:
            self._claimed.add(job_type)
        self._give(claimed if declined is None else self._without(declined, claimed))

    def _without(self, declined: set[Session], claimed: list[Applied]) -> list[Applied]:
        """Claims whose runners were told meanwhile that they get none of the type go back; the
        others are returned. One that was lost, or came back, has its own rule."""
        kept = []
        for applied in claimed:
            session = self._sessions.get(applied.job.runner or "")
            if session in declined:
                self.take_back(applied)
            else:
                kept.append(applied)
        return kept

    def _learn(self, job_type: str, got: int, asked: int) -> None:
        """A draw that came back full is followed by one twice as large."""
        if got < asked:
            self._appetite.pop(job_type, None)
        else:
            self._appetite[job_type] = min(2 * asked, MAX_DRAW)

    def give(self, applied: Applied) -> None:
        """Pushes a granted claim to its runner's newest connection.

        Where there is none any more, or it came back without the role, the claim goes back:
        nobody has seen it, so no attempt is spent and no timeout need be waited for.
        """
        self._give([applied])

    def _give(self, claimed: Sequence[Applied]) -> None:
        now_ms, outages = self._clock.now_ms(), self._outages.known
        for applied in claimed:
            job = applied.job
            assert job.runner is not None
            assert job.token is not None
            session = self._sessions.get(job.runner)
            if session is None or "run" not in session.roles:
                self.take_back(applied)
            elif session.hold(job.id, job.type, job.token):
                if job.body is None:
                    _log.error("store.body_missing", job=job.id)
                    self.give_up(session, job.id, job.token, _BODY_MISSING)
                else:
                    session.push_claim(claim_view(job, now_ms, outages))

    def take_back(self, applied: Applied) -> None:
        """Ends a claim that could not be brought to its runner. Should the runner have learnt of
        it in the meantime (it came back and was told what it holds), it is told that it is over."""
        job = applied.job
        assert job.runner is not None
        assert job.token is not None
        self._submit(Submission([(job.id, TakeBack(job.runner, job.token))], _ignored))

    def give_up(self, session: Session, job_id: str, token: bytes, why: Error) -> None:
        """A claimed job that no runner can be given can't run: it fails and says why."""
        command = Fail(session.client, token, pack_error(why), retry=False)
        self._submit(Submission([(job_id, command)], _ignored))


def _count_turns(job_type: str, places: Sequence[Session], claimed: Sequence[Applied]) -> None:
    runners = {session.client: session for session in places}
    for applied in claimed:
        if applied.job.runner is not None:
            runners[applied.job.runner].turns.served(job_type)


def _ignored(_: list[Result], __: bool) -> None:
    """A claim that can't be given back ends with its client's timeout."""
