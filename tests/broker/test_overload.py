"""More creates than the store takes: what is there goes on, and producers are slowed down."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store import backlog
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Cancel,
    Cancelling,
    ClaimJobs,
    Complete,
    Completion,
    Create,
    Created,
    Ended,
    NewJob,
    Ok,
    Problem,
)
from tests.support.brokers import Brokers, until
from tests.support.proxy import Fault, FaultProxy
from tests.support.requests import count, create, names, take
from tests.support.wire import Wire


@pytest.fixture
def partitions() -> int:
    """One after the other goes what waits for one store."""
    return 1


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(store_url) as made:
        yield made


async def opened(brokers: Brokers, proxy: FaultProxy) -> tuple[Broker, Wire, Wire]:
    """A broker, and two clients of it."""
    broker = await brokers.start(store_url=proxy.url)
    return broker, await brokers.connect(broker), await brokers.connect(broker)


async def stop_store(proxy: FaultProxy, wire: Wire) -> None:
    """A first create is under way until `proxy.resume`; what comes then waits."""
    proxy.fail(Fault.PAUSE)
    wire.begin(Create, jobs=(NewJob(type="t", id="under-way"),))
    await proxy.met()


async def test_the_end_of_a_job_overtakes_creates(brokers: Brokers, proxy: FaultProxy) -> None:
    broker, wire, _ = await opened(brokers, proxy)
    await create(wire, "a")
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await stop_store(proxy, wire)
    creates = [wire.begin(Create, jobs=(NewJob(type="t"),)) for _ in range(900)]
    end = wire.begin(Complete, jobs=(Completion(job="a", token=claim.token),))
    await until(lambda: broker.parts.committer.waiting == 901)
    proxy.resume()
    answers = [(await wire.push(Ok)).id for _ in range(902)]
    assert answers.index(end) <= 1 + backlog.CREATES_BESIDE
    assert [answer for answer in answers if answer in creates] == creates


async def test_what_concerns_a_job_that_is_being_created_waits_for_it(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker, wire, _ = await opened(brokers, proxy)
    await stop_store(proxy, wire)
    made = wire.begin(Create, jobs=(NewJob(type="t", id="a"),))
    cancelled = wire.begin(Cancel, jobs=("a",))
    await until(lambda: broker.parts.committer.waiting == 2)
    proxy.resume()
    answers = [await wire.answer(request) for request in (made, cancelled)]
    assert all(isinstance(answer, Ok) for answer in answers)
    [result] = answers[1].results  # type: ignore[union-attr]
    assert isinstance(result, Cancelling | Ended), result
    assert await count(wire, "QUEUED") == 1


async def test_claims_have_room_where_creates_have_none(
    brokers: Brokers, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 100)
    broker, creator, runner = await opened(brokers, proxy)
    await create(creator, "a", "b", type="here")
    await stop_store(proxy, creator)
    requests = [creator.begin(Create, jobs=(NewJob(type="t"),) * 10) for _ in range(12)]
    await until(lambda: broker.parts.committer.waiting == 80)
    await creator.answer(requests.pop())
    await take(runner, 2, "here")
    proxy.resume()
    assert names(await runner.claims(2)) == ["a", "b"]
    results = [await creator.answer(request) for request in requests]
    assert all(isinstance(answer, Ok) for answer in results)
    told = [result for answer in results for result in answer.results]  # type: ignore[union-attr]
    refused = [result for result in told if isinstance(result, Problem)]
    assert {(one.code, one.retryable) for one in refused} == {(Code.UNAVAILABLE, True)}
    assert (len(told), len(refused)) == (110, 30)


async def test_producers_are_slowed_down_before_they_are_refused(
    brokers: Brokers, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 100)
    broker, creator, other = await opened(brokers, proxy)
    await stop_store(proxy, other)
    large = (NewJob(type="t", payload=bytes(8_192)),)
    requests = [creator.begin(Create, jobs=large) for _ in range(300)]
    await until(lambda: broker.parts.committer.crowded)
    for _ in range(500):  # It could have read it all meanwhile.
        await asyncio.sleep(0)
    assert broker.parts.committer.waiting < 50
    proxy.resume()
    for request in requests:
        answer = await creator.answer(request)
        assert isinstance(answer, Ok)
        assert isinstance(answer.results[0], Created)
