"""The store of a run: real servers on this machine that can be killed and paused.

A topology gives each broker a URL of its own, so that what lies between can fail for one broker
and not for the others. A new one implements `Topology` and gets its word in `TOPOLOGIES`.
"""

import asyncio
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from packhorse_broker.store.process import find_server
from tests.history.processes import Process
from tests.support.proxy import Fault, FaultProxy

PREFIX: Final = "ph"
"""Of all keys: the brokers' default."""

READY: Final = "Ready to accept connections"


class Topology(ABC):
    """`start`, then `store_urls`; `stop` ends every process and removes the data."""

    fails_over: bool = False
    """Whether acknowledged writes may be lost when a server is: asynchronous replication."""

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
        """Of the one server that has the jobs now, past everything that fails: for reading when
        all is over."""

    @abstractmethod
    def servers(self) -> Sequence[str]:
        """Names of the servers that can be killed and paused."""

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
    def fail_exec(self, broker: int, fault: Fault) -> bool:
        """What happens at that broker's next EXEC; False: this topology has nothing between."""

    @abstractmethod
    def cut_store(self, broker: int) -> bool:
        """Ends the broker's connections to the store; False as above."""


class ValkeyServer:
    """One server on a Unix socket or a port of loopback. What it answered it keeps."""

    def __init__(self, name: str, folder: Path, *, port: int = 0) -> None:
        self.name = name
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._port = port
        self._socket = folder / f"{name}.sock"
        self._process = Process(name, folder)

    @property
    def url(self) -> str:
        if self._port:
            return f"redis://127.0.0.1:{self._port}/0"
        return f"unix://{self._socket}"

    @property
    def process(self) -> Process:
        return self._process

    async def start(self, *settings: str) -> None:
        """Returns when it has read its data and listens."""
        await self._process.start(
            [
                str(find_server()),
                *("--port", str(self._port), "--bind", "127.0.0.1"),
                *(("--unixsocket", str(self._socket)) if not self._port else ()),
                *("--dir", str(self._folder), "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "everysec"),
                *settings,
            ]
        )
        await self._process.says(READY)


class Embedded(Topology):
    """One server, as an embedded store is, shared by all brokers."""

    def __init__(self) -> None:
        # The path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="ph-chaos-")
        self._server = ValkeyServer("store", Path(self._folder.name))
        self._proxies: list[FaultProxy] = []
        self._delivering: set[asyncio.Task[None]] = set()

    async def start(self, brokers: int) -> None:
        await self._server.start()
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
        await self._server.process.kill()
        self._folder.cleanup()

    def store_url(self, broker: int) -> str:
        return self._proxies[broker].url

    @property
    def direct_url(self) -> str:
        return self._server.url

    def servers(self) -> Sequence[str]:
        return (self._server.name,)

    async def kill(self, server: str) -> None:
        await self._server.process.kill()

    async def restart(self, server: str) -> None:
        await self._server.start()

    def pause(self, server: str) -> None:
        self._server.process.pause()

    def resume(self, server: str) -> None:
        self._server.process.resume()

    def fail_exec(self, broker: int, fault: Fault) -> bool:
        self._proxies[broker].fail(fault)
        if fault is Fault.HOLD:
            self._delivering.add(asyncio.create_task(self._deliver(self._proxies[broker])))
        return True

    def cut_store(self, broker: int) -> bool:
        self._proxies[broker].cut()
        return True

    async def _deliver(self, proxy: FaultProxy) -> None:
        """A transaction that was held arrives late: after its connection was given up."""
        while await proxy.met() is not Fault.HOLD:
            pass
        await proxy.deliver()


TOPOLOGIES: Final[dict[str, Callable[[], Topology]]] = {"embedded": Embedded}
