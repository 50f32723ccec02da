"""Claims by credit: never more than there is room for, in order, fairly."""

from collections import Counter

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol.messages import (
    ClaimJobs,
    Claims,
    Create,
    Fail,
    NewJob,
    Remove,
    Revoke,
    Take,
)
from tests.support.brokers import Brokers, at_rest
from tests.support.requests import complete, count, create, failure, names, release, take
from tests.support.wire import Wire


async def nothing_more(wire: Wire) -> None:
    """What was on its way to a client has arrived, and no claim was among it."""
    await wire.ask(Take, types={}, credit=0)
    assert not wire.kept(Claims)


async def test_jobs_come_as_far_as_there_is_credit(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *(f"j{n}" for n in range(10)))
    await take(runner, 3)
    assert names(await runner.claims(3)) == ["j0", "j1", "j2"]
    assert await count(creator, "STARTED") == 3
    await nothing_more(runner)


async def test_jobs_come_to_a_runner_that_was_there_first(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await take(runner, 2)
    for job in ("a", "b", "c"):
        await create(creator, job)
    assert names(await runner.claims(2)) == ["a", "b"]
    assert await count(creator, "QUEUED") == 1


async def test_a_claim_has_all_that_a_runner_needs(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    small = NewJob(type="t", id="s", payload=b"p", key="k", headers={"h": "v"}, attempts=2)
    large = NewJob(type="t", id="l", payload=bytes(5_000))
    await creator.ask(Create, jobs=(small, large))
    await take(runner, 2)
    for new, claim in zip((small, large), await runner.claims(2), strict=True):
        for field in ("type", "payload", "key", "headers", "attempts"):
            assert getattr(claim, field) == getattr(new, field)
        assert (claim.job, claim.attempt, claim.fence) == (new.id, 1, 1)
        assert len(claim.token) == 16


@pytest.mark.parametrize("end", ["complete", "release", "fail"])
async def test_an_end_makes_room_for_the_next(brokers: Brokers, broker: Broker, end: str) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, "a", "b", attempts=5)
    await take(runner, 1)
    [claim] = await runner.claims(1)
    assert claim.job == "a"
    if end == "complete":
        await complete(runner, claim)
    elif end == "release":
        await release(runner, claim)
    else:
        await runner.ask(Fail, jobs=(failure(claim),))
    [following] = await runner.claims(1)
    # A released job keeps its place, a failed one is queued at the end.
    assert following.job == ("a" if end == "release" else "b")
    assert await count(creator, "STARTED") == 1


async def test_the_next_is_claimed_in_the_transaction_of_an_end(
    brokers: Brokers, broker: Broker
) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abcd")
    await take(runner, 2)
    claims = await runner.claims(2)
    before = broker.parts.committer.commits
    await complete(runner, *claims)
    assert names(await runner.claims(2)) == ["c", "d"]
    assert broker.parts.committer.commits == before + 1


async def test_a_claim_that_turns_out_to_be_over_makes_room(
    brokers: Brokers, broker: Broker
) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, "a", "b")
    await take(runner, 1)
    [claim] = await runner.claims(1)
    await creator.ask(Remove, jobs=("a",))
    [following] = await runner.claims(1)
    assert following.job == "b"
    [revoke] = runner.kept(Revoke)
    assert [gone.job for gone in revoke.claims] == ["a"]
    [refused] = await complete(runner, claim)
    assert refused.code == "not_found"
    await nothing_more(runner)


async def test_each_type_has_its_own_number_within_the_whole(
    brokers: Brokers, broker: Broker
) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    for job_type in ("a", "b", "c"):
        await create(creator, *(f"{job_type}{n}" for n in range(9)), type=job_type)
    await runner.ask(Take, types={"a": 2, "b": 1, "c": 0}, credit=10)
    claims = await runner.claims(3)
    assert sorted(names(claims)) == ["a0", "a1", "b0"]
    assert await count(creator, "STARTED", "c") == 0
    await runner.ask(Take, types={"a": 9, "b": 9, "c": 9}, credit=5)
    assert len(await runner.claims(2)) == 2
    started = [await count(creator, "STARTED", job_type) for job_type in ("a", "b", "c")]
    assert sum(started) == 5
    await nothing_more(runner)


