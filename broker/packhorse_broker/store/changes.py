"""What one transaction does to each job, gathered from the decisions of a batch."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from packhorse_broker.jobs.model import (
    ActionRecord,
    Applied,
    AttemptRecord,
    End,
    Job,
    LogEntry,
    State,
)

QUEUED, STARTED = State.QUEUED, State.STARTED
"""Looked up once: every change needs them."""

RevokeReason: TypeAlias = Literal["removed", "taken_back", "timeout", "cancelled"]

_REVOKING: Final[dict[End, RevokeReason]] = {
    End.LOST: "taken_back",
    End.TAKEN_BACK: "taken_back",
    End.TIMED_OUT: "timeout",
    End.CANCELLED: "cancelled",
}
"""Ends of a claim that its runner did not bring about and has to be told of."""


class EndedClaim(Struct, frozen=True, gc=False):
    """A claim that is over; `revoked` where its runner did not end it and has to be told why."""

    runner: str
    token: bytes
    revoked: RevokeReason | None


class Change(Struct, gc=False):
    """All that one transaction does to one job.

    `job` is the record afterwards, or the last one if `removed`; `before` the one in the store.
    """

    before: Job | None
    job: Job
    removed: bool = False
    log: tuple[LogEntry, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    actions: tuple[ActionRecord, ...] = ()
    ended_claims: tuple[EndedClaim, ...] = ()
    renewed: bool = False
    """Whether `before` was removed and `job` is another one under its id."""
    gone: "tuple[Change, ...]" = ()
    """Of a renewed one, what became of each job that had the id before and was removed."""

    @classmethod
    def of(cls, decision: Applied) -> "Change":
        """The change that a job's first decision in a batch makes."""
        before, attempt, action = decision.before, decision.attempt, decision.action
        return cls(
            before,
            decision.job,
            decision.removed,
            decision.entries,
            () if attempt is None else (attempt,),
            () if action is None else (action,),
            () if before is None or before.state is not STARTED else _ended(before, decision),
        )

    def follow(self, decision: Applied) -> None:
        """Takes in the job's next decision in the same batch."""
        if decision.before is None:
            self._renew()
        self._take(decision)

    def _renew(self) -> None:
        """The job that was removed gives its id to another one."""
        before = None if self.renewed else self.before
        ended = self._claims_of_this
        self.gone += (Change(before, self.job, True, self.log, self.attempts, (), ended),)
        self.renewed = True
        self.log = ()
        self.attempts = ()

    @property
    def _claims_of_this(self) -> tuple[EndedClaim, ...]:
        """Ended claims of `job` without those of its predecessors."""
        return self.ended_claims[sum(len(former.ended_claims) for former in self.gone) :]

    def parts(self) -> "tuple[Change, ...]":
        """The same for each job by itself, those that were removed first."""
        if not self.renewed:
            return (self,)
        ended = self._claims_of_this
        last = Change(None, self.job, self.removed, self.log, self.attempts, self.actions, ended)
        return *self.gone, last

    def _take(self, decision: Applied) -> None:
        before = decision.before
        if before is not None and before.state is STARTED:
            self.ended_claims += _ended(before, decision)
        self.job = decision.job
        self.removed = decision.removed
        if decision.entries:
            self.log += decision.entries
        if decision.attempt is not None:
            self.attempts += (decision.attempt,)
        if decision.action is not None:
            self.actions += (decision.action,)

    @property
    def finished(self) -> bool:
        """Whether this change ended the job."""
        before = None if self.renewed else self.before
        return self.job.state.finished and (before is None or not before.state.finished)

    @property
    def queued(self) -> bool:
        """Whether the job became claimable."""
        job, before = self.job, None if self.renewed else self.before
        return (
            not self.removed
            and job.state is QUEUED
            and (before is None or before.state is not QUEUED or before.fence != job.fence)
        )


def _ended(before: Job, decision: Applied) -> tuple[EndedClaim, ...]:
    """The claim on a STARTED job, if the decision ends it."""
    job = decision.job
    started = job.state is STARTED
    if started and not decision.removed:
        return ()
    assert before.runner is not None
    assert before.token is not None
    reason = "removed" if started else _REVOKING.get(job.end)
    return (EndedClaim(before.runner, before.token, reason),)


def told_of(changes: Sequence[Change]) -> Sequence[Change]:
    """What is told of these: whoever waits for a job that was removed must learn of that, although
    another one has its id already."""
    if not any(change.renewed for change in changes):
        return changes
    return [part for change in changes for part in change.parts()]
