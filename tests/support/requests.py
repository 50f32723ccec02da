"""Requests that many tests make: jobs by name, and the ends of claims."""

from collections.abc import Callable, Iterable
from typing import Any

from packhorse_protocol.messages import (
    Claim,
    ClaimRef,
    Complete,
    Completion,
    CountJobs,
    Create,
    Created,
    Error,
    Failure,
    Get,
    JobView,
    NewJob,
    Ok,
    Problem,
    Refused,
    Release,
    Request,
    State,
    Take,
)
from tests.support.wire import Wire


async def create(wire: Wire, *ids: str, handle: bool = False, **fields: Any) -> None:
    """Jobs of these ids, of the type `t` unless another is given."""
    jobs = tuple(NewJob(**{"type": "t", "id": job, **fields}) for job in ids)
    for start in range(0, len(jobs), 1_000):
        results = await wire.ask(Create, jobs=jobs[start : start + 1_000], handle=handle)
        assert all(isinstance(result, Created) for result in results), results


async def take(wire: Wire, credit: int, *types: str) -> None:
    """So many claims in all and of each type."""
    await wire.ask(Take, types=dict.fromkeys(types or ("t",), credit), credit=credit)


async def complete(wire: Wire, *claims: Claim, result: bytes = b"") -> tuple[Any, ...]:
    jobs = tuple(Completion(job=claim.job, token=claim.token, result=result) for claim in claims)
    return await wire.ask(Complete, jobs=jobs)


async def release(wire: Wire, *claims: Claim) -> tuple[Any, ...]:
    refs = tuple(ClaimRef(job=claim.job, token=claim.token) for claim in claims)
    return await wire.ask(Release, claims=refs)


def failure(claim: Claim, *, retry: bool = True, message: str = "no") -> Failure:
    error = Error(type="Oops", message=message, traceback="line 1")
    return Failure(job=claim.job, token=claim.token, error=error, retry=retry)


async def get(wire: Wire, job: str) -> JobView:
    """A job that is there."""
    [view] = await wire.ask(Get, jobs=(job,))
    assert isinstance(view, JobView), view
    return view


async def count(wire: Wire, state: State, job_type: str = "t") -> int:
    """How many jobs of a type are in a state."""
    [counts] = await wire.ask(CountJobs, types=(job_type,))
    number: int = counts.types.get(job_type, {}).get(state, 0)
    return number


def names(claims: Iterable[Claim]) -> list[str]:
    return [claim.job for claim in claims]


async def repeated(wire: Wire, request: Callable[..., Request], **fields: Any) -> Any:
    """Asks for one thing until it is done, as a client does."""
    while True:
        answer = await wire.answer(wire.begin(request, **fields))
        [result] = answer.results if isinstance(answer, Ok) else [answer]
        if not isinstance(result, Problem | Refused):
            return result
        assert result.retryable, result
