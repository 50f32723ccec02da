"""All of a store is read, however many partitions its jobs are in."""

from collections.abc import AsyncIterator

import pytest

from packhorse_broker.contents import pack_body
from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.records import encode_job
from packhorse_broker.store.schema import SCHEMA_VERSION, StoreIdentity, packed
from tests.history.dump import Dump, Unsettled, opened
from tests.support.inspection import Raw

PARTITIONS = 3
JOBS = [f"job-{number}" for number in range(20)]


@pytest.fixture
async def raw(store_url: str, prefix: str) -> AsyncIterator[Raw]:
    """A store of several partitions."""
    opened_raw = await Raw.open(store_url)
    identity = StoreIdentity(id="a", schema=SCHEMA_VERSION, partitions=PARTITIONS, created_at=1)
    await opened_raw("SET", ClientKeys(prefix).store, packed(identity))
    yield opened_raw
    await opened_raw.clear(f"{prefix}:".encode())
    await opened_raw.close()


async def put(raw: Raw, prefix: str, job_id: str, partition: int) -> None:
    body = pack_body(job_id.encode(), None)
    job = Job(id=job_id, type="t", state=State.QUEUED, version=1, order=1, body=body)
    await raw("SET", PartitionKeys(prefix, partition).record(job_id), encode_job(job))


async def read(store_url: str, prefix: str) -> tuple[Dump, Unsettled]:
    async def url_of(_: bytes) -> str:
        return store_url

    async with opened(url_of, prefix) as store:
        return await store.read(), await store.unsettled()


async def test_jobs_of_all_partitions_are_read(raw: Raw, store_url: str, prefix: str) -> None:
    homes = Homes(PARTITIONS)
    assert {homes.of(job) for job in JOBS} == set(range(PARTITIONS))
    for job in JOBS:
        await put(raw, prefix, job, homes.of(job))
    await raw("ZADD", ClientKeys(prefix).leaving, 1, "ann")
    found, unsettled = await read(store_url, prefix)
    assert sorted(found.jobs) == sorted(JOBS)
    assert (found.partitions, found.astray) == (PARTITIONS, [])
    assert unsettled == Unsettled(unfinished=len(JOBS), awaited=0, leaving=1)


async def test_a_job_in_another_partition_is_astray(raw: Raw, store_url: str, prefix: str) -> None:
    [job, *_] = JOBS
    home = Homes(PARTITIONS).of(job)
    away = (home + 1) % PARTITIONS
    await put(raw, prefix, job, home)
    await put(raw, prefix, job, away)
    found, _ = await read(store_url, prefix)
    assert list(found.jobs) == [job]
    assert found.astray == [f"{job} is in partition {away}"]


@pytest.mark.usefixtures("raw")
async def test_a_store_that_was_never_used_has_no_jobs(store_url: str) -> None:
    found, unsettled = await read(store_url, "nobodys")
    assert (found.jobs, found.astray, bool(unsettled)) == ({}, [], False)
