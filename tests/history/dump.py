"""What is in the store when all is over: jobs with their logs and ended attempts.

    async with opened(url_of, prefix) as store:
        jobs = (await store.read()).jobs

Partitions may each be at a server of their own, and stay there while they are read.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from msgspec import Struct

from packhorse_broker.contents import unpack_body
from packhorse_broker.jobs.model import PLAIN_COURSE, Job
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.records import decode_attempt, decode_entry, decode_job
from packhorse_broker.store.schema import read as read_identity
from tests.support.inspection import Raw

PAGE: Final = 500
"""Records that one exchange reads."""

UrlOf = Callable[[bytes], Awaitable[str]]
"""Of the server that has a key."""


class EndedAttempt(Struct, frozen=True, kw_only=True):
    attempt: int
    runner: str
    started_at: int
    finished_at: int
    end: str
    expired: str = ""


class StoredJob(Struct, frozen=True, kw_only=True):
    """A job as the store has it. Times by the store's clock, ms."""

    id: str
    name: str
    """What its payload says."""
    state: str
    version: int = 1
    token: str = ""
    fence: int = 0
    attempts: int = 1
    current_attempt: int = 0
    failed: int = 0
    lost: int = 0
    released: int = 0
    taken_back: int = 0
    """Of the released ones, those that no runner has learnt of."""
    timed_out: int = 0
    cut_off: int = 0
    retried: int = 0
    handlers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    created_at: int = 0
    reason: str = ""
    log: tuple[tuple[int, str], ...] = ()
    """Offset and message of the entries that runners wrote, progress and actions left out."""
    log_offsets: tuple[int, ...] = ()
    """Of all entries."""
    log_first: int = 0
    log_end: int = 0
    ended: tuple[EndedAttempt, ...] = ()

    @property
    def finished(self) -> bool:
        return self.state in ("COMPLETE", "FAILED")


class Dump(Struct, frozen=True, kw_only=True):
    partitions: int
    jobs: dict[str, StoredJob]
    astray: list[str]
    """Jobs where nobody looks for them: in another partition than their ids say."""


class Unsettled(Struct, frozen=True, kw_only=True):
    """What is still under way."""

    unfinished: int
    awaited: int
    """Finished jobs whose outcome somebody is still to handle."""
    leaving: int
    """Clients whose removal has begun."""

    def __bool__(self) -> bool:
        return bool(self.unfinished or self.awaited or self.leaving)


class Store:
    """A store that is read, with a connection to each of its servers."""

    def __init__(self, clients: ClientKeys, at: Raw, partitions: dict[Raw, list[PartitionKeys]]):
        self._clients = clients
        self._at = at
        """Where the clients are."""
        self._partitions = partitions
        """By where they are."""

    async def unsettled(self) -> Unsettled:
        jobs = [job async for _, _, job in self._jobs()]
        return Unsettled(
            unfinished=sum(not job.state.finished for job in jobs),
            awaited=sum(job.state.finished and job.awaited for job in jobs),
            leaving=await self._at("ZCARD", self._clients.leaving),
        )

    async def read(self) -> Dump:
        count = max(1, sum(map(len, self._partitions.values())))
        homes = Homes(count)
        jobs: dict[str, StoredJob] = {}
        astray: list[str] = []
        async for raw, keys, job in self._jobs():
            if keys.partition == homes.of(job.id):
                jobs[job.id] = await _stored(raw, keys, job)
            else:
                astray.append(f"{job.id} is in partition {keys.partition}")
        return Dump(partitions=count, jobs=jobs, astray=astray)

    async def _jobs(self) -> AsyncIterator[tuple[Raw, PartitionKeys, Job]]:
        for raw, partitions in self._partitions.items():
            names = await raw.keys(b"")
            for keys in partitions:
                for job in await _records(raw, keys, names):
                    yield raw, keys, job


@asynccontextmanager
async def opened(url_of: UrlOf, prefix: str) -> AsyncIterator[Store]:
    """With as many partitions as the store says; none before its first use."""
    clients = ClientKeys(prefix)
    async with AsyncExitStack() as stack:
        links: dict[str, Raw] = {}

        async def link_to(key: bytes) -> Raw:
            url = await url_of(key)
            if url not in links:
                links[url] = await Raw.open(url)
                stack.push_async_callback(links[url].close)
            return links[url]

        at = await link_to(clients.store)
        identity = await at("GET", clients.store)
        partitions: dict[Raw, list[PartitionKeys]] = {}
        for number in range(read_identity(identity).partitions if identity else 0):
            keys = PartitionKeys(prefix, number)
            partitions.setdefault(await link_to(keys.base), []).append(keys)
        yield Store(clients, at, partitions)


async def _records(raw: Raw, keys: PartitionKeys, names: set[bytes]) -> list[Job]:
    """`names`: of all keys at that server."""
    own = sorted(name for name in names if name.startswith(keys.record("")))
    jobs: list[Job] = []
    for start in range(0, len(own), PAGE):
        values = await raw("MGET", *own[start : start + PAGE])
        jobs += [decode_job(value) for value in values if value is not None]
    return jobs


async def _stored(raw: Raw, keys: PartitionKeys, job: Job) -> StoredJob:
    course = job.course or PLAIN_COURSE
    log = [decode_entry(entry) for entry in await raw("LRANGE", keys.log(job.id), 0, -1)]
    body = job.body if job.body is not None else await raw("GET", keys.body(job.id))
    attempts: list[bytes] = []
    if job.attempt_records:
        attempts = await raw("LRANGE", keys.attempts(job.id), 0, -1)
    ended = [decode_attempt(attempt) for attempt in attempts]
    return StoredJob(
        id=job.id,
        name=unpack_body(body)[0].decode(),
        state=job.state.name,
        version=job.version,
        token=job.token.hex() if job.token is not None else "",
        fence=job.fence,
        attempts=job.attempts,
        current_attempt=job.current_attempt,
        failed=job.failed,
        lost=job.lost,
        released=job.released,
        taken_back=course.taken_back,
        timed_out=course.timed_out,
        cut_off=course.cut_off,
        retried=course.retried,
        handlers=job.handlers,
        groups=job.groups,
        created_at=job.created_at,
        reason=job.reason.name if job.reason is not None else "",
        log=tuple((entry.offset, entry.message) for entry in log if entry.type == "log"),
        log_offsets=tuple(entry.offset for entry in log),
        log_first=job.log_first,
        log_end=job.log_end,
        ended=tuple(
            EndedAttempt(
                attempt=one.attempt,
                runner=one.runner,
                started_at=one.started_at,
                finished_at=one.finished_at,
                end=one.end.name,
                expired=one.expired.name if one.expired else "",
            )
            for one in ended
        ),
    )
