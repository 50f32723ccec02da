"""A store whose memory is full: no jobs are created, and those that are there can end."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.config import Config
from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Configure,
    Create,
    Done,
    Ended,
    Fail,
    Handled,
    Info,
    LogReport,
    NewJob,
    Remove,
    Retry,
    TypeChange,
    Watch,
    WriteLog,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.log_lines import LogLines
from tests.support.requests import complete, create, failure, get, names, release, take
from tests.support.wire import Wire

QUICK: Final[dict[str, Any]] = {
    "sweep_ms": 20,
    "last_response_flush_ms": 20,
    "min_client_timeout_ms": 10,
}
LONG_MS = 3_600_000


@pytest.fixture
async def own_store() -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(None, ephemeral=True)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
def store_url(own_store: EmbeddedStore) -> str:
    """In this module every test has a store to itself."""
    return own_store.url


@pytest.fixture
async def raw(store_url: str) -> AsyncIterator[Raw]:
    opened = await Raw.open(store_url)
    yield opened
    await opened.close()


async def no_memory(raw: Raw) -> None:
    await raw("CONFIG", "SET", "maxmemory", 1)


async def has_memory(raw: Raw) -> None:
    await raw("CONFIG", "SET", "maxmemory", 0)


async def refused(wire: Wire, job: str) -> None:
    [problem] = await wire.ask(Create, jobs=(NewJob(type="t", id=job),))
    assert (problem.code, problem.retryable) == (Code.STORE_FULL, True)


async def test_at_the_watermark_no_more_jobs_are_created(brokers: Brokers, raw: Raw) -> None:
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, timeout_ms=LONG_MS)
    await create(wire, "a", "b")
    assert not broker.server.gate.crowded()
    used = int((await raw.info("memory"))["used_memory"])
    percent = Config().store_full_percent
    assert percent < 95
    # Less than what is left is needed for all that follows.
    await raw("CONFIG", "SET", "maxmemory", used * 100 // (percent + 5))
    line = await lines.of("store.full")
    assert line["used_bytes"] * 100 >= line["max_bytes"] * percent
    await refused(wire, "new")
    # Those who create all the same are slowed down.
    assert broker.server.gate.crowded()
    [info] = await wire.ask(Info)
    assert info.store_full
    await take(wire, 1)
    assert await complete(wire, *await wire.claims(1)) == (Ended(state="COMPLETE"),)
    await raw("CONFIG", "SET", "maxmemory", used * 10)
    await lines.of("store.has_room")
    await create(wire, "new")


async def test_when_no_memory_is_left_jobs_still_run_and_end(brokers: Brokers, raw: Raw) -> None:
    """Before any broker has noticed by looking."""
    broker = await brokers.start()
    handler = await brokers.connect(broker)
    await create(handler, *"abcd", handle=True, attempts=1)
    await create(handler, "e", payload=bytes(100_000))
    await no_memory(raw)
    runner = await brokers.connect(broker, "late")
    await refused(handler, "new")
    await take(runner, 5)
    claims = await runner.claims(5)
    assert names(claims) == [*"abcde"]
    assert claims[4].payload == bytes(100_000)
    a, b, _, d, e = claims
    assert await complete(runner, a, result=bytes(100_000)) == (Ended(state="COMPLETE"),)
    [failed] = await runner.ask(Fail, jobs=(failure(b),))
    assert failed == Ended(state="FAILED")
    [outcome, failed_outcome] = await handler.outcomes(2)
    assert (outcome.job, outcome.result) == ("a", bytes(100_000))
    assert failed_outcome.job == "b"
    assert await handler.ask(Handled, jobs=("a",)) == (Done(),)
    assert await handler.ask(Retry, jobs=("b",)) == (Ended(state="QUEUED"),)
    assert await handler.ask(Remove, jobs=("b", "c")) == (Done(), Done())
    await release(runner, d)
    assert await complete(runner, e) == (Ended(state="COMPLETE"),)
    await refused(handler, "new")
    await has_memory(raw)
    await create(handler, "new")


async def test_what_only_adds_to_a_job_is_refused_until_there_is_room(
    brokers: Brokers, broker: Broker, raw: Raw
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    reports = (LogReport(job="a", token=claim.token, messages=("hello",)),)
    await no_memory(raw)
    [problem] = await wire.ask(WriteLog, reports=reports)
    assert (problem.code, problem.retryable) == (Code.STORE_FULL, True)
    await has_memory(raw)
    assert await wire.ask(WriteLog, reports=reports) == (Done(),)


async def test_clients_come_and_go_in_a_full_store(brokers: Brokers, raw: Raw) -> None:
    """What a silent runner held goes to another one: else it would never end."""
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, timeout_ms=LONG_MS)
    await create(wire, "a", attempts=2)
    await wire.ask(Watch, jobs=("a",))
    await no_memory(raw)
    silent = await brokers.connect(broker, "silent", timeout_ms=300)
    await silent.ask(ClaimJobs, jobs=("a",))
    assert (await silent.closing_error()).code == Code.CLIENT_GONE
    await wire.events("a", lambda event: event.state == "QUEUED")
    await take(wire, 1)
    [claim] = await wire.claims(1)
    assert claim.attempt == 2
    assert await complete(wire, claim) == (Ended(state="COMPLETE"),)
    again = await brokers.connect(broker, "silent", timeout_ms=LONG_MS)
    assert not again.welcome.resumed


async def test_people_can_steer_a_full_store(brokers: Brokers, broker: Broker, raw: Raw) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    await no_memory(raw)
    await wire.ask(Configure, types=(TypeChange(type="t", paused=True),), why="it is full")
    [problem] = await wire.ask(ClaimJobs, jobs=("a",))
    assert problem.details["paused"] == "true"
    assert (await get(wire, "a")).state == "QUEUED"


async def test_a_broker_starts_on_a_full_store(brokers: Brokers, raw: Raw) -> None:
    first = await brokers.start()
    wire = await brokers.connect(first, "me")
    await create(wire, "a")
    await no_memory(raw)
    await brokers.stop(first)
    second = await brokers.start()
    back = await brokers.connect(second, "me", secret=wire.welcome.secret)
    await take(back, 1)
    assert await complete(back, *await back.claims(1)) == (Ended(state="COMPLETE"),)
    await refused(back, "new")
