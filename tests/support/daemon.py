"""The daemon as users run it: `packhorse serve` as a process, its log, its signals and its end.

    async with Daemons() as daemons:
        daemon = await daemons.start("--data-dir", folder)
        ... clients of daemon.url ...
        daemon.terminate()
        assert await daemon.wait() == 0

What still runs at the end is killed. Log lines are awaited by their event: `daemon.logged(...)`.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

PACKHORSE: Final = Path(sys.executable).with_name("packhorse")

WAIT_S: Final = 60
"""Far above what a start or an end takes: it ends a wait for what never comes."""

Argument = str | Path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without settings of Packhorse, so that a test says all that counts."""
    plain = {name: value for name, value in os.environ.items() if "PACKHORSE" not in name}
    return {**plain, **(extra or {})}


async def packhorse(*arguments: Argument, environ: Mapping[str, str] | None = None) -> "Ended":
    """Runs a command to its end."""
    process = await asyncio.create_subprocess_exec(
        PACKHORSE,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(environ),
    )
    try:
        async with asyncio.timeout(WAIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode().splitlines(), err.decode().splitlines())


class Ended:
    """A command that has ended: its exit status and its lines on both outputs."""

    def __init__(self, status: int, out: list[str], err: list[str]) -> None:
        self.status = status
        self.out = out
        self.err = err


class Daemon:
    """One `packhorse serve`. `ready` returns once it listens; `url` is valid then."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[str] = []
        """Lines on standard error that are no log lines: what it has to say to its user."""
        self.log: list[dict[str, Any]] = []
        self._url = ""
        self._open_outputs = 2
        self._process = process
        self._news = asyncio.Condition()
        self._readers = (
            asyncio.create_task(self._read_out()),
            asyncio.create_task(self._read_err()),
        )

    @classmethod
    async def begin(cls, *flags: Argument, environ: Mapping[str, str] | None = None) -> "Daemon":
        """Starts the process and waits for nothing."""
        process = await asyncio.create_subprocess_exec(
            PACKHORSE,
            "serve",
            *flags,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(environ),
        )
        return cls(process)

    @property
    def url(self) -> str:
        assert self._url, "the daemon is not ready"
        return self._url

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        await self._until(lambda: bool(self._url), "it is ready")

    async def logged(self, event: str, times: int = 1) -> dict[str, Any]:
        """Waits until it has logged this so often; the last of these lines."""
        await self._until(lambda: len(self._lines(event)) >= times, f"it logs {event}")
        return self._lines(event)[times - 1]

    def count(self, event: str) -> int:
        """How often it has logged this so far."""
        return len(self._lines(event))

    @property
    def processes(self) -> dict[int, int]:
        """With `--processes`: the process id of each, by its number, as last started."""
        return {line["process"]: line["pid"] for line in self._lines("process.started")}

    def terminate(self) -> None:
        self._process.terminate()

    def hang_up(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        """Its exit status, when it has ended and all that it wrote has been read."""
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*self._readers)
            return await self._process.wait()

    async def end(self) -> None:
        """However it is."""
        if self._process.returncode is None:
            self._process.kill()
        await self.wait()

    def _lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S), self._news:
                await self._news.wait_for(lambda: condition() or self._open_outputs == 0)
        except TimeoutError:
            raise AssertionError(f"waited {WAIT_S} s until {what}: {self.log[-5:]}") from None
        assert condition(), f"ended before {what}: {self.said} {self.log[-5:]}"

    async def _read_out(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            _, broker, addresses = line.decode().strip().partition("broker ")
            if broker and not self._url:
                await self._tell(addresses.split()[0])
        await self._at_end()

    async def _read_err(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = raw.decode().rstrip("\n")
            if line.startswith("{"):
                self.log.append(json.loads(line))
            else:
                self.said.append(line)
            await self._tell()
        await self._at_end()

    async def _tell(self, url: str | None = None) -> None:
        async with self._news:
            if url is not None:
                self._url = url
            self._news.notify_all()

    async def _at_end(self) -> None:
        self._open_outputs -= 1
        await self._tell()


class Daemons:
    """Starts daemons, by default on a free port, and ends all of them."""

    def __init__(self) -> None:
        self._daemons: list[Daemon] = []

    async def __aenter__(self) -> "Daemons":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for daemon in self._daemons:
            await daemon.end()

    async def start(self, *flags: Argument, listen: str = "tcp://127.0.0.1:0") -> Daemon:
        """One that is ready."""
        daemon = await self.begin(*flags, listen=listen)
        await daemon.ready()
        return daemon

    async def begin(
        self,
        *flags: Argument,
        listen: str = "tcp://127.0.0.1:0",
        environ: Mapping[str, str] | None = None,
    ) -> Daemon:
        """One that may not become ready."""
        daemon = await Daemon.begin("--listen", listen, *flags, environ=environ)
        self._daemons.append(daemon)
        return daemon
