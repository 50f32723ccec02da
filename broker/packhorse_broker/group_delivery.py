"""Brings outcomes to groups of handlers, each to one connected member, until one says `handled`.

The groups that still have to handle a job stand in its record, so an outcome waits for as long
as nobody of the group is there. A member gets what is its turn, within a window of outcomes that
it has not answered; what it leaves unanswered goes to another member. Each broker serves its own
members. The one at which a job ends delivers at once if it has any, and else tells the others;
what they were not told they find when the first member joins, and by looking now and then. So an
outcome may come twice, at two brokers, but never not at all.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.jobs.model import Job
from packhorse_broker.sessions import Session
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Found, Reader
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.views import outcome_view

_log = structlog.get_logger(__name__)

MEMBER_WINDOW: Final = 100
"""Outcomes of a group sent to one member and not answered yet."""

GROUP_WINDOW: Final = 5_000
"""The same of all its members here: so many index entries are read to find what is new."""

PAGE: Final = 100
"""Outcomes looked up in the store at once."""

LARGE_PAGE: Final = 4
"""Outcomes kept apart from their records, each perhaps a megabyte, that are read at once."""

PATIENCE_MS: Final = 15_000
"""What is owed for so long and was not sent from here is sent, though another broker may be at
it: longer than two looks are apart, and than a handler mostly takes."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class _Group:
    """One group's members at this broker, and what they have not answered."""

    def __init__(self) -> None:
        self.members: dict[Session, int] = {}
        """How many outcomes each has not answered; whose turn it is comes first."""
        self.sent: dict[str, tuple[int, Session]] = {}
        """By job: when it finished, for an id may be used again, and who got it."""
        self.behind = False
        """Whether the store may hold outcomes that were not sent."""
        self.reading = False
        self.handled: set[str] = set()
        """Jobs answered since a page was read: what was read of those is older than that."""

    def room(self) -> int:
        """How many more outcomes can be sent."""
        rooms = (
            MEMBER_WINDOW - unanswered
            for member, unanswered in self.members.items()
            if member.outlet.has_room()
        )
        return min(sum(rooms), GROUP_WINDOW - len(self.sent))

    def next_member(self) -> Session | None:
        """The one whose turn it is, of those that have room."""
        if len(self.sent) >= GROUP_WINDOW:
            return None
        for member, unanswered in self.members.items():
            if unanswered < MEMBER_WINDOW and member.outlet.has_room():
                return member
        return None

    def send(self, job: Job, member: Session, name: str) -> None:
        """Raises CorruptRecord."""
        outcome = outcome_view(job, name)
        self.answered(job.id)
        self.sent[job.id] = (job.finished_at, member)
        self.members[member] = self.members.pop(member) + 1
        member.push_outcome(outcome)

    def answered(self, job_id: str) -> None:
        sent = self.sent.pop(job_id, None)
        if sent is not None and sent[1] in self.members:
            self.members[sent[1]] -= 1

    def is_new(self, job_id: str, finished_at: int) -> bool:
        sent = self.sent.get(job_id)
        return job_id not in self.handled and (sent is None or sent[0] != finished_at)


