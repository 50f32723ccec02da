"""The broker's store, asked and disturbed past the broker."""

import asyncio
import os
import signal
from typing import Final

_PREFIX: Final = "ph"


class StoreProbe:
    """Single commands, and signals to the process."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pid = pid

    @classmethod
    async def open(cls, url: str, pid: int) -> "StoreProbe":
        return cls(*await asyncio.open_unix_connection(url.removeprefix("unix://")), pid)

    async def used_bytes(self) -> int:
        """What its data and buffers take."""
        return await self._number("memory", "used_memory")

    async def rewriting(self) -> bool:
        """Whether it is making its file shorter, which much that was written brings about."""
        names = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
        return any([await self._number("persistence", name) for name in names])

    async def bound(self, max_bytes: int) -> None:
        """Its maxmemory; 0: none."""
        await self._ask(f"CONFIG SET maxmemory {max_bytes}")

    async def clients(self) -> int:
        """Registered, or being removed."""
        alive = await self._ask(f"ZCARD {_PREFIX}:{{c}}:alive")
        return int(alive) + int(await self._ask(f"ZCARD {_PREFIX}:{{c}}:leaving"))

    def close(self) -> None:
        self._writer.close()

    def stop(self) -> None:
        """The process stands still."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    async def _number(self, section: str, name: str) -> int:
        lines = (await self._ask(f"INFO {section}")).splitlines()
        [line] = [line for line in lines if line.startswith(f"{name}:")]
        return int(line.partition(":")[2])

    async def _ask(self, command: str) -> str:
        self._writer.write(f"{command}\r\n".encode())
        line = (await self._reader.readline()).decode()
        if not line.startswith("$"):
            return line[1:].strip()
        body = await self._reader.readexactly(int(line[1:]) + 2)
        return body.decode()
