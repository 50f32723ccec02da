"""What is waited for after EXEC, and what it is worth."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.durability import AFTER_EXEC, Durability, Waits
from packhorse_broker.store.errors import StoreUnsafe
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.promises import agree, doubts, read_settings
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.work import Submission
from tests.support.commands import create
from tests.support.inspection import Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import FaultProxy
from tests.support.replicas import Replicated

STORE, DISK, REPLICATED = Durability.STORE, Durability.DISK, Durability.REPLICATED


@pytest.mark.parametrize(
    ("waits", "wanted", "command"),
    [
        (AFTER_EXEC, STORE, None),
        (AFTER_EXEC, DISK, None),
        (AFTER_EXEC, REPLICATED, ("WAIT", 1, 1_000)),
        (Waits(least=REPLICATED, replicas=2, timeout_ms=7), STORE, ("WAIT", 2, 7)),
        (Waits(by_waitaof=True), STORE, None),
        (Waits(by_waitaof=True), DISK, ("WAITAOF", 1, 0, 1_000)),
        (Waits(by_waitaof=True, least=DISK), STORE, ("WAITAOF", 1, 0, 1_000)),
        (Waits(by_waitaof=True, least=DISK), REPLICATED, ("WAIT", 1, 1_000)),
    ],
)
def test_what_is_sent(
    waits: Waits, wanted: Durability, command: tuple[str | int, ...] | None
) -> None:
    assert waits.command(wanted) == (pack(command) if command is not None else None)


@pytest.mark.parametrize(
    ("connected", "wanted", "hopeless"),
    [
        (None, REPLICATED, False),
        (1, REPLICATED, True),
        (2, REPLICATED, False),
        (0, DISK, False),
        (0, STORE, False),
    ],
)
def test_what_is_not_worth_waiting_for(
    connected: int | None, wanted: Durability, hopeless: bool
) -> None:
    assert Waits(replicas=2, connected=connected).hopeless(wanted) is hopeless


@pytest.mark.parametrize(
    ("reply", "met"),
    [(2, True), (3, True), (1, False), ([1, 0], True), ([0, 0], False), ([], False), (None, False)],
)
def test_what_counts_as_an_answer(reply: object, met: bool) -> None:
    assert Waits(replicas=2).met(reply) is met


async def durable(caller: Caller, *jobs: str, terms: Terms | None = None) -> bool:
    """Creates jobs in one transaction: whether what was waited for came."""
    told: list[bool] = []
    caller.committer.submit(
        Submission([create(job, terms=terms) for job in jobs], lambda _, met: told.append(met))
    )
    await caller.submit()
    return told[0]


async def test_changes_wait_for_replicas(keys: PartitionKeys, opener: Opener) -> None:
    async with Replicated() as servers:
        waits = Waits(least=REPLICATED, replicas=1, timeout_ms=50)
        caller = opener.committer(servers.url, waits=waits)
        assert await durable(caller, "a")
        replica = servers.servers[1]
        replica.signal(signal.SIGSTOP)
        assert not await durable(caller, "b")
        replica.signal(signal.SIGCONT)
        # It was done all the same, and what comes next is waited for anew.
        while not await durable(caller, "c"):
            pass
        raw = await Raw.open(servers.url)
        assert await raw("EXISTS", keys.record("b")) == 1
        await raw.close()
        await caller.committer.close()


async def test_a_job_may_ask_for_more_than_its_broker(opener: Opener) -> None:
    """Here the store has no replicas, so that every wait is in vain."""
    caller = opener.committer(waits=Waits(timeout_ms=1))
    assert await durable(caller, "plain")
    assert not await durable(caller, "wanting", terms=Terms(durability=REPLICATED))
    assert not await durable(caller, "beside", "neighbour", terms=Terms(durability=REPLICATED))


async def test_a_lost_connection_tells_nothing(
    opener: Opener, proxy: FaultProxy, keys: PartitionKeys
) -> None:
    """WAIT on a new connection would answer for what that has written: nothing."""
    lane = opener.lane(proxy.url)
    await lane.watch([keys.types])
    assert await lane.commit([("SADD", keys.types, "mail")]) == [1]
    assert await lane.acknowledged(pack(("WAIT", 0, 1))) == 0
    proxy.cut()
    assert await lane.acknowledged(pack(("WAIT", 0, 1))) is None
    assert await lane.acknowledged(pack(("WAIT", 0, 1))) is None
    await lane.ask(pack(("PING",)))
    assert await lane.acknowledged(pack(("WAIT", 0, 1))) is None


# -- what the store's settings promise


Served = Callable[..., Awaitable[tuple[Lane, Raw]]]


@pytest.fixture
async def served(opener: Opener) -> AsyncIterator[Served]:
    """A store with these settings: a lane of it, and single commands."""
    async with AsyncExitStack() as stack:

        async def serve(**settings: str) -> tuple[Lane, Raw]:
            words = [
                word
                for name, value in settings.items()
                for word in (f"--{name.replace('_', '-')}", value)
            ]
            servers = await stack.enter_async_context(Replicated(*words, replicas=0))
            raw = await Raw.open(servers.url)
            stack.push_async_callback(raw.close)
            return opener.lane(servers.url), raw

        yield serve


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "kept"),
    [
        ("yes", "always", "disk"),
        ("yes", "everysec", "everysec"),
        ("yes", "no", "unknown"),
        ("no", "always", "memory"),
    ],
)
async def test_what_the_store_keeps(
    served: Served, appendonly: str, appendfsync: str, kept: str
) -> None:
    lane, _ = await served(appendonly=appendonly, appendfsync=appendfsync)
    settings = await read_settings(lane)
    assert settings.kept() == kept
    told = [doubt.text for doubt in doubts(settings, STORE, 1, honest=False)]
    assert bool(told) is (kept in ("memory", "unknown"))


async def test_a_store_that_does_not_tell_is_doubted(served: Served) -> None:
    """As one that a cloud hosts, where CONFIG is not for everybody."""
    lane, raw = await served()
    await raw("ACL", "SETUSER", "default", "-config", "-waitaof")
    kept, waits = await agree(lane, b"k", STORE, 1, 100, accept=False)
    assert (kept, waits.least, waits.disk) == ("unknown", STORE, False)
    [doubt] = doubts(await read_settings(lane), STORE, 1, honest=False)
    assert not doubt.grave


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_store_that_evicts_is_refused(served: Served, policy: str) -> None:
    lane, _ = await served(maxmemory_policy=policy)
    with pytest.raises(StoreUnsafe, match=policy):
        await agree(lane, b"k", STORE, 1, 100, accept=False)
    await agree(lane, b"k", STORE, 1, 100, accept=True)


async def test_disk_takes_a_store_that_means_it(served: Served) -> None:
    """Valkey answers WAITAOF too soon while it writes to disk once a second."""
    lane, raw = await served(appendfsync="everysec")
    with pytest.raises(StoreUnsafe, match="appendfsync always"):
        await agree(lane, b"k", DISK, 1, 100, accept=False)
    _, waits = await agree(lane, b"k", STORE, 1, 100, accept=False)
    assert not waits.disk
    await raw("CONFIG", "SET", "appendfsync", "always")
    kept, waits = await agree(lane, b"k", DISK, 1, 100, accept=False)
    assert (kept, waits.disk, waits.command(DISK)) == ("disk", True, None)


async def test_replicas_that_are_not_there_are_doubted(served: Served) -> None:
    lane, raw = await served()
    told = [d.text for d in doubts(await read_settings(lane), REPLICATED, 2, honest=False)]
    assert sum("0 replicas" in text for text in told) == 1
    assert sum("min-replicas-to-write" in text for text in told) == 1
    await raw("CONFIG", "SET", "min-replicas-to-write", "1")
    told = [d.text for d in doubts(await read_settings(lane), REPLICATED, 0, honest=True)]
    assert not any("replicas" in text for text in told)
