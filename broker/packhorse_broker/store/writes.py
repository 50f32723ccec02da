"""From changes to the store's commands, many jobs in few commands.

Every key that one batch writes is collected first, so that a hundred jobs cost one MSET, one
ZADD for each index and one DEL, whatever they were changed by.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from packhorse_broker.jobs.model import ActionRecord, Job, LogEntry
from packhorse_broker.jobs.terms import Scope, Unique
from packhorse_broker.store.changes import Change
from packhorse_broker.store.indexes import Entry, entries, removed_entries, unique_holder
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Arg, Argument
from packhorse_broker.store.records import (
    INLINE_BYTES,
    encode_action,
    encode_attempt,
    encode_entry,
    encode_job,
    size_bytes,
)

ATTEMPTS_KEPT: Final = 50
"""Records of ended attempts kept for one job; the oldest are dropped."""

ACTIONS_KEPT: Final = 10_000
"""Actions by hand that are remembered; the oldest are dropped."""


class Writes:
    """Collects what a batch of changes writes; `commands` gives it in an order that may be sent."""

    def __init__(self, keys: PartitionKeys, known_types: set[str]) -> None:
        self._keys = keys
        self._known_types = known_types
        self._set: list[Arg] = []
        self._delete: list[Arg] = []
        self._add: dict[bytes, list[Arg]] = {}
        self._remove: dict[bytes, list[Arg]] = {}
        self._grown_bytes: dict[str, int] = {}
        self._lists: list[Argument] = []
        self._windows: list[Argument] = []
        self._returned: dict[bytes, list[Arg]] = {}
        self._actions: list[ActionRecord] = []
        self.new_types: set[str] = set()

    def add(self, change: Change) -> None:
        """Takes in one job's change; a job at most once."""
        if change.actions:
            self._actions += change.actions
        before = change.before
        if before is None:
            if change.removed:
                return
            self._put_in(change)
        elif change.removed:
            self._take_out(change, before)
        else:
            self._alter(change, before)
        if change.job.terms is not None or (before is not None and before.terms is not None):
            self._write_unique(change)

    def _put_in(self, change: Change) -> None:
        job = change.job
        self._enter(entries(self._keys, job))
        self._write(job, None, change)
        self._grow(job.type, size_bytes(job))

    def _alter(self, change: Change, before: Job) -> None:
        job = change.job
        had, has = entries(self._keys, before), entries(self._keys, job)
        if had != has:
            self._enter([entry for entry in has if entry not in had])
            self._leave(removed_entries(had, has))
        if change.renewed:
            self._delete_parts(before)
        self._write(job, None if change.renewed else before, change)
        if (
            job.outcome is not before.outcome
            or job.body is not before.body
            or job.outcome_bytes != before.outcome_bytes
        ):
            self._grow(before.type, -size_bytes(before))
            self._grow(job.type, size_bytes(job))
        if before.course is not None and before.state.finished:
            self._return_outcomes(before, None if change.renewed else job)

    def _take_out(self, change: Change, before: Job) -> None:
        self._leave(entries(self._keys, before))
        self._delete.append(self._keys.record(change.job.id))
        self._delete_parts(before)
        self._grow(before.type, -size_bytes(before))
        if before.course is not None and before.state.finished:
            self._return_outcomes(before, None)

    def _enter(self, found: Iterable[Entry]) -> None:
        for key, member, score in found:
            wanted = self._add.get(key)
            if wanted is None:
                self._add[key] = [score, member]
            else:
                wanted += (score, member)

    def _leave(self, found: Iterable[Entry]) -> None:
        for key, member, _ in found:
            wanted = self._remove.get(key)
            if wanted is None:
                self._remove[key] = [member]
            else:
                wanted.append(member)

    def _write(self, job: Job, before: Job | None, change: Change) -> None:
        keys = self._keys
        self._set.append(keys.record(job.id))
        self._set.append(encode_job(job))
        body, outcome = job.body, job.outcome
        if body is not None and (before is None or body is not before.body):
            if len(body) > INLINE_BYTES:
                self._set.extend((keys.body(job.id), body))
            elif before is not None and before.body is None:
                self._delete.append(keys.body(job.id))
        if before is None and job.type not in self._known_types:
            self.new_types.add(job.type)
        if outcome is not None and len(outcome) > INLINE_BYTES:
            self._set.extend((keys.outcome(job.id), outcome))
        elif before is not None and before.outcome_bytes and not job.outcome_apart:
            self._delete.append(keys.outcome(job.id))
        if change.log:
            self._write_log(job, before, change.log)
        if change.attempts:
            kept = change.attempts[-ATTEMPTS_KEPT:]
            self._lists.append(("RPUSH", keys.attempts(job.id), *map(encode_attempt, kept)))
            self._lists.append(("LTRIM", keys.attempts(job.id), -ATTEMPTS_KEPT, -1))

    def _write_log(self, job: Job, before: Job | None, log: Sequence[LogEntry]) -> None:
        key = self._keys.log(job.id)
        self._lists.append(("RPUSH", key, *map(encode_entry, log)))
        first = before.log_first if before is not None else 0
        if job.log_first > first:
            self._lists.append(("LTRIM", key, job.log_first - first, -1))

    def _delete_parts(self, before: Job) -> None:
        """What the store keeps of a job beside its record."""
        keys = self._keys
        if before.body is None:
            self._delete.append(keys.body(before.id))
        if before.outcome_apart:
            self._delete.append(keys.outcome(before.id))
        if before.log_end:
            self._delete.append(keys.log(before.id))
        if before.attempt_records:
            self._delete.append(keys.attempts(before.id))

    def _grow(self, job_type: str, by_bytes: int) -> None:
        """Written for every type of which a job has grown or shrunk, even if the sum has not: so
        whoever watches it sees that something moved."""
        if by_bytes:
            self._grown_bytes[job_type] = self._grown_bytes.get(job_type, 0) + by_bytes

    def _write_unique(self, change: Change) -> None:
        """The key that names the holder goes with the job's hold on it. One that is held for a
        window is let go by the store, whatever becomes of the job."""
        keys, job, before = self._keys, change.job, change.before
        had = unique_holder(keys, before) if before is not None else None
        has = unique_holder(keys, job) if not change.removed else None
        if had != has:
            if had is not None:
                self._delete.append(had)
            if has is not None:
                self._set.extend((has, job.id))
        unique = _window_of(job)
        if unique is not None and (before is None or change.renewed or _window_of(before) is None):
            key = keys.unique(job.type, unique.key)
            self._windows.append(("SET", key, job.id, "PX", unique.window_ms))

    def _return_outcomes(self, before: Job, job: Job | None) -> None:
        """No broker brings an outcome any more to a group that is not owed it."""
        owed = job is not None and job.finished_at == before.finished_at
        for group in before.groups:
            if not owed or (job is not None and group not in job.groups):
                self._returned.setdefault(self._keys.taken(group), []).append(before.id)

    def commands(self) -> list[Argument]:
        keys = self._keys
        found: list[Argument] = []
        if self._delete:
            found.append(("DEL", *self._delete))
        if self._set:
            found.append(("MSET", *self._set))
        found.extend(("ZREM", key, *members) for key, members in self._remove.items())
        found.extend(("ZADD", key, *members) for key, members in self._add.items())
        found.extend(
            ("HINCRBY", keys.bytes, job_type, grown)
            for job_type, grown in self._grown_bytes.items()
        )
        found.extend(self._lists)
        found.extend(self._windows)
        found.extend(("HDEL", key, *jobs) for key, jobs in self._returned.items())
        if self.new_types:
            found.append(("SADD", keys.types, *sorted(self.new_types)))
        if self._actions:
            found.append(("RPUSH", keys.actions, *map(encode_action, self._actions)))
            found.append(("LTRIM", keys.actions, -ACTIONS_KEPT, -1))
        return found


def _window_of(job: Job) -> Unique | None:
    unique = job.terms.unique if job.terms is not None else None
    return unique if unique is not None and unique.scope is Scope.WINDOW else None
