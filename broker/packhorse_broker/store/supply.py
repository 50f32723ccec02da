"""Reads for a round what its decisions depend on, and watches it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import structlog

from packhorse_broker.store.candidates import Window
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.records import CorruptRecord, decode_job
from packhorse_broker.store.round import Round, Wanted
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import PLAIN, TypeBook, TypeSettings, decode_settings
from packhorse_broker.store.usage import Usage, usage_of
from packhorse_broker.store.work import Work

_log = structlog.get_logger(__name__)

MAX_TOLD: Final = 1_000
"""Corrupt records that are named in the log, once each."""

UsageElsewhere: TypeAlias = Callable[[list[str]], Awaitable[Sequence[list[Usage]]]]
"""What each of the other partitions holds of some types."""


class Supply:
    """`read` fills a round."""

    def __init__(
        self,
        lane: Lane,
        keys: PartitionKeys,
        types: TypeBook,
        elsewhere: UsageElsewhere | None,
    ) -> None:
        """`elsewhere`: what types hold in the other partitions; None: there are no others."""
        self._lane = lane
        self._keys = keys
        self._types = types
        self._elsewhere = elsewhere
        self._told_corrupt: set[str] = set()

    async def read(self, round_: Round, batch: list[Work], windows: Mapping[str, Window]) -> None:
        """Watches and reads all that the decisions depend on: mostly in one exchange. What a
        record names in turn (the holder of a unique key, its type) takes another."""
        wanted = round_.wanted(batch, windows)
        while wanted:
            await self._watch(round_, wanted)
            wanted = round_.wanted_further()
        limited = round_.limited_types()
        if limited:
            await self._read_usage(round_, limited)

    async def _watch(self, round_: Round, wanted: Wanted) -> None:
        keys = self._keys
        values = iter(
            await self._lane.watch(
                [
                    *map(keys.record, wanted.records),
                    *map(keys.settings, wanted.types),
                    *(keys.unique(job_type, key) for job_type, key in wanted.holders),
                ]
            )
        )
        for job_id in wanted.records:
            value = next(values)
            try:
                round_.records[job_id] = decode_job(value) if value is not None else None
            except CorruptRecord as error:
                self._tell_corrupt(job_id, error)
                round_.broken[job_id] = error
        for job_type in wanted.types:
            round_.settings[job_type] = settings = self._settings(job_type, next(values))
            self._types.put(job_type, settings)
        for name in wanted.holders:
            value = next(values)
            round_.holders[name] = value.decode() if value is not None else None

    async def _read_usage(self, round_: Round, types: list[str]) -> None:
        """How much the types with a limit hold. It is not watched: what is created in the same
        moment by other brokers, or in other partitions, may exceed a limit by their batch."""
        found = await usage_of(self._lane.ask, self._keys, types)
        for others in await self._elsewhere(types) if self._elsewhere is not None else ():
            found = [
                (jobs + more_jobs, held_bytes + more_bytes)
                for (jobs, held_bytes), (more_jobs, more_bytes) in zip(found, others, strict=True)
            ]
        round_.usage.update(zip(types, found, strict=True))

    def _settings(self, job_type: str, value: bytes | None) -> TypeSettings:
        """Settings that can't be read are as good as none: work goes on."""
        try:
            return decode_settings(value)
        except CorruptRecord as error:
            self._tell_corrupt(f"settings of {job_type}", error)
            return PLAIN

    def _tell_corrupt(self, record: str, error: CorruptRecord) -> None:
        if record not in self._told_corrupt and len(self._told_corrupt) < MAX_TOLD:
            self._told_corrupt.add(record)
            _log.error("store.corrupt_record", record=record, error=str(error))
