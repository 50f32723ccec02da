"""What each kind of request is: how its message is built, and what becomes of it in trouble."""

from collections.abc import Mapping
from typing import Final, TypeVar

from packhorse.lanes import Gone, Kind, headers_bytes
from packhorse_protocol.errors import Code
from packhorse_protocol.messages import (
    BrokerInfo,
    Bye,
    Claim,
    ClaimJobs,
    ClaimRef,
    Complete,
    Completion,
    CountJobs,
    Counts,
    Create,
    Created,
    Done,
    Ended,
    Fail,
    Failure,
    Get,
    Handle,
    Handled,
    Info,
    JobView,
    LogPage,
    LogReport,
    NewJob,
    ProgressReport,
    ReadLog,
    Release,
    Remove,
    ReportProgress,
    Take,
    Unwatch,
    Watch,
    Watched,
    WriteLog,
)

_CHARACTER_BYTES: Final = 4
"""UTF-8 has up to 4 bytes for a code point."""

NAME_BYTES: Final = 3 * 128
"""Names in an item, generously: most are ASCII and far shorter than they may be."""

AnyReport = TypeVar("AnyReport", ProgressReport, LogReport, Completion, Failure, ClaimRef)


def _job_of(report: AnyReport) -> str:
    return report.job


def _itself(job: str) -> str:
    return job


def _new_job_bytes(job: NewJob) -> int:
    return NAME_BYTES + len(job.payload) + headers_bytes(job.headers)


def _failure_bytes(failure: Failure) -> int:
    error = failure.error
    characters = len(error.type) + len(error.message) + len(error.traceback)
    return _CHARACTER_BYTES * characters


def _log_bytes(report: LogReport) -> int:
    return sum(_CHARACTER_BYTES * len(message) + 8 for message in report.messages)


def _create(*, handle: bool) -> Kind[NewJob, Created]:
    return Kind(
        build=lambda request_id, jobs: Create(id=request_id, jobs=jobs, handle=handle),
        subject=lambda job: job.id,
        data_bytes=_new_job_bytes,
        elements=lambda job: 2 * len(job.headers or ()),
    )


CREATE: Final = _create(handle=False)
CREATE_AND_HANDLE: Final = _create(handle=True)

GET: Final[Kind[str, JobView]] = Kind(
    build=lambda request_id, jobs: Get(id=request_id, jobs=jobs), subject=_itself
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
REMOVE: Final[Kind[str, Done]] = Kind(
    build=lambda request_id, jobs: Remove(id=request_id, jobs=jobs),
    subject=_itself,
    gone=Gone(result=Done()),
)

TAKE: Final[Kind[tuple[Mapping[str, int], int], Done]] = Kind(
    build=lambda request_id, takes: Take(id=request_id, types=takes[0][0], credit=takes[0][1]),
    alone=True,
    patient=True,
)
"""Types with their own credit, and the credit in all."""

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

WATCH: Final[Kind[str, Watched]] = Kind(
    build=lambda request_id, jobs: Watch(id=request_id, jobs=jobs), subject=_itself
)
UNWATCH: Final[Kind[str, Done]] = Kind(
    build=lambda request_id, jobs: Unwatch(id=request_id, jobs=jobs), subject=_itself
)
READ_LOG: Final[Kind[tuple[str, int, int], LogPage]] = Kind(
    build=lambda request_id, reads: ReadLog(
        id=request_id, job=reads[0][0], offset=reads[0][1], limit=reads[0][2]
    ),
    subject=lambda read: read[0],
    alone=True,
)
"""Job, first offset wanted, most entries wanted."""

COUNTS: Final[Kind[tuple[str, ...], Counts]] = Kind(
    build=lambda request_id, types: CountJobs(id=request_id, types=types[0]), alone=True
)
INFO: Final[Kind[None, BrokerInfo]] = Kind(
    build=lambda request_id, _: Info(id=request_id), alone=True
)
BYE: Final[Kind[None, Done]] = Kind(build=lambda request_id, _: Bye(id=request_id), alone=True)
