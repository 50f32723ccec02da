"""A process of a run: started again and again under the same name, killed and paused by its pid."""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from tests.support.daemon import environment

WAIT_S: Final = 60
"""Far above what a start or an end takes: it ends a wait for what never comes."""


class Process:
    """What it says on standard output is awaited line by line, the rest goes to its log file."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.lives = 0
        self._log = folder / f"{name}.log"
        self._errors: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._said: list[str] = []
        self._news = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._ended = True

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, command: Sequence[str]) -> None:
        """Starts it and waits for nothing."""
        assert not self.running, f"{self.name} runs already"
        self.lives += 1
        self._said, self._ended = [], False
        self._errors = self._log.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
        )
        self._reading = asyncio.create_task(self._read())

    async def says(self, text: str) -> str:
        """Waits for a line of this life with this in it. Raises AssertionError if it ends first."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(lambda: self._ended or any(text in s for s in self._said))
        line = next((line for line in self._said if text in line), None)
        assert line is not None, f"{self.name} ended before it said {text!r}; see {self._log}"
        return line

    def send(self, number: signal.Signals) -> None:
        """Nothing happens if it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    async def kill(self) -> None:
        """Returns when it has ended."""
        if self._process is None or self._reading is None:
            return
        self.send(signal.SIGKILL)
        async with asyncio.timeout(WAIT_S):
            await self._process.wait()
            await self._reading
        if self._errors is not None:
            self._errors.close()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self._said.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()
