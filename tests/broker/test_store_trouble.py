"""A store that is away, and one that holds what no broker wrote."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.keys import ClientKeys
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Create,
    Created,
    Get,
    Handle,
    Hello,
    NewJob,
    Problem,
    Refused,
    Remove,
    Take,
    Watch,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.proxy import FaultProxy
from tests.support.requests import complete, create, get, names, take


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(store_url) as opened:
        yield opened


@pytest.fixture
async def raw(store_url: str) -> AsyncIterator[Raw]:
    opened = await Raw.open(store_url)
    yield opened
    await opened.close()


def away(proxy: FaultProxy) -> None:
    proxy.refusing = True
    proxy.cut()


# -- away


async def test_requests_are_answered_while_the_store_is_away(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url, store_timeout_ms=50)
    wire = await brokers.connect(broker, "me")
    await create(wire, "a")
    away(proxy)
    [refused] = await wire.ask(Create, jobs=(NewJob(type="t"),))
    others = [await wire.ask(request, jobs=("a",)) for request in (ClaimJobs, Remove, Handle)]
    for problem in (refused, *(results[0] for results in others)):
        assert (problem.code, problem.retryable) == (Code.UNAVAILABLE, True)
        assert problem.retry_after_ms
    for look in (Get, Watch):
        error = await wire.refusal(look, jobs=("a",))
        assert (error.code, error.retryable, error.closing) == (Code.UNAVAILABLE, True, False)
        assert error.retry_after_ms
    # Nobody is let in meanwhile, and nobody is put out.
    stranger = await brokers.dial(broker)
    stranger.send(Hello(versions=(1,)))
    closing = await stranger.closing_error()
    assert (closing.code, closing.retryable) == (Code.UNAVAILABLE, True)
    proxy.refusing = False
    # Nothing of all this was done.
    back = await brokers.connect_when_possible(broker, "other")
    while isinstance(await back.answer(back.begin(Get, jobs=("a",))), Refused):
        pass
    view = await get(back, "a")
    assert (view.state, view.version, view.handlers) == ("QUEUED", 1, ())
    await brokers.stop(broker)


async def test_a_short_outage_is_only_slower(brokers: Brokers, proxy: FaultProxy) -> None:
    broker = await brokers.start(store_url=proxy.url)
    wire = await brokers.connect(broker)
    await create(wire, "a")
    away(proxy)
    request = wire.begin(Create, jobs=(NewJob(type="t", id="b"),))
    await proxy.refused()
    proxy.refusing = False
    answer = await wire.answer(request)
    assert answer.results == (Created(job="b", state="QUEUED"),)  # type: ignore[union-attr]
    await brokers.stop(broker)


async def test_what_is_taken_goes_on_after_an_outage(brokers: Brokers, proxy: FaultProxy) -> None:
    broker = await brokers.start(
        store_url=proxy.url, store_timeout_ms=50, sweep_ms=20, last_response_flush_ms=20
    )
    wire = await brokers.connect(broker)
    await create(wire, "a")
    away(proxy)
    await wire.ask(Take, types={"t": 1}, credit=1)
    await proxy.refused()
    proxy.refusing = False
    [claim] = await wire.claims(1)
    assert claim.job == "a"
    while True:
        [answer] = await complete(wire, claim)
        if not isinstance(answer, Problem):
            break
        assert answer.code == Code.UNAVAILABLE
    await wire.close()
    await brokers.stop(broker)


async def test_a_broker_waits_for_its_store_and_then_serves(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    proxy.refusing = True
    broker = brokers.make(store_url=proxy.url)
    starting = asyncio.create_task(broker.start())
    await proxy.refused()
    await proxy.refused()
    assert not starting.done()
    proxy.refusing = False
    await starting
    await create(await brokers.connect(broker), "a")
    await brokers.stop(broker)


async def test_a_broker_that_waits_can_be_closed(brokers: Brokers, proxy: FaultProxy) -> None:
    proxy.refusing = True
    broker = brokers.make(store_url=proxy.url)
    starting = asyncio.create_task(broker.start())
    await proxy.refused()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await brokers.stop(broker)


# -- not as a broker left it


async def test_a_record_that_is_none_costs_its_own_job_only(
    brokers: Brokers, broker: Broker, raw: Raw
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, *"abc")
    record = brokers.keys.record("b")
    kept = await raw("GET", record)
    await raw("SET", record, b"\xc1")
    for request in (Get, Watch, Handle):
        first, broken, last = await wire.ask(request, jobs=("a", "b", "c"))
        assert not isinstance(first, Problem)
        assert not isinstance(last, Problem)
        assert broken.code == Code.INTERNAL
    # A queue whose head is broken is no obstacle to what stands behind it.
    await take(wire, 3)
    assert names(await wire.claims(2)) == ["a", "c"]
    await raw("SET", record, kept)
    broker.parts.feeder.queued("t")
    assert names(await wire.claims(1)) == ["b"]


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_job_without_its_payload_fails_and_says_why(
    brokers: Brokers, broker: Broker, raw: Raw, by_id: bool
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", payload=bytes(2_000), attempts=3, handle=True)
    await raw("DEL", brokers.keys.body("a"))
    if by_id:
        [problem] = await wire.ask(ClaimJobs, jobs=("a",))
        assert problem.code == Code.INTERNAL
    else:
        await take(wire, 1)
    [outcome] = await wire.outcomes(1)
    assert (outcome.state, outcome.reason) == ("FAILED", "FAILED")
    assert outcome.error is not None
    assert outcome.error.type == "BodyMissing"
    # Its place is free again.
    await create(wire, "b")
    await take(wire, 1)
    assert names(await wire.claims(1)) == ["b"]
    await wire.ask(Remove, jobs=("a",))


async def test_a_client_record_that_is_none_keeps_nobody_else_out(
    brokers: Brokers, broker: Broker, raw: Raw
) -> None:
    await brokers.connect(broker, "bad")
    await raw("SET", ClientKeys(brokers.prefix).client("bad"), b"\xc1")
    refused = await brokers.dial(broker)
    refused.send(Hello(versions=(1,), client="bad"))
    assert (await refused.closing_error()).code == Code.INTERNAL
    await broker.parts.sweeper.sweep()
    good = await brokers.connect(broker, "good")
    await create(good, "a")
    assert (await get(good, "a")).state == "QUEUED"


async def test_an_outcome_that_cant_be_read_holds_up_no_other(
    brokers: Brokers, broker: Broker, raw: Raw
) -> None:
    handler, runner = await brokers.connect(broker, "h"), await brokers.connect(broker)
    await create(handler, "broken", "sound", "last", handle=True)
    await handler.abort()
    for job in ("broken", "sound", "last"):
        await complete(runner, *await runner.ask(ClaimJobs, jobs=(job,)), result=bytes(1_000))
    await raw("SET", brokers.keys.outcome("broken"), b"\xc1")
    again = await brokers.connect(broker, "h", secret=handler.welcome.secret)
    assert {outcome.job for outcome in await again.outcomes(2)} == {"sound", "last"}
