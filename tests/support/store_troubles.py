"""Ways in which a store can be no good for a while: `begin` one, and `end` it."""

import asyncio
import contextlib
import signal
from abc import ABC, abstractmethod
from typing import Final

from redis.exceptions import RedisError, ResponseError

from tests.support.inspection import Raw
from tests.support.replicas import free_port
from tests.support.store_server import READY, StoreServer

ALL_SLOTS: Final = ("0", "16383")


class Trouble(ABC):
    """Of a server of one's own, started with `settings`."""

    settings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.server = StoreServer(*self.settings)

    async def prepare(self) -> None:
        await self.server.start()
        self.raw = await Raw.open(self.server.url)

    @abstractmethod
    async def begin(self) -> None: ...

    @abstractmethod
    async def end(self) -> None: ...

    async def close(self) -> None:
        await self.raw.close()


class Down(Trouble):
    async def begin(self) -> None:
        await self.server.kill()

    async def end(self) -> None:
        await self.server.start()


class Stopped(Trouble):
    """It answers nothing, and later all at once."""

    async def begin(self) -> None:
        self.server.signal(signal.SIGSTOP)

    async def end(self) -> None:
        self.server.signal(signal.SIGCONT)


class Replica(Trouble):
    """READONLY: it was demoted."""

    async def begin(self) -> None:
        await self.raw("REPLICAOF", "127.0.0.1", 1)

    async def end(self) -> None:
        await self.raw("REPLICAOF", "NO", "ONE")


class NoReplicas(Trouble):
    async def begin(self) -> None:
        await self.raw("CONFIG", "SET", "min-replicas-to-write", 1)

    async def end(self) -> None:
        await self.raw("CONFIG", "SET", "min-replicas-to-write", 0)


class DiskFull(Trouble):
    """MISCONF: its file can't grow."""

    settings = ("--appendfsync", "everysec")

    async def begin(self) -> None:
        self.server.limit_files(self.server.size_bytes)
        with contextlib.suppress(ResponseError):
            while True:
                await self.raw("SET", "more", 1, "PX", 1)

    async def end(self) -> None:
        self.server.limit_files()


class Busy(Trouble):
    """A script runs."""

    settings = ("--busy-reply-threshold", "10")

    async def begin(self) -> None:
        self._script = asyncio.create_task(self._run())
        with contextlib.suppress(ResponseError):
            while True:
                await self.raw("PING")

    async def _run(self) -> None:
        raw = await Raw.open(self.server.url)
        with contextlib.suppress(RedisError):
            await raw("EVAL", "while true do end", 0)
        await raw.close()

    async def end(self) -> None:
        await self.raw("SCRIPT", "KILL")
        await self._script


class ClusterDown(Trouble):
    """A node of a cluster that lacks one of its slots."""

    def __init__(self) -> None:
        ports = ("--port", str(free_port()), "--cluster-port", str(free_port()))
        self.server = StoreServer("--cluster-enabled", "yes", *ports)

    async def prepare(self) -> None:
        await super().prepare()
        await self.raw("CLUSTER", "ADDSLOTSRANGE", *ALL_SLOTS)
        await self._until_state("ok")

    async def begin(self) -> None:
        await self.raw("CLUSTER", "DELSLOTS", ALL_SLOTS[0])
        await self._until_state("fail")

    async def end(self) -> None:
        await self.raw("CLUSTER", "ADDSLOTS", ALL_SLOTS[0])
        await self._until_state("ok")

    async def _until_state(self, state: str) -> None:
        while f"cluster_state:{state}".encode() not in await self.raw("CLUSTER", "INFO"):
            continue


class Loading(Trouble):
    """Started anew, with so much to read that it takes a second or two."""

    settings = ("--key-load-delay", "100")

    async def prepare(self) -> None:
        await super().prepare()
        write = "for n = 1, 20000 do redis.call('SET', KEYS[1], n) end"
        await self.raw("EVAL", write, 1, "more")

    async def begin(self) -> None:
        await self.server.kill()
        await self.server.start(until=b"Server initialized")

    async def end(self) -> None:
        await self.server.says(READY)


TROUBLES: Final = (Down, Stopped, Replica, NoReplicas, DiskFull, Busy, ClusterDown, Loading)
