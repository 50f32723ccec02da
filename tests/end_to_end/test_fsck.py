"""`packhorse fsck`: nothing to say after work, every planted damage named, and mended if it can be.

Each test plants one damage in a store in which jobs of every state are.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgpack
import pytest
import pytest_asyncio

import packhorse
from packhorse import Context, Fail, Worker
from packhorse_broker.local import LocalBroker
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.records import INLINE_BYTES
from packhorse_broker.store.schema import SCHEMA_VERSION
from packhorse_protocol.messages import ClaimJobs
from tests.support.daemon import Daemons, Ended
from tests.support.daemon import packhorse as command
from tests.support.inspection import Contents, Raw
from tests.support.wire import Wire

PARTITIONS = 3

LARGE = b"x" * (INLINE_BYTES + 1)
"""Lives in a key of its own."""


class Store:
    """Where the jobs of a broker are that has ended."""

    def __init__(self, url: str, prefix: str, raw: Raw) -> None:
        self.keys = PartitionKeys(prefix, 0)
        self.raw = raw
        self._flags = ("--store", url, "--prefix", prefix)

    async def fsck(self, *flags: str) -> Ended:
        return await command("fsck", *self._flags, *flags)

    async def findings(self, *flags: str) -> tuple[int, list[tuple[str, str, bool]]]:
        """Exit status; of each finding its kind, its job, and whether it was mended."""
        ended = await self.fsck("--json", *flags)
        found = [json.loads(line) for line in ended.out]
        return ended.status, [(one["kind"], one["job"], one["mended"]) for one in found]

    async def contents(self) -> Contents:
        return await Contents.read(self.raw, self.keys)


async def work(url: str) -> None:
    """Leaves jobs of every state, some with parts that have keys of their own."""
    worker = Worker(url)

    @worker.job("t")
    async def run(ctx: Context, ends: str) -> bytes:
        await ctx.log("a line")
        if ends == "failed":
            raise Fail("as told", retry=False)
        return LARGE

    async with worker, packhorse.connect(url, client_id="ann") as client:
        for ends in ("complete", "failed"):
            job = await client.create("t", ends, job_id=ends, persistent=True, handle=True)
            await job.outcome(timeout="60s", handled=False)
        await client.create("later", job_id="queued")
        await client.create("later", payload=LARGE, job_id="large")
        await client.create("later", job_id="started")
    runner = await Wire.open(url, client="bob")
    await runner.ask(ClaimJobs, jobs=("started",))
    await runner.close()


@pytest_asyncio.fixture
async def store(store_url: str, prefix: str) -> AsyncIterator[Store]:
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        await work(broker.addresses[0])
    raw = await Raw.open(store_url)
    yield Store(store_url, prefix, raw)
    await raw.clear(f"{prefix}:".encode())
    await raw.close()


async def test_work_leaves_nothing_to_find(store: Store) -> None:
    ended = await store.fsck()
    assert (ended.status, ended.err) == (0, [])
    contents = await store.contents()
    entries = sum(map(len, contents.indexes.values()))
    assert sorted(contents.jobs) == ["complete", "failed", "large", "queued", "started"]
    assert ended.out == [f"5 jobs, {entries} index entries, 0 findings, 0 not mended"]


async def test_the_store_in_a_folder_is_checked_when_its_broker_has_ended(
    daemons: Daemons, tmp_path: Path
) -> None:
    daemon = await daemons.start("--data-dir", tmp_path)
    await work(daemon.url)
    ended = await command("fsck", "--data-dir", tmp_path)
    assert ended.status == 1
    [line] = ended.err
    assert str(tmp_path) in line
    daemon.terminate()
    assert await daemon.wait() == 0
    ended = await command("fsck", "--data-dir", tmp_path)
    assert (ended.status, ended.err) == (0, [])
    assert ended.out[0].startswith("5 jobs, ")


async def test_all_partitions_are_checked(store_url: str, prefix: str) -> None:
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(
        store_url=store_url, prefix=prefix, listen=listen, partitions=PARTITIONS
    ) as broker:
        await work(broker.addresses[0])
    raw = await Raw.open(store_url)
    store = Store(store_url, prefix, raw)
    jobs = ("complete", "failed", "queued")
    homes = {job: Homes(PARTITIONS).of(job) for job in jobs}
    assert len(set(homes.values())) > 1
    for job, home in homes.items():
        await raw("DEL", PartitionKeys(prefix, home).record(job))
    status, found = await store.findings()
    assert status == 1
    # Beside the types, whose sums are wrong.
    assert {job for _, job, _ in found} >= set(jobs)
    status, found = await store.findings("--mend")
    assert {mended for _, _, mended in found} == {True}
    ended = await store.fsck()
    assert ended.out[0].startswith("2 jobs, ")
    assert ended.status == 0
    await raw.clear(f"{prefix}:".encode())
    await raw.close()


async def test_a_store_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ended = await command("fsck", "--store", f"unix://{tmp_path}/none")
    assert (ended.status, ended.out) == (1, [])
    [line] = ended.err
    assert f"{tmp_path}/none" in line


Plant = Callable[[Raw, PartitionKeys], Awaitable[object]]

MENDABLE: dict[str, tuple[Plant, str, str]] = {
    "no entry in the queue": (lambda raw, keys: raw("DEL", keys.queue("later")), "missing", "*"),
    "no entry of a handler": (
        lambda raw, keys: raw("ZREM", keys.handlers("ann"), "failed"),
        "missing",
        "failed",
    ),
    "an entry of a state that is over": (
        lambda raw, keys: raw("ZADD", keys.started("t"), 7, "complete"),
        "stale",
        "complete",
    ),
    "an entry of no job": (
        lambda raw, keys: raw("ZADD", keys.claims("bob"), 7, "nobody"),
        "stale",
        "nobody",
    ),
    "a timer of no job": (
        lambda raw, keys: raw("ZADD", keys.timers, 7, "nobody"),
        "stale",
        "nobody",
    ),
    "another score": (
        lambda raw, keys: raw("ZADD", keys.complete("t"), 7, "complete"),
        "wrong_score",
        "complete",
    ),
    "a body of no job": (
        lambda raw, keys: raw("SET", keys.body("nobody"), "x"),
        "orphan",
        "nobody",
    ),
    "a body beside the one in the record": (
        lambda raw, keys: raw("SET", keys.body("queued"), "x"),
        "orphan",
        "queued",
    ),
    "an outcome of no job": (
        lambda raw, keys: raw("SET", keys.outcome("nobody"), "x"),
        "orphan",
        "nobody",
    ),
    "a log of no job": (
        lambda raw, keys: raw("RPUSH", keys.log("nobody"), "x"),
        "orphan",
        "nobody",
    ),
}


@pytest.mark.parametrize("damage", MENDABLE)
async def test_it_is_named_and_mended(store: Store, damage: str) -> None:
    plant, kind, job = MENDABLE[damage]
    before = await store.contents()
    await plant(store.raw, store.keys)
    jobs = ["large", "queued"] if job == "*" else [job]
    assert await store.findings() == (1, [(kind, job, False) for job in jobs])
    assert await store.findings("--mend") == (0, [(kind, job, True) for job in jobs])
    assert await store.findings() == (0, [])
    after = await store.contents()
    assert (after.jobs, after.indexes, after.keys) == (before.jobs, before.indexes, before.keys)


LOST: dict[str, tuple[Plant, str, str]] = {
    "a body that is gone": (lambda raw, keys: raw("DEL", keys.body("large")), "lost", "large"),
    "an outcome that is gone": (
        lambda raw, keys: raw("DEL", keys.outcome("complete")),
        "lost",
        "complete",
    ),
    "a log that is gone": (lambda raw, keys: raw("DEL", keys.log("failed")), "lost", "failed"),
    "a record that is none": (
        lambda raw, keys: raw("SET", keys.record("queued"), b"\xc1nonsense"),
        "corrupt",
        "queued",
    ),
    "half a record": (
        lambda raw, keys: raw("SETRANGE", keys.record("queued"), 0, b"\x91"),
        "corrupt",
        "queued",
    ),
}


@pytest.mark.parametrize("damage", LOST)
async def test_it_is_named_and_left_as_it_is(store: Store, damage: str) -> None:
    plant, kind, job = LOST[damage]
    await plant(store.raw, store.keys)
    keys = await store.raw.keys(store.keys.base)
    for flags in ((), ("--mend",), ()):
        status, found = await store.findings(*flags)
        # What a record that can't be read held is no longer counted.
        others = [finding for finding in found if finding[0] != "wrong_sum"]
        assert (status, others) == (1, [(kind, job, False)])
    assert await store.raw.keys(store.keys.base) == keys


async def test_names_that_are_no_text_hide_nothing(store: Store) -> None:
    await store.raw("ZADD", store.keys.complete("t"), 1, b"\xff")
    await store.raw("SET", store.keys.record("") + b"\xfe", b"x")
    await store.raw("SET", store.keys.body("nobody"), "x")
    status, found = await store.findings()
    assert status == 1
    assert sorted(kind for kind, _, _ in found) == ["corrupt", "orphan", "stale"]


async def test_a_newer_store_is_left_alone(store: Store, prefix: str) -> None:
    newer = msgpack.packb([SCHEMA_VERSION + 1, "identity", 1, 0])
    await store.raw("SET", ClientKeys(prefix).store, newer)
    await store.raw("SET", store.keys.body("nobody"), "x")
    ended = await store.fsck("--mend")
    assert await store.raw("EXISTS", store.keys.body("nobody")) == 1
    assert (ended.status, ended.out) == (1, [])
    [line] = ended.err
    assert str(SCHEMA_VERSION + 1) in line


async def test_people_read_a_line_for_each_finding(store: Store) -> None:
    await store.raw("SET", store.keys.body("nobody"), "x")
    await store.raw("DEL", store.keys.body("large"))
    body = store.keys.body
    orphan = f"orphan: job nobody in {body('nobody').decode()}"
    lost = f"lost: job large in {body('large').decode()}"
    ended = await store.fsck()
    assert (ended.status, ended.out[:-1]) == (1, [lost, orphan])
    assert ended.out[-1].endswith(", 2 findings, 2 not mended")
    ended = await store.fsck("--mend")
    assert (ended.status, ended.out[:-1]) == (1, [lost, f"{orphan} (mended)"])
    assert ended.out[-1].endswith(", 2 findings, 1 not mended")
