"""Two brokers on one store: what happens at one is known at the other, told or found."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Bye,
    Claim,
    ClaimJobs,
    CountJobs,
    Create,
    Handle,
    Handled,
    Info,
    LogReport,
    NewJob,
    Problem,
    ProgressReport,
    Remove,
    ReportProgress,
    Revoke,
    Watch,
    WriteLog,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.requests import complete, count, create, get, names, take
from tests.support.wire import Wire


@pytest.fixture(params=["told", "found"])
async def two(request: pytest.FixtureRequest, brokers: Brokers) -> list[Broker]:
    """Two brokers that know of each other: they hear each other's notices and never sweep, or
    hear none at all and sweep often."""
    told = request.param == "told"
    quick: dict[str, Any] = {} if told else {"sweep_ms": 10, "last_response_flush_ms": 10}
    two = []
    for _ in range(2):
        broker = brokers.make(deaf=not told, **quick)
        await broker.start()
        two.append(broker)
    for broker in two:
        await broker.parts.sweeper.sweep()
    for broker in two:
        await broker.parts.sweeper.sweep()
        assert broker.parts.notices.peers == 1
    return two


@pytest.fixture
async def near(brokers: Brokers, two: list[Broker]) -> Wire:
    return await brokers.connect(two[0], "near")


@pytest.fixture
async def far(brokers: Brokers, two: list[Broker]) -> Wire:
    return await brokers.connect(two[1], "far")


async def until_true(look: Callable[[], Awaitable[bool]]) -> None:
    while not await look():
        pass


async def test_a_job_created_here_is_run_there(near: Wire, far: Wire) -> None:
    await take(far, 2)
    await create(near, "a", handle=True)
    [claim] = await far.claims(1)
    await complete(far, claim, result=b"r")
    [outcome] = await near.outcomes(1)
    assert (outcome.job, outcome.result) == ("a", b"r")
    await near.ask(Handled, jobs=("a",))
    assert await count(far, "COMPLETE") == 0


async def test_a_job_released_here_is_run_there(near: Wire, far: Wire) -> None:
    await create(near, "a", attempts=3)
    [claim] = await near.ask(ClaimJobs, jobs=("a",))
    await take(far, 1)
    assert await count(far, "QUEUED") == 0
    await near.ask(Bye)
    [again] = await far.claims(1)
    assert (again.job, again.attempt) == ("a", 2)
    assert again.fence > claim.fence


async def test_handlers_on_both(near: Wire, far: Wire) -> None:
    await create(near, "a", handle=True, persistent=True)
    await far.ask(Handle, jobs=("a",))
    [claim] = await near.ask(ClaimJobs, jobs=("a",))
    await complete(near, claim, result=bytes(2_000))
    for wire in (near, far):
        [outcome] = await wire.outcomes(1)
        assert len(outcome.result or b"") == 2_000
        await wire.ask(Handled, jobs=("a",))
    assert (await get(near, "a")).handlers == ()


async def test_a_watcher_sees_what_happens_there(near: Wire, far: Wire) -> None:
    await create(far, "a")
    await near.ask(Watch, jobs=("a",))
    [claim] = await far.ask(ClaimJobs, jobs=("a",))
    await near.events("a", lambda event: event.state == "STARTED")
    report = ProgressReport(job="a", token=claim.token, percent=40, text="x")
    await far.ask(ReportProgress, reports=(report,))
    progressed = await near.events("a", lambda event: event.progress is not None)
    assert progressed[-1].progress is not None
    assert progressed[-1].progress.percent == 40
    log = LogReport(job="a", token=claim.token, messages=("one", "two"))
    await far.ask(WriteLog, reports=(log,))
    logged = await near.events("a", lambda event: bool(event.log) and event.log[-1].offset == 2)
    messages = [entry.message for event in logged for entry in event.log if entry.type == "log"]
    assert messages == ["one", "two"]
    await complete(far, claim)
    ended = await near.events("a", lambda event: event.removed)
    versions = [event.version for event in [*progressed, *logged, *ended]]
    assert versions == sorted(set(versions))


async def test_a_claim_revoked_from_there(near: Wire, far: Wire) -> None:
    """A runner is told, or finds out when it reports; in both cases it gets other work."""
    await create(near, "a", "b")
    await take(near, 1)
    [claim] = await near.claims(1)
    await far.ask(Remove, jobs=("a",))
    [following] = await near.claims(1)
    assert following.job == "b"
    [late] = await complete(near, claim)
    assert late.code == Code.NOT_FOUND
    for revoke in near.kept(Revoke):
        assert [(gone.job, gone.token) for gone in revoke.claims] == [("a", claim.token)]


async def test_a_client_that_moves_is_superseded_where_it_was(
    brokers: Brokers, two: list[Broker], near: Wire
) -> None:
    await create(near, "a", handle=True)
    [claim] = await near.ask(ClaimJobs, jobs=("a",))
    moved = await brokers.connect(two[1], "near", secret=near.welcome.secret)
    assert moved.welcome.resumed
    assert await moved.claims(1) == [claim]
    assert (await near.closing_error()).code == Code.SUPERSEDED
    await complete(moved, claim)
    assert len(await moved.outcomes(1)) == 1


async def test_a_client_that_moves_to_and_fro_keeps_the_newest(
    brokers: Brokers, two: list[Broker], near: Wire
) -> None:
    """Notices of older moves that come late close nothing that is newer."""
    secret, former = near.welcome.secret, near
    for turn in range(6):
        newest = await brokers.connect(two[(turn + 1) % 2], "near", secret=secret)
        assert newest.welcome.resumed
        assert (await former.closing_error()).code == Code.SUPERSEDED
        former = newest
    assert await former.ask(Info)


async def test_a_client_that_says_bye_there_is_gone_here(
    brokers: Brokers, two: list[Broker], near: Wire, far: Wire
) -> None:
    await create(far, "a", attempts=2)
    await near.ask(ClaimJobs, jobs=("a",))
    moved = await brokers.connect(two[1], "near", secret=near.welcome.secret)
    await moved.ask(Bye)
    assert (await near.closing_error()).code in (Code.SUPERSEDED, Code.CLIENT_GONE)
    assert (await get(far, "a")).state == "QUEUED"


async def test_counts_and_clients_are_the_same_on_both(near: Wire, far: Wire) -> None:
    await create(near, "a", "b", persistent=True)
    await complete(far, *await far.ask(ClaimJobs, jobs=("a",)))
    assert await near.ask(CountJobs) == await far.ask(CountJobs)
    for wire in (near, far):
        [info] = await wire.ask(Info)
        assert (info.clients, info.connections) == (2, 1)


async def test_creating_the_same_job_on_both_makes_one(near: Wire, far: Wire) -> None:
    jobs = tuple(NewJob(type="t", id=f"j{n}") for n in range(200))
    begun = [(wire, wire.begin(Create, jobs=jobs)) for wire in (near, far)]
    answers = [(await wire.answer(request)).results for wire, request in begun]  # type: ignore[union-attr]
    for ours, theirs in zip(*answers, strict=True):
        assert {ours.existed, theirs.existed} == {True, False}
    assert await count(near, "QUEUED") == 200


async def test_a_broker_that_ended_is_no_longer_counted(
    brokers: Brokers, two: list[Broker], near: Wire
) -> None:
    await brokers.stop(two[1])
    await two[0].parts.sweeper.sweep()
    assert two[0].parts.notices.peers == 0


async def test_runners_on_both_share_the_work(
    brokers: Brokers, two: list[Broker], near: Wire, far: Wire
) -> None:
    for wire in (near, far):
        await take(wire, 50)
    creator = await brokers.connect(two[0])
    await create(creator, *(f"j{n}" for n in range(100)))
    ours, theirs = await near.claims(50), await far.claims(50)
    assert len({*names(ours), *names(theirs)}) == 100
    await complete(near, *ours)
    await complete(far, *theirs)
    assert await count(creator, "STARTED") == 0


async def test_claims_by_id_at_both_are_granted_once(near: Wire, far: Wire) -> None:
    ids = tuple(f"j{n}" for n in range(200))
    await create(near, *ids)
    begun = [(wire, wire.begin(ClaimJobs, jobs=ids)) for wire in (near, far)]
    answers = [(await wire.answer(request)).results for wire, request in begun]  # type: ignore[union-attr]
    for ours, theirs in zip(*answers, strict=True):
        assert {type(ours), type(theirs)} == {Claim, Problem}


# -- when telling fails


async def test_what_is_no_notice_is_passed_over(
    brokers: Brokers, two: list[Broker], near: Wire, far: Wire
) -> None:
    raw = await Raw.open(brokers.store_url)
    for data in (b"", b"\xc1", b"\x91\xa1x", msgpack.packb(["x", 1, 2, 3, 4, 5, 6]), bytes(9)):
        await raw("SPUBLISH", brokers.keys.events, data)
    await raw.close()
    await take(far, 1)
    await create(near, "a")
    assert names(await far.claims(1)) == ["a"]


async def test_what_happens_while_a_broker_hears_nothing_is_found_when_it_hears_again(
    brokers: Brokers,
) -> None:
    """Its subscription was cut; no sweep helps it."""
    two = [await brokers.start(broker_name=name) for name in ("one", "two")]
    for broker in [*two, *two]:
        await broker.parts.sweeper.sweep()
    near, far = [await brokers.connect(broker) for broker in two]
    await create(far, "watched", "held", handle=True)
    await far.ask(Watch, jobs=("watched",))
    await take(far, 1)
    [claim] = await far.claims(1)
    raw = await Raw.open(brokers.store_url)
    listing = (await raw("CLIENT", "LIST", "TYPE", "PUBSUB")).decode().splitlines()
    [line] = [line for line in listing if "name=packhorse:two " in line]
    await raw("CLIENT", "KILL", "ID", line.split()[0].removeprefix("id="))
    await raw.close()
    # All of this goes by unheard: a claim that ends, an outcome, a change, a job that waits.
    [other] = await near.ask(ClaimJobs, jobs=("held",))
    await complete(near, other)
    await near.ask(Remove, jobs=("watched",))
    await create(near, "new")
    assert [outcome.job for outcome in await far.outcomes(1)] == ["held"]
    await far.events("watched", lambda event: event.removed)
    assert names(await far.claims(1)) == ["new"]
    [late] = await complete(far, claim)
    assert late.code == Code.NOT_FOUND


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_job_of_which_nobody_told_is_found_by_the_next_sweep(brokers: Brokers) -> None:
    """Also in a partition that had none a moment ago."""
    here, deaf = brokers.make(), brokers.make(deaf=True)
    for broker in (here, deaf):
        await broker.start()
    runner = await brokers.connect(deaf)
    await take(runner, 10)
    await runner.ask(Info)
    while deaf.parts.feeder.thought_empty() != ["t"]:
        await runner.ask(Info)
    creator = await brokers.connect(here)
    jobs = [f"j{number}" for number in range(6)]
    await create(creator, *jobs)
    await deaf.parts.sweeper._look_again()
    assert {claim.job for claim in await runner.claims(6)} == set(jobs)
