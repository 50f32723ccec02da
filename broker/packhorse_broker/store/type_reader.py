"""Reading what there is of types: their jobs in numbers, settings, schemas, and actions by hand."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from msgspec import Struct

from packhorse_broker.jobs.model import ActionRecord, State
from packhorse_broker.store.keys import ORDER_BYTES, job_of_member
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import CorruptRecord, decode_action, decode_job
from packhorse_broker.store.types import (
    PLAIN,
    StoredSchema,
    TypeSettings,
    decode_schema,
    decode_settings,
)
from packhorse_broker.store.writes import ACTIONS_KEPT

_log = structlog.get_logger(__name__)

OVERVIEW_PAGE: Final = 100
"""Types looked at at once, each with six commands and a record, so that others have their turn."""

CHANGES_PAGE: Final = 1_000
"""Types whose settings are read at once."""

APART_MS: Final = 2_000
"""An action may be noted so long after one of a later time: each broker tells the time when it
decides."""

_STATES: Final = (State.PENDING, State.QUEUED, State.STARTED, State.COMPLETE, State.FAILED)


class TypeOverview(Struct, frozen=True):
    """A type as it stands; its counts are of one moment."""

    type: str
    counts: dict[State, int]
    head_ms: int
    """When the head of its queue was queued, in ms since the epoch; 0: nobody waits."""
    head: tuple[float, bytes] | None
    """Score and member of that entry: what comes first among several is claimed next."""
    jobs_bytes: int
    settings: TypeSettings


class TypeReader:
    """Reads over a connection of its own, one exchange at a time. All raise StoreUnavailable."""

    def __init__(self, lane: ReadLane) -> None:
        self._lane = lane
        self._keys = lane.keys
        self._ask = lane.ask

    async def names(self, after: str, limit: int) -> list[str]:
        """The first types, in the order of their names, that come after this one."""
        [members] = await self._ask(pack(("SMEMBERS", self._keys.types)))
        return heapq.nsmallest(limit, (name for name in map(bytes.decode, members) if name > after))

    async def overviews(self, types: Sequence[str]) -> list[TypeOverview]:
        """Each costs the same, however many jobs there are."""
        found: list[TypeOverview] = []
        for start in range(0, len(types), OVERVIEW_PAGE):
            found += await self._overviews(types[start : start + OVERVIEW_PAGE])
        return found

    async def _overviews(self, types: Sequence[str]) -> list[TypeOverview]:
        keys = self._keys
        indexes = (keys.delayed, keys.queue, keys.started, keys.complete, keys.failed)
        [*_, replies] = await self._ask(
            pack(("MULTI",)),
            pack(("MGET", *map(keys.settings, types))),
            pack(("HMGET", keys.bytes, *types)),
            *(
                command
                for job_type in types
                for command in (
                    *(pack(("ZCARD", index(job_type))) for index in indexes),
                    pack(("ZRANGE", keys.queue(job_type), 0, 0, "WITHSCORES")),
                )
            ),
            pack(("EXEC",)),
        )
        settings, sizes, *others = replies
        each = len(indexes) + 1
        heads = others[len(indexes) :: each]
        queued_at = await self._queued_at(heads)
        return [
            TypeOverview(
                type=job_type,
                counts=dict(zip(_STATES, others[place : place + len(indexes)], strict=True)),
                head_ms=head_ms,
                head=(float(head[1]), head[0]) if head else None,
                jobs_bytes=max(0, int(size or 0)),
                settings=_settings(job_type, stored),
            )
            for job_type, stored, size, place, head, head_ms in zip(
                types, settings, sizes, range(0, len(others), each), heads, queued_at, strict=True
            )
        ]

    async def _queued_at(self, heads: Sequence[Sequence[bytes]]) -> list[int]:
        """When each of these heads of queues, if there is one, was queued last: its place tells
        that of a job that was given back no more. One that is gone meanwhile has its place's."""
        found = {head[0]: self._keys.record(job_of_member(head[0])) for head in heads if head}
        if not found:
            return [0] * len(heads)
        [values] = await self._ask(pack(("MGET", *found.values())))
        queued_at = {
            head: _queued_at(head, value) for head, value in zip(found, values, strict=True)
        }
        return [queued_at[head[0]] if head else 0 for head in heads]

    async def changed_since(self, number: int) -> tuple[dict[str, TypeSettings], int]:
        """Settings that were changed after the change of this number, and the number of the
        newest of these. There may be more: ask until there are none."""
        keys = self._keys
        page = ("LIMIT", 0, CHANGES_PAGE, "WITHSCORES")
        [found] = await self._ask(
            pack(("ZRANGE", keys.configured, f"({number}", "+inf", "BYSCORE", *page))
        )
        if not found:
            return {}, number
        types = [member.decode() for member in found[::2]]
        [values] = await self._ask(pack(("MGET", *map(keys.settings, types))))
        return {
            job_type: _settings(job_type, value)
            for job_type, value in zip(types, values, strict=True)
        }, int(float(found[-1]))

    async def schemas(self, types: Sequence[str]) -> list[StoredSchema | None]:
        """Each type's schema, None where it has none or none that can be read."""
        if not types:
            return []
        [values] = await self._ask(pack(("MGET", *map(self._keys.schema, types))))
        return [_schema(job_type, value) for job_type, value in zip(types, values, strict=True)]

    async def finished(self, places: Sequence[tuple[str, State]]) -> list[int]:
        """How many jobs of a type are COMPLETE, or FAILED, for each of these."""
        return await self._ask(*(pack(("ZCARD", self._finished(*place))) for place in places))

    async def oldest_finished(
        self, job_type: str, state: State, *, from_ms: int, skip: int, limit: int
    ) -> tuple[int, dict[str, int]]:
        """Jobs in this state that finished at `from_ms` or later, without the first `skip`: how
        many there are, and the first finished of them with when that was; both at one moment."""
        key = self._finished(job_type, state)
        [*_, [count, found]] = await self._ask(
            pack(("MULTI",)),
            pack(("ZCOUNT", key, from_ms, "+inf")),
            pack(
                ("ZRANGE", key, from_ms, "+inf", "BYSCORE", "LIMIT", skip, limit, "WITHSCORES"),
            ),
            pack(("EXEC",)),
        )
        return max(0, count - skip), {
            member.decode(errors="replace"): int(float(score))
            for member, score in zip(found[::2], found[1::2], strict=True)
        }

    def _finished(self, job_type: str, state: State) -> bytes:
        keys = self._keys
        return keys.complete(job_type) if state is State.COMPLETE else keys.failed(job_type)

    async def actions(
        self, before_ms: int | None, limit: int, *, left: Sequence[int] = ()
    ) -> list[ActionRecord]:
        """What was done by hand, newest first: at least `limit` of them if there are so many.

        Those of one millisecond come together, so that asking for what was `before_ms` the last
        one goes on without a gap. Whoever told only some of them asks for those of that
        millisecond that are `left` as well, see there: they are counted from the oldest one on,
        so that none is passed over where another comes in.
        """
        of_that_moment = left[0] if left else 0
        count = limit + 1
        while True:
            [members] = await self._ask(pack(("LRANGE", self._keys.actions, -count, -1)))
            actions = [action for action in map(_action, reversed(members)) if action is not None]
            found = [one for one in actions if before_ms is None or one.at < before_ms]
            if of_that_moment:
                found += [one for one in actions if one.at == before_ms][-of_that_moment:]
            found.sort(key=lambda action: -action.at)
            last = found[limit - 1].at if len(found) > limit else 0
            if len(members) < count or (last and actions[-1].at < last - APART_MS):
                return [action for action in found if action.at >= last]
            count = min(4 * count, 2 * ACTIONS_KEPT)

    def left(self, actions: Iterable[ActionRecord]) -> tuple[int, ...]:
        """What to ask for next, where these are the last ones of a millisecond, and untold."""
        return (sum(1 for _ in actions),)

    async def close(self) -> None:
        await self._lane.close()


def _settings(job_type: str, data: bytes | None) -> TypeSettings:
    """What can't be read is as good as not set, but said."""
    try:
        return decode_settings(data)
    except CorruptRecord as error:
        _log.error("store.corrupt_settings", type=job_type, error=str(error))
        return PLAIN


def _schema(job_type: str, data: bytes | None) -> StoredSchema | None:
    try:
        return decode_schema(data)
    except CorruptRecord as error:
        _log.error("store.corrupt_schema", type=job_type, error=str(error))
        return None


def _action(data: bytes) -> ActionRecord | None:
    try:
        return decode_action(data)
    except CorruptRecord as error:
        _log.error("store.corrupt_action", error=str(error))
        return None


def _queued_at(head: bytes, record: bytes | None) -> int:
    try:
        job = decode_job(record) if record is not None else None
    except CorruptRecord:
        job = None
    if job is not None:
        return job.queued_at
    return int.from_bytes(head[:ORDER_BYTES], "big") // 1_000
