"""One of several broker processes, as their supervisor sees it: started, and started again."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping
from typing import Final

import structlog

from packhorse_broker.clock import monotonic_ms
from packhorse_broker.config import Config
from packhorse_broker.process_link import (
    MAX_LINE_BYTES,
    Assignment,
    Drain,
    End,
    Failed,
    Ready,
    read_report,
    write_line,
)

FIRST_PAUSE_MS: Final = 100
LONGEST_PAUSE_MS: Final = 5_000
"""Before a process is started again: doubled each time, so that one that keeps ending costs the
others nothing."""
STEADY_MS: Final = 10_000
"""One that has served so long is started again after the first pause."""
MAX_FAILED_STARTS: Final = 5
"""In a row, without having been ready: it won't be any more."""
NOT_STARTED: Final = -1
"""Instead of an exit status."""

_log = structlog.get_logger(__name__)


class ProcessFailed(Exception):
    """A process can't be kept running; the message has its reason."""


class Supervised:
    """`run` until it was told to `drain` or `end`; `ready` is set while it serves clients."""

    def __init__(
        self,
        process: int,
        config: Config,
        store_url: str,
        sockets: Mapping[str, socket.socket],
    ) -> None:
        self._number = process
        self._config = config
        self._store_url = store_url
        self._sockets = sockets
        self._log = _log.bind(process=process)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._order: Drain | End | None = None
        self._told = asyncio.Event()
        self.ready = asyncio.Event()
        self._served = False
        """Whether it was ever ready."""
        self._problem = ""
        """What it said last about why it ends."""

    async def run(self) -> None:
        """Raises ProcessFailed."""
        failed_starts = 0
        pause_ms = FIRST_PAUSE_MS
        while not self._told.is_set():
            began_ms = monotonic_ms()
            status, was_ready = await self._live()
            if self._told.is_set():
                return
            failed_starts = 0 if was_ready else failed_starts + 1
            self._judge(status, failed_starts)
            if monotonic_ms() - began_ms > STEADY_MS:
                pause_ms = FIRST_PAUSE_MS
            tell = self._log.error if status else self._log.info
            tell("process.ended", status=status, restart_in_ms=pause_ms)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), pause_ms / 1000)
            pause_ms = min(2 * pause_ms, LONGEST_PAUSE_MS)

    def drain(self) -> None:
        self._tell(Drain())

    def end(self) -> None:
        self._tell(End())

    def kill(self) -> None:
        """For one that did not end in time: what it has acknowledged is in the store."""
        if self._process is not None and self._process.returncode is None:
            self._log.warning("process.killed", pid=self._process.pid)
            self._process.kill()

    def _tell(self, order: Drain | End) -> None:
        self._order = order
        self._told.set()
        if self._writer is not None:
            self._writer.write(write_line(order))

    def _judge(self, status: int, failed_starts: int) -> None:
        """Raises ProcessFailed if it is no use to start it again."""
        if self._problem and not self._served:
            # As a broker alone would have ended: settings or the store are not as they have to be.
            raise ProcessFailed(self._problem)
        if failed_starts >= MAX_FAILED_STARTS:
            problem = self._problem or f"status {status}; see the log"
            raise ProcessFailed(
                f"process {self._number} ended {failed_starts} times before it was ready: {problem}"
            )

    async def _live(self) -> tuple[int, bool]:
        """From its start to its end: its exit status, and whether it served clients."""
        self._problem = ""
        ours, theirs = socket.socketpair()
        inherited = {path: held.fileno() for path, held in self._sockets.items()}
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-P", "-m", "packhorse_broker.broker_process", str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *inherited.values()),
                    # Ctrl-C in a terminal is for the supervisor, which tells them.
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            self._problem = f"can't start a process: {error.strerror or error}"
            return NOT_STARTED, False
        process = self._process
        self._log.info("process.started", pid=process.pid)
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
            self._writer.write(
                write_line(
                    Assignment(
                        process=self._number,
                        config=self._config,
                        store_url=self._store_url,
                        sockets=inherited,
                    )
                )
            )
            if self._order is not None:
                self._writer.write(write_line(self._order))
            was_ready = await self._hear(reader)
            return await process.wait(), was_ready
        finally:
            self.ready.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if process.returncode is None:
                process.kill()

    async def _hear(self, reader: asyncio.StreamReader) -> bool:
        """Until it has nothing more to say; whether it was ready."""
        was_ready = False
        with contextlib.suppress(OSError):
            async for line in reader:
                match read_report(line):
                    case Ready(broker=broker):
                        was_ready = self._served = True
                        self.ready.set()
                        self._log.info("process.ready", broker=broker)
                    case Failed(problem=problem):
                        self._problem = problem
        return was_ready
