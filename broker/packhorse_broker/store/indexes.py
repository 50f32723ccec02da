"""Which index entries a job has: derived from its record and from nothing else.

Writing a change means taking away `entries(before)` and adding `entries(after)`; checking the
store means comparing the same function with what is there. Nothing else writes an index.
"""

from collections.abc import Iterator

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.keys import PartitionKeys, queue_member

Entry = tuple[bytes, bytes, int]
"""Key of a sorted set, member, score."""


def entries(keys: PartitionKeys, job: Job) -> list[Entry]:
    """Every entry that the indexes hold for `job`, each in a different sorted set."""
    member = job.id.encode()
    state = job.state
    if state is State.QUEUED:
        found = [(keys.queue(job.type), queue_member(job.order, job.id), 0)]
    elif state is State.STARTED:
        assert job.runner is not None
        found = [
            (keys.started(job.type), member, job.started_at),
            (keys.claims(job.runner), member, job.started_at),
        ]
    elif state is State.COMPLETE:
        found = [(keys.complete(job.type), member, job.finished_at)]
    else:
        found = [(keys.failed(job.type), member, job.finished_at)]
    for handler in job.handlers:
        found.append((keys.handlers(handler), member, job.finished_at))
    if job.expires_at:
        found.append((keys.timers, member, job.expires_at))
    return found


def removed_entries(before: list[Entry], after: list[Entry]) -> Iterator[Entry]:
    """Entries of `before` whose member is no longer in that set."""
    kept = {(key, member) for key, member, _ in after}
    return (entry for entry in before if entry[:2] not in kept)
