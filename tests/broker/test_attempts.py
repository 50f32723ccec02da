"""How each attempt of a job went, as `attempts` tells it."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.contents import MAX_ERROR_BYTES
from packhorse_broker.finding import ATTEMPTS_TOLD
from packhorse_broker.jobs.commands import TakeBack
from packhorse_broker.jobs.model import Applied, AttemptRecord, End
from packhorse_broker.store.records import encode_attempt
from packhorse_broker.store.writes import ATTEMPTS_KEPT
from packhorse_protocol import NO_ROOM, Code
from packhorse_protocol.messages import (
    Attempt,
    AttemptList,
    Backoff,
    Bye,
    Cancel,
    Claim,
    ClaimJobs,
    Error,
    Fail,
    Failure,
    ListAttempts,
    Ok,
    Problem,
    Retry,
    RunNow,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.requests import complete, create, failure, get, release
from tests.support.wire import Wire

LONG: Final = "x" * 30_000


@pytest.fixture
async def raw(store_url: str) -> AsyncIterator[Raw]:
    raw = await Raw.open(store_url)
    yield raw
    await raw.close()


async def attempts_of(wire: Wire, job: str) -> AttemptList:
    [found] = await wire.ask(ListAttempts, jobs=(job,))
    assert isinstance(found, AttemptList), found
    return found


async def claim(wire: Wire, job: str) -> Claim:
    [found] = await wire.ask(ClaimJobs, jobs=(job,))
    assert isinstance(found, Claim), found
    return found


async def fail(wire: Wire, job: str, times: int, traceback: str = LONG) -> None:
    for n in range(times):
        held = await claim(wire, job)
        error = Error(type="Oops", message=f"{n}", traceback=traceback)
        await wire.ask(Fail, jobs=(Failure(job=job, token=held.token, error=error),))


def ends(found: AttemptList) -> list[tuple[int, str]]:
    return [(attempt.attempt, attempt.ended) for attempt in found.attempts]


async def test_a_job_that_was_never_claimed_has_none(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    assert await attempts_of(wire, "a") == AttemptList(attempts=())
    await claim(wire, "a")
    assert await attempts_of(wire, "a") == AttemptList(attempts=())


async def test_every_attempt_leaves_a_record(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "maker")
    leaver = await brokers.connect(broker, "leaver")
    runner = await brokers.connect(broker, "runner")
    await create(wire, "a", attempts=4, persistent=True)
    await release(runner, await claim(runner, "a"))
    await runner.ask(Fail, jobs=(failure(await claim(runner, "a")),))
    await claim(leaver, "a")
    await leaver.ask(Bye)
    await complete(runner, await claim(runner, "a"))
    found = await attempts_of(wire, "a")
    assert ends(found) == [(1, "released"), (1, "failed"), (2, "lost"), (3, "completed")]
    assert [attempt.runner for attempt in found.attempts] == [
        "runner",
        "runner",
        "leaver",
        "runner",
    ]
    errors = [attempt.error for attempt in found.attempts]
    assert errors == [None, Error(type="Oops", message="no", traceback="line 1"), None, None]
    view = await get(wire, "a")
    *_, last = found.attempts
    assert (last.started_at, last.finished_at) == (view.started_at, view.finished_at)
    times = [
        time for attempt in found.attempts for time in (attempt.started_at, attempt.finished_at)
    ]
    assert times == sorted(times)
    assert found.dropped == 0


async def test_an_attempt_says_when_the_next_was_due(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    backoff = Backoff(type="fixed", delay_ms=3_600_000)
    await create(wire, "a", attempts=2, backoff=backoff)
    await wire.ask(Fail, jobs=(failure(await claim(wire, "a")),))
    view = await get(wire, "a")
    [attempt] = (await attempts_of(wire, "a")).attempts
    assert attempt.next_at == view.next_attempt == attempt.finished_at + 3_600_000
    await wire.ask(RunNow, jobs=("a",))
    await wire.ask(Fail, jobs=(failure(await claim(wire, "a")),))
    _, last = (await attempts_of(wire, "a")).attempts
    assert last.next_at == 0


async def test_an_attempt_that_was_cancelled(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    await claim(wire, "a")
    await wire.ask(Cancel, jobs=("a",), grace_ms=0)
    [outcome] = await wire.outcomes(1)
    assert outcome.reason == "CANCELLED"
    assert ends(await attempts_of(wire, "a")) == [(1, "cancelled")]


async def test_a_retry_by_hand_goes_on_with_the_record(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    await fail(wire, "a", 1)
    await wire.ask(Retry, jobs=("a",))
    await fail(wire, "a", 1)
    assert ends(await attempts_of(wire, "a")) == [(1, "failed"), (2, "failed")]


async def test_the_oldest_are_dropped_and_counted(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=100)
    await fail(wire, "a", ATTEMPTS_KEPT, traceback="")
    found = await attempts_of(wire, "a")
    assert (len(found.attempts), found.dropped) == (ATTEMPTS_KEPT, 0)
    await fail(wire, "a", 7, traceback="")
    found = await attempts_of(wire, "a")
    assert [attempt.attempt for attempt in found.attempts] == list(range(8, ATTEMPTS_KEPT + 8))
    assert found.dropped == 7
    await complete(wire, await claim(wire, "a"))


async def test_a_claim_that_nobody_got_is_no_attempt(brokers: Brokers, broker: Broker) -> None:
    """It went to a runner that had left its place when the claim was granted."""
    wire, gone = await brokers.connect(broker), await brokers.connect(broker, "gone")
    await create(wire, "a", attempts=100)
    for _ in range(3):
        held = await claim(gone, "a")
        [told] = await broker.parts.operations.applied([("a", TakeBack("gone", held.token))])
        assert isinstance(told, Applied)
    assert (await get(wire, "a")).released == 3
    await fail(wire, "a", ATTEMPTS_KEPT, traceback="")
    assert (await attempts_of(wire, "a")).dropped == 0
    await fail(wire, "a", 1, traceback="")
    assert (await attempts_of(wire, "a")).dropped == 1


async def test_an_attempt_that_a_cancellation_cut_off_counts_as_dropped(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    await claim(wire, "a")
    await wire.ask(Cancel, jobs=("a",), grace_ms=0)
    await wire.outcomes(1)
    await wire.ask(Retry, jobs=("a",), attempts=100)
    await fail(wire, "a", ATTEMPTS_KEPT, traceback="")
    found = await attempts_of(wire, "a")
    assert (len(found.attempts), found.dropped) == (ATTEMPTS_KEPT, 1)


async def test_no_reply_has_so_many_that_packing_them_keeps_the_loop(
    brokers: Brokers, broker: Broker, raw: Raw
) -> None:
    wire = await brokers.connect(broker)
    jobs = tuple(f"{n}" for n in range(2 * ATTEMPTS_TOLD // ATTEMPTS_KEPT))
    await create(wire, *jobs)
    record = encode_attempt(AttemptRecord(1, "r", 1, 2, End.LOST))
    for job in jobs:
        await raw("RPUSH", brokers.keys.attempts(job), *[record] * ATTEMPTS_KEPT)
    answers = await wire.ask(ListAttempts, jobs=jobs)
    told = [answer for answer in answers if isinstance(answer, AttemptList)]
    assert sum(len(answer.attempts) for answer in told) == ATTEMPTS_TOLD
    assert set(answers[len(told) :]) == {NO_ROOM}
    rest = await wire.ask(ListAttempts, jobs=jobs[len(told) :])
    assert [len(answer.attempts) for answer in rest] == [ATTEMPTS_KEPT] * len(rest)
    for job in jobs:
        await raw("DEL", brokers.keys.attempts(job))


async def test_what_has_no_room_is_told_by_the_broker_itself(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted as it is built: a reply that is packed and found too large has to be packed again."""
    fitted: list[Ok] = []
    monkeypatch.setattr("packhorse_broker.connection.fit", lambda reply, _: fitted.append(reply))
    broker = await brokers.start(
        max_frame_bytes=640 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    wire = await brokers.connect(broker)
    jobs = tuple(f"{n}" for n in range(400))
    await create(wire, *jobs, attempts=100)
    await fail(wire, jobs[0], 20)
    await fail(wire, jobs[1], 20)
    told, *others = await wire.ask(ListAttempts, jobs=jobs)
    assert len(told.attempts) == 20
    assert set(others) == {NO_ROOM}
    assert not fitted


async def test_a_long_traceback_is_cut_in_its_middle(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    await fail(wire, "a", 1, traceback=f"first{LONG}last")
    [attempt] = (await attempts_of(wire, "a")).attempts
    [outcome] = await wire.outcomes(1)
    assert attempt.error is not None
    assert attempt.error == (await get(wire, "a")).error == outcome.error
    assert len(attempt.error.traceback) < MAX_ERROR_BYTES
    assert attempt.error.traceback.startswith("firstx")
    assert attempt.error.traceback.endswith("xlast")


async def test_a_small_frame_has_all_attempts_but_not_all_tracebacks(brokers: Brokers) -> None:
    broker = await brokers.start(
        max_frame_bytes=640 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=100)
    await fail(wire, "a", ATTEMPTS_KEPT)
    found = await attempts_of(wire, "a")
    assert len(found.attempts) == ATTEMPTS_KEPT
    told = [bool(_error(attempt).traceback) for attempt in found.attempts]
    assert [_error(attempt).message for attempt in found.attempts] == [
        f"{n}" for n in range(ATTEMPTS_KEPT)
    ]
    assert told == sorted(told)
    assert 0 < sum(told) < ATTEMPTS_KEPT


def _error(attempt: Attempt) -> Error:
    assert attempt.error is not None
    return attempt.error


async def test_more_than_a_frame_holds_is_asked_for_again(brokers: Brokers) -> None:
    broker = await brokers.start(
        max_frame_bytes=1024 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    wire = await brokers.connect(broker)
    jobs = tuple(f"{n}" for n in range(12))
    await create(wire, *jobs, attempts=20)
    for job in jobs:
        await fail(wire, job, 20)
    found: dict[str, Any] = {}
    left = jobs
    while left:
        answers = await wire.ask(ListAttempts, jobs=left)
        assert isinstance(answers[0], AttemptList)
        for job, answer in zip(left, answers, strict=True):
            if isinstance(answer, AttemptList):
                found[job] = answer
            else:
                assert answer.code == Code.TOO_LARGE
        left = tuple(job for job in left if job not in found)
    assert [len(found[job].attempts) for job in jobs] == [20] * len(jobs)


async def test_what_is_not_there_harms_no_neighbour(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    await fail(wire, "a", 1)
    missing, there = await wire.ask(ListAttempts, jobs=("missing", "a"))
    assert isinstance(missing, Problem)
    assert missing.code == Code.NOT_FOUND
    assert ends(there) == [(1, "failed")]
