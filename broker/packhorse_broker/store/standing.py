"""How single jobs stand: what is before them in their queue, how their attempts ended, and what is
set about their types."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from packhorse_broker.jobs.model import AttemptRecord, Job
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import PartitionKeys, queue_member
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import CorruptRecord, decode_attempt
from packhorse_broker.store.types import PLAIN, TypeSettings, decode_settings

_log = structlog.get_logger(__name__)


class Standing:
    """Reads over a connection for each partition. All raise StoreUnavailable."""

    def __init__(self, parts: Sequence[ReadLane]) -> None:
        self._parts = parts
        self._homes = Homes(len(parts))

    async def attempts(self, ids: Sequence[str], newest: int) -> list[list[AttemptRecord]]:
        """Each job's ended attempts that are kept, at most so many, oldest first."""

        async def read(home: int, own: Sequence[str]) -> list[Any]:
            part = self._parts[home]
            return await part.ask(
                *(pack(("LRANGE", part.keys.attempts(job_id), -newest, -1)) for job_id in own)
            )

        replies = await self._homes.ask(ids, read)
        return [
            [record for record in (_attempt(job_id, value) for value in values) if record]
            for job_id, values in zip(ids, replies, strict=True)
        ]

    async def ahead(self, jobs: Sequence[Job]) -> list[int | None]:
        """How many jobs stand before each QUEUED one in its queue; None: it is not there.

        With several partitions it is about as many: of those with the same priority the job's own
        partition is taken for all of them.
        """
        by_id = {job.id: job for job in jobs}

        async def read(home: int, own: Sequence[str]) -> list[int | None]:
            part = self._parts[home]
            return await part.ask(*(_rank(part.keys, by_id[job_id]) for job_id in own))

        ranks = await self._homes.ask([job.id for job in jobs], read)
        if len(self._parts) == 1 or not jobs:
            return ranks
        before = await self._of_higher_priority(jobs)
        return [
            None if rank is None else _everywhere(rank, here, len(self._parts))
            for rank, here in zip(ranks, before, strict=True)
        ]

    async def _of_higher_priority(self, jobs: Sequence[Job]) -> list[tuple[int, int]]:
        """How many jobs each one's priority puts behind others: in its partition, and in all."""
        found = await asyncio.gather(
            *(
                part.ask(
                    *(
                        pack(("ZCOUNT", part.keys.queue(job.type), "-inf", f"({-job.priority}"))
                        for job in jobs
                    )
                )
                for part in self._parts
            )
        )
        homes = [self._homes.of(job.id) for job in jobs]
        return [
            (counts[home], sum(counts))
            for home, counts in zip(homes, zip(*found, strict=True), strict=True)
        ]

    async def settings(self, types: Sequence[str]) -> dict[str, TypeSettings]:
        """As they are stored now."""
        if not types:
            return {}
        part = self._parts[0]
        [values] = await part.ask(pack(("MGET", *map(part.keys.settings, types))))
        return {
            job_type: _settings(job_type, value)
            for job_type, value in zip(types, values, strict=True)
        }


def _rank(keys: PartitionKeys, job: Job) -> bytes:
    return pack(("ZRANK", keys.queue(job.type), queue_member(job.order, job.id)))


def _everywhere(rank: int, before: tuple[int, int], partitions: int) -> int:
    """From a job's rank in its partition's queue, and what is of a higher priority there and in
    all partitions."""
    here, in_all = before
    return in_all + max(0, rank - here) * partitions


def _attempt(job_id: str, value: bytes) -> AttemptRecord | None:
    try:
        return decode_attempt(value)
    except CorruptRecord as error:
        _log.error("store.corrupt_attempt", job=job_id, error=str(error))
        return None


def _settings(job_type: str, value: bytes | None) -> TypeSettings:
    try:
        return decode_settings(value)
    except CorruptRecord as error:
        _log.error("store.corrupt_settings", type=job_type, error=str(error))
        return PLAIN
