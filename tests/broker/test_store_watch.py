"""A broker notices what became of its store: started anew, emptied, or another one."""

from collections.abc import AsyncIterator
from typing import Any, Final

import msgpack
import pytest

from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.schema import SCHEMA_VERSION
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Create,
    Created,
    Ended,
    Get,
    Info,
    NewJob,
    Ok,
    Revoke,
    Timeouts,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.log_lines import LogLines
from tests.support.requests import complete, create, get, names, repeated, take
from tests.support.store_server import StoreServer
from tests.support.wire import Wire

QUICK: Final[dict[str, Any]] = {"sweep_ms": 20, "last_response_flush_ms": 20}


@pytest.fixture
async def server() -> AsyncIterator[StoreServer]:
    async with StoreServer() as started:
        await started.start()
        yield started


@pytest.fixture
def store_url(server: StoreServer) -> str:
    """In this module every test has a store to itself."""
    return server.url


async def asked(url: str, *command: str | bytes) -> Any:
    raw = await Raw.open(url)
    reply = await raw(*command)
    await raw.close()
    return reply


async def identity(wire: Wire) -> str:
    [info] = await wire.ask(Info)
    store: str = info.store
    return store


async def test_what_a_store_that_was_started_anew_has_forgotten_is_revoked(
    brokers: Brokers, server: StoreServer
) -> None:
    """It lost its last change, the claim, as one that writes to disk now and then may."""
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker)
    await create(wire, "a")
    kept = server.size_bytes
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await server.kill()
    server.lose_after(kept)
    await server.start()
    await lines.of("store.replaced")
    [revoked] = (await wire.push(Revoke)).claims
    assert (revoked.job, revoked.token) == ("a", claim.token)
    [stale] = await complete(wire, claim)
    assert stale.code == Code.STALE_CLAIM
    await take(wire, 1)
    [again] = await wire.claims(1)
    assert again.token != claim.token
    assert await complete(wire, again) == (Ended(state="COMPLETE"),)


async def test_an_emptied_store_is_said_loudly_and_begun_anew(
    brokers: Brokers, server: StoreServer
) -> None:
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, "me")
    former = await identity(wire)
    await create(wire, "a", "b")
    [_] = await wire.ask(ClaimJobs, jobs=("a",))
    await asked(server.url, "FLUSHALL")
    line = await lines.of("store.wiped")
    assert (line["former"], line["level"]) == (former, "error")
    assert (await wire.closing_error()).code == Code.CLIENT_GONE
    back = await brokers.connect(broker, "me", secret=wire.welcome.secret)
    assert not back.welcome.resumed
    assert await identity(back) == line["store"] != former
    [gone] = await back.ask(Get, jobs=("a",))
    assert gone.code == Code.NOT_FOUND
    # The type is known anew: the check at the end of the test finds it in its set.
    await create(back, "a")
    assert await asked(server.url, "SISMEMBER", brokers.keys.types, "t") == 1
    await take(back, 1)
    assert names(await back.claims(1)) == ["a"]


async def test_another_store_under_the_same_address(brokers: Brokers, server: StoreServer) -> None:
    """With an identity of its own, and jobs of its own."""
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, "me")
    await create(wire, "a")
    other = msgpack.packb([SCHEMA_VERSION, "0123456789abcdef", 1, 1])
    await asked(server.url, "SET", ClientKeys(brokers.prefix).store, other)
    line = await lines.of("store.wiped")
    assert line["store"] == "0123456789abcdef"
    # What is in it is served.
    assert (await get(wire, "a")).state == "QUEUED"
    assert await identity(wire) == "0123456789abcdef"


async def test_a_store_that_is_of_a_newer_packhorse_now_is_said_and_not_touched(
    brokers: Brokers, server: StoreServer
) -> None:
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    newer = msgpack.packb([SCHEMA_VERSION + 1, "0123456789abcdef", 1, 1])
    key = ClientKeys(brokers.prefix).store
    former = await asked(server.url, "GET", key)
    await asked(server.url, "SET", key, newer)
    line = await lines.of("sweep.failed")
    assert "newer packhorse" in line["error"]
    assert await asked(server.url, "GET", key) == newer
    await asked(server.url, "SET", key, former)
    assert (await identity(await brokers.connect(broker))) == broker.store.id


async def test_a_store_that_ends_because_its_disk_is_full(
    brokers: Brokers, server: StoreServer
) -> None:
    """As one does that writes each change to disk before it answers."""
    broker = await brokers.start(store_timeout_ms=30_000, **QUICK)
    wire = await brokers.connect(broker)
    await create(wire, "a")
    server.limit_files(server.size_bytes)
    creating = wire.begin(Create, jobs=(NewJob(type="t", id="b"),))
    await server.ended()
    await server.start()
    answer = await wire.answer(creating)
    assert isinstance(answer, Ok)
    assert answer.results == (Created(job="b", state="QUEUED"),)
    assert (await repeated(wire, Get, jobs=("a",))).state == "QUEUED"


async def test_a_jobs_own_timeout_goes_on_after_the_store_was_away(
    brokers: Brokers, server: StoreServer
) -> None:
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True, timeouts=Timeouts(idle_ms=1_000))
    await server.kill()
    await server.start()
    [outcome] = await wire.outcomes(1)
    assert (outcome.job, outcome.reason) == ("a", "JOB_TIMEOUT")
