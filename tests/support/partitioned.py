"""A store with several partitions as one broker has it, some of them behind a proxy."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

from packhorse_broker.jobs.model import Rules
from packhorse_broker.store.changes import Change
from packhorse_broker.store.durability import AFTER_EXEC, Waits
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.partitions import Partitions
from packhorse_broker.store.shares import ALONE, Rivals
from packhorse_broker.store.types import TypeBook
from tests.support.clock import ManualClock
from tests.support.opening import RULES, TIMEOUT_MS, Caller

_WRITERS: Final = count(1)


class DividedAddress(StoreAddress):
    """Leads to another server for the keys of some partitions, as a Cluster's does."""

    def __init__(self, url: str, elsewhere: Mapping[bytes, str], timeout_ms: int) -> None:
        """`elsewhere`: URLs by the base of their partitions' keys."""
        super().__init__(url=url, timeout_ms=timeout_ms, client_name="test")
        self._elsewhere = {
            base: StoreAddress(url=there, timeout_ms=timeout_ms, client_name="test")
            for base, there in elsewhere.items()
        }

    def of(self, key: bytes) -> StoreAddress:
        return self._elsewhere.get(key) or super().of(key)


class PartitionedStore:
    """`partitions` of a store, and a `caller` who changes jobs in all of them."""

    def __init__(
        self,
        url: str,
        prefix: str,
        partitions: int,
        *,
        clock: ManualClock | None = None,
        through: Mapping[int, str] | None = None,
        broker: str = "b-1",
        rules: Rules = RULES,
        timeout_ms: int = TIMEOUT_MS,
        wait_ms: int = TIMEOUT_MS,
        waits: Callable[[], Waits] = lambda: AFTER_EXEC,
        rivals: Callable[[str], Rivals] = lambda _: ALONE,
    ) -> None:
        """`through`: URLs of partitions that are reached in another way."""
        self.clock = clock or ManualClock()
        self.types = TypeBook()
        self.committed: list[Change] = []
        """What committers told of, in order."""
        bases = {one: PartitionKeys(prefix, one).base for one in through or {}}
        elsewhere = {bases[one]: there for one, there in (through or {}).items()}
        self.partitions = Partitions(
            DividedAddress(url, elsewhere, timeout_ms),
            prefix,
            partitions,
            self.clock,
            writer=f"writer-{next(_WRITERS)}",
            broker=broker,
        )
        committing = self.partitions.committing(
            rules,
            types=self.types,
            wait_ms=wait_ms,
            waits=waits,
            publish=lambda _: None,
            committed=self.committed.extend,
            rivals=rivals,
            left=lambda _: None,
            in_use=lambda _: True,
        )
        committing.start()
        self.caller = Caller(committing)

    @property
    def keys(self) -> list[PartitionKeys]:
        return self.partitions.keys

    def names(self, partition: int, many: int, stem: str = "job") -> list[str]:
        """So many ids of jobs that live there."""
        names = (f"{stem}-{number:04}" for number in count())
        at_home = (name for name in names if self.partitions.homes.of(name) == partition)
        return [next(at_home) for _ in range(many)]

    async def close(self) -> None:
        """And checks that every submission was answered once."""
        await self.caller.committer.close()
        await self.partitions.close()
        self.caller.check()


class PartitionedStores:
    """`open` as many as a test needs; all are closed after it."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self.opened: list[PartitionedStore] = []

    def open(self, partitions: int = 3, **how: Any) -> PartitionedStore:
        """Those with as many partitions share their jobs; `how`: as for PartitionedStore."""
        prefix = f"{self._prefix}-of-{partitions}"
        self.opened.append(PartitionedStore(self._url, prefix, partitions, **how))
        return self.opened[-1]

    async def close(self) -> None:
        for store in self.opened:
            await store.close()
