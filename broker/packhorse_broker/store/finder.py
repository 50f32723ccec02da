"""Finding jobs by what the indexes say: page by page, each page at a bounded cost.

A list is read from one index after another: that of a unique key, or of a label, or the sets of
each type and state. Where a page ends is a place in one of them. Whatever comes and goes
meanwhile: a job that stays where it is and matches is found once.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, dropwhile, islice
from typing import Annotated, Final

import structlog
from msgspec import Meta, Struct

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import PartitionKeys, job_of_member, queue_member
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import CorruptRecord, decode_job
from packhorse_broker.store.seeking import Entry, entries_after
from packhorse_protocol.ids import unique_tag

_log = structlog.get_logger(__name__)

MAX_LOOKED_AT: Final = 2_000
"""Index entries and indexes that one page looks at: so long a list that matches little keeps
nobody waiting."""

CHUNK: Final = 200
"""Records read at once, each perhaps some kilobytes, so that others have their turn."""

SMALL_CHUNK: Final = 20
"""Records read at least, though fewer are asked for: some may not match."""

INDEXES_AT_ONCE: Final = 100
"""Indexes that are asked at once whether they hold anything."""

STATES: Final = (State.PENDING, State.QUEUED, State.STARTED, State.COMPLETE, State.FAILED)
"""In this order the sets of a type are read: a job that moves on meanwhile is rather found twice,
in both its states, than not at all."""

_MAX_SCORE: Final = 2**53
"""Scores are doubles: whole numbers up to here are exact."""

_MAX_MEMBER_BYTES: Final = 1_024
"""More than the order and the longest id take."""


class Query(Struct, frozen=True, kw_only=True, array_like=True):
    """What is asked for: jobs that match all of it. With `unique_key` there has to be a `type`.

    `since` and `until` (exclusive) bound the time of a job's state, see `time_of`.
    """

    type: str | None = None
    states: tuple[State, ...] = ()
    """Empty: all."""
    label: str | None = None
    unique_key: str | None = None
    since: int = 0
    until: int | None = None
    newest_first: bool = False


class Place(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a list goes on: after this entry of this index."""

    type: str | None
    state: State | None
    score: Annotated[int, Meta(ge=-_MAX_SCORE, le=_MAX_SCORE)] = 0
    member: Annotated[bytes, Meta(max_length=_MAX_MEMBER_BYTES)] | None = None
    """None: at the beginning."""

    @property
    def entry(self) -> Entry | None:
        return (self.score, self.member) if self.member is not None else None


class Page(Struct, frozen=True):
    """Jobs, each with where the list goes on after it; `next` None: there are no more."""

    jobs: list[tuple[Job, Place]]
    next: Place | None


class WrongPlace(Exception):
    """The place is in no index that the query reads."""


class _Walk(Struct, frozen=True):
    """An index to be read: a type's jobs in a state, or all with a label (neither)."""

    keys: tuple[bytes, ...]
    """Of its part in each partition."""
    type: str | None
    state: State | None

    def place(self, entry: Entry | None) -> Place:
        return Place(self.type, self.state, *entry) if entry else Place(self.type, self.state)

    def job_id(self, member: bytes) -> str:
        if self.state is State.QUEUED:
            return job_of_member(member)
        return member.decode(errors="replace")

    def entry_of(self, job: Job) -> Entry | None:
        """The one that this job has in this index; None: none."""
        if self.state is None:
            return job.created_at, job.id.encode()
        if job.state is not self.state or job.type != self.type:
            return None
        if self.state is State.QUEUED:
            return -job.priority, queue_member(job.order, job.id)
        return time_of(job), job.id.encode()


def time_of(job: Job) -> int:
    """The time that belongs to its state: when it is due, was queued, started, or finished."""
    if job.state is State.PENDING:
        return job.delayed_until
    if job.state is State.QUEUED:
        return job.queued_at
    return job.started_at if job.state is State.STARTED else job.finished_at


