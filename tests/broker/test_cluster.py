"""A store on a Cluster: jobs are spread over its primaries, and go on wherever their slots go."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count as counted
from typing import Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_protocol import Code
from packhorse_protocol.ids import TAG, unique_tag
from packhorse_protocol.messages import (
    ClaimJobs,
    Complete,
    Completion,
    Configure,
    Create,
    Created,
    Ended,
    Get,
    JobView,
    NewJob,
    Ok,
    Problem,
    TypeChange,
    Unique,
)
from tests.support.brokers import Brokers
from tests.support.cluster import ClusterGroup, slot_of
from tests.support.cluster_node import ClusterNode
from tests.support.daemon import packhorse
from tests.support.log_lines import LogLines
from tests.support.requests import complete, count, create, names, repeated, take
from tests.support.wire import Wire

REQUEST_MS: Final = 300
PARTITIONS: Final = 16
QUICK: Final = {"store_timeout_ms": REQUEST_MS, "sweep_ms": 50, "last_response_flush_ms": 50}
HOMES: Final = Homes(PARTITIONS)
IDS: Final = [f"j{n}" for n in range(60)]
"""Enough that each partition has some."""


@pytest.fixture
async def group() -> AsyncIterator[ClusterGroup]:
    started = ClusterGroup()
    async with started:
        yield started


@pytest.fixture
async def broker(brokers: Brokers, group: ClusterGroup) -> AsyncIterator[Broker]:
    started = await brokers.start(store_url=group.url, partitions=0, **QUICK)
    yield started
    await brokers.stop(started)


def keys_of(brokers: Brokers, job: str) -> bytes:
    return PartitionKeys(brokers.prefix, HOMES.of(job)).record(job)


async def elsewhere(group: ClusterGroup, key: bytes) -> ClusterNode:
    """A primary that does not have the key."""
    having = await group.primary_of(key)
    return next(node for node in await group.primaries() if node is not having)


class Load:
    """Jobs that are created and run, one after the other, until `stop`."""

    def __init__(self, creator: Wire, runner: Wire) -> None:
        self._creator = creator
        self._runner = runner
        self._created = 0
        self._done: set[str] = set()
        self._stopping = False
        self._tasks = [asyncio.create_task(part) for part in (self._create(), self._run())]

    async def _create(self) -> None:
        for number in counted():
            if self._stopping:
                return
            # Kept, so that a completion that is repeated is answered like the first.
            new = NewJob(type="t", id=f"load-{number}", keep_ms=60_000)
            await repeated(self._creator, Create, jobs=(new,))
            self._created += 1

    async def _run(self) -> None:
        await take(self._runner, 1)
        while not self._stopping or len(self._done) < self._created:
            [claim] = await self._runner.claims(1)
            await self._complete(claim.job, claim.token)
            self._done.add(claim.job)

    async def _complete(self, job: str, token: bytes) -> None:
        done = (Completion(job=job, token=token, result=b""),)
        assert await repeated(self._runner, Complete, jobs=done) == Ended(state="COMPLETE")

    async def goes_on(self) -> None:
        """Until as many are done again as there are partitions, some in most of them."""
        most = len(self._done) + 2 * PARTITIONS
        while len(self._done) < most:
            for task in self._tasks:
                if task.done():
                    await task
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """When all that were created are done."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        assert len(self._done) == self._created


async def test_jobs_are_spread_over_the_primaries(
    brokers: Brokers, broker: Broker, group: ClusterGroup
) -> None:
    wire, runner = await brokers.connect(broker), await brokers.connect(broker)
    assert broker.store.partitions == PARTITIONS
    await create(wire, *IDS, handle=True)
    servers = {(await group.primary_of(keys_of(brokers, job))).name for job in IDS}
    assert len(servers) == 3
    assert await count(wire, "QUEUED") == len(IDS)
    await take(runner, len(IDS))
    claims = await runner.claims(len(IDS))
    assert sorted(names(claims)) == sorted(IDS)
    assert await complete(runner, *claims) == (Ended(state="COMPLETE"),) * len(IDS)
    assert {outcome.job for outcome in await wire.outcomes(len(IDS))} == set(IDS)
    assert await count(wire, "COMPLETE") == len(IDS)


