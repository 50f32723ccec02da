"""What each kind of request is: how its message is built, and what becomes of it in trouble.

Here those of a job's life: creating, handling, running. `kinds_by_hand.py` has those that steer
jobs and types, `kinds_to_read.py` those that only look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from packhorse.lanes import Gone, Kind, headers_bytes
from packhorse_protocol.errors import Code
from packhorse_protocol.messages import (
    Bye,
    Claim,
    ClaimJobs,
    ClaimRef,
    Complete,
    Completion,
    Create,
    Created,
    Done,
    Ended,
    Extend,
    Extended,
    Extension,
    Fail,
    Failure,
    Handle,
    Handled,
    Join,
    LogReport,
    NewJob,
    ProgressReport,
    Publish,
    Release,
    ReportProgress,
    Take,
    TypeSchema,
    WriteLog,
)

_CHARACTER_BYTES: Final = 4
"""UTF-8 has up to 4 bytes for a code point."""

NAME_BYTES: Final = 3 * 128
"""Names in an item, generously: most are ASCII and far shorter than they may be."""

TERMS_ELEMENTS: Final = 32
"""Map entries of a job's terms: backoff, timeouts, unique key, and what they are told by."""

AnyReport = TypeVar(
    "AnyReport", ProgressReport, LogReport, Completion, Failure, ClaimRef, Extension
)


class ForGroup(NamedTuple):
    """A job that a group of handlers has, or has handled."""

    job: str
    group: str


class NewForGroup(NamedTuple):
    """A job that a group is to handle, and with `handle` this client too."""

    job: NewJob
    group: str
    handle: bool


def _job_of(report: AnyReport) -> str:
    return report.job


def _job_of_item(item: ForGroup) -> str:
    return item.job


def _itself(job: str) -> str:
    return job


def _new_job_bytes(job: NewJob) -> int:
    size = NAME_BYTES + len(job.payload)
    if job.headers:
        size += headers_bytes(job.headers)
    if job.labels:
        size += sum(_CHARACTER_BYTES * len(label) + 4 for label in job.labels)
    return size


def _new_job_elements(job: NewJob) -> int:
    count = TERMS_ELEMENTS
    if job.headers:
        count += 2 * len(job.headers)
    if job.labels:
        count += len(job.labels)
    if job.backoff is not None:
        count += len(job.backoff.delays_ms)
    return count


def _failure_bytes(failure: Failure) -> int:
    error = failure.error
    characters = len(error.type) + len(error.message) + len(error.traceback)
    return _CHARACTER_BYTES * characters


def _log_bytes(report: LogReport) -> int:
    return sum(_CHARACTER_BYTES * len(message) + 8 for message in report.messages)


@dataclass(frozen=True, slots=True)
class NotMet:
    """A job was created, but what it was to have besides did not come in time."""

    created: Created


def _create(*, handle: bool) -> Kind[NewJob, Created | NotMet]:
    return Kind(
        build=lambda request_id, jobs: Create(id=request_id, jobs=jobs, handle=handle),
        subject=lambda job: job.id,
        data_bytes=_new_job_bytes,
        elements=_new_job_elements,
    )


CREATE: Final = _create(handle=False)
CREATE_AND_HANDLE: Final = _create(handle=True)
CREATE_FOR_GROUP: Final[Kind[NewForGroup, Created | NotMet]] = Kind(
    build=lambda request_id, items: Create(
        id=request_id,
        jobs=tuple(item.job for item in items),
        handle=items[0].handle,
        group=items[0].group,
    ),
    subject=lambda item: item.job.id,
    data_bytes=lambda item: _new_job_bytes(item.job),
    elements=lambda item: _new_job_elements(item.job),
    said_once=lambda item: item[1:],
)