async def test_claims_by_id_count(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abcd")
    [by_id] = await runner.ask(ClaimJobs, jobs=("c",))
    await take(runner, 2)
    assert names(await runner.claims(1)) == ["a"]
    assert await count(creator, "STARTED") == 2
    # They need no credit, though.
    [another] = await runner.ask(ClaimJobs, jobs=("d",))
    await complete(runner, by_id)
    assert await count(creator, "STARTED") == 2
    await complete(runner, another)
    assert names(await runner.claims(1)) == ["b"]


async def test_credit_0_pauses_and_takes_nothing_away(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abc")
    await take(runner, 2)
    claims = await runner.claims(2)
    await take(runner, 0)
    await complete(runner, *claims)
    await create(creator, "d")
    await at_rest(broker)
    assert await count(creator, "QUEUED") == 2
    assert not runner.kept(Claims)
    await take(runner, 2)
    assert names(await runner.claims(2)) == ["c", "d"]


async def test_less_credit_than_claims_waits_until_enough_have_ended(
    brokers: Brokers, broker: Broker
) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abcdef")
    await take(runner, 4)
    first, *rest = await runner.claims(4)
    await take(runner, 2)
    await complete(runner, first)
    await complete(runner, rest[0])
    assert await count(creator, "STARTED") == 2
    assert await count(creator, "QUEUED") == 2
    await complete(runner, rest[1])
    assert names(await runner.claims(1)) == ["e"]


async def test_a_later_take_replaces_the_former(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await runner.ask(Take, types={"a": 5}, credit=5)
    await runner.ask(Take, types={"b": 5}, credit=5)
    await create(creator, "a", type="a")
    await create(creator, "b", type="b")
    assert names(await runner.claims(1)) == ["b"]
    assert await count(creator, "QUEUED", "a") == 1


async def test_jobs_are_dealt_out_in_turn(brokers: Brokers, broker: Broker) -> None:
    creator = await brokers.connect(broker)
    runners = [await brokers.connect(broker) for _ in range(3)]
    for runner in runners:
        await take(runner, 10)
    await create(creator, *(f"j{n}" for n in range(9)))
    for runner in runners:
        assert len(await runner.claims(3)) == 3
    assert await count(creator, "STARTED") == 9


async def test_single_jobs_go_round_too(brokers: Brokers, broker: Broker) -> None:
    creator = await brokers.connect(broker)
    runners = [await brokers.connect(broker) for _ in range(3)]
    for runner in runners:
        await take(runner, 10)
    for n in range(9):
        await create(creator, f"j{n}")
    for runner in runners:
        assert len(await runner.claims(3)) == 3


async def test_no_type_starves_another(brokers: Brokers, broker: Broker) -> None:
    """With a backlog of one type, jobs of the other still come before it is worked off."""
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *(f"a{n}" for n in range(200)), type="a")
    await create(creator, *(f"b{n}" for n in range(10)), type="b")
    await runner.ask(Take, types={"a": 2, "b": 2}, credit=2)
    done: list[str] = []
    while len([job for job in done if job.startswith("b")]) < 10:
        claims = (await runner.push(Claims)).claims
        done += names(claims)
        await complete(runner, *claims)
    assert len(done) < 210


async def test_a_long_queue_is_worked_off_in_order_and_within_credit(
    brokers: Brokers, broker: Broker
) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    ids = [f"j{n:04}" for n in range(2_500)]
    await create(creator, *ids)
    await take(runner, 600)
    held = 0
    done: list[str] = []
    while len(done) < len(ids):
        claims = (await runner.push(Claims)).claims
        held += len(claims)
        assert held <= 600
        held -= len(claims)
        done += names(claims)
        await complete(runner, *claims)
    assert done == ids


async def test_a_connection_begins_without_a_take(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker, "runner")
    await take(runner, 5)
    again = await brokers.connect(broker, "runner", secret=runner.welcome.secret)
    await create(creator, "a")
    assert await count(creator, "QUEUED") == 1
    await take(again, 1)
    assert names(await again.claims(1)) == ["a"]


async def test_a_runner_that_left_is_given_nothing(brokers: Brokers, broker: Broker) -> None:
    creator = await brokers.connect(broker)
    gone, there = await brokers.connect(broker), await brokers.connect(broker)
    await take(gone, 5)
    await gone.abort()
    await take(there, 5)
    await create(creator, *"abc")
    assert names(await there.claims(3)) == ["a", "b", "c"]


async def test_types_share_the_credit_by_weight(brokers: Brokers, broker: Broker) -> None:
    """At first, and as claims end one by one."""
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    for job_type in ("a", "b"):
        await create(creator, *(f"{job_type}{n}" for n in range(60)), type=job_type)
    await runner.ask(Take, types={"a": 100, "b": 100}, credit=8, weights={"a": 3})
    claims = await runner.claims(8)
    had = Counter(claim.type for claim in claims)
    assert had == {"a": 6, "b": 2}
    for _ in range(40):
        await complete(runner, claims.pop(0))
        claims += await runner.claims(1)
        had[claims[-1].type] += 1
    assert had == {"a": 36, "b": 12}