async def test_a_unique_key_is_held_by_one_job(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    unique = Unique(key="k")
    tag = unique_tag("t", "k")
    stray = next(job for job in IDS if HOMES.of(job) != HOMES.of(tag))
    [refused] = await wire.ask(Create, jobs=(NewJob(type="t", id=stray, unique=unique),))
    assert isinstance(refused, Problem)
    assert (refused.code, refused.details) == (Code.MALFORMED, {"path": "id"})
    assert f"{TAG}{tag}" in refused.message
    [made] = await wire.ask(Create, jobs=(NewJob(type="t", unique=unique),))
    assert isinstance(made, Created)
    assert made.job.endswith(f"{TAG}{tag}")
    [duplicate] = await wire.ask(
        Create, jobs=(NewJob(type="t", id=f"mine{TAG}{tag}", unique=unique),)
    )
    assert isinstance(duplicate, Problem)
    assert duplicate.code == Code.DUPLICATE
    assert duplicate.details is not None
    assert duplicate.details["job"] == made.job


async def test_a_pause_holds_everywhere(brokers: Brokers, broker: Broker) -> None:
    wire, runner = await brokers.connect(broker), await brokers.connect(broker)
    await wire.ask(Configure, types=(TypeChange(type="t", paused=True),), why="")
    await create(wire, *IDS)
    refused = await runner.ask(ClaimJobs, jobs=tuple(IDS))
    assert {(answer.code, answer.details["paused"]) for answer in refused} == {
        (Code.WRONG_STATE, "true")
    }
    await take(runner, len(IDS))
    await wire.ask(Configure, types=(TypeChange(type="t", paused=False),), why="")
    assert len(await runner.claims(len(IDS))) == len(IDS)


async def fail_over(group: ClusterGroup) -> None:
    """Each primary in turn, while it passes on all that it has."""
    for primary in await group.primaries():
        await group.failover(await group.replica_of(primary))
        await group.settled()


async def move(group: ClusterGroup, keys: bytes) -> None:
    await group.move_slot(slot_of(keys), await elsewhere(group, keys))
    await group.settled()


async def move_all(group: ClusterGroup, prefix: str) -> None:
    """The slots of the clients and of all partitions, each to another primary."""
    await move(group, ClientKeys(prefix).base)
    for partition in range(PARTITIONS):
        await move(group, PartitionKeys(prefix, partition).base)


@pytest.mark.parametrize("what", ["failovers", "moves"])
async def test_work_goes_on_wherever_slots_go(
    brokers: Brokers, broker: Broker, group: ClusterGroup, what: str
) -> None:
    load = Load(await brokers.connect(broker), await brokers.connect(broker))
    await load.goes_on()
    if what == "failovers":
        await fail_over(group)
    else:
        await move_all(group, brokers.prefix)
    await load.goes_on()
    await load.stop()
    wire = await brokers.connect(broker)
    assert [await count(wire, state) for state in ("QUEUED", "STARTED")] == [0, 0]


async def test_a_primary_that_is_killed_is_replaced(
    brokers: Brokers, broker: Broker, group: ClusterGroup
) -> None:
    """Its partitions wait for the replica, and the others go on meanwhile."""
    wire = await brokers.connect(broker)
    lost = await elsewhere(group, ClientKeys(brokers.prefix).base)
    owners = await group.owners(slot_of(keys_of(brokers, job)) for job in IDS)
    there = {job for job in IDS if owners[slot_of(keys_of(brokers, job))] is lost}
    assert there
    assert there < set(IDS)
    await lost.kill()
    for job in set(IDS) - there:
        await create(wire, job)
    for job in there:
        await repeated(wire, Create, jobs=(NewJob(type="t", id=job),))
    runner = await brokers.connect(broker)
    await take(runner, len(IDS))
    assert sorted(names(await runner.claims(len(IDS)))) == sorted(IDS)


async def test_a_slot_that_moves_key_by_key_waits_until_it_is_there(
    brokers: Brokers, broker: Broker, group: ClusterGroup
) -> None:
    """Transactions of old and new keys are refused by both servers until then."""
    wire = await brokers.connect(broker)
    home = HOMES.of(IDS[0])
    moving = [job for job in IDS if HOMES.of(job) == home]
    others = [job for job in IDS if HOMES.of(job) != home]
    await create(wire, *moving)
    keys = PartitionKeys(brokers.prefix, home)
    slot = slot_of(keys.base)
    new = NewJob(type="t", id=f"new{TAG}{moving[0]}")
    async with group.slot_on_its_way(slot, await elsewhere(group, keys.base)):
        answer = await wire.answer(
            wire.begin(Create, jobs=(NewJob(type="t", id=f"new{TAG}{moving[0]}"),))
        )
        assert isinstance(answer, Ok)
        [refused] = answer.results
        assert isinstance(refused, Problem)
        assert (refused.code, refused.retryable) == (Code.UNAVAILABLE, True)
        await create(wire, *others)
    assert isinstance(await repeated(wire, Create, jobs=(new,)), Created)
    for job in moving:
        view = await repeated(wire, Get, jobs=(job,))
        assert isinstance(view, JobView)
    runner = await brokers.connect(broker)
    await take(runner, len(IDS) + 1)
    assert len(await runner.claims(len(IDS) + 1)) == len(IDS) + 1


async def test_brokers_hear_each_other_in_all_partitions(
    brokers: Brokers, group: ClusterGroup
) -> None:
    """Also when the channel of a partition has moved to another server."""
    two = [await brokers.start(store_url=group.url, partitions=0, **QUICK) for _ in range(2)]
    handler, runner = await brokers.connect(two[0]), await brokers.connect(two[1])
    await take(runner, len(IDS))
    for round_ in range(2):
        ids = [f"{round_}-{job}" for job in IDS]
        await create(handler, *ids, handle=True)
        claims = await runner.claims(len(ids))
        await complete(runner, *claims)
        assert {outcome.job for outcome in await handler.outcomes(len(ids))} == set(ids)
        await move_all(group, brokers.prefix)
    for broker in two:
        await brokers.stop(broker)


async def test_the_number_of_partitions_is_fixed(brokers: Brokers, group: ClusterGroup) -> None:
    first = await brokers.start(store_url=group.url, partitions=3)
    assert first.store.partitions == 3
    lines = LogLines()
    second = await brokers.start(store_url=group.url, partitions=5)
    assert second.store.partitions == 3
    assert (await lines.of("store.partitions_kept"))["partitions"] == 3
    wire = await brokers.connect(second)
    await create(wire, *IDS)
    for broker in (first, second):
        await brokers.stop(broker)


async def test_who_names_a_node_as_if_it_were_alone_is_told(group: ClusterGroup) -> None:
    node = await elsewhere(group, ClientKeys("ph").base)
    ended = await packhorse("fsck", "--store", node.url)
    assert ended.status == 1
    assert ended.err[0].endswith("this is a node of a Cluster, which is named by cluster://")


async def test_each_doubt_names_its_server(brokers: Brokers, group: ClusterGroup) -> None:
    lines = LogLines()
    broker = await brokers.start(
        store_url=group.url, partitions=0, durability="replicated", replicas=2
    )
    servers: set[str] = set()
    while len(servers) < 3:
        servers.add((await lines.of("store.doubtful"))["server"])
    assert servers == {node.url.removeprefix("redis://") for node in await group.primaries()}
    await brokers.stop(broker)
