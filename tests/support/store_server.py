"""A store that is nobody's: a Valkey which a test starts, stops, kills and starts again on its
data, and which may be brought to refuse what it is asked."""

import asyncio
import resource
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

from packhorse_broker.store.process import find_server

WAIT_S: Final = 60
READY: Final = b"Ready to accept connections"


class StoreServer:
    """`async with` it; it listens at `url` from `start` to `kill`. What it answered it keeps."""

    def __init__(self, *settings: str) -> None:
        # Not pytest's folder: the path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="ph-store-")
        self._socket = Path(self._folder.name) / "store.sock"
        self._settings = ("--appendfsync", "always", *settings)
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

    async def start(self, until: bytes = READY) -> None:
        """Returns when it says so: that it has read its data and listens."""
        self._process = await asyncio.create_subprocess_exec(
            # A write past `limit_files` is to fail, and not to end it.
            *("sh", "-c", 'trap "" XFSZ; exec "$@"', "sh"),
            find_server(),
            *("--port", "0", "--unixsocket", str(self._socket), "--dir", self._folder.name),
            *("--save", "", "--appendonly", "yes", *self._settings),
            stdout=asyncio.subprocess.PIPE,
        )
        await self.says(until)

    async def says(self, text: bytes) -> None:
        """Until a line of its log, that was not waited for yet, has this text."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            async for line in self._process.stdout:
                if text in line:
                    return
        raise AssertionError(f"the store ended and had not said {text!r}")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def limit_files(self, size_bytes: int = resource.RLIM_INFINITY) -> None:
        """No file of it may grow beyond: its disk is full."""
        assert self._process is not None
        hard = resource.RLIM_INFINITY
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))

    @property
    def size_bytes(self) -> int:
        """Of what it has written to its append-only file."""
        return self._file.stat().st_size

    def lose_after(self, size_bytes: int) -> None:
        """What it wrote later is gone, as after the loss of power. While it does not run."""
        with self._file.open("rb+") as file:
            file.truncate(size_bytes)

    @property
    def _file(self) -> Path:
        [file] = Path(self._folder.name).glob("appendonlydir/*.incr.aof")
        return file

    async def ended(self) -> None:
        """Until it has ended by itself."""
        assert self._process is not None
        await self._process.wait()

    async def kill(self) -> None:
        """With SIGKILL; returns when it is gone."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()
