"""Outcomes: pushed to every handler until it says that it has handled them."""

from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.delivery import WINDOW
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Done,
    Ended,
    Error,
    Fail,
    Get,
    Handle,
    Handled,
    Outcomes,
)
from tests.support.brokers import Brokers, at_rest
from tests.support.requests import complete, count, create, failure, get, take
from tests.support.wire import Wire


async def finish(runner: Wire, *jobs: str, result: bytes = b"r") -> None:
    for start in range(0, len(jobs), 1_000):
        claims = await runner.ask(ClaimJobs, jobs=jobs[start : start + 1_000])
        await complete(runner, *claims, result=result)


async def gone(wire: Wire, job: str) -> bool:
    [view] = await wire.ask(Get, jobs=(job,))
    return getattr(view, "code", None) == Code.NOT_FOUND


# -- what is pushed


async def test_the_creator_gets_what_it_wants_to_handle(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, "wanted", handle=True, key="k")
    await create(creator, "unwanted")
    await finish(runner, "unwanted", "wanted")
    [outcome] = await creator.outcomes(1)
    assert (outcome.job, outcome.type, outcome.key) == ("wanted", "t", "k")
    assert (outcome.state, outcome.result, outcome.reason) == ("COMPLETE", b"r", None)
    assert (outcome.attempt, outcome.error) == (1, None)
    assert outcome.finished_at >= outcome.started_at >= outcome.created_at > 0
    view = await get(creator, "wanted")
    assert outcome.version == view.version
    assert outcome.finished_at == view.finished_at


