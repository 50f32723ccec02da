"""Which broker brings an outcome to a group of handlers, so that two brokers never both do.

An outcome that a group is owed is taken by the broker that has a member with room for it, for as
long as that broker runs or until it is given back. It is no part of the job: it goes in the
transaction by which the group is owed the outcome no more (writes.py).

    owners = await assignments.take("mailers", ["9qtz4mka1d7rw2he"])
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final

from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.transaction import Lane

MAX_LOOKS: Final = 5
"""How often it is looked again because something changed meanwhile; the next sweep tries again."""


class Assignments:
    """For one broker, over a lane of its own. All raise StoreUnavailable."""

    def __init__(self, lane: Lane, keys: PartitionKeys, *, broker: str) -> None:
        self._lane = lane
        self._keys = keys
        self.broker = broker
        self._turn = asyncio.Lock()

    async def take(self, group: str, jobs: Sequence[str]) -> dict[str, str]:
        """Takes what no broker has: who has each now. What the group is owed no more is not in it.

        That a job is owed follows from its record, which is watched: the index would change with
        every other job of the group, too.
        """
        taken = self._keys.taken(group)
        async with self._turn:
            for _ in range(MAX_LOOKS):
                _, owners, finished = await self._lane.ask(
                    pack(("WATCH", *map(self._keys.record, jobs))),
                    pack(("HMGET", taken, *jobs)),
                    pack(("ZMSCORE", self._keys.group(group), *jobs)),
                )
                owner_of = {
                    job: owner
                    for job, owner, at in zip(jobs, owners, finished, strict=True)
                    if at is not None and float(at) > 0
                }
                free = [job for job, owner in owner_of.items() if owner is None]
                if not free:
                    await self._lane.forget()
                    return _told(owner_of)
                replies = await self._lane.commit(
                    [
                        *(("HSETNX", taken, job, self.broker) for job in free),
                        ("HMGET", taken, *owner_of),
                    ]
                )
                if replies:
                    return _told(dict(zip(owner_of, replies[-1], strict=True)))
        return {}

    async def take_over(self, group: str, jobs: Sequence[str], gone: Collection[str]) -> None:
        """Frees what brokers that run no more had taken: whoever takes it next has it."""
        taken = self._keys.taken(group)
        async with self._turn:
            for _ in range(MAX_LOOKS):
                _, owners = await self._lane.ask(
                    pack(("WATCH", taken)), pack(("HMGET", taken, *jobs))
                )
                theirs = [
                    job
                    for job, owner in zip(jobs, owners, strict=True)
                    if owner is not None and owner.decode(errors="replace") in gone
                ]
                if not theirs:
                    await self._lane.forget()
                    return
                if await self._lane.commit([("HDEL", taken, *theirs)]) is not None:
                    return

    async def give_back(self, group: str, jobs: Sequence[str]) -> None:
        """Others may bring these."""
        await self._ask(pack(("HDEL", self._keys.taken(group), *jobs)))

    async def _ask(self, *commands: bytes) -> list[Any]:
        async with self._turn:
            return await self._lane.ask(*commands)

    async def close(self) -> None:
        await self._lane.close()


def _told(owner_of: dict[str, bytes]) -> dict[str, str]:
    return {job: owner.decode(errors="replace") for job, owner in owner_of.items()}
