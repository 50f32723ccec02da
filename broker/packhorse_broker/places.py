"""How many places the runners have free for each type, kept as sums.

With thousands of runners that take a hundred types each, adding up all of them takes the loop for
a tenth of a second. So what a runner adds is worked out again only when it has changed.
"""

from collections.abc import Mapping
from typing import Final

from packhorse_broker.sessions import Session

_UNSEEN: Final = -1
"""Before it was looked at, and while it can't be sent claims."""


class Places:
    """`add` a runner that takes something, `drop` it before what it takes changes; `free` tells."""

    def __init__(self) -> None:
        self._shares: dict[Session, tuple[int, Mapping[str, int]]] = {}
        """What each runner has in the sums, and how far it had moved then."""
        self._sums: dict[str, int] = {}

    def add(self, session: Session) -> None:
        self._shares[session] = (_UNSEEN, {})

    def drop(self, session: Session) -> None:
        known = self._shares.pop(session, None)
        if known is not None:
            self._change(known[1], {})

    def free(self) -> Mapping[str, int]:
        """By type, the free places of all runners now; types without any are not in it."""
        changed = [
            session
            for session, (moves, _) in self._shares.items()
            if moves != (session.moves if session.listens else _UNSEEN)
        ]
        for session in changed:
            rooms = session.rooms()
            self._change(self._shares[session][1], rooms)
            self._shares[session] = (session.moves if session.listens else _UNSEEN, rooms)
        return self._sums

    def _change(self, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        sums = self._sums
        for job_type, room in after.items():
            more = room - before.get(job_type, 0)
            if more:
                sums[job_type] = sums.get(job_type, 0) + more
        for job_type, room in before.items():
            if job_type not in after and room:
                sums[job_type] -= room
            if not sums.get(job_type, 0):
                sums.pop(job_type, None)
