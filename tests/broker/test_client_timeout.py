"""Silent clients are removed; clients of which the broker could not hear are not."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.sweeper import Sweeper
from packhorse_protocol import Code
from packhorse_protocol.messages import ClaimJobs, ClientBeat, Hello, Info, Take, Watch
from tests.support.brokers import NEVER_MS, Brokers, until
from tests.support.inspection import Raw
from tests.support.proxy import FaultProxy
from tests.support.requests import complete, count, create, get, names, take
from tests.support.wire import Wire

QUICK: dict[str, Any] = {"sweep_ms": 20, "last_response_flush_ms": 20, "min_client_timeout_ms": 10}
"""For brokers that are to notice things soon."""

SHORT_MS = 300
LONG_MS = 3_600_000


async def is_true(look: Callable[[], Awaitable[bool]]) -> None:
    """Until the broker says so."""
    while not await look():
        pass


async def clients(wire: Wire) -> int:
    [info] = await wire.ask(Info)
    number: int = info.clients
    return number


async def test_a_silent_client_is_removed_with_all_that_it_had(brokers: Brokers) -> None:
    broker = await brokers.start(**QUICK)
    silent = await brokers.connect(broker, "silent", timeout_ms=SHORT_MS)
    other = await brokers.connect(broker, timeout_ms=LONG_MS)
    await create(other, "again", attempts=2)
    await create(other, "last", attempts=1, handle=True)
    await create(silent, "unhandled", handle=True)
    await silent.ask(ClaimJobs, jobs=("again", "last"))
    # It says nothing any more; it still reads.
    error = await silent.closing_error()
    assert (error.code, error.retryable) == (Code.CLIENT_GONE, False)
    [outcome] = await other.outcomes(1)
    assert (outcome.job, outcome.state, outcome.reason) == ("last", "FAILED", "RUNNER_TIMEOUT")
    again = await get(other, "again")
    assert (again.state, again.lost, again.current_attempt) == ("QUEUED", 1, 1)
    assert (await get(other, "unhandled")).handlers == ()
    assert await clients(other) == 1
    # Its id is free, and nothing of it comes back.
    fresh = await brokers.connect(broker, "silent", secret=silent.welcome.secret)
    assert not fresh.welcome.resumed


async def test_its_jobs_go_to_others_at_their_old_place(brokers: Brokers) -> None:
    broker = await brokers.start(**QUICK)
    silent = await brokers.connect(broker, timeout_ms=SHORT_MS)
    other = await brokers.connect(broker, timeout_ms=LONG_MS)
    await create(other, *"abc", attempts=2)
    held = await silent.ask(ClaimJobs, jobs=("b", "a"))
    await silent.abort()
    await take(other, 1)
    assert names(await other.claims(1)) == ["c"]
    await take(other, 3)
    claims = await other.claims(2)
    assert names(claims) == ["a", "b"]
    assert [claim.attempt for claim in claims] == [2, 2]
    assert not {claim.token for claim in claims} & {claim.token for claim in held}


async def test_any_frame_is_a_sign_of_life(brokers: Brokers) -> None:
    """Of two clients with the same timeout the one that says anything stays."""
    broker = await brokers.start(**QUICK)
    talker = await brokers.connect(broker, timeout_ms=SHORT_MS)
    beating = await brokers.connect(broker, timeout_ms=SHORT_MS)
    mute = await brokers.connect(broker, timeout_ms=SHORT_MS)
    assert await clients(talker) == 3
    while await clients(talker) == 3:
        beating.send(ClientBeat())
    assert await clients(talker) == 2
    assert (await mute.closing_error()).code == Code.CLIENT_GONE
    assert await beating.ask(Info)


async def test_a_lost_connection_alone_removes_nobody(brokers: Brokers) -> None:
    broker = await brokers.start(**QUICK)
    lost = await brokers.connect(broker, "lost", timeout_ms=LONG_MS)
    # One that is removed in the meantime shows that the broker looks.
    mute = await brokers.connect(broker, timeout_ms=SHORT_MS)
    await create(lost, "a", handle=True)
    [claim] = await lost.ask(ClaimJobs, jobs=("a",))
    await lost.abort()
    await mute.ended()
    again = await brokers.connect(broker, "lost", secret=lost.welcome.secret)
    assert again.welcome.resumed
    assert await again.claims(1) == [claim]
    await complete(again, claim)
    assert len(await again.outcomes(1)) == 1


async def test_coming_back_in_time_is_enough(brokers: Brokers) -> None:
    """Connections come and go; the client stays as long as one comes before its time is up."""
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, "me", timeout_ms=SHORT_MS * 3)
    mute = await brokers.connect(broker, timeout_ms=SHORT_MS * 3)
    secret = wire.welcome.secret
    while not mute.at_end:
        await wire.abort()
        wire = await brokers.connect(broker, "me", secret=secret, timeout_ms=SHORT_MS * 3)
        assert wire.welcome.resumed
        try:
            async with asyncio.timeout(0.05):
                await mute.ended()
        except TimeoutError:
            continue


async def test_a_silent_connection_is_closed_also_where_nobody_can_be_removed(
    brokers: Brokers,
) -> None:
    """The store is away, say, or this broker does not get round to it."""
    broker = await brokers.start(min_client_timeout_ms=10)
    wire = await brokers.connect(broker, "me", timeout_ms=10)
    error = await wire.closing_error()
    assert (error.code, error.retryable) == (Code.SILENT, True)
    again = await brokers.connect(broker, "me", secret=wire.welcome.secret)
    assert again.welcome.resumed


async def test_signs_of_life_reach_the_store_in_one_write(brokers: Brokers) -> None:
    """Not one for each frame, nor one for each client."""
    async with FaultProxy(brokers.store_url) as proxy:
        broker = await brokers.start(store_url=proxy.url)
        wires = [await brokers.connect(broker, f"c{n}") for n in range(20)]
        raw = await Raw.open(brokers.store_url)
        alive = ClientKeys(brokers.prefix).alive
        before = [await raw("ZSCORE", alive, wire.id) for wire in wires]
        proxy.commands.clear()
        for _ in range(10):
            for wire in wires:
                wire.send(ClientBeat())
        await asyncio.gather(*(wire.ask(Take, types={}, credit=0) for wire in wires))
        assert not proxy.commands
        await broker.parts.sweeper.sweep()
        # The other one says that this broker runs.
        assert proxy.commands[b"ZADD"] == 2
        after = [await raw("ZSCORE", alive, wire.id) for wire in wires]
        assert all(now > then for now, then in zip(after, before, strict=True))
        await raw.close()
        await brokers.stop(broker)


# -- when the broker, or the store, was not there to hear


@pytest.fixture
async def raw(brokers: Brokers) -> Raw:
    return await Raw.open(brokers.store_url)


async def times_out(raw: Raw, prefix: str, client: str, *, at_ms: int) -> None:
    """Writes down that a client was last heard of long ago."""
    await raw("ZADD", ClientKeys(prefix).alive, "XX", at_ms, client)


async def test_a_broker_that_was_down_gives_everybody_a_full_timeout(
    brokers: Brokers, raw: Raw
) -> None:
    first = await brokers.start()
    patient = await brokers.connect(first, "patient", timeout_ms=LONG_MS)
    hasty = await brokers.connect(first, "hasty", timeout_ms=SHORT_MS)
    await create(patient, "a", "b", attempts=2)
    [a] = await patient.ask(ClaimJobs, jobs=("a",))
    await hasty.ask(ClaimJobs, jobs=("b",))
    await brokers.stop(first)
    for client in ("patient", "hasty"):
        await times_out(raw, brokers.prefix, client, at_ms=1)
    await raw.close()
    began = time.monotonic()
    second = await brokers.start(**QUICK)
    other = await brokers.connect(second, timeout_ms=LONG_MS)
    # The hasty one's timeout passes after the start, and not before.
    await other.ask(Watch, jobs=("b",))
    await other.events("b", lambda event: event.state == "QUEUED")
    assert time.monotonic() - began >= SHORT_MS / 1000
    assert await clients(other) == 2
    # The patient one has a full hour, and is not too late.
    again = await brokers.connect(second, "patient", secret=patient.welcome.secret)
    assert again.welcome.resumed
    assert await again.claims(1) == [a]


async def test_a_sweep_right_after_the_start_removes_nobody(brokers: Brokers, raw: Raw) -> None:
    first = await brokers.start()
    await brokers.connect(first, "me", timeout_ms=LONG_MS)
    await brokers.stop(first)
    await times_out(raw, brokers.prefix, "me", at_ms=1)
    await raw.close()
    second = await brokers.start()
    for _ in range(5):
        await second.parts.sweeper.sweep()
    assert await clients(await brokers.connect(second)) == 2


async def test_after_a_pause_of_the_process_everybody_has_a_full_timeout(
    brokers: Brokers, raw: Raw
) -> None:
    """A broker that was stopped (SIGSTOP, a suspended laptop) heard nothing meanwhile."""
    broker = await brokers.start()
    sweeper, outages = broker.parts.sweeper, broker.parts.outages
    mute = await brokers.connect(broker, "mute", timeout_ms=LONG_MS)
    await mute.abort()
    await times_out(raw, brokers.prefix, "mute", at_ms=1)
    await raw.close()
    outages._gaps.clear()
    outages._sound_ms -= 10 * NEVER_MS
    await sweeper.sweep()
    other = await brokers.connect(broker)
    assert await clients(other) == 2
    # Without a pause the same silence is enough.
    outages._gaps.clear()
    await sweeper.sweep()
    assert await clients(other) == 1


async def test_a_clock_of_the_store_that_is_set_removes_nobody(
    brokers: Brokers, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    await raw.close()
    broker = await brokers.start(sweep_ms=20, last_response_flush_ms=20)
    lost = await brokers.connect(broker, "lost", timeout_ms=LONG_MS)
    await lost.abort()
    other = await brokers.connect(broker, timeout_ms=LONG_MS)
    [before] = await other.ask(Info)
    read = broker._registry.time_ms

    async def set_forward() -> float:
        return await read() + 2 * LONG_MS

    monkeypatch.setattr(broker._registry, "time_ms", set_forward)
    for _ in range(3):
        await broker.parts.sweeper.sweep()
    [after] = await other.ask(Info)
    assert after.now_ms - before.now_ms >= LONG_MS
    assert after.clients == 2


async def swept(sweeper: Sweeper) -> None:
    """A whole sweep; each of its connections to the store may have to be made anew."""
    while True:
        try:
            await sweeper.sweep()
        except StoreUnavailable:
            await asyncio.sleep(0)
        else:
            return


async def test_a_client_of_a_store_that_was_away_has_a_full_timeout(
    brokers: Brokers, raw: Raw
) -> None:
    async with FaultProxy(brokers.store_url) as proxy:
        broker = await brokers.start(store_url=proxy.url, sweep_ms=20, min_client_timeout_ms=10)
        sweeper, outages = broker.parts.sweeper, broker.parts.outages
        mute = await brokers.connect(broker, "mute", timeout_ms=LONG_MS)
        await mute.abort()
        proxy.refusing = True
        outages._gaps.clear()
        proxy.cut()
        await until(lambda: outages._deaf)
        await times_out(raw, brokers.prefix, "mute", at_ms=1)
        await raw.close()
        proxy.refusing = False
        other = await brokers.connect_when_possible(broker, "other")
        await swept(sweeper)
        assert await clients(other) == 2
        await other.close()
        await brokers.stop(broker)


async def test_one_that_is_heard_is_not_removed_whatever_the_store_says(
    brokers: Brokers, raw: Raw
) -> None:
    """Its signs of life reach the store a little late."""
    broker = await brokers.start(min_client_timeout_ms=10)
    wire = await brokers.connect(broker, "me", timeout_ms=LONG_MS)
    broker.parts.outages._gaps.clear()
    await times_out(raw, brokers.prefix, "me", at_ms=1)
    await raw.close()
    await broker.parts.sweeper.sweep()
    assert await clients(wire) == 1


async def test_a_removal_that_was_begun_is_finished_by_whoever_sweeps(
    brokers: Brokers,
) -> None:
    """The broker died between the first step and the last."""
    broker = await brokers.start(**QUICK)
    leaver = await brokers.connect(broker, "l", timeout_ms=LONG_MS)
    other = await brokers.connect(broker, timeout_ms=LONG_MS)
    await create(leaver, "a", handle=True, attempts=2)
    await create(other, "watched")
    await leaver.ask(ClaimJobs, jobs=("a",))
    assert await broker._registry.begin_removal("l", broker.id, 1)
    await is_true(lambda: _is_queued(other, "a"))
    assert (await get(other, "a")).handlers == ()
    wire = await brokers.connect_when_possible(broker, "l", secret=bytes(32))
    assert not wire.welcome.resumed
    assert await count(other, "QUEUED") == 2


async def _is_queued(wire: Wire, job: str) -> bool:
    return (await get(wire, job)).state == "QUEUED"


async def test_while_it_is_being_removed_a_client_is_asked_to_come_later(
    brokers: Brokers, broker: Broker
) -> None:
    leaver = await brokers.connect(broker, "l", timeout_ms=LONG_MS)
    await leaver.abort()
    assert await broker._registry.begin_removal("l", broker.id, 1)
    wire = await brokers.dial(broker)
    wire.send(Hello(versions=(1,), client="l", secret=leaver.welcome.secret))
    error = await wire.closing_error()
    assert (error.code, error.retryable) == (Code.CLIENT_EXISTS, True)
    assert error.retry_after_ms
