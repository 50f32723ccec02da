"""From decided changes to the store's commands, many jobs in few commands.

Every key that one batch writes is collected first, so that a hundred jobs cost one MSET, one
ZADD for each index and one DEL, whatever they were changed by.
"""

from msgspec import Struct

from packhorse_broker.jobs.model import End, Job, LogEntry, State
from packhorse_broker.store.indexes import entries, removed_entries
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import Arg, Argument
from packhorse_broker.store.records import apart, encode_entry, encode_job


class Change(Struct):
    """All that one transaction does to one job.

    `job` is the record afterwards, or the last one if `removed`; `before` the one in the store.
    """

    before: Job | None
    job: Job
    removed: bool
    log: list[LogEntry]
    renewed: bool = False
    """Whether `before` was removed and `job` is another one under its id."""

    @property
    def ended_claim(self) -> tuple[str, bytes] | None:
        """Runner and token of the claim that the job had and has no more."""
        before, job = self.before, self.job
        if self.removed and job.state is State.STARTED:
            held = job
        elif (
            before is not None
            and before.state is State.STARTED
            and (self.removed or job.state is not State.STARTED or job.token != before.token)
        ):
            held = before
        else:
            return None
        assert held.runner is not None
        assert held.token is not None
        return held.runner, held.token

    @property
    def revoked(self) -> bool:
        """Whether the ended claim was not ended by its runner: it has to be told."""
        job = self.job
        by_hand = (self.removed and job.state is State.STARTED) or self.renewed
        return by_hand or job.end is End.LOST or job.end is End.TAKEN_BACK

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
            and job.state is State.QUEUED
            and (before is None or before.state is not State.QUEUED or before.fence != job.fence)
        )


class Writes:
    """Collects what a batch of changes writes; `commands` gives it in an order that may be sent."""

    def __init__(self, keys: PartitionKeys, known_types: set[str]) -> None:
        self._keys = keys
        self._known_types = known_types
        self._set: list[Arg] = []
        self._delete: list[Arg] = []
        self._add: dict[bytes, list[Arg]] = {}
        self._remove: dict[bytes, list[Arg]] = {}
        self._logs: list[Argument] = []
        self.new_types: set[str] = set()

    def add(self, change: Change) -> None:
        """Takes in one job's change; a job at most once."""
        keys, job, before = self._keys, change.job, change.before
        if before is None and change.removed:
            return
        had = entries(keys, before) if before is not None else []
        has = entries(keys, job) if not change.removed else []
        known = set(had)
        for key, member, score in has:
            if (key, member, score) not in known:
                self._add.setdefault(key, []).extend((score, member))
        for key, member, _ in removed_entries(had, has):
            self._remove.setdefault(key, []).append(member)
        if change.removed:
            self._delete.append(keys.record(job.id))
        if before is not None and (change.removed or change.renewed):
            self._delete_parts(before)
        if not change.removed:
            self._write(job, None if change.renewed else before, change.log)

    def _write(self, job: Job, before: Job | None, log: list[LogEntry]) -> None:
        keys = self._keys
        self._set.append(keys.record(job.id))
        self._set.append(encode_job(job))
        if before is None:
            if apart(job.body):
                assert job.body is not None
                self._set.extend((keys.body(job.id), job.body))
            if job.type not in self._known_types:
                self.new_types.add(job.type)
        if apart(job.outcome):
            assert job.outcome is not None
            self._set.extend((keys.outcome(job.id), job.outcome))
        if log:
            self._logs.append(("RPUSH", keys.log(job.id), *map(encode_entry, log)))
            first = before.log_first if before is not None else 0
            if job.log_first > first:
                self._logs.append(("LTRIM", keys.log(job.id), job.log_first - first, -1))

    def _delete_parts(self, before: Job) -> None:
        """What the store keeps of a job beside its record."""
        keys = self._keys
        if before.body is None:
            self._delete.append(keys.body(before.id))
        if before.outcome_apart:
            self._delete.append(keys.outcome(before.id))
        if before.log_end:
            self._delete.append(keys.log(before.id))

    def commands(self) -> list[Argument]:
        found: list[Argument] = []
        if self._delete:
            found.append(("DEL", *self._delete))
        if self._set:
            found.append(("MSET", *self._set))
        found.extend(("ZREM", key, *members) for key, members in self._remove.items())
        found.extend(("ZADD", key, *members) for key, members in self._add.items())
        found.extend(self._logs)
        if self.new_types:
            found.append(("SADD", self._keys.types, *sorted(self.new_types)))
        return found
