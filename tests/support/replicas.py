"""A primary with replicas, alone or watched by three Sentinels: real servers on loopback that a
test may kill and stop."""

import asyncio
import contextlib
import secrets
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import redis.asyncio as redis

from packhorse_broker.store.process import find_server
from tests.support.inspection import Raw
from tests.support.tls import Tls

HOST: Final = "127.0.0.1"
SERVICE: Final = "jobs"
DOWN_AFTER_MS: Final = 500
SENTINELS: Final = 3
UNASKED_PORTS: Final = range(20_000, 32_000)
"""Below those that Linux, macOS and Windows give to connections."""

WAIT_S: Final = 60
READY: Final = b"Ready to accept connections"


class Server:
    """One process, its port, and the lines that it writes. With `tls` it speaks nothing else."""

    def __init__(self, folder: Path, *arguments: str, tls: Tls | None = None) -> None:
        self.port = free_port()
        self.folder = folder
        self.tls = tls
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lines: list[bytes] = []
        self._written = asyncio.Condition()
        self._ended = False
        """Whether it says no more."""

    @property
    def url(self) -> str:
        if self.tls is not None:
            return f"rediss://{HOST}:{self.port}?{self.tls.query}"
        return f"redis://{HOST}:{self.port}"

    async def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._ended = False
        tls = self.tls
        port = tls.settings(self.port) if tls is not None else ("--port", str(self.port))
        self._process = await asyncio.create_subprocess_exec(
            tls.program if tls is not None else find_server(),
            *self._arguments,
            *(*port, "--bind", HOST, "--dir", str(self.folder)),
            stdout=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            async with self._written:
                self._lines.append(line)
                self._written.notify_all()
        async with self._written:
            self._ended = True
            self._written.notify_all()

    async def says(self, text: bytes, times: int = 1) -> None:
        """Until so many of its lines have this text."""
        async with asyncio.timeout(WAIT_S), self._written:
            await self._written.wait_for(lambda: self.said(text) >= times or self._ended)
        assert self.said(text) >= times, self._lines[-3:]

    def said(self, text: bytes) -> int:
        """How many of its lines have this text."""
        return sum(text in line for line in self._lines)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """With SIGKILL; returns when it is gone."""
        if self._process is None or self._reading is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading


class Replicated:
    """A primary with replicas, without Sentinels: `async with` it."""

    def __init__(self, *settings: str, replicas: int = 1, tls: Tls | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ph-replicas-")
        self._tls = tls
        self._settings = (
            *("--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"),
            *settings,
        )
        self._replicas = replicas
        self.servers: list[Server] = []
        """The primary first."""

    @property
    def url(self) -> str:
        return self.servers[0].url

    async def __aenter__(self) -> "Replicated":
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        primary = await self._serve(self._settings)
        for _ in range(self._replicas):
            replica = await self._serve((*self._settings, "--replicaof", f"{HOST} {primary.port}"))
            await replica.says(b"Finished with success")

    async def caught_up(self) -> None:
        """Until the replicas have all that the primary has."""
        raw = await Raw.open(self.servers[0].url)
        await raw("SET", "caught-up", 1, "PX", 1)
        assert await raw("WAIT", self._replicas, 0) == self._replicas
        await raw.close()

    async def _serve(self, settings: Sequence[str]) -> Server:
        server = Server(
            Path(self._folder.name) / f"store-{len(self.servers)}", *settings, tls=self._tls
        )
        await server.start()
        self.servers.append(server)
        await server.says(READY)
        return server

    async def _stop(self) -> None:
        for server in self.servers:
            await server.kill()
        self._folder.cleanup()


class SentinelGroup(Replicated):
    """The same, watched by three Sentinels; `url` is for a broker. after `lose_primary`
    one replica is `promoted`."""

    def __init__(self, *settings: str, replicas: int = 1, tls: Tls | None = None) -> None:
        super().__init__(*settings, replicas=replicas, tls=tls)
        self.sentinels: list[Server] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        if self._tls is not None:
            return f"sentinels://{hosts}/{SERVICE}?{self._tls.query}"
        return f"sentinel://{hosts}/{SERVICE}"

    async def _start(self) -> None:
        await super()._start()
        for number in range(SENTINELS):
            self.sentinels.append(await self._watch(number, self.servers[0]))
        for sentinel in self.sentinels:
            # Each knows the replicas and the two others before it could lead a failover.
            await sentinel.says(b"+slave ", self._replicas)
            await sentinel.says(b"+sentinel ", SENTINELS - 1)

    async def _watch(self, number: int, primary: Server) -> Server:
        folder = Path(self._folder.name) / f"sentinel-{number}"
        folder.mkdir()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor {SERVICE} {HOST} {primary.port} {SENTINELS // 2 + 1}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        sentinel = Server(folder, str(settings), "--sentinel", tls=self._tls)
        await sentinel.start()
        return sentinel

    async def lose_primary(self, number: int = signal.SIGKILL) -> None:
        """Kills the primary, or stops it."""
        if number == signal.SIGKILL:
            await self.servers[0].kill()
        else:
            self.servers[0].signal(number)

    async def fail_over(self, by: Server | None = None) -> None:
        """As a Sentinel does when it is told to: the primary lives on, and learns of it late."""
        leader = by or self.sentinels[0]
        async with redis.Redis.from_url(leader.url) as client:
            await client.execute_command("SENTINEL", "FAILOVER", SERVICE)  # type: ignore[no-untyped-call]

    async def promoted(self) -> None:
        """Until all Sentinels know another primary, which is the first of `servers` then."""
        for sentinel in self.sentinels:
            await sentinel.says(b"+switch-master ")
        async with redis.Redis.from_url(self.sentinels[0].url) as sentinel_client:
            masters: Any = await sentinel_client.sentinel_masters()
        port = int(masters[SERVICE]["port"])
        self.servers.sort(key=lambda server: server.port != port)

    async def _stop(self) -> None:
        for sentinel in self.sentinels:
            await sentinel.kill()
        await super()._stop()


_given: Final[set[int]] = set()
"""Whoever asked for one of these may not listen yet."""


def free_port() -> int:
    """One that systems give nobody who does not ask for it: a server that is started, or started
    again, finds it free, whatever connections were made meanwhile."""
    while True:
        port = secrets.choice(UNASKED_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            _given.add(port)
            return port
