"""Looking into the store from outside: single commands, and all that a partition holds."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from packhorse_broker.jobs.model import Job
from packhorse_broker.store.indexes import entries, mover, unique_holder
from packhorse_broker.store.keys import PartitionKeys, queue_member
from packhorse_broker.store.link import Link, StoreAddress
from packhorse_broker.store.packing import Arg, pack
from packhorse_broker.store.records import apart, decode_job, size_bytes

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

    async def all(self, *commands: Sequence[Arg]) -> list[Any]:
        """Of each its reply, after one exchange."""
        return await self._link.ask(*map(pack, commands))

    async def close(self) -> None:
        self._link.drop()

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

    def __init__(
        self,
        jobs: dict[str, Job],
        indexes: dict[bytes, Index],
        keys: set[bytes],
        holders: dict[bytes, bytes],
        held_bytes: dict[str, int],
        taken: set[tuple[bytes, bytes]],
    ) -> None:
        self.jobs = jobs
        self.indexes = indexes
        self.keys = keys
        """Every key of jobs: those of writers' marks, of types and of what was done left out."""
        self.holders = holders
        """Which job each unique key names."""
        self.held_bytes = held_bytes
        """By type, as it was counted."""
        self.taken = taken
        """Outcomes that brokers have taken: the keys of groups, and jobs."""

    @classmethod
    async def read(cls, raw: Raw, keys: PartitionKeys) -> "Contents":
        found = await raw.keys(keys.base)
        records = sorted(key for key in found if key.startswith(keys.record("")))
        jobs: dict[str, Job] = {}
        for key in records:
            job = decode_job(await raw("GET", key))
            assert key == keys.record(job.id)
            jobs[job.id] = job
        minutes = keys.base + b"m:"
        about_types = (keys.settings(""), keys.schema(""), minutes, keys.writer(""))
        others = {keys.types, keys.bytes, keys.actions, keys.configured}
        others |= {key for key in found if key.startswith(about_types)}
        indexes: dict[bytes, Index] = {}
        holders: dict[bytes, bytes] = {}
        for key in found - others:
            if await raw("TYPE", key) == b"zset":
                pairs = await raw("ZRANGE", key, 0, -1, "WITHSCORES")
                scores = map(int, map(float, pairs[1::2]))
                indexes[key] = dict(zip(pairs[::2], scores, strict=True))
            elif key.startswith(keys.unique("", "")[:-1]) and await raw("PTTL", key) < 0:
                holders[key] = await raw("GET", key)
        pairs = await raw("HGETALL", keys.bytes)
        counted = zip(pairs[::2], pairs[1::2], strict=True)
        held_bytes = {name.decode(): int(size) for name, size in counted if int(size)}
        of_groups = {key for key in found if key.startswith(keys.taken(""))}
        taken = {(key, job) for key in of_groups for job in await raw("HKEYS", key)}
        windows = {key for key in found if key.startswith(keys.unique("", "")[:-1])} - set(holders)
        found -= others | windows | of_groups
        return cls(jobs, indexes, found, holders, held_bytes, taken)

    def check(self, keys: PartitionKeys) -> None:
        """Asserts that there is what the records ask for, and nothing else."""
        expected: dict[bytes, Index] = {}
        parts: set[bytes] = set()
        holders: dict[bytes, bytes] = {}
        held_bytes: dict[str, int] = {}
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
            if job.attempt_records and keys.attempts(job.id) in self.keys:
                parts.add(keys.attempts(job.id))
            holder = unique_holder(keys, job)
            if holder is not None:
                holders[holder] = job.id.encode()
            if size_bytes(job):
                held_bytes[job.type] = held_bytes.get(job.type, 0) + size_bytes(job)
            if not job.state.finished:
                _check_mover(keys, job, self.indexes)
            assert not apart(job.body)
            assert not apart(job.outcome)
        differing = {
            key: (self.indexes.get(key), expected.get(key))
            for key in self.indexes.keys() | expected.keys()
            if self.indexes.get(key) != expected.get(key)
        }
        assert not differing, f"index: (found, asked for by records) {differing}"
        assert self.holders == holders
        assert self.held_bytes == held_bytes
        owed = {
            (keys.taken(group), job.id.encode())
            for job in self.jobs.values()
            if job.state.finished
            for group in job.groups
        }
        assert self.taken <= owed
        keys_differing = self.keys ^ (parts | set(expected) | set(holders))
        assert not keys_differing, f"there and not asked for, or the other way: {keys_differing}"


def _check_mover(keys: PartitionKeys, job: Job, indexes: dict[bytes, Index]) -> None:
    """An unfinished job is in exactly one of the indexes by which jobs are moved on."""
    moving = (keys.queue(""), keys.claims(""), keys.pending)
    found = [
        key
        for key, members in indexes.items()
        if key.startswith(moving)
        and any(member in (job.id.encode(), queue_member(job.order, job.id)) for member in members)
    ]
    expected = mover(keys, job)
    assert expected is not None
    assert found == [expected[0]], f"{job.id} is {job.state.name} and in {found}"


async def contents(raw: Raw, keys: PartitionKeys) -> dict[str, Job]:
    """All jobs in the store, after a check that records and indexes agree."""
    found = await Contents.read(raw, keys)
    found.check(keys)
    return found.jobs
