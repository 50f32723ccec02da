"""Several broker processes behind the same addresses, and the store that they share.

Signals mean what they mean to one broker (`daemon.py`): all drain together. A process that ends
by itself is started again (`supervised.py`).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

import structlog

from packhorse_broker.config import Config
from packhorse_broker.daemon import Ready, StoreEnded, store_of
from packhorse_broker.end_requests import EndRequests
from packhorse_broker.shared_addresses import SharedAddresses
from packhorse_broker.supervised import Supervised

CLOSE_MS: Final = 10_000
"""How long a process may take to commit what was asked, beyond what the store may take."""

_log = structlog.get_logger(__name__)


def processes_of(config: Config) -> int:
    """How many there are to be: 0 stands for the cores that this process may use."""
    return config.processes or len(os.sched_getaffinity(0))


async def supervise(config: Config, ready: Ready) -> None:
    """Runs until a signal ends it; `ready` is called once, when all serve clients.

    Raises ListenError, ProcessFailed, StoreEnded, StoreError.
    """
    requests = EndRequests()
    requests.listen_to_signals()
    with closing(SharedAddresses.reserve(config.listen)) as shared:
        listen = tuple(shared.listen)
        async with store_of(config) as (url, store_ended):
            supervisor = Supervisor(config, url, shared, requests)
            await supervisor.run(lambda: ready(listen), store_ended)


class Supervisor:
    """Of the processes, from their start to the end of all."""

    def __init__(
        self, config: Config, store_url: str, shared: SharedAddresses, requests: EndRequests
    ) -> None:
        self._shared = shared
        self._requests = requests
        self._end_ms = CLOSE_MS + config.store_timeout_ms
        self._drain_ms = config.drain_ms
        self._processes = [
            Supervised(
                number,
                config.of_process(number, shared.listen),
                store_url,
                shared.sockets,
            )
            for number in range(1, processes_of(config) + 1)
        ]

    async def run(self, ready: Callable[[], None], store_ended: asyncio.Task[None] | None) -> None:
        """Returns when a request to end was followed; raises what made it end otherwise."""
        running = [asyncio.create_task(process.run()) for process in self._processes]
        telling = asyncio.create_task(self._tell_ready(ready))
        first: asyncio.Task[Any] = asyncio.create_task(self._requests.first.wait())
        try:
            await asyncio.wait(
                {first, *running, *([store_ended] if store_ended else [])},
                return_when=asyncio.FIRST_COMPLETED,
            )
            telling.cancel()
            failed = [task for task in running if task.done()]
            store_is_gone = store_ended is not None and store_ended.done()
            if store_is_gone:
                # Without it there is nothing to wait for.
                self._requests.second.set()
            await self._drain(running)
            for task in failed:
                task.result()
            if store_is_gone:
                raise StoreEnded
        finally:
            for task in (telling, first, *running):
                task.cancel()
            await asyncio.gather(telling, first, *running, return_exceptions=True)

    async def _tell_ready(self, ready: Callable[[], None]) -> None:
        for process in self._processes:
            await process.ready.wait()
        _log.info(
            "supervisor.ready", processes=len(self._processes), listen=list(self._shared.listen)
        )
        ready()

    async def _drain(self, running: Sequence[asyncio.Task[None]]) -> None:
        """All at once; those that take too long are killed."""
        self._shared.stop_listening()
        _log.info("supervisor.draining", processes=len(self._processes))
        for process in self._processes:
            process.drain()
        second = asyncio.create_task(self._requests.second.wait())
        ended = asyncio.create_task(asyncio.wait(running))
        await asyncio.wait(
            {ended, second},
            timeout=(self._drain_ms + self._end_ms) / 1000,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if second.done():
            for process in self._processes:
                process.end()
            await asyncio.wait({ended}, timeout=self._end_ms / 1000)
        second.cancel()
        for process in self._processes:
            process.kill()
        await ended