class Finder:
    """Reads over a connection for each partition. All raise StoreUnavailable."""

    def __init__(self, parts: Sequence[ReadLane]) -> None:
        self._parts = parts
        self._homes = Homes(len(parts))

    # -- lists

    async def page(self, query: Query, start: Place | None, limit: int) -> Page:
        """At most `limit` jobs, from the beginning or from a place that a page before told.

        A page may hold fewer, even none, and still have a next one. Raises WrongPlace.
        """
        if query.unique_key is not None:
            return await self._holder(query, start)
        walks = await self._walks(query, start)
        left = MAX_LOOKED_AT
        jobs: list[tuple[Job, Place]] = []
        while left > 0:
            indexes = list(islice(walks, INDEXES_AT_ONCE))
            if not indexes:
                return Page(jobs, None)
            sizes = await self._sizes(indexes)
            left -= len(indexes)
            for walk in (walk for walk, size in zip(indexes, sizes, strict=True) if size):
                after = start.entry if start is not None and _is_in(start, walk) else None
                left, stopped = await self._read(query, walk, after, limit, left, jobs)
                if stopped is not None:
                    return Page(jobs, stopped)
        following = next(walks, None)
        return Page(jobs, following.place(None) if following is not None else None)

    async def _sizes(self, walks: Sequence[_Walk]) -> list[int]:
        """How many entries each of these indexes has, in all partitions."""
        found = await asyncio.gather(
            *(
                part.ask(*(pack(("ZCARD", walk.keys[place])) for walk in walks))
                for place, part in enumerate(self._parts)
            )
        )
        return [sum(sizes) for sizes in zip(*found, strict=True)]

    async def _read(
        self,
        query: Query,
        walk: _Walk,
        after: Entry | None,
        limit: int,
        left: int,
        jobs: list[tuple[Job, Place]],
    ) -> tuple[int, Place | None]:
        """Adds jobs of one index. How much may still be looked at, and where it had to stop, None
        if it came to the end."""
        at_end = False
        while not at_end:
            wanted = limit - len(jobs)
            if wanted == 0 or left <= 0:
                return left, walk.place(after)
            count = min(max(wanted, SMALL_CHUNK), CHUNK, left)
            entries, at_end = await self._entries(query, walk, after, count)
            if not entries and not at_end:
                return left, walk.place(after)
            left -= len(entries)
            ids = [walk.job_id(member) for _, member in entries]
            for entry, job in zip(entries, await self._records(ids), strict=True):
                if len(jobs) == limit:
                    return left, walk.place(after)
                after = entry
                if job is not None and walk.entry_of(job) == entry and _matches(job, query):
                    jobs.append((job, walk.place(entry)))
        return left, None

    async def _entries(
        self, query: Query, walk: _Walk, after: Entry | None, count: int
    ) -> tuple[list[Entry], bool]:
        """Of an index whose scores are the times asked for, those outside are not looked at."""
        reverse = query.newest_first
        if walk.state is None or walk.state is State.QUEUED:
            return await self._after(walk, after, count, reverse=reverse)
        since, until = query.since, query.until
        first = until if reverse else since
        if first:
            bound = (first, b"")
            after = bound if after is None else (min if reverse else max)(after, bound)
        entries, at_end = await self._after(walk, after, count, reverse=reverse)
        within = [
            entry for entry in entries if since <= entry[0] and (until is None or entry[0] < until)
        ]
        return within, at_end or len(within) < len(entries)

    async def _after(
        self, walk: _Walk, after: Entry | None, count: int, *, reverse: bool
    ) -> tuple[list[Entry], bool]:
        """`entries_after` of all partitions, as if they were one index."""
        found = await asyncio.gather(
            *(
                entries_after(part.ask, key, after, count, reverse=reverse)
                for part, key in zip(self._parts, walk.keys, strict=True)
            )
        )
        if any(not entries and not at_end for entries, at_end in found):
            return [], False
        entries = sorted(chain.from_iterable(entries for entries, _ in found), reverse=reverse)
        # Behind the last one of a partition that has more of them, its next ones may come first:
        # one whose index changes while it is read gives fewer than were asked for.
        if lasts := [entries[-1] for entries, at_end in found if not at_end]:
            known = max(lasts) if reverse else min(lasts)
            entries = [one for one in entries if (one >= known if reverse else one <= known)]
        at_end = len(entries) <= count and all(at_end for _, at_end in found)
        return entries[:count], at_end

    async def _walks(self, query: Query, start: Place | None) -> Iterator[_Walk]:
        """The indexes to be read, from that of the place on."""
        if query.label is not None:
            label = query.label
            walks: Iterator[_Walk] = iter(
                (_Walk(tuple(part.keys.label(label) for part in self._parts), None, None),)
            )
        elif query.type is not None:
            walks = self._sets((query.type,), query.states)
        else:
            found = await asyncio.gather(
                *(part.ask(pack(("SMEMBERS", part.keys.types))) for part in self._parts)
            )
            types = sorted({name.decode() for [members] in found for name in members})
            if start is not None:
                types = [name for name in types if name >= (start.type or "")]
            walks = self._sets(types, query.states)
        if start is None:
            return walks
        walks = dropwhile(lambda walk: not _is_in(start, walk), walks)
        first = next(walks, None)
        if first is None:
            raise WrongPlace
        return chain((first,), walks)

    def _sets(self, types: Sequence[str], states: tuple[State, ...]) -> Iterator[_Walk]:
        wanted = [state for state in STATES if not states or state in states]
        return (
            _Walk(
                tuple(_set_of(part.keys, state)(job_type) for part in self._parts), job_type, state
            )
            for job_type in types
            for state in wanted
        )

    async def _holder(self, query: Query, start: Place | None) -> Page:
        """The job that holds a unique key."""
        assert query.type is not None
        assert query.unique_key is not None
        if start is not None:
            raise WrongPlace
        home = self._homes.of(unique_tag(query.type, query.unique_key))
        part = self._parts[home]
        [holder] = await part.ask(pack(("GET", part.keys.unique(query.type, query.unique_key))))
        if holder is None:
            return Page([], None)
        [job] = await self._records([holder.decode(errors="replace")])
        if job is None or not _matches(job, query):
            return Page([], None)
        return Page([(job, Place(job.type, job.state))], None)

    async def _records(self, ids: Sequence[str]) -> list[Job | None]:
        async def read(home: int, own: Sequence[str]) -> list[bytes | None]:
            part = self._parts[home]
            [values] = await part.ask(pack(("MGET", *map(part.keys.record, own))))
            found: list[bytes | None] = values
            return found

        values = await self._homes.ask(ids, read)
        return [_job(job_id, value) for job_id, value in zip(ids, values, strict=True)]

    async def close(self) -> None:
        for part in self._parts:
            await part.close()


def _set_of(keys: PartitionKeys, state: State) -> Callable[[str], bytes]:
    """The name of a type's jobs in this state."""
    return {
        State.PENDING: keys.delayed,
        State.QUEUED: keys.queue,
        State.STARTED: keys.started,
        State.COMPLETE: keys.complete,
        State.FAILED: keys.failed,
    }[state]


def _is_in(place: Place, walk: _Walk) -> bool:
    return (place.type, place.state) == (walk.type, walk.state)


def _matches(job: Job, query: Query) -> bool:
    terms = job.terms
    unique = terms.unique if terms is not None else None
    return (
        (query.type is None or job.type == query.type)
        and (not query.states or job.state in query.states)
        and (query.label is None or (terms is not None and query.label in terms.labels))
        and (query.unique_key is None or (unique is not None and unique.key == query.unique_key))
        and query.since <= time_of(job)
        and (query.until is None or time_of(job) < query.until)
    )


def _job(job_id: str, value: bytes | None) -> Job | None:
    """What can't be read is left out, but said."""
    try:
        return decode_job(value) if value is not None else None
    except CorruptRecord as error:
        _log.error("store.corrupt_record", job=job_id, error=str(error))
        return None
