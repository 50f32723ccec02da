"""Deals the free places of runners out among types that may have jobs waiting.

Each runner's places go by its turns (see `turns.py`), the runners take them one after the other.
A type that is being drawn from has its turns as well: such a place is kept free until it is
known what the draw brings, or one with a lesser share would take it meanwhile.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from packhorse_broker.sessions import Session

MAX_DEALT: Final = 2_000
"""Places that one runner is dealt at once; those of a larger credit follow with the next deal."""


class Deal:
    """`to` runners, once: it reserves the places, and finds them by type in `places`."""

    def __init__(
        self,
        takers: Mapping[str, Mapping[Session, None]],
        most: Mapping[str, int],
        drawing: Collection[str],
        more_types: int,
    ) -> None:
        """`most`: places of each type that waits, whose turn it is first; `drawing`: those that
        are drawn from; `more_types`: so many more may be."""
        self._takers = takers
        self._left = dict(most)
        self._drawing = drawing
        self._more_types = more_types
        self._dealt: dict[str, dict[Session, int]] = {}

    def places(self) -> dict[str, list[Session]]:
        """Deals; the places of each type that got any, in turn over its runners."""
        hands = list(self._hands())
        while hands:
            hands = [hand for hand in hands if hand.next_place(self)]
        return {
            job_type: _in_turn(self._takers[job_type], dealt)
            for job_type, dealt in self._dealt.items()
        }

    def _hands(self) -> Iterable["_Hand"]:
        wanting: dict[Session, list[str]] = {}
        for job_type in self._left:
            for session in self._takers[job_type]:
                if session.room_for(job_type):
                    wanting.setdefault(session, []).append(job_type)
        for session, types in wanting.items():
            drawn = (job_type for job_type in self._drawing if session.room_for(job_type))
            yield _Hand(session, [*types, *drawn], len(types))

    def give(self, job_type: str, session: Session) -> bool:
        """Whether the place is drawn for now; else it is kept free, like all more of the type."""
        if not self._left.get(job_type):
            return False
        if job_type not in self._dealt:
            if not self._more_types:
                self._left[job_type] = 0
                return False
            self._more_types -= 1
            self._dealt[job_type] = {}
        self._left[job_type] -= 1
        dealt = self._dealt[job_type]
        dealt[session] = dealt.get(session, 0) + 1
        session.reserve(job_type)
        return True


class _Hand:
    """One runner's free places, and the types that want them."""

    def __init__(self, session: Session, types: list[str], waiting: int) -> None:
        """`types`: whose turn it is first among equals; the first `waiting` can be drawn from."""
        self._session = session
        self._free = min(session.free, MAX_DEALT)
        self._room = {job_type: session.room_for(job_type) for job_type in types}
        self._open = set(types[:waiting])
        turns = session.turns
        if len(session.takes) > 1:
            turns.level(types)
        self._turns = [
            (turns.standing(job_type, session.reserved(job_type)), place, job_type)
            for place, job_type in enumerate(types)
        ]
        heapq.heapify(self._turns)

    def next_place(self, deal: Deal) -> bool:
        """Gives out the next place that is drawn for; False: there is none."""
        while self._free and self._open:
            job_type = self._turns[0][2]
            self._free -= 1
            self._pass_on()
            if deal.give(job_type, self._session):
                return True
            self._open.discard(job_type)
        return False

    def _pass_on(self) -> None:
        """The type whose turn it was has had a place."""
        standing, place, job_type = self._turns[0]
        self._room[job_type] -= 1
        if self._room[job_type]:
            step = self._session.turns.step(job_type)
            heapq.heapreplace(self._turns, (standing + step, place, job_type))
        else:
            heapq.heappop(self._turns)
            self._open.discard(job_type)


def _in_turn(takers: Mapping[Session, None], dealt: dict[Session, int]) -> list[Session]:
    """One place for each runner, and again, until all are listed."""
    places: list[Session] = []
    runners = [session for session in takers if session in dealt]
    round_ = 0
    while runners:
        places += runners
        round_ += 1
        runners = [session for session in runners if dealt[session] > round_]
    return places
