"""Brings outcomes to groups of handlers, each to one connected member, until one says `handled`.

The groups that still have to handle a job stand in its record, so an outcome waits for as long
as nobody of the group is there. Before a broker brings one to a member it takes it, so that no
other broker does (store/assignments.py), and no more than its members have room for. What a
member leaves unanswered is given back, and goes to another one, here or at another broker; what a
broker had taken that runs no more is taken over. A broker at which a job ends tells the others
where it has no room itself; what they were not told they find by looking now and then.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import structlog

from packhorse_broker.group_members import MEMBER_WINDOW, GroupMembers
from packhorse_broker.jobs.model import Job
from packhorse_broker.sessions import Session
from packhorse_broker.store.assignments_at_home import Assigning
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Found
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import CorruptRecord

_log = structlog.get_logger(__name__)

PAGE: Final = 100
"""Outcomes looked up in the store at once."""

LARGE_PAGE: Final = 4
"""Outcomes kept apart from their records, each perhaps a megabyte, that are read at once."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class GroupDelivery:
    """`join` and `leave` for members, `changed` after each commit, `handled` when one answers."""

    def __init__(
        self,
        reader: Reading,
        assignments: Assigning,
        spawn: Spawn,
        *,
        say_owed: Callable[[str], None],
        say_given_back: Callable[[str], None],
    ) -> None:
        """`say_owed` tells other brokers that a group is owed more than its members here have
        room for, `say_given_back` that they may take what this one had."""
        self._reader = reader
        self._assignments = assignments
        self._spawn = spawn
        self._say_owed = say_owed
        self._say_given_back = say_given_back
        self._groups: dict[str, GroupMembers] = {}
        self._returning: dict[str, set[str]] = {}
        """What was left unanswered and could not be given back yet, by group."""

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
            group = self._groups.setdefault(name, GroupMembers())
            if not group.members:
                group.behind = True
            group.members.setdefault(session, 0)
            if group.behind:
                self.catch_up(name)

    def leave(self, session: Session) -> None:
        """The connection is over."""
        former, session.groups = session.groups, ()
        for name in former:
            self._remove(session, name)

    def _remove(self, session: Session, name: str) -> None:
        """What the member did not answer goes to another one."""
        group = self._groups[name]
        del group.members[session]
        unanswered = {job for job, (_, member) in group.sent.items() if member is session}
        for job in unanswered:
            del group.sent[job]
        if unanswered:
            group.behind = True
            self._returning.setdefault(name, set()).update(unanswered)
        if not group.members:
            del self._groups[name]
        if unanswered:
            self._spawn(self._give_back(name))
        elif not group.members and (group.behind or group.fresh):
            self._say_owed(name)

    def has_room(self, name: str) -> bool:
        """Whether a member here can take what ends now, unless much does at once."""
        group = self._groups.get(name)
        return group is not None and not group.behind and group.has_room()

    # -- outcomes

    def changed(self, change: Change) -> None:
        """A job ended, or a finished one got another group as its handler."""
        known = () if change.finished or change.before is None else change.before.groups
        for name in change.job.groups:
            group = self._groups.get(name)
            if group is not None and name not in known:
                self._offer(name, group, change.job)

    def _offer(self, name: str, group: GroupMembers, job: Job) -> None:
        if not group.is_new(job.id, job.finished_at):
            return
        if group.behind or job.outcome_apart or not group.has_room():
            group.behind = True
        else:
            group.fresh[job.id] = job
        self._serve_soon(name, group)

    def handled(self, name: str, jobs: Iterable[str]) -> None:
        """These were dealt with by a member, or are gone: there is room for others."""
        group = self._groups.get(name)
        if group is None:
            return
        for job_id in jobs:
            group.answered(job_id)
            if group.serving:
                group.handled.add(job_id)
        if group.behind and min(group.members.values()) <= MEMBER_WINDOW // 2:
            self.catch_up(name)

    def writable(self, session: Session) -> None:
        """The client reads again: what was held back for it can go on."""
        for name in session.groups:
            if self._groups[name].behind:
                self.catch_up(name)

    # -- other brokers

    def given_back(self, name: str, broker: str) -> None:
        """Another broker gave back outcomes of a group that it had taken."""
        group = self._groups.get(name)
        if group is not None:
            for job_id in group.brought_by((broker,)):
                del group.elsewhere[job_id]
            self.catch_up(name)

    def running(self, brokers: Collection[str]) -> None:
        """Which brokers run: what others had taken is to be brought by these."""
        for name, group in self._groups.items():
            gone = {broker for _, broker in group.elsewhere.values()}.difference(brokers)
            if gone:
                self._spawn(self._take_over(name, group, gone))

    def look(self) -> None:
        """Looks for what other brokers did not see to, or what could not be done before."""
        for name in list(self._returning):
            self._spawn(self._give_back(name))
        for name, group in self._groups.items():
            self._spawn(self._look(name, group))

    # -- serving

    def catch_up(self, name: str) -> None:
        """Reads what the group is owed and sends it, as far as there is room."""
        group = self._groups.get(name)
        if group is not None:
            group.behind = True
            self._serve_soon(name, group)

    def _serve_soon(self, name: str, group: GroupMembers) -> None:
        if not group.serving:
            group.serving = True
            self._spawn(self._serve(name, group))

    async def _serve(self, name: str, group: GroupMembers) -> None:
        try:
            while group.members and (group.fresh or group.behind):
                room = group.room()
                if room <= 0:
                    self._wait_for_room(name, group)
                    return
                group.said = False
                group.handled.clear()
                if group.fresh:
                    fresh = [group.fresh.pop(job) for job in list(group.fresh)[: min(room, PAGE)]]
                    known = {job.id: job for job in fresh}
                    page = {job.id: job.finished_at for job in fresh}
                else:
                    known = {}
                    page = await self._next_page(name, group, min(room, PAGE))
                await self._bring(name, group, page, known)
        except StoreUnavailable as error:
            group.behind = True
            _log.warning("delivery.waits", group=name, error=str(error))
        finally:
            if group.fresh:
                group.fresh.clear()
                group.behind = True
            group.serving = False
            group.handled.clear()

    def _wait_for_room(self, name: str, group: GroupMembers) -> None:
        """Said once: brokers without room would go on telling each other."""
        group.behind = True
        if not group.said:
            group.said = True
            self._say_owed(name)

    async def _next_page(self, name: str, group: GroupMembers, room: int) -> dict[str, int]:
        """Outcomes owed that nobody is known to be at, with when their jobs finished."""
        group.behind = False
        under_way = group.under_way()
        most = len(under_way) + PAGE + 1
        owed = await self._reader.owed_to_group(name, most)
        for job_id in group.answered_elsewhere(under_way, owed, most):
            group.answered(job_id)
        new = [job_id for job_id, at in owed.items() if self._is_new(name, group, job_id, at)]
        if len(new) > room or len(owed) == most:
            group.behind = True
        return {job_id: owed[job_id] for job_id in new[:room]}

    def _is_new(self, name: str, group: GroupMembers, job_id: str, finished_at: int) -> bool:
        return group.is_new(job_id, finished_at) and job_id not in self._returning.get(name, ())

    async def _bring(
        self, name: str, group: GroupMembers, page: Mapping[str, int], known: Mapping[str, Job]
    ) -> None:
        """Takes these outcomes, and sends those that no other broker has."""
        wanted = [job for job, at in page.items() if self._is_new(name, group, job, at)]
        if not wanted:
            return
        owners = await self._assignments.take(name, wanted)
        ours = [job for job, owner in owners.items() if owner == self._assignments.broker]
        for job, owner in owners.items():
            if owner != self._assignments.broker:
                group.elsewhere[job] = (page[job], owner)
        unsent = set(ours)
        try:
            await self._send(name, group, ours, known, unsent)
        finally:
            if unsent:
                group.behind = True
                self._returning.setdefault(name, set()).update(unsent)
                self._spawn(self._give_back(name))

    async def _send(
        self,
        name: str,
        group: GroupMembers,
        ours: Sequence[str],
        known: Mapping[str, Job],
        unsent: set[str],
    ) -> None:
        """Small outcomes at once, large ones as far as members read meanwhile. Leaves in `unsent`
        what there was no room for."""
        large: list[str] = []
        unknown = [job for job in ours if job not in known]
        for job_id, job in chain(
            known.items(), zip(unknown, await self._reader.records(unknown), strict=True)
        ):
            if isinstance(job, Job) and job.outcome_apart:
                large.append(job_id)
            elif job_id in unsent:
                self._send_new(name, group, job_id, job, unsent)
        for start in range(0, len(large), LARGE_PAGE):
            if group.next_member() is None:
                return
            page = large[start : start + LARGE_PAGE]
            for job_id, job in zip(page, await self._reader.jobs(page), strict=True):
                self._send_new(name, group, job_id, job, unsent)

    @staticmethod
    def _send_new(
        name: str, group: GroupMembers, job_id: str, job: Found, unsent: set[str]
    ) -> None:
        """What can't be read stays taken: no other broker could bring it either."""
        if (
            not isinstance(job, Job)
            or not job.state.finished
            or name not in job.groups
            or not group.is_new(job_id, job.finished_at)
        ):
            unsent.discard(job_id)
            return
        member = group.next_member()
        if member is None:
            return
        unsent.discard(job_id)
        try:
            group.send(job, member, name)
        except CorruptRecord as error:
            _log.error("store.corrupt_record", job=job_id, group=name, error=str(error))

    # -- giving back and taking over

    async def _give_back(self, name: str) -> None:
        """What is being given back is not taken anew before it was."""
        jobs = tuple(self._returning.get(name, ()))
        if not jobs:
            return
        try:
            await self._assignments.give_back(name, jobs)
        except StoreUnavailable as error:
            _log.warning("delivery.waits", group=name, error=str(error))
            return
        returning = self._returning.get(name, set())
        returning.difference_update(jobs)
        if not returning:
            self._returning.pop(name, None)
        self._say_given_back(name)
        self.catch_up(name)

    async def _take_over(self, name: str, group: GroupMembers, gone: Collection[str]) -> None:
        jobs = group.brought_by(gone)
        try:
            for start in range(0, len(jobs), PAGE):
                await self._assignments.take_over(name, jobs[start : start + PAGE], gone)
        except StoreUnavailable as error:
            _log.warning("delivery.waits", group=name, error=str(error))
            return
        for job in jobs:
            group.elsewhere.pop(job, None)
        self.catch_up(name)

    async def _look(self, name: str, group: GroupMembers) -> None:
        under_way = group.under_way()
        most = len(under_way) + 1
        try:
            owed = await self._reader.owed_to_group(name, most)
        except StoreUnavailable as error:
            _log.warning("delivery.waits", group=name, error=str(error))
            return
        self.handled(name, group.answered_elsewhere(under_way, owed, most))
        if group.behind or any(self._is_new(name, group, *one) for one in owed.items()):
            self.catch_up(name)
