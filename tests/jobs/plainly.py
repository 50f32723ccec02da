"""Records of the state machine in the terms of `model.py`, so that the two can be compared."""

from typing import Any, Final

from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    ActionRecord,
    AttemptRecord,
    Job,
    LogEntry,
    LogTail,
)
from packhorse_broker.jobs.terms import PLAIN_TERMS
from tests.jobs.ledger import Plain

FIELDS: Final = (
    "id",
    "type",
    "version",
    "attempts",
    "current_attempt",
    "persistent",
    "runner",
    "token",
    "fence",
    "key",
    "created_by",
    "created_at",
    "queued_at",
    "started_at",
    "finished_at",
    "expires_at",
    "failed",
    "lost",
    "released",
    "log_first",
    "log_end",
    "fingerprint",
    "body",
    "outcome",
)
"""Fields that are the same word and the same value in a record and in the model."""

OF_COURSE: Final = (
    "delayed_until",
    "run_until",
    "total_until",
    "timed_out",
    "pardoned",
    "retried",
)
"""The same of a record's course."""


def plain(job: Job, log: list[LogEntry]) -> Plain:
    """A record and its log in the model's terms; a place in the queue is compared elsewhere."""
    course, tail = job.course or PLAIN_COURSE, job.log_tail or LogTail()
    told: Plain = {name: getattr(job, name) for name in FIELDS}
    told |= {name: getattr(course, name) for name in OF_COURSE}
    told["state"] = job.state.name
    told["reason"] = job.reason.name if job.reason is not None else None
    told["end"] = job.end.name
    told["expired"] = course.expired.name
    told["handlers"] = list(job.handlers)
    told["groups"] = list(course.groups)
    told["terms"] = job.terms or PLAIN_TERMS
    told["progress"] = (job.progress.percent, job.progress.text) if job.progress else None
    cancel = course.cancel
    told["cancel"] = (cancel.by, cancel.at, cancel.until, cancel.why) if cancel else None
    made = course.replaced_by
    told["replaced_by"] = (made.id, made.fingerprint) if made else None
    told["log_bytes"] = (tail.size_bytes, tail.dropped_bytes)
    told["log"] = [
        (e.offset, e.time_ms, e.attempt, e.type, e.message, e.percent, e.by) for e in log
    ]
    return told


def plain_attempt(record: AttemptRecord) -> tuple[Any, ...]:
    """The record of an attempt in the model's terms."""
    return (
        record.attempt,
        record.runner,
        record.started_at,
        record.finished_at,
        record.end.name,
        record.expired.name,
        record.error,
        record.next_at,
    )


def plain_action(record: ActionRecord) -> tuple[Any, ...]:
    """The record of something done by hand in the model's terms."""
    return record.at, record.action, record.by, record.why, record.job, record.type
