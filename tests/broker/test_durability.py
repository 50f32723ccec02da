"""What answers stand for: told in the welcome, asked for by a job, and owned up to if not met."""

import signal

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.errors import StoreUnsafe
from packhorse_protocol import Code
from packhorse_protocol.messages import ClaimJobs, Complete, Completion, Create, NewJob, Ok
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.replicas import Replicated
from tests.support.requests import create, get
from tests.support.wire import Wire


async def told(wire: Wire, request: type, **fields: object) -> tuple[object, str | None]:
    """The first result of a request, and what is said of its durability."""
    answer = await wire.answer(wire.begin(request, **fields))
    assert isinstance(answer, Ok)
    return answer.results[0], answer.durability


async def test_the_welcome_tells_what_is_in_force(brokers: Brokers) -> None:
    async with Replicated("--appendfsync", "always", replicas=0) as servers:
        broker = await brokers.start(
            store_url=servers.url, durability="replicated", replicas=2, durability_wait_ms=1
        )
        welcome = (await brokers.connect(broker)).welcome
        assert (welcome.kept, welcome.durability, welcome.replicas) == ("disk", "replicated", 2)
        info = await broker.info()
        assert (info.kept, info.durability, info.replicas) == ("disk", "replicated", 2)
        await brokers.stop(broker)


async def test_what_replicas_have_not_is_done_and_not_met(brokers: Brokers) -> None:
    async with Replicated() as servers:
        broker = await brokers.start(
            store_url=servers.url, durability="replicated", durability_wait_ms=50
        )
        wire = await brokers.connect(broker)
        _, durability = await told(wire, Create, jobs=(NewJob(type="t", id="a"),))
        assert durability is None
        servers.servers[1].signal(signal.SIGSTOP)
        _, durability = await told(wire, Create, jobs=(NewJob(type="t", id="b"),))
        assert durability == "not_met"
        assert (await get(wire, "b")).state == "QUEUED"
        servers.servers[1].signal(signal.SIGCONT)
        await brokers.stop(broker)


async def test_a_job_has_what_it_asks_for_all_its_life(brokers: Brokers, broker: Broker) -> None:
    """This store has no replicas: whatever waits for one waits in vain."""
    broker._store_watch.waits = broker._store_watch.waits.__class__(timeout_ms=1)
    wire = await brokers.connect(broker)
    job = NewJob(type="t", id="a", durability="replicated")
    _, durability = await told(wire, Create, jobs=(job, NewJob(type="t", id="beside")))
    assert durability == "not_met"
    assert (await get(wire, "a")).durability == "replicated"
    assert (await get(wire, "beside")).durability is None
    claim, durability = await told(wire, ClaimJobs, jobs=("a",))
    assert durability == "not_met"
    item = Completion(job="a", token=claim.token)  # type: ignore[attr-defined]
    _, durability = await told(wire, Complete, jobs=(item,))
    assert durability == "not_met"
    await create(wire, "plain")
    _, durability = await told(wire, ClaimJobs, jobs=("plain",))
    assert durability is None


async def test_where_there_are_no_replicas_nobody_waits(brokers: Brokers) -> None:
    """It would hold up all others, for what they did not ask for."""
    broker = await brokers.start(durability_wait_ms=60_000, store_timeout_ms=600_000)
    await broker.parts.sweeper.sweep()
    wire = await brokers.connect(broker)
    _, durability = await told(
        wire, Create, jobs=(NewJob(type="t", id="a", durability="replicated"),)
    )
    assert durability == "not_met"


async def test_what_the_store_can_not_promise_is_refused(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    job = NewJob(type="t", id="a", durability="disk")
    refused, _ = await told(wire, Create, jobs=(job,))
    assert (refused.code, refused.retryable) == (Code.NOT_DURABLE, False)  # type: ignore[attr-defined]


@pytest.mark.parametrize("checks", ["refuse", "warn"])
async def test_a_broker_does_not_start_on_a_store_that_evicts(
    brokers: Brokers, checks: str
) -> None:
    async with Replicated("--maxmemory-policy", "allkeys-lru", replicas=0) as servers:
        broker = brokers.make(store_url=servers.url, store_checks=checks)
        if checks == "refuse":
            with pytest.raises(StoreUnsafe, match="noeviction"):
                await broker.start()
        else:
            await broker.start()
        raw = await Raw.open(servers.url)
        # Nothing is written into a store that is refused.
        assert (await raw.keys(b"") == set()) is (checks == "refuse")
        await raw.close()
        await brokers.stop(broker)
