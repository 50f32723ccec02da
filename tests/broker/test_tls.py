"""A store that speaks TLS alone, to clients that have a certificate: one server, one behind
Sentinels, and a Cluster."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import PartitionKeys
from packhorse_protocol.messages import Create, Ended, NewJob
from tests.support.brokers import Brokers
from tests.support.cluster import ClusterGroup, slot_of
from tests.support.daemon import packhorse
from tests.support.replicas import READY, SentinelGroup, Server
from tests.support.requests import complete, create, names, repeated, take
from tests.support.tls import Tls, tls_program

PARTITIONS: Final = 16
QUICK: Final = {"store_timeout_ms": 2_000, "sweep_ms": 50, "last_response_flush_ms": 50}
IDS: Final = [f"j{n}" for n in range(60)]
"""Enough that each partition of a Cluster has some."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    program = tls_program()
    if program is None:
        pytest.skip(
            "no server with TLS: install openssl, and a redis- or valkey-server that has it"
        )
    return Tls(program, tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(tls: Tls, tmp_path: Path) -> AsyncIterator[Server]:
    started = Server(tmp_path / "store", "--save", "", "--appendonly", "yes", tls=tls)
    await started.start()
    try:
        await started.says(READY)
        yield started
    finally:
        await started.kill()


@pytest.fixture
async def sentinels(tls: Tls) -> AsyncIterator[SentinelGroup]:
    started = SentinelGroup(tls=tls)
    async with started:
        yield started


@pytest.fixture
async def cluster(tls: Tls) -> AsyncIterator[ClusterGroup]:
    started = ClusterGroup(tls=tls)
    async with started:
        yield started


async def start(brokers: Brokers, url: str) -> Broker:
    return await brokers.start(store_url=url, partitions=0, **QUICK)


async def test_jobs_are_run(brokers: Brokers, server: Server) -> None:
    broker = await start(brokers, server.url)
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True)
    await take(wire, 1)
    assert await complete(wire, *await wire.claims(1)) == (Ended(state="COMPLETE"),)
    assert [outcome.job for outcome in await wire.outcomes(1)] == ["a"]
    await brokers.stop(broker)


async def test_sentinels_are_asked_with_the_same_certificates(
    brokers: Brokers, sentinels: SentinelGroup
) -> None:
    broker = await start(brokers, sentinels.url)
    wire, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "before")
    await sentinels.caught_up()
    await sentinels.lose_primary()
    await sentinels.promoted()
    await repeated(wire, Create, jobs=(NewJob(type="t", id="after"),))
    await take(runner, 2)
    assert names(await runner.claims(2)) == ["before", "after"]
    await brokers.stop(broker)


async def test_work_goes_on_after_a_failover_and_a_moved_slot_of_a_cluster(
    brokers: Brokers, cluster: ClusterGroup
) -> None:
    broker = await start(brokers, cluster.url)
    assert broker.store.partitions == PARTITIONS
    wire, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, *IDS)
    keys = PartitionKeys(brokers.prefix, Homes(PARTITIONS).of(IDS[0])).base
    await cluster.failover(await cluster.replica_of(await cluster.primary_of(keys)))
    await cluster.settled()
    source = await cluster.primary_of(keys)
    to = next(node for node in await cluster.primaries() if node is not source)
    await cluster.move_slot_by_keys(slot_of(keys), to)
    await cluster.settled()
    await repeated(wire, Create, jobs=(NewJob(type="t", id=f"new~{IDS[0]}"),))
    await take(runner, len(IDS) + 1)
    claims = await runner.claims(len(IDS) + 1)
    assert sorted(names(claims)) == sorted([*IDS, f"new~{IDS[0]}"])
    await brokers.stop(broker)


async def test_connections_share_what_takes_long_to_make(
    brokers: Brokers, cluster: ClusterGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    original = ssl.create_default_context

    def counted(*arguments: Any, **named: Any) -> ssl.SSLContext:
        nonlocal made
        made += 1
        return original(*arguments, **named)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    monkeypatch.setattr("packhorse_broker.store.tls._made", {})
    await brokers.stop(await start(brokers, cluster.url))
    assert made == 1


async def test_commands_say_what_is_wrong(server: Server) -> None:
    place = server.url.partition("?")[0]
    ended = await packhorse("fsck", "--store", server.url)
    assert (ended.status, ended.err) == (0, [])
    ended = await packhorse("fsck", "--store", place)
    assert ended.status == 1
    assert "CERTIFICATE_VERIFY_FAILED" in ended.err[0]
    ended = await packhorse("fsck", "--store", f"{place}?ssl_ca_certs=/nowhere")
    assert (ended.status, ended.err) == (
        1,
        ["error: TLS can't be set up as the store's URL says: [Errno 2] No such file or directory"],
    )