HANDLE: Final[Kind[str, Ended]] = Kind(
    build=lambda request_id, jobs: Handle(id=request_id, jobs=jobs), subject=_itself
)
HANDLED: Final[Kind[str, Done]] = Kind(
    build=lambda request_id, jobs: Handled(id=request_id, jobs=jobs),
    subject=_itself,
    patient=True,
    # The job went, or this client's registration did: nobody waits for its answer any more.
    gone=Gone(
        result=Done(),
        codes=frozenset({Code.NOT_FOUND, Code.NOT_HANDLER}),
        only_repeated=False,
    ),
)
HANDLE_FOR_GROUP: Final[Kind[ForGroup, Ended]] = Kind(
    build=lambda request_id, items: Handle(
        id=request_id, jobs=tuple(item.job for item in items), group=items[0].group
    ),
    subject=_job_of_item,
    said_once=lambda item: item.group,
)
HANDLED_FOR_GROUP: Final[Kind[ForGroup, Done]] = Kind(
    build=lambda request_id, items: Handled(
        id=request_id, jobs=tuple(item.job for item in items), group=items[0].group
    ),
    subject=_job_of_item,
    said_once=lambda item: item.group,
    patient=True,
    gone=HANDLED.gone,
)
JOIN: Final[Kind[tuple[str, ...], Done]] = Kind(
    build=lambda request_id, groups: Join(id=request_id, groups=groups[0]),
    alone=True,
    patient=True,
)
"""All groups that this client is a member of from then on."""

TAKE: Final[Kind[tuple[Mapping[str, int], int, Mapping[str, int] | None], Done]] = Kind(
    build=lambda request_id, takes: Take(
        id=request_id, types=takes[0][0], credit=takes[0][1], weights=takes[0][2]
    ),
    alone=True,
    patient=True,
)
"""Types with their own credit, the credit in all, and the types' weights."""

CLAIM: Final[Kind[str, Claim]] = Kind(
    build=lambda request_id, jobs: ClaimJobs(id=request_id, jobs=jobs),
    subject=_itself,
    # A reply has room for at least one payload of any size, and a claim must not be made in vain.
    alone=True,
)
PROGRESS: Final[Kind[ProgressReport, Done]] = Kind(
    build=lambda request_id, reports: ReportProgress(id=request_id, reports=reports),
    subject=_job_of,
    data_bytes=lambda report: _CHARACTER_BYTES * len(report.text),
    patient=True,
)
LOG: Final[Kind[LogReport, Done]] = Kind(
    build=lambda request_id, reports: WriteLog(id=request_id, reports=reports),
    subject=_job_of,
    data_bytes=_log_bytes,
    elements=lambda report: len(report.messages),
    patient=True,
)
COMPLETE: Final[Kind[Completion, Ended]] = Kind(
    build=lambda request_id, jobs: Complete(id=request_id, jobs=jobs),
    subject=_job_of,
    data_bytes=lambda completion: len(completion.result),
    patient=True,
    gone=Gone(result=Ended(state="COMPLETE")),
)
FAIL: Final[Kind[Failure, Ended]] = Kind(
    build=lambda request_id, jobs: Fail(id=request_id, jobs=jobs),
    subject=_job_of,
    data_bytes=_failure_bytes,
    patient=True,
    gone=Gone(result=Ended(state="FAILED")),
)
RELEASE: Final[Kind[ClaimRef, Ended]] = Kind(
    build=lambda request_id, claims: Release(id=request_id, claims=claims),
    subject=_job_of,
    patient=True,
    gone=Gone(result=Ended(state="QUEUED")),
)

EXTEND: Final[Kind[Extension, Extended]] = Kind(
    build=lambda request_id, claims: Extend(id=request_id, claims=claims),
    subject=_job_of,
    patient=True,
)

PUBLISH: Final[Kind[TypeSchema, Done]] = Kind(
    build=lambda request_id, schemas: Publish(id=request_id, schemas=schemas),
    data_bytes=lambda published: NAME_BYTES + len(published.schema),
)
BYE: Final[Kind[None, Done]] = Kind(build=lambda request_id, _: Bye(id=request_id), alone=True)