class GroupDelivery:
    """`join` and `leave` for members, `changed` after each commit, `handled` when one answers."""

    def __init__(self, reader: Reader, clock: StoreClock, spawn: Spawn) -> None:
        self._reader = reader
        self._clock = clock
        self._spawn = spawn
        self._groups: dict[str, _Group] = {}

    # -- members

    def join(self, session: Session, groups: Sequence[str]) -> None:
        """Replaces the groups that a client is a member of."""
        if session.closed:
            return
        former, session.groups = session.groups, tuple(dict.fromkeys(groups))
        for name in former:
            if name not in session.groups:
                self._remove(session, name)
        for name in session.groups:
            group = self._groups.setdefault(name, _Group())
            if not group.members:
                group.behind = True
            group.members.setdefault(session, 0)
            if group.behind:
                self.catch_up(name)

    def leave(self, session: Session) -> set[str]:
        """The connection is over. Groups of which it was the last member here, and to which
        something is owed that it did not answer."""
        former, session.groups = session.groups, ()
        return {name for name in former if self._remove(session, name)}

    def _remove(self, session: Session, name: str) -> bool:
        """What the member did not answer goes to another one; whether there is none."""
        group = self._groups[name]
        del group.members[session]
        unanswered = [job for job, (_, member) in group.sent.items() if member is session]
        for job in unanswered:
            del group.sent[job]
        if group.members:
            if unanswered:
                self.catch_up(name)
            return False
        del self._groups[name]
        return bool(unanswered or group.behind)

    def has_members(self, name: str) -> bool:
        return name in self._groups

    # -- outcomes

    def changed(self, change: Change) -> None:
        """A job ended, or a finished one got another group as its handler."""
        known = () if change.finished or change.before is None else change.before.groups
        for name in change.job.groups:
            group = self._groups.get(name)
            if group is not None and name not in known:
                self._offer(name, group, change.job)

    def _offer(self, name: str, group: _Group, job: Job) -> None:
        if not group.is_new(job.id, job.finished_at):
            return
        member = None if job.outcome_apart else group.next_member()
        if member is None:
            self.catch_up(name)
        else:
            group.send(job, member, name)

    def handled(self, name: str, jobs: Sequence[str]) -> None:
        """These were dealt with by a member: there is room for others."""
        group = self._groups.get(name)
        if group is None:
            return
        for job_id in jobs:
            group.answered(job_id)
        if group.reading:
            group.handled.update(jobs)
        if group.behind and min(group.members.values()) <= MEMBER_WINDOW // 2:
            self.catch_up(name)

    def writable(self, session: Session) -> None:
        """The client reads again: what was held back for it can go on."""
        for name in session.groups:
            if self._groups[name].behind:
                self.catch_up(name)

    def catch_up(self, name: str) -> None:
        """Reads what the group is owed and sends it, as far as there is room."""
        group = self._groups.get(name)
        if group is None:
            return
        group.behind = True
        if not group.reading:
            group.reading = True
            self._spawn(self._catch_up(name, group))

    def look(self) -> None:
        """Looks for what other brokers did not see to, or what could not be read before."""
        for name, group in self._groups.items():
            self._spawn(self._look(name, group))

    async def _look(self, name: str, group: _Group) -> None:
        overdue_ms = self._clock.now_ms() - PATIENCE_MS
        try:
            owed = await self._reader.owed_to_group(name, len(group.sent) + 1)
        except StoreUnavailable as error:
            _log.warning("delivery.waits", group=name, error=str(error))
        else:
            self._forget_gone(name, group, owed)
            overdue = any(at <= overdue_ms and group.is_new(job, at) for job, at in owed.items())
            if group.behind or overdue:
                self.catch_up(name)

    def _forget_gone(self, name: str, group: _Group, owed: Mapping[str, int]) -> None:
        """What was sent and is owed no more, because it was answered for or removed at another
        broker, takes up no room. All that is owed and as old as what was sent has been read."""
        newest = max(owed.values(), default=0)
        whole = len(owed) <= len(group.sent)
        gone = [
            job_id
            for job_id, (finished_at, _) in group.sent.items()
            if job_id not in owed and (whole or finished_at < newest)
        ]
        if gone:
            self.handled(name, gone)

    async def _catch_up(self, name: str, group: _Group) -> None:
        try:
            while group.behind and group.members:
                room = group.room()
                if room <= 0:
                    return
                group.behind = False
                group.handled.clear()
                most = len(group.sent) + PAGE + 1
                owed = await self._reader.owed_to_group(name, most)
                new = [job_id for job_id, at in owed.items() if group.is_new(job_id, at)]
                page = new[: min(room, PAGE)]
                if len(new) > len(page) or len(owed) == most:
                    group.behind = True
                if not page:
                    return
                await self._send_page(name, group, page)
        except StoreUnavailable as error:
            group.behind = True
            _log.warning("delivery.waits", group=name, error=str(error))
        finally:
            group.reading = False
            group.handled.clear()

    async def _send_page(self, name: str, group: _Group, page: Sequence[str]) -> None:
        """Small outcomes at once, large ones as far as members read meanwhile."""
        large: list[str] = []
        for job in await self._reader.records(page):
            if isinstance(job, Job) and job.outcome_apart:
                large.append(job.id)
            else:
                self._send_new(name, group, job)
        for start in range(0, len(large), LARGE_PAGE):
            if group.next_member() is None:
                group.behind = True
                return
            for job in await self._reader.jobs(large[start : start + LARGE_PAGE]):
                self._send_new(name, group, job)

    @staticmethod
    def _send_new(name: str, group: _Group, job: Found) -> None:
        if not isinstance(job, Job) or not job.state.finished or name not in job.groups:
            return
        if not group.is_new(job.id, job.finished_at):
            return
        member = group.next_member()
        if member is None:
            group.behind = True
            return
        try:
            group.send(job, member, name)
        except CorruptRecord as error:
            _log.error("store.corrupt_record", job=job.id, group=name, error=str(error))
