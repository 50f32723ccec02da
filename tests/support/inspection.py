"""Looking into the store from outside: single commands, and all that a partition holds."""

from typing import Any, TypeAlias

from packhorse_broker.jobs.model import Job
from packhorse_broker.store.indexes import entries
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import Arg, Link, StoreAddress, pack
from packhorse_broker.store.records import apart, decode_job

Index: TypeAlias = dict[bytes, int]
"""Members of a sorted set and their scores."""


class Raw:
    """A connection of the test's own: `await raw("GET", key)`. Error replies are raised."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @classmethod
    async def open(cls, url: str) -> "Raw":
        address = StoreAddress(url=url, timeout_ms=30_000, client_name="test")
        return cls(await Link.open(address))

    async def __call__(self, *command: Arg) -> Any:
        [reply] = await self._link.ask(pack(command))
        return reply

    async def close(self) -> None:
        await self._link.drop()

    async def keys(self, prefix: bytes) -> set[bytes]:
        """Every key that begins so."""
        found: set[bytes] = set()
        cursor: bytes | int = 0
        while True:
            cursor, page = await self("SCAN", cursor, "COUNT", 1_000)
            found |= {key for key in page if key.startswith(prefix)}
            if int(cursor) == 0:
                return found

    async def clear(self, prefix: bytes) -> None:
        """Removes every key that begins so."""
        found = await self.keys(prefix)
        if found:
            await self("UNLINK", *found)

    async def info(self, section: str) -> dict[str, str]:
        text: bytes = await self("INFO", section)
        lines = (line.partition(":") for line in text.decode().splitlines())
        return {name: value for name, _, value in lines}


class Contents:
    """All that one partition holds."""

    def __init__(self, jobs: dict[str, Job], indexes: dict[bytes, Index], keys: set[bytes]) -> None:
        self.jobs = jobs
        self.indexes = indexes
        self.keys = keys
        """Every key, those of writers' marks left out."""

    @classmethod
    async def read(cls, raw: Raw, keys: PartitionKeys) -> "Contents":
        found = await raw.keys(keys.base)
        records = sorted(key for key in found if key.startswith(keys.record("")))
        jobs: dict[str, Job] = {}
        for key in records:
            job = decode_job(await raw("GET", key))
            assert key == keys.record(job.id)
            jobs[job.id] = job
        indexes: dict[bytes, Index] = {}
        for key in found:
            if await raw("TYPE", key) == b"zset":
                pairs = await raw("ZRANGE", key, 0, -1, "WITHSCORES")
                scores = map(int, map(float, pairs[1::2]))
                indexes[key] = dict(zip(pairs[::2], scores, strict=True))
        marks = {key for key in found if key.startswith(keys.writer(""))}
        return cls(jobs, indexes, found - marks)

    def check(self, keys: PartitionKeys) -> None:
        """Asserts that there is what the records ask for, and nothing else."""
        expected: dict[bytes, Index] = {}
        parts: set[bytes] = set()
        for job in self.jobs.values():
            for key, member, score in entries(keys, job):
                expected.setdefault(key, {})[member] = score
            parts.add(keys.record(job.id))
            if job.body is None:
                parts.add(keys.body(job.id))
            if job.outcome_apart:
                parts.add(keys.outcome(job.id))
            if job.log_end > job.log_first:
                parts.add(keys.log(job.id))
            assert not apart(job.body)
            assert not apart(job.outcome)
        differing = {
            key: (self.indexes.get(key), expected.get(key))
            for key in self.indexes.keys() | expected.keys()
            if self.indexes.get(key) != expected.get(key)
        }
        assert not differing, f"index: (found, asked for by records) {differing}"
        keys_differing = (self.keys - {keys.types}) ^ (parts | set(expected))
        assert not keys_differing, f"there and not asked for, or the other way: {keys_differing}"


async def contents(raw: Raw, keys: PartitionKeys) -> dict[str, Job]:
    """All jobs in the store, after a check that records and indexes agree."""
    found = await Contents.read(raw, keys)
    found.check(keys)
    return found.jobs
