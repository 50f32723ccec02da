"""Claims of exactly one job."""

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import Claim, ClaimJobs, Problem, Revoke
from tests.broker.test_looking import in_state
from tests.support.brokers import Brokers
from tests.support.requests import complete, count, create, get, names, release, take


async def test_a_queued_job_is_claimed(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "runner")
    await create(wire, "a", "b", payload=bytes(2_000), headers={"h": "v"}, key="k", attempts=2)
    first, second = await wire.ask(ClaimJobs, jobs=("b", "a"))
    assert (first.job, second.job) == ("b", "a")
    assert (first.payload, first.headers, first.key) == (bytes(2_000), {"h": "v"}, "k")
    assert (first.attempt, first.attempts, first.fence) == (1, 2, 1)
    view = await get(wire, "a")
    assert (view.state, view.runner, view.current_attempt) == ("STARTED", "runner", 1)
    assert view.started_at >= view.created_at


async def test_what_cant_be_claimed_is_refused_by_itself(brokers: Brokers, broker: Broker) -> None:
    wire, other = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "queued", "mine", "theirs", "done", "failed", persistent=True)
    await in_state(wire, "mine", "STARTED")
    await in_state(other, "theirs", "STARTED")
    await in_state(other, "done", "COMPLETE")
    await in_state(other, "failed", "FAILED")
    jobs = ("missing", "mine", "theirs", "done", "failed", "queued", "queued")
    *refused, claim, twice = await wire.ask(ClaimJobs, jobs=jobs)
    assert [problem.code for problem in refused] == [Code.NOT_FOUND, *[Code.WRONG_STATE] * 4]
    states = [problem.details["state"] for problem in refused[1:]]
    assert states == ["STARTED", "STARTED", "COMPLETE", "FAILED"]
    assert isinstance(claim, Claim)
    assert (twice.code, twice.details) == (Code.WRONG_STATE, {"state": "STARTED"})


async def test_one_of_two_gets_it(brokers: Brokers, broker: Broker) -> None:
    wires = [await brokers.connect(broker) for _ in range(2)]
    await create(wires[0], *(f"j{n}" for n in range(100)))
    begun = [wire.begin(ClaimJobs, jobs=tuple(f"j{n}" for n in range(100))) for wire in wires]
    first, second = [
        (await wire.answer(request)).results  # type: ignore[union-attr]
        for wire, request in zip(wires, begun, strict=True)
    ]
    for one, other in zip(first, second, strict=True):
        assert {type(one), type(other)} == {Claim, Problem}


async def test_a_claim_without_room_in_the_reply_is_given_back(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    ids = [f"j{n}" for n in range(6)]
    for job in ids:
        await create(wire, job, payload=bytes(1024 * 1024))
    answers = await wire.ask(ClaimJobs, jobs=tuple(ids))
    claims = [answer for answer in answers if isinstance(answer, Claim)]
    assert 1 <= len(claims) < 6
    for job, answer in zip(ids, answers, strict=True):
        if isinstance(answer, Problem):
            assert answer.code == Code.TOO_LARGE
            view = await get(wire, job)
            assert (view.state, view.current_attempt) == ("QUEUED", 0)
    # They take up no credit either.
    await take(wire, 6)
    more = await wire.claims(6 - len(claims))
    assert sorted(names(claims + more)) == ids


async def test_who_lost_the_connection_meanwhile_gets_the_claim_after_the_resume(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker, "runner")
    await create(wire, "a")
    request = wire.begin(ClaimJobs, jobs=("a",))
    await wire.drain()
    again = await brokers.connect(broker, "runner", secret=wire.welcome.secret)
    [refused] = await again.ask(ClaimJobs, jobs=("a",))
    if isinstance(refused, Claim):
        # The superseded connection's claim was not granted, or went back.
        claim = refused
    else:
        assert refused.code == Code.WRONG_STATE
        [claim] = await again.claims(1)
    assert request
    await complete(again, claim)
    assert await count(again, "STARTED") == 0
    assert await count(again, "QUEUED") == 0


@pytest.mark.parametrize("size", [10, 1_000])
async def test_a_released_job_can_be_claimed_again(
    brokers: Brokers, broker: Broker, size: int
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", payload=bytes(size))
    [first] = await wire.ask(ClaimJobs, jobs=("a",))
    await release(wire, first)
    [second] = await wire.ask(ClaimJobs, jobs=("a",))
    assert (second.fence, second.attempt) == (2, 1)
    assert second.token != first.token
    assert not wire.kept(Revoke)
