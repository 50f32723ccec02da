"""What a runner says of the jobs that it holds, and what it may no longer say."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Claim,
    ClaimJobs,
    Complete,
    Completion,
    Ended,
    Error,
    Fail,
    Failure,
    LogReport,
    Problem,
    ProgressReport,
    ReportProgress,
    WriteLog,
)
from tests.support.brokers import Brokers
from tests.support.requests import complete, create, failure, get, names, release, take
from tests.support.wire import Wire


async def claimed(wire: Wire, job: str = "a") -> Claim:
    [claim] = await wire.ask(ClaimJobs, jobs=(job,))
    assert isinstance(claim, Claim), claim
    return claim


# -- release


async def test_a_released_job_is_back_at_its_place(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, *"abc", attempts=1)
    claim = await claimed(wire, "a")
    assert await release(wire, claim) == (Ended(state="QUEUED"),)
    view = await get(wire, "a")
    assert (view.state, view.current_attempt, view.released) == ("QUEUED", 0, 1)
    assert (view.failed, view.lost) == (0, 0)
    await take(wire, 3)
    again = await wire.claims(3)
    assert names(again) == ["a", "b", "c"]
    assert (again[0].attempt, again[0].fence) == (1, 2)


# -- complete and fail


@pytest.mark.parametrize("size", [0, 1, 513, 1024 * 1024])
async def test_a_result_is_kept_as_it_was_given(
    brokers: Brokers, broker: Broker, size: int
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", persistent=True)
    assert await complete(wire, await claimed(wire), result=bytes(size)) == (
        Ended(state="COMPLETE"),
    )
    view = await get(wire, "a")
    assert (view.state, view.result, view.reason) == ("COMPLETE", bytes(size), None)
    assert view.finished_at >= view.started_at


async def test_a_result_over_the_limit_leaves_the_claim(brokers: Brokers) -> None:
    broker = await brokers.start(max_result_bytes=100)
    wire = await brokers.connect(broker)
    await create(wire, "a", "b", persistent=True)
    a, b = await claimed(wire, "a"), await claimed(wire, "b")
    refused, ended = await wire.ask(
        Complete,
        jobs=(
            Completion(job="a", token=a.token, result=bytes(101)),
            Completion(job="b", token=b.token, result=bytes(100)),
        ),
    )
    assert (refused.code, refused.details) == (Code.TOO_LARGE, {"limit": "100"})
    assert ended == Ended(state="COMPLETE")
    assert (await get(wire, "a")).state == "STARTED"
    assert await complete(wire, a) == (Ended(state="COMPLETE"),)


async def test_a_failed_job_is_tried_until_its_attempts_are_used(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=3)
    fences = []
    for attempt in (1, 2, 3):
        claim = await claimed(wire)
        assert (claim.attempt, claim.attempts) == (attempt, 3)
        fences.append(claim.fence)
        state = "QUEUED" if attempt < 3 else "FAILED"
        assert await wire.ask(Fail, jobs=(failure(claim, message=f"{attempt}"),)) == (
            Ended(state=state),  # type: ignore[arg-type]
        )
    assert fences == [1, 2, 3]
    view = await get(wire, "a")
    assert (view.state, view.reason, view.failed, view.current_attempt) == (
        "FAILED",
        "FAILED",
        3,
        3,
    )
    assert view.error == Error(type="Oops", message="3", traceback="line 1")
    assert view.result is None


async def test_a_failed_job_goes_to_the_end_of_its_queue(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, *"abc", attempts=2)
    await wire.ask(Fail, jobs=(failure(await claimed(wire)),))
    await take(wire, 3)
    assert names(await wire.claims(3)) == ["b", "c", "a"]


async def test_a_failure_for_good_uses_no_further_attempt(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=9)
    claim = await claimed(wire)
    assert await wire.ask(Fail, jobs=(failure(claim, retry=False),)) == (Ended(state="FAILED"),)


async def test_the_largest_error_is_kept_but_for_the_middle_of_its_traceback(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    claim = await claimed(wire)
    horse = "\U0001f40e"
    error = Error(type=horse * 1_024, message=horse * 1_024, traceback=horse * 32_768)
    await wire.ask(Fail, jobs=(Failure(job="a", token=claim.token, error=error),))
    kept = (await get(wire, "a")).error
    assert kept is not None
    assert (kept.type, kept.message) == (error.type, error.message)
    assert kept.traceback.startswith(horse)
    assert kept.traceback.endswith(horse)
    assert "bytes left out" in kept.traceback


async def test_a_job_without_handlers_is_kept_only_if_it_failed(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "done", "failed")
    await complete(wire, await claimed(wire, "done"))
    await wire.ask(Fail, jobs=(failure(await claimed(wire, "failed")),))
    [gone] = await wire.ask(ClaimJobs, jobs=("done",))
    assert gone.code == Code.NOT_FOUND
    assert (await get(wire, "failed")).state == "FAILED"


# -- progress


async def test_progress_is_shown_and_may_go_backwards(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=2)
    claim = await claimed(wire)
    for percent, text in ((0, ""), (100, "\U0001f40e" * 1_024), (40, "again")):
        report = ProgressReport(job="a", token=claim.token, percent=percent, text=text)
        await wire.ask(ReportProgress, reports=(report,))
        progress = (await get(wire, "a")).progress
        assert progress is not None
        assert (progress.percent, progress.text) == (percent, text)
    # A new claim begins without.
    await wire.ask(Fail, jobs=(failure(claim),))
    await claimed(wire)
    assert (await get(wire, "a")).progress is None


# -- what a stale claim may not


Act = Callable[[Wire, Claim], Awaitable[object]]


async def _progress(wire: Wire, claim: Claim) -> object:
    report = ProgressReport(job=claim.job, token=claim.token, percent=1)
    [answer] = await wire.ask(ReportProgress, reports=(report,))
    return answer


async def _log(wire: Wire, claim: Claim) -> object:
    report = LogReport(job=claim.job, token=claim.token, messages=("m",))
    [answer] = await wire.ask(WriteLog, reports=(report,))
    return answer


async def _complete(wire: Wire, claim: Claim) -> object:
    [answer] = await complete(wire, claim, result=b"late")
    return answer


async def _fail(wire: Wire, claim: Claim) -> object:
    [answer] = await wire.ask(Fail, jobs=(failure(claim),))
    return answer


async def _release(wire: Wire, claim: Claim) -> object:
    [answer] = await release(wire, claim)
    return answer


ACTS = [_progress, _log, _complete, _fail, _release]
ENDS = [_complete, _fail, _release]
BY_NAME: dict[str, Any] = {"ids": lambda act: act.__name__.strip("_")}


async def is_stale(wire: Wire, act: Act, claim: Claim) -> None:
    before = await get(wire, claim.job)
    answer = await act(wire, claim)
    assert isinstance(answer, Problem)
    assert (answer.code, answer.retryable) == (Code.STALE_CLAIM, False)
    assert await get(wire, claim.job) == before


@pytest.mark.parametrize("act", ACTS, **BY_NAME)
async def test_a_successor_cant_be_disturbed(brokers: Brokers, broker: Broker, act: Act) -> None:
    old, new = await brokers.connect(broker), await brokers.connect(broker)
    await create(old, "a", attempts=5)
    stale = await claimed(old)
    await release(old, stale)
    current = await claimed(new)
    assert current.fence > stale.fence
    await is_stale(old, act, stale)
    assert await complete(new, current) == (Ended(state="COMPLETE"),)


@pytest.mark.parametrize("act", ACTS, **BY_NAME)
async def test_the_token_is_of_no_use_to_others(brokers: Brokers, broker: Broker, act: Act) -> None:
    mine, thief = await brokers.connect(broker), await brokers.connect(broker)
    await create(mine, "a", attempts=5)
    claim = await claimed(mine)
    await is_stale(thief, act, claim)
    assert await complete(mine, claim) == (Ended(state="COMPLETE"),)


@pytest.mark.parametrize("act", ACTS, **BY_NAME)
@pytest.mark.parametrize("state", ["QUEUED", "STARTED", "COMPLETE", "FAILED"])
async def test_an_invented_token_is_of_no_use(
    brokers: Brokers, broker: Broker, act: Act, state: str
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", persistent=True)
    invented = Claim(job="a", token=bytes(16), fence=0, type="t", attempt=1)
    if state != "QUEUED":
        claim = await claimed(wire)
        if state == "COMPLETE":
            await complete(wire, claim)
        elif state == "FAILED":
            await wire.ask(Fail, jobs=(failure(claim),))
    await is_stale(wire, act, invented)


@pytest.mark.parametrize("act", ACTS, **BY_NAME)
async def test_there_is_nothing_to_say_of_no_job(
    brokers: Brokers, broker: Broker, act: Act
) -> None:
    wire = await brokers.connect(broker)
    answer = await act(wire, Claim(job="x", token=bytes(16), fence=0, type="t", attempt=1))
    assert isinstance(answer, Problem)
    assert answer.code == Code.NOT_FOUND


@pytest.mark.parametrize("end", ENDS, **BY_NAME)
async def test_an_end_repeated_is_answered_like_the_first_time(
    brokers: Brokers, broker: Broker, end: Act
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=5, persistent=True)
    claim = await claimed(wire)
    first = await end(wire, claim)
    assert isinstance(first, Ended)
    before = await get(wire, "a")
    for _ in range(2):
        assert await end(wire, claim) == first
    assert await get(wire, "a") == before
    for other in ENDS:
        if other is not end:
            await is_stale(wire, other, claim)


@pytest.mark.parametrize("end", ENDS, **BY_NAME)
async def test_an_end_can_be_repeated_in_the_same_request(
    brokers: Brokers, broker: Broker, end: Act
) -> None:
    """Items of one request take effect in their order."""
    wire = await brokers.connect(broker)
    await create(wire, "a", persistent=True)
    claim = await claimed(wire)
    completion = Completion(job="a", token=claim.token, result=b"r")
    assert await wire.ask(Complete, jobs=(completion, completion)) == 2 * (Ended(state="COMPLETE"),)


@pytest.mark.parametrize("end", [_fail, _release], **BY_NAME)
async def test_an_end_cant_be_repeated_once_the_job_is_anothers(
    brokers: Brokers, broker: Broker, end: Act
) -> None:
    old, new = await brokers.connect(broker), await brokers.connect(broker)
    await create(old, "a", attempts=5)
    claim = await claimed(old)
    await end(old, claim)
    await claimed(new)
    await is_stale(old, end, claim)


async def test_a_batch_of_ends_is_answered_item_by_item(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", "b", persistent=True)
    a, b = await claimed(wire, "a"), await claimed(wire, "b")
    answers = await wire.ask(
        Complete,
        jobs=(
            Completion(job="a", token=b.token),
            Completion(job="missing", token=a.token),
            Completion(job="b", token=b.token),
            Completion(job="a", token=a.token),
        ),
    )
    codes = [getattr(answer, "code", None) for answer in answers]
    assert codes == [Code.STALE_CLAIM, Code.NOT_FOUND, None, None]
