"""Reading without changing: jobs, logs, counts, and what the indexes say.

What is read here may be older than the next commit; whoever acts on it decides again from the
watched record.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import MovedError

from packhorse_broker.jobs.model import Job, LogEntry, State
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.records import CorruptRecord, decode_entry, decode_job
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.usage import Usage, usage_of

LAST_INDEX: Final = 2**63 - 1
"""The store counts no further."""

LOG_READS: Final = 4
"""How often a log page is read again because entries were dropped meanwhile."""


Found: TypeAlias = Job | CorruptRecord | None
"""A job, or None if there is none of that id, or why its record can't be read."""


class LogPage(Struct, frozen=True):
    """Entries from an offset on; `first` is the oldest kept, `end` the next to come."""

    entries: tuple[LogEntry, ...]
    first: int
    end: int
    dropped_bytes: int = 0
    """Messages before `first`, at least: of entries dropped for their number it is known late."""


class Reader:
    """Reads over a connection of its own, one exchange at a time. All raise StoreUnavailable."""

    def __init__(self, lane: Lane, keys: PartitionKeys) -> None:
        self._lane = lane
        self._keys = keys
        self._turn = asyncio.Lock()

    async def _ask(self, *commands: bytes) -> list[Any]:
        async with self._turn:
            try:
                return await self._lane.ask(*commands)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, LostConnection | OSError | MovedError):
                    raise
            # The connection had ended while nothing was asked: the store may be there again; or
            # another node of the Cluster has these keys now.
            return await self._lane.ask(*commands)

    async def records(self, ids: Sequence[str]) -> list[Found]:
        """Records alone; bodies and outcomes that live apart are None."""
        if not ids:
            return []
        [values] = await self._ask(pack(("MGET", *map(self._keys.record, ids))))
        return [_decoded(value) for value in values]

    async def jobs(self, ids: Sequence[str]) -> list[Found]:
        """Records with their bodies and outcomes."""
        jobs = await self.records(ids)
        bodies = [job.id for job in jobs if isinstance(job, Job) and job.body is None]
        outcomes = [job.id for job in jobs if isinstance(job, Job) and job.outcome_apart]
        if not bodies and not outcomes:
            return jobs
        names = [*map(self._keys.body, bodies), *map(self._keys.outcome, outcomes)]
        [values] = await self._ask(pack(("MGET", *names)))
        body_of = dict(zip(bodies, values[: len(bodies)], strict=True))
        outcome_of = dict(zip(outcomes, values[len(bodies) :], strict=True))
        return [_completed(job, body_of, outcome_of) for job in jobs]

    async def log(self, job_id: str, offset: int, limit: int) -> LogPage | None:
        """At most `limit` entries from `offset` on that are still kept; None: no such job.

        Raises CorruptRecord.
        """
        [found] = await self.records([job_id])
        if isinstance(found, CorruptRecord):
            raise found
        job = found
        page: LogPage | None = None
        for _ in range(LOG_READS):
            if job is None:
                return None
            start = max(offset - job.log_first, 0)
            record, values = await self._ask(
                pack(("GET", self._keys.record(job_id))),
                pack(("LRANGE", self._keys.log(job_id), start, min(start + limit - 1, LAST_INDEX))),
            )
            job = decode_job(record) if record is not None else None
            if job is None:
                return None
            entries = tuple(entry for entry in map(decode_entry, values) if entry.offset >= offset)
            dropped_bytes = job.log_tail.dropped_bytes if job.log_tail is not None else 0
            page = LogPage(entries, job.log_first, max(job.log_end, _end(entries)), dropped_bytes)
            if not entries or entries[0].offset <= max(offset, job.log_first):
                break
        return page

    async def counts(self, types: Sequence[str]) -> dict[str, dict[State, int]]:
        """Exact numbers of jobs at one moment, by type and state."""
        if not types:
            return {}
        keys = self._keys
        [*_, replies] = await self._ask(
            pack(("MULTI",)),
            *(
                pack(("ZCARD", key(job_type)))
                for job_type in types
                for key in (keys.delayed, keys.queue, keys.started, keys.complete, keys.failed)
            ),
            pack(("EXEC",)),
        )
        states = (State.PENDING, State.QUEUED, State.STARTED, State.COMPLETE, State.FAILED)
        return {
            job_type: dict(zip(states, replies[5 * place : 5 * place + 5], strict=True))
            for place, job_type in enumerate(types)
        }

    async def usage(self, types: Sequence[str]) -> list[Usage]:
        """What each type holds."""
        return await usage_of(self._ask, self._keys, types)

    async def types(self) -> list[str]:
        """Every type that was ever seen, sorted."""
        [members] = await self._ask(pack(("SMEMBERS", self._keys.types)))
        return sorted(member.decode() for member in members)

    async def held_by(self, client: str, limit: int) -> list[str]:
        """Jobs that the client holds as their runner, longest held first."""
        return await self._members(self._keys.claims(client), limit)

    async def handled_by(self, client: str, limit: int) -> list[str]:
        """Jobs that the client handles, finished or not."""
        return await self._members(self._keys.handlers(client), limit)

    async def owed_to(self, client: str, limit: int) -> dict[str, int]:
        """Finished jobs whose outcome the client has not handled, with when each finished, first
        finished first."""
        return await self._owed(self._keys.handlers(client), limit)

    async def owed_to_group(self, group: str, limit: int) -> dict[str, int]:
        """The same for a group of handlers."""
        return await self._owed(self._keys.group(group), limit)

    async def _owed(self, key: bytes, limit: int) -> dict[str, int]:
        [members] = await self._ask(
            pack(("ZRANGE", key, "(0", "+inf", "BYSCORE", "LIMIT", 0, limit, "WITHSCORES"))
        )
        return {
            member.decode(): int(float(score))
            for member, score in zip(members[::2], members[1::2], strict=True)
        }

    async def due(self, now_ms: int, limit: int, *, skip: int = 0) -> tuple[list[str], int]:
        """Jobs for which something is due, longest overdue first and without the first `skip` of
        each index; and when the next one is due, 0 if none is known."""
        keys = self._keys
        indexes = (keys.pending, keys.timers)
        replies = await self._ask(
            *(
                pack(("ZRANGE", key, "-inf", now_ms, "BYSCORE", "LIMIT", skip, limit))
                for key in indexes
            ),
            *(
                pack(("ZRANGE", key, f"({now_ms}", "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES"))
                for key in indexes
            ),
        )
        due = dict.fromkeys(
            member.decode(errors="replace") for members in replies[:2] for member in members
        )
        coming = [int(float(members[1])) for members in replies[2:] if members]
        return list(due), min(coming, default=0)

    async def _members(self, key: bytes, limit: int) -> list[str]:
        [members] = await self._ask(pack(("ZRANGE", key, 0, limit - 1)))
        return [member.decode() for member in members]

    async def close(self) -> None:
        await self._lane.close(forget_mark=False)


def _decoded(data: bytes | None) -> Found:
    try:
        return decode_job(data) if data is not None else None
    except CorruptRecord as error:
        return error


def _completed(
    job: Found, bodies: dict[str, bytes | None], outcomes: dict[str, bytes | None]
) -> Found:
    """The record with what lives apart; None if the job was removed between the two reads."""
    if not isinstance(job, Job):
        return job
    if job.id in bodies:
        job = replace(job, body=bodies[job.id])
    if job.id in outcomes:
        job = replace(job, outcome=outcomes[job.id])
    return None if job.body is None or job.outcome_apart else job


def _end(entries: tuple[LogEntry, ...]) -> int:
    return entries[-1].offset + 1 if entries else 0
