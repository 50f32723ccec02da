"""The daemon: a store, a broker, and the signals of the system.

SIGTERM and SIGINT drain: clients are told, what was asked is committed, then it ends. A second
one ends without waiting for clients. SIGHUP changes nothing. If the embedded store ends by
itself the daemon ends too, with an error: a supervisor starts both again.
"""

import asyncio
import signal
from collections.abc import Callable

import structlog

from packhorse_broker.broker import Broker
from packhorse_broker.config import Config
from packhorse_broker.store.embedded import EmbeddedStore

_log = structlog.get_logger(__name__)


class StoreEnded(Exception):
    """The embedded store ended though nobody asked it to."""


async def serve(config: Config, ready: Callable[[Broker], None]) -> None:
    """Runs until a signal ends it; `ready` is called once it listens.

    Raises ListenError, StoreEnded, StoreError.
    """
    signals = _Signals()
    if config.store is not None:
        await _serve(config, config.store, ready, signals, store_ended=None)
        return
    embedded = EmbeddedStore(config.data_dir, fsync_always=config.durability == "disk")
    await embedded.start()
    try:
        ended = asyncio.create_task(_ended(embedded))
        await _serve(config, embedded.url, ready, signals, store_ended=ended)
    finally:
        ended.cancel()
        await embedded.stop()


async def _ended(embedded: EmbeddedStore) -> None:
    await embedded.wait_exit()


class _Signals:
    """The first request to end, and the second."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, _ignore_hangup)

    def _end(self, number: int) -> None:
        _log.info("signal.received", signal=signal.Signals(number).name)
        (self.second if self.first.is_set() else self.first).set()


def _ignore_hangup() -> None:
    _log.info("signal.received", signal="SIGHUP", note="there is nothing to reload")


async def _serve(
    config: Config,
    store_url: str,
    ready: Callable[[Broker], None],
    signals: _Signals,
    *,
    store_ended: asyncio.Task[None] | None,
) -> None:
    broker = Broker(config, store_url)
    first = asyncio.create_task(signals.first.wait())
    second = asyncio.create_task(signals.second.wait())
    try:
        starting = asyncio.create_task(broker.start())
        await asyncio.wait({starting, first}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        starting.result()
        ready(broker)
        await asyncio.wait(
            {first, *([store_ended] if store_ended else [])},
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not first.done():
            raise StoreEnded("the embedded store ended by itself; see its log in the data folder")
        draining = asyncio.create_task(broker.drain())
        await asyncio.wait({draining, second}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
    finally:
        for waiter in (first, second):
            waiter.cancel()
        await broker.close()
