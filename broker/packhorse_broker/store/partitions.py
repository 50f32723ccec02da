"""All that reads and changes the jobs of a store, made for as many partitions as it has."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from packhorse_broker.jobs.model import Rules
from packhorse_broker.store.assignments import Assignments
from packhorse_broker.store.assignments_at_home import Assigning, AssignmentsAtHome
from packhorse_broker.store.backlog import Room
from packhorse_broker.store.changes import Change
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.committers import Committers, Committing
from packhorse_broker.store.durability import Waits
from packhorse_broker.store.finder import Finder
from packhorse_broker.store.heads import Heads
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.minutes import Minutes
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.readers import Readers, Reading
from packhorse_broker.store.round import Clock
from packhorse_broker.store.shares import Rivals
from packhorse_broker.store.standing import Standing
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.type_changes import TypeChanges
from packhorse_broker.store.type_copies import TypeCopies
from packhorse_broker.store.type_reader import TypeReader
from packhorse_broker.store.type_readers import ReadingTypes, TypeReaders
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store.usage_elsewhere import UsageElsewhere
from packhorse_broker.store.writer import Publish

Part = TypeVar("Part")
Whole = TypeVar("Whole")


class Partitions:
    """`reader`, `types` and so on for whoever needs one; `committing` makes what changes jobs.

    A store with one partition, which most have, is worked on without anything in between.
    """

    def __init__(
        self,
        address: StoreAddress,
        prefix: str,
        count: int,
        clock: Clock,
        *,
        writer: str,
        broker: str,
    ) -> None:
        """`writer` names this process in the store."""
        self._address = address
        self._clock = clock
        self._writer = writer
        self.keys = [PartitionKeys(prefix, partition) for partition in range(count)]
        self.homes = Homes(count)
        first = self.keys[0]
        self._readers = [Reader(self._lane(keys), keys) for keys in self.keys]
        self.reader: Reading = _one_or(Readers, self._readers)
        self.read_lanes = [self._read_lane(keys) for keys in self.keys]
        """One to each partition, for short reads."""
        self.types: ReadingTypes = _one_or(TypeReaders, [*map(TypeReader, self.read_lanes)])
        finding = [self._read_lane(keys) for keys in self.keys]
        self.finder, self.standing = Finder(finding), Standing(finding)
        self.assignments: Assigning = _one_or(
            AssignmentsAtHome,
            [Assignments(self._lane(keys, "-groups"), keys, broker=broker) for keys in self.keys],
        )
        self.type_changes = TypeChanges(self._lane(first, "-types"), first)
        self.type_copies = TypeCopies(
            self.read_lanes[0], [(self._lane(keys, "-types"), keys) for keys in self.keys[1:]]
        )
        self.minutes = Minutes(self._lane(first, "-minutes"), first, clock.now_ms)

    def address_of(self, keys: PartitionKeys) -> StoreAddress:
        return self._address.of(keys.base)

    @property
    def others(self) -> Sequence[ReadLane]:
        """A connection to each partition, where there are several."""
        return self.read_lanes if len(self.keys) > 1 else ()

    def _lane(self, keys: PartitionKeys, purpose: str = "") -> Lane:
        return Lane(self.address_of(keys), keys.writer(f"{self._writer}{purpose}"))

    def _read_lane(self, keys: PartitionKeys) -> ReadLane:
        return ReadLane(self._lane(keys), keys)

    def committing(
        self,
        rules: Rules,
        *,
        types: TypeBook,
        wait_ms: int,
        waits: Callable[[], Waits],
        publish: Publish,
        committed: Callable[[Sequence[Change]], None],
        rivals: Callable[[str], Rivals],
        left: Callable[[str], None],
        in_use: Callable[[str], bool],
    ) -> Committing:
        """As for `Committer`."""
        elsewhere, room = UsageElsewhere(self._readers), Room()

        def committer(
            keys: PartitionKeys, committed: Callable[[Sequence[Change]], None]
        ) -> Committer:
            return Committer(
                self._lane(keys),
                keys,
                rules,
                self._clock,
                types=types,
                wait_ms=wait_ms,
                waits=waits,
                publish=publish,
                committed=committed,
                rivals=rivals,
                left=left,
                in_use=in_use,
                elsewhere=partial(elsewhere.of, keys.partition) if len(self.keys) > 1 else None,
                room=room,
            )

        if len(self.keys) == 1:
            return committer(self.keys[0], committed)

        def committed_in(partition: int, changes: Sequence[Change]) -> None:
            queued = {change.job.type for change in changes if change.queued}
            if queued:
                together.filled(partition, queued)
            committed(changes)

        together = Committers(
            [committer(keys, partial(committed_in, keys.partition)) for keys in self.keys],
            [Heads(self._read_lane(keys)) for keys in self.keys],
            lambda job_type: types[job_type].gives_out(self._clock.now_ms()),
            in_use,
        )
        return together

    async def close(self) -> None:
        """All that was made but what `committing` made, which ends first."""
        await self.minutes.close()
        await self.reader.close()
        await self.finder.close()
        await self.types.close()
        await self.type_changes.close()
        await self.type_copies.close()
        await self.assignments.close()


def _one_or(together: Callable[[Sequence[Part]], Whole], parts: Sequence[Part]) -> Part | Whole:
    return parts[0] if len(parts) == 1 else together(parts)
