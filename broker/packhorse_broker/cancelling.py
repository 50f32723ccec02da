"""What a runner is told of a job that is to be cancelled, or is no longer its own.

A request to cancel is in the job's record; what is pushed says how much of its grace time is
left. It is pushed when the request is committed, and again whenever the runner is told what it
holds.
"""

from packhorse_broker.jobs.model import CancelRequest, End, Job, State
from packhorse_broker.jobs.outages import NO_OUTAGES, KnownOutages, put_off
from packhorse_broker.store.changes import Change, RevokeReason
from packhorse_protocol.messages import Cancellation


def cancel_request(job: Job) -> CancelRequest | None:
    """What the job's runner has to be told; None where nothing was asked, or nobody runs it."""
    if job.course is None or job.state is not State.STARTED:
        return None
    return job.course.cancel


def newly_requested(change: Change) -> bool:
    """Whether the change put a cancel request into the record of a running job, or an earlier end
    of its grace time."""
    if change.removed:
        return False
    request = cancel_request(change.job)
    if request is None:
        return False
    before = change.before
    known = before is not None and not change.renewed and before.token == change.job.token
    return not (known and before is not None and cancel_request(before) == request)


def cancellation(
    job: Job, request: CancelRequest, now_ms: int, outages: KnownOutages = NO_OUTAGES
) -> Cancellation:
    """Of a job that is STARTED."""
    until = put_off(request.until, request.at, outages.at(now_ms))
    assert job.token is not None
    return Cancellation(
        job=job.id,
        token=job.token,
        grace_ms=max(0, until - now_ms),
        why=request.why,
    )


def revoke_reason(job: Job | None) -> RevokeReason:
    """Why a claim is over, as far as the job's record still tells; None: it is gone."""
    if job is None:
        return "removed"
    if job.end is End.TIMED_OUT:
        return "timeout"
    return "cancelled" if job.end is End.CANCELLED else "taken_back"
