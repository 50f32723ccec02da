"""Changing what is set about types, each change one transaction that says who did it and why.

Whoever creates jobs of a type or draws from its queue watches the same settings, so a change
holds for all of them from its commit on. With several partitions it is made in the first one, and
holds in each of the others from when `type_copies.py` has brought it there.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.model import ActionRecord
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.records import CorruptRecord, encode_action
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.type_words import why_of_change
from packhorse_broker.store.types import (
    SettingsChange,
    StoredSchema,
    TypeSettings,
    decode_schema,
    decode_settings,
    encode_schema,
    encode_settings,
)
from packhorse_broker.store.writes import ACTIONS_KEPT

MAX_CONFLICTS: Final = 200
"""A change that others came before so often gives up as unavailable."""


class TypeChanges:
    """`change` and `publish`, one transaction at a time. Both raise StoreUnavailable, and write
    nothing where nothing changes."""

    def __init__(self, lane: Lane, keys: PartitionKeys) -> None:
        self._lane = lane
        self._keys = keys
        self._turn = asyncio.Lock()

    async def change(
        self, wanted: Mapping[str, SettingsChange], *, by: str, why: str, now_ms: int
    ) -> dict[str, TypeSettings]:
        """Changes all of these types at one moment; what holds for each afterwards.

        Settings that can't be read are replaced: whoever sets them knows better.
        """
        keys = self._keys
        async with self._turn:
            for _ in range(MAX_CONFLICTS):
                number, values = await self._watch([keys.settings(name) for name in wanted], now_ms)
                settled: dict[str, TypeSettings] = {}
                commands: list[Argument] = []
                for (job_type, change), value in zip(wanted.items(), values, strict=True):
                    before = _settings(value)
                    after = change.made_to(before)
                    if after != before:
                        after = replace(after, changed_at=now_ms, by=by, why=why, number=number)
                        if _pause(after) != _pause(before):
                            after = replace(after, paused_at=now_ms, paused_by=by, paused_why=why)
                        said = why_of_change(before, after, why)
                        action = ActionRecord(now_ms, "configure", by, said, type=job_type)
                        commands += self._set(job_type, after, number, action)
                        number += 1
                    settled[job_type] = after
                if await self._commit(commands):
                    return settled
        raise StoreUnavailable("the settings keep being changed by others")

    async def publish(self, schemas: Mapping[str, bytes], *, by: str, now_ms: int) -> None:
        """Stores the schema of each of these types; an empty one takes it away."""
        keys = self._keys
        names = [key(name) for key in (keys.settings, keys.schema) for name in schemas]
        async with self._turn:
            for _ in range(MAX_CONFLICTS):
                number, values = await self._watch(names, now_ms)
                commands: list[Argument] = []
                for (job_type, schema), settings, known in zip(
                    schemas.items(), values[: len(schemas)], values[len(schemas) :], strict=True
                ):
                    if schema == _schema(known):
                        continue
                    if schema:
                        stored = encode_schema(StoredSchema(schema, by, now_ms))
                        commands.append(("SET", keys.schema(job_type), stored))
                    else:
                        commands.append(("DEL", keys.schema(job_type)))
                    after = replace(_settings(settings), has_schema=bool(schema), number=number)
                    action = ActionRecord(now_ms, "publish", by, "", type=job_type)
                    commands += self._set(job_type, after, number, action)
                    number += 1
                if await self._commit(commands):
                    return
        raise StoreUnavailable("the settings keep being changed by others")

    async def _watch(self, names: list[bytes], now_ms: int) -> tuple[int, list[bytes | None]]:
        """The number of the next change, and the values under these names; all are watched.

        The number is no lower than the time, so that it is none that a change had which the store
        has lost since, and of which copies may be left in other partitions.
        """
        configured = self._keys.configured
        _, *values = await self._lane.watch([configured, *names])
        [newest] = await self._lane.ask(pack(("ZRANGE", configured, -1, -1, "WITHSCORES")))
        return max((int(float(newest[1])) if newest else 0) + 1, now_ms), values

    def _set(
        self, job_type: str, settings: TypeSettings, number: int, action: ActionRecord
    ) -> list[Argument]:
        keys = self._keys
        return [
            ("SET", keys.settings(job_type), encode_settings(settings)),
            ("ZADD", keys.configured, number, job_type),
            ("SADD", keys.types, job_type),
            ("RPUSH", keys.actions, encode_action(action)),
        ]

    async def _commit(self, commands: list[Argument]) -> bool:
        """False: another change came first, and all has to be decided again."""
        if not commands:
            await self._lane.forget()
            return True
        commands.append(("LTRIM", self._keys.actions, -ACTIONS_KEPT, -1))
        return await self._lane.commit(commands) is not None

    async def close(self) -> None:
        await self._lane.close()


def _pause(settings: TypeSettings) -> tuple[bool, int]:
    return settings.paused, settings.paused_until


def _settings(data: bytes | None) -> TypeSettings:
    try:
        return decode_settings(data)
    except CorruptRecord:
        return TypeSettings()


def _schema(data: bytes | None) -> bytes | None:
    """Empty where there is none, None where it can't be read."""
    try:
        stored = decode_schema(data)
    except CorruptRecord:
        return None
    return stored.schema if stored is not None else b""
