"""The processes of the demo: a broker with its embedded store, and runners."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

READY: Final = re.compile(rb"broker (tcp://\S+)")
START_S: Final = 30
"""Longest that the broker may take to start."""
STOP_S: Final = 30


class DidNotStart(Exception):
    """The broker ended, or said nothing, before it was ready."""


class BrokerProcess:
    """`packhorse serve` on a free port, with its own data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Raises DidNotStart."""
        self._process = await asyncio.create_subprocess_exec(
            *_packhorse("serve"),
            *("--listen", "tcp://127.0.0.1:0", "--data-dir", os.fspath(self.data_dir)),
            *("--log-level", "warning", "--sweep-ms", "200", "--last-response-flush-ms", "200"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                async for line in self._process.stdout:
                    if found := READY.search(line):
                        self.url = found.group(1).decode()
                        return
        except TimeoutError:
            await self.stop()
        raise DidNotStart("the broker did not start; its log is above")

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def fsck(self) -> tuple[bool, str]:
        """Whether the store that the stopped broker left is clean, and what was said of it."""
        check = await asyncio.create_subprocess_exec(
            *_packhorse("fsck"),
            *("--data-dir", os.fspath(self.data_dir)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await check.communicate()
        return check.returncode == 0, said.decode().strip()


class RunnerProcess:
    """One runner. `freeze` and `kill` are what the demo does to it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, url: str, folder: Path) -> "RunnerProcess":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "examples.checksum.runner"),
            *("--url", url, "--dir", os.fspath(folder), "--name", name),
            cwd=Path(__file__).parents[2],
        )
        return cls(name, process)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()


def _packhorse(command: str) -> tuple[str, ...]:
    return (os.fspath(Path(sys.executable).with_name("packhorse")), command)