async def test_a_failed_job_has_a_reason_and_an_error(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await wire.ask(Fail, jobs=(failure(claim),))
    [outcome] = await wire.outcomes(1)
    assert (outcome.state, outcome.reason, outcome.result) == ("FAILED", "FAILED", None)
    assert outcome.error == Error(type="Oops", message="no", traceback="line 1")


@pytest.mark.parametrize("size", [0, 512, 513, 1024 * 1024])
async def test_a_result_of_any_size_arrives(brokers: Brokers, broker: Broker, size: int) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    await finish(wire, "a", result=bytes(size))
    [outcome] = await wire.outcomes(1)
    assert outcome.result == bytes(size)


async def test_an_attempt_that_failed_is_no_outcome(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True, attempts=2)
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await wire.ask(Fail, jobs=(failure(claim),))
    await at_rest(broker)
    await finish(wire, "a")
    [outcome] = await wire.outcomes(1)
    assert (outcome.state, outcome.attempt) == ("COMPLETE", 2)


# -- who handles


async def test_a_handler_may_come_early_or_late(brokers: Brokers, broker: Broker) -> None:
    early, late, runner = [await brokers.connect(broker) for _ in range(3)]
    await create(early, "a", persistent=True)
    assert await early.ask(Handle, jobs=("a",)) == (Ended(state="QUEUED"),)
    await finish(runner, "a")
    assert await late.ask(Handle, jobs=("a",)) == (Ended(state="COMPLETE"),)
    for wire in (early, late):
        [outcome] = await wire.outcomes(1)
        assert outcome.result == b"r"
    assert (await get(runner, "a")).handlers == (early.id, late.id)


async def test_a_failed_job_can_be_handled_later(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await wire.ask(Fail, jobs=(failure(claim),))
    assert await wire.ask(Handle, jobs=("a",)) == (Ended(state="FAILED"),)
    assert len(await wire.outcomes(1)) == 1
    await wire.ask(Handled, jobs=("a",))
    assert await gone(wire, "a")


async def test_handling_twice_is_handling_once(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    first = await wire.ask(Handle, jobs=("a", "a", "missing"))
    assert first[:2] == (Ended(state="QUEUED"), Ended(state="QUEUED"))
    assert first[2].code == Code.NOT_FOUND
    await finish(wire, "a")
    assert len(await wire.outcomes(1)) == 1
    await wire.ask(Handle, jobs=("a",))
    await at_rest(broker)
    await wire.ask(Get, jobs=("a",))
    assert not wire.kept(Outcomes)


# -- handled


async def test_a_job_goes_with_its_last_handler(brokers: Brokers, broker: Broker) -> None:
    first, second, runner = [await brokers.connect(broker) for _ in range(3)]
    await create(first, "a", handle=True)
    await second.ask(Handle, jobs=("a",))
    await finish(runner, "a")
    assert await first.ask(Handled, jobs=("a",)) == (Done(),)
    assert (await get(runner, "a")).handlers == (second.id,)
    assert await second.ask(Handled, jobs=("a",)) == (Done(),)
    assert await gone(runner, "a")
    assert await count(runner, "COMPLETE") == 0


async def test_a_persistent_job_stays(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True, persistent=True)
    await finish(wire, "a")
    await wire.ask(Handled, jobs=("a",))
    view = await get(wire, "a")
    assert (view.state, view.handlers, view.result) == ("COMPLETE", (), b"r")


async def test_what_cant_be_handled_is_refused_by_itself(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "mine", "early", handle=True)
    await create(wire, "others", "running", persistent=True)
    await finish(wire, "mine", "others")
    await wire.ask(ClaimJobs, jobs=("running",))
    done, twice, missing, others, early, running = await wire.ask(
        Handled, jobs=("mine", "mine", "missing", "others", "early", "running")
    )
    assert done == Done()
    assert twice.code == missing.code == Code.NOT_FOUND
    assert others.code == Code.NOT_HANDLER
    assert (early.code, early.details) == (Code.WRONG_STATE, {"state": "QUEUED"})
    assert (running.code, running.details) == (Code.WRONG_STATE, {"state": "STARTED"})
    # It is still the handler of the one that was not finished.
    await finish(wire, "early")
    assert {outcome.job for outcome in await wire.outcomes(2)} == {"mine", "early"}


# -- coming back


async def test_what_was_missed_is_pushed_after_a_resume(brokers: Brokers, broker: Broker) -> None:
    handler, runner = await brokers.connect(broker, "h"), await brokers.connect(broker)
    await create(handler, "seen", "missed", "later", handle=True)
    await finish(runner, "seen")
    await handler.outcomes(1)
    await handler.abort()
    await finish(runner, "missed")
    again = await brokers.connect(broker, "h", secret=handler.welcome.secret)
    # Seen, but not handled: it comes again.
    assert {outcome.job for outcome in await again.outcomes(2)} == {"seen", "missed"}
    await again.ask(Handled, jobs=("seen",))
    await finish(runner, "later")
    assert [outcome.job for outcome in await again.outcomes(1)] == ["later"]
    third = await brokers.connect(broker, "h", secret=handler.welcome.secret)
    assert {outcome.job for outcome in await third.outcomes(2)} == {"missed", "later"}
    await third.ask(Handled, jobs=("missed", "later"))
    fourth = await brokers.connect(broker, "h", secret=handler.welcome.secret)
    await at_rest(broker)
    await fourth.ask(Get, jobs=("missed",))
    assert not fourth.kept(Outcomes)


async def test_held_claims_are_pushed_again_with_their_tokens(
    brokers: Brokers, broker: Broker
) -> None:
    runner = await brokers.connect(broker, "r")
    await create(runner, "small", "large", "other")
    await create(runner, "body", payload=bytes(3_000))
    claims = await runner.ask(ClaimJobs, jobs=("small", "large", "body"))
    await complete(runner, claims[1])
    again = await brokers.connect(broker, "r", secret=runner.welcome.secret)
    assert again.welcome.resumed
    pushed = {claim.job: claim for claim in await again.claims(2)}
    assert pushed == {claim.job: claim for claim in (claims[0], claims[2])}
    # They count against the credit.
    await take(again, 2)
    assert await count(again, "QUEUED") == 1
    await complete(again, *pushed.values())
    assert len(await again.claims(1)) == 1


# -- many


async def test_more_outcomes_than_are_sent_unanswered(brokers: Brokers, broker: Broker) -> None:
    """Past the window they wait in the store, and come as others are handled."""
    handler, runner = await brokers.connect(broker), await brokers.connect(broker)
    jobs = [f"j{n:04}" for n in range(WINDOW + 700)]
    await create(handler, *jobs, handle=True)
    await finish(runner, *jobs)
    seen = [outcome.job for outcome in await handler.outcomes(WINDOW)]
    await at_rest(broker)
    await handler.ask(Get, jobs=("missing",))
    assert not handler.kept(Outcomes)
    answered = 0
    while answered < len(jobs):
        answers: tuple[Any, ...] = await handler.ask(
            Handled, jobs=tuple(seen[answered : answered + 300])
        )
        assert set(answers) == {Done()}
        answered += len(answers)
        while len(seen) < min(len(jobs), answered + WINDOW // 2):
            seen += [outcome.job for outcome in (await handler.push(Outcomes)).outcomes]
    assert sorted(seen) == jobs
    assert await count(runner, "COMPLETE") == 0


async def test_outcomes_far_larger_than_the_outbox_arrive(brokers: Brokers, broker: Broker) -> None:
    """One at a time would fit; all that a client is owed at once would not."""
    handler, runner = await brokers.connect(broker, "h"), await brokers.connect(broker)
    jobs = [f"j{n}" for n in range(20)]
    await create(handler, *jobs, handle=True)
    await handler.abort()
    for job in jobs:
        await finish(runner, job, result=bytes(1024 * 1024))
    again = await brokers.connect(broker, "h", secret=handler.welcome.secret)
    seen: set[str] = set()
    while len(seen) < len(jobs):
        outcomes = (await again.push(Outcomes)).outcomes
        seen |= {outcome.job for outcome in outcomes}
        await again.ask(Handled, jobs=tuple(outcome.job for outcome in outcomes))
    assert await count(runner, "COMPLETE") == 0
