"""Which index entries a job has: derived from its record and from nothing else.

Writing a change means taking away `entries(before)` and adding `entries(after)`; checking the
store means comparing the same function with what is there. Nothing else writes an index.
"""

from packhorse_broker.jobs.deadlines import due_at, holds_unique_key
from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.keys import PartitionKeys, queue_member

Entry = tuple[bytes, bytes, int]
"""Key of a sorted set, member, score."""


QUEUED, STARTED, COMPLETE, PENDING = State.QUEUED, State.STARTED, State.COMPLETE, State.PENDING
"""Looked up once: every change of every job needs them."""


def entries(keys: PartitionKeys, job: Job) -> list[Entry]:
    """Every entry that the indexes hold for `job`, each in a different sorted set.

    Of an unfinished job the first one is that by which it is found to be moved on.
    """
    member = job.id.encode()
    state = job.state
    terms = job.terms
    if state is QUEUED:
        score = -terms.priority if terms is not None else 0
        found = [(keys.queue(job.type), queue_member(job.order, job.id), score)]
    elif state is STARTED:
        assert job.runner is not None
        found = [
            (keys.claims(job.runner), member, job.started_at),
            (keys.started(job.type), member, job.started_at),
        ]
    elif state is COMPLETE:
        found = [(keys.complete(job.type), member, job.finished_at)]
    elif state is PENDING:
        found = [
            (keys.pending, member, job.delayed_until),
            (keys.delayed(job.type), member, job.delayed_until),
        ]
    else:
        found = [(keys.failed(job.type), member, job.finished_at)]
    if job.handlers:
        found += [(keys.handlers(handler), member, job.finished_at) for handler in job.handlers]
    if terms is not None or job.course is not None or job.expires_at:
        _add_uncommon(keys, job, member, found)
    return found


def mover(keys: PartitionKeys, job: Job) -> Entry | None:
    """The one entry by which an unfinished job is found to be moved on; None once it has ended.

    PENDING: it comes to be queued. QUEUED: it comes to be claimed. STARTED: its runner ends it,
    or is given up.
    """
    return None if job.state.finished else entries(keys, job)[0]


def _add_uncommon(keys: PartitionKeys, job: Job, member: bytes, found: list[Entry]) -> None:
    """What plain jobs have not, so that they do not pay for it."""
    found += [(keys.group(group), member, job.finished_at) for group in job.groups]
    if job.terms is not None:
        found += [(keys.label(label), member, job.created_at) for label in job.terms.labels]
    due = due_at(job)
    if due:
        found.append((keys.timers, member, due))


def unique_holder(keys: PartitionKeys, job: Job) -> bytes | None:
    """The key that names `job` as the holder of its unique key; None if it holds none by itself."""
    if not holds_unique_key(job):
        return None
    assert job.terms is not None
    assert job.terms.unique is not None
    return keys.unique(job.type, job.terms.unique.key)


def removed_entries(before: list[Entry], after: list[Entry]) -> list[Entry]:
    """Entries of `before` whose member is no longer in that set."""
    kept = {key: member for key, member, _ in after}
    return [entry for entry in before if kept.get(entry[0]) != entry[1]]
