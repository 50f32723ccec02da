"""A store that is nobody's: a Valkey which a test starts, kills and starts again on its data."""

import asyncio
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

from packhorse_broker.store.process import find_server

WAIT_S: Final = 60


class StoreServer:
    """`async with` it; it listens at `url` from `start` to `kill`. What it answered it keeps."""

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="ph-store-")
        self._socket = Path(self._folder.name) / "store.sock"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    async def __aenter__(self) -> "StoreServer":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
        self._folder.cleanup()

    async def start(self) -> None:
        """Returns when it has read its data and listens."""
        self._process = await asyncio.create_subprocess_exec(
            find_server(),
            *("--port", "0", "--unixsocket", str(self._socket), "--dir", self._folder.name),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            async for line in self._process.stdout:
                if b"Ready to accept connections" in line:
                    return
        raise AssertionError("the store did not start")

    async def kill(self) -> None:
        """With SIGKILL; returns when it is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()
