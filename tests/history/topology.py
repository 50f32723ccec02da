"""The store of a run: real servers on this machine that can be killed and paused.

A topology gives each broker a URL of its own, so that what lies between can fail for one broker
and not for the others. A new one implements `Topology` and gets its word in `topologies.py`.
"""

import asyncio
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from packhorse_broker.store.process import find_server
from tests.history.history import Recorder
from tests.history.marks import Marking, Marks
from tests.history.processes import Process
from tests.support.proxy import Fault, FaultProxy

PREFIX: Final = "ph"
"""Of all keys: the brokers' default."""

REPLICATED: Final = (
    *("--durability", "replicated", "--replicas", "1"),
    *("--durability-wait-ms", "300"),
)
"""Flags of brokers that wait for a replica: for less than their patience with the store."""

READY: Final = "Ready to accept connections"


class Topology(ABC):
    """`start`, then `store_url`; `stop` ends every process and removes the data.

    It records what its servers lost of what they had acknowledged; see `marks.py`.
    """

    broker_flags: Sequence[str] = ()
    """Of `packhorse serve`, beside the store's URL."""

    @abstractmethod
    async def start(self, brokers: int) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    def store_url(self, broker: int) -> str:
        """What the broker of this number, from 0, is told."""

    @property
    @abstractmethod
    def direct_url(self) -> str:
        """Of the whole store, past everything that fails: for `fsck` when all is over."""

    async def url_of(self, key: bytes) -> str:
        """Of the one server that has the key now: for reading when all is over."""
        return self.direct_url

    @abstractmethod
    def servers(self) -> Mapping[str, Sequence[str]]:
        """Those that can be killed and paused, by the word that faults have for them. The whole
        store is away as long as all of the `store` are."""

    @property
    @abstractmethod
    def has_proxies(self) -> bool:
        """Whether something is between each broker and its store, for `fail_exec`, `cut_store`."""

    @abstractmethod
    async def settled(self) -> None:
        """Returns when the store is whole again, after the last fault."""

    async def may_lose(self, server: str) -> bool:
        """Whether it can be killed or paused now, and the store can stand it."""
        return True

    async def strand(self, server: str) -> None:
        """Its replicas no longer hear of what it acknowledges, then it is killed."""
        raise NotImplementedError(f"{server} has no replicas")

    async def fail_over(self, shard: str) -> None:
        """A replica takes the place of its primary, which has passed on all that it has."""
        raise NotImplementedError(f"{shard} has no replicas")

    async def move(self, slot: str) -> None:
        """To another shard, with all that is in it."""
        raise NotImplementedError(f"{slot} can't be moved")

    @abstractmethod
    async def kill(self, server: str) -> None: ...

    @abstractmethod
    async def restart(self, server: str) -> None:
        """Of a server that was killed; returns when it answers."""

    @abstractmethod
    def pause(self, server: str) -> None: ...

    @abstractmethod
    def resume(self, server: str) -> None: ...

    @abstractmethod
    def fail_exec(self, broker: int, fault: Fault) -> None:
        """What happens at that broker's next EXEC."""

    @abstractmethod
    def cut_store(self, broker: int) -> None:
        """Ends the broker's connections to the store."""


class ValkeyServer:
    """One server on a Unix socket."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._socket = folder / f"{name}.sock"
        self._process = Process(name, folder)

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def process(self) -> Process:
        return self._process

    async def start(self) -> None:
        """Returns when it has read its data and listens."""
        await self._process.start(
            [
                str(find_server()),
                *("--port", "0", "--unixsocket", str(self._socket)),
                *("--dir", str(self._folder), "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "everysec"),
            ]
        )
        await self._process.says(READY)


class Embedded(Topology):
    """One server, as an embedded store is, shared by all brokers."""

    has_proxies = True

    def __init__(self, recorder: Recorder, *, partitions: int = 1) -> None:
        self.broker_flags = ("--partitions", str(partitions))
        # The path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="ph-chaos-")
        self._server = ValkeyServer("store", Path(self._folder.name))
        self._marking = Marking(Marks(recorder), self._server.name, self._server.url)
        self._proxies: list[FaultProxy] = []
        self._delivering: set[asyncio.Task[None]] = set()

    async def start(self, brokers: int) -> None:
        await self.restart(self._server.name)
        for _ in range(brokers):
            proxy = FaultProxy(self._server.url)
            await proxy.__aenter__()
            self._proxies.append(proxy)

    async def stop(self) -> None:
        for task in self._delivering:
            task.cancel()
        await asyncio.gather(*self._delivering, return_exceptions=True)
        for proxy in self._proxies:
            await proxy.__aexit__(None, None, None)
        await self._marking.stop()
        await self._server.process.kill()
        self._folder.cleanup()

    async def settled(self) -> None:
        """It is when it was started again, or resumed."""

    def store_url(self, broker: int) -> str:
        return self._proxies[broker].url

    @property
    def direct_url(self) -> str:
        return self._server.url

    def servers(self) -> Mapping[str, Sequence[str]]:
        return {"store": (self._server.name,)}

    async def kill(self, server: str) -> None:
        await self._marking.end()
        await self._server.process.kill()

    async def restart(self, server: str) -> None:
        await self._server.start()
        await self._marking.begin()

    def pause(self, server: str) -> None:
        self._server.process.pause()

    def resume(self, server: str) -> None:
        self._server.process.resume()

    def fail_exec(self, broker: int, fault: Fault) -> None:
        self._proxies[broker].fail(fault)
        if fault is Fault.HOLD:
            self._delivering.add(asyncio.create_task(self._deliver(self._proxies[broker])))

    def cut_store(self, broker: int) -> None:
        self._proxies[broker].cut()

    async def _deliver(self, proxy: FaultProxy) -> None:
        """A transaction that was held arrives late: after its connection was given up."""
        while await proxy.met() is not Fault.HOLD:
            pass
        await proxy.deliver()
