"""A Valkey server and a Sentinel, each with a file of settings that it rewrites itself: after it
was killed it comes back as what it was told to be last."""

from pathlib import Path
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from packhorse_broker.store.process import find_server
from tests.history.processes import Process
from tests.history.topology import READY
from tests.support.replicas import HOST, free_port

ANSWER_S: Final = 0.3
"""After which a server is taken to be away by those who look at it."""

SERVICE: Final = "jobs"
QUORUM: Final = 2
DOWN_AFTER_MS: Final = 500
FAILOVER_TIMEOUT_MS: Final = 3_000
"""Twice that is between two failovers at least."""


class PortServer:
    """One process with a port of loopback; `ask` it anything."""

    said_when_up: str = READY

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.settings = self.folder / "server.conf"
        self.process = Process(name, folder)
        self._client = redis.Redis(
            host=HOST,
            port=self.port,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    async def start(self) -> None:
        """Returns when it listens."""
        await self.process.start([str(find_server()), str(self.settings), *self.flags()])
        await self.process.says(self.said_when_up)

    def flags(self) -> tuple[str, ...]:
        return ()

    async def ask(self, *command: str | int) -> Any:
        """Raises RedisError, OSError: if it does not answer in time."""
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def info(self) -> dict[str, Any]:
        """Raises as `ask`."""
        found: dict[str, Any] = await self._client.info("everything")
        return found

    async def close(self) -> None:
        """Kills it too. Nobody may be asking it."""
        await self._client.aclose()
        await self.process.kill()


class DataServer(PortServer):
    """A primary or a replica."""

    def __init__(
        self, name: str, folder: Path, *settings: str, primary: "DataServer | None" = None
    ) -> None:
        super().__init__(name, folder)
        lines = [
            *(f"port {self.port}", f"bind {HOST}", f"dir {self.folder}", 'save ""'),
            *("appendonly yes", "appendfsync everysec", "repl-diskless-sync-delay 0"),
            *settings,
        ]
        if primary is not None:
            lines.append(f"replicaof {HOST} {primary.port}")
        self.settings.write_text("\n".join(lines) + "\n")

    async def is_primary(self) -> bool:
        """By its own word. Raises as `ask`."""
        role = await self.ask("ROLE")
        return bool(role[0] in (b"master", "master"))


class SentinelServer(PortServer):
    said_when_up = "+monitor master"

    def __init__(self, name: str, folder: Path, primary: DataServer) -> None:
        super().__init__(name, folder)
        self.settings.write_text(
            f"port {self.port}\nbind {HOST}\ndir {self.folder}\n"
            f"sentinel monitor {SERVICE} {HOST} {primary.port} {QUORUM}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}\n"
        )

    def flags(self) -> tuple[str, ...]:
        return ("--sentinel",)

    async def announced(self) -> tuple[int, int]:
        """The configuration's epoch, and the port of the primary. Raises as `ask`."""
        about = await self._about()
        _, port = await self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(about["config-epoch"]), int(port)

    async def knows(self) -> tuple[int, int]:
        """How many replicas and other Sentinels. Raises as `ask`."""
        about = await self._about()
        return int(about["num-slaves"]), int(about["num-other-sentinels"])

    async def _about(self) -> dict[str, Any]:
        found = await self._client.sentinel_master(SERVICE)
        assert isinstance(found, dict)
        return found
