"""One group's members at this broker, what they have not answered, and what others bring."""

from collections.abc import Collection, Mapping
from typing import Final

from packhorse_broker.jobs.model import Job
from packhorse_broker.sessions import Session
from packhorse_broker.views import outcome_view

MEMBER_WINDOW: Final = 100
"""Outcomes of a group sent to one member and not answered yet."""

GROUP_WINDOW: Final = 5_000
"""The same of all its members here: so many index entries are read to find what is new."""


class GroupMembers:
    """Who is there, whose turn it is, and which outcomes are under way."""

    def __init__(self) -> None:
        self.members: dict[Session, int] = {}
        """How many outcomes each has not answered; whose turn it is comes first."""
        self.sent: dict[str, tuple[int, Session]] = {}
        """By job: when it finished, for an id may be used again, and who got it."""
        self.elsewhere: dict[str, tuple[int, str]] = {}
        """By job: when it finished, and the broker that brings it."""
        self.fresh: dict[str, Job] = {}
        """Jobs that ended here just now, for which there is room."""
        self.behind = False
        """Whether the store may hold outcomes that were not sent."""
        self.serving = False
        """Whether somebody is at it."""
        self.said = False
        """Whether other brokers were told that there is no room, since there was some."""
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

    def has_room(self) -> bool:
        """For one more, and what ended just now not counted member by member."""
        return len(self.fresh) < GROUP_WINDOW and self.next_member() is not None

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
        self.elsewhere.pop(job_id, None)
        sent = self.sent.pop(job_id, None)
        if sent is not None and sent[1] in self.members:
            self.members[sent[1]] -= 1

    def is_new(self, job_id: str, finished_at: int) -> bool:
        """Whether nobody is known to be at it."""
        if job_id in self.handled:
            return False
        under_way = self.sent.get(job_id) or self.elsewhere.get(job_id)
        return under_way is None or under_way[0] != finished_at

    def under_way(self) -> dict[str, int]:
        """Outcomes that need not be brought, with when their jobs finished."""
        return {
            job_id: finished_at
            for known in (self.sent, self.elsewhere)
            for job_id, (finished_at, _) in known.items()
        }

    def answered_elsewhere(
        self, under_way: Mapping[str, int], owed: Mapping[str, int], limit: int
    ) -> list[str]:
        """What was under way before the first `limit` outcomes that the group is owed were read,
        and is owed no more: all that is as old as one of those has been read."""
        whole = len(owed) < limit
        newest = max(owed.values(), default=0)
        return [
            job_id
            for job_id, finished_at in under_way.items()
            if job_id not in owed and (whole or finished_at < newest)
        ]

    def brought_by(self, brokers: Collection[str]) -> list[str]:
        """Outcomes that these brokers bring."""
        return [job_id for job_id, (_, broker) in self.elsewhere.items() if broker in brokers]
