"""The daemon: a store, a broker, and the signals of the system.

SIGTERM and SIGINT drain: clients are told, what was asked is committed, then it ends. A second
one ends without waiting for clients. SIGHUP changes nothing. If the embedded store ends by
itself the daemon ends too, with an error: a supervisor starts both again.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from packhorse_broker.broker import Broker
from packhorse_broker.config import Config
from packhorse_broker.end_requests import EndRequests
from packhorse_broker.store.embedded import EmbeddedStore

YOUNG: Final = 50_000
"""Objects made since the last collection of garbage that bring about the next one. What a job is
made of goes without being collected, by itself: the collector's standard of 700 has it look at all
that is in flight again and again, which took an eighth of the broker's time."""

Ready = Callable[[Sequence[str]], None]
"""Called once, with the addresses at which clients are served."""


class StoreEnded(Exception):
    """The embedded store ended though nobody asked it to."""

    def __init__(self) -> None:
        super().__init__("the embedded store ended by itself; see its log in the data folder")


async def serve(config: Config, ready: Ready) -> None:
    """Runs until a signal ends it. Raises ListenError, StoreEnded, StoreError."""
    requests = EndRequests()
    requests.listen_to_signals()
    async with store_of(config) as (url, ended):
        broker = Broker(config, url)
        await run(broker, lambda: ready(broker.addresses), requests, store_ended=ended)


@asynccontextmanager
async def store_of(config: Config) -> AsyncIterator[tuple[str, asyncio.Task[None] | None]]:
    """The address of the store that is named, else of an embedded one, with what waits for its
    end."""
    if config.store is not None:
        yield config.store, None
        return
    embedded = EmbeddedStore(config.data_dir, fsync_always=config.durability == "disk")
    await embedded.start()
    ended = asyncio.create_task(_ended(embedded))
    try:
        yield embedded.url, ended
    finally:
        ended.cancel()
        await embedded.stop()


async def _ended(embedded: EmbeddedStore) -> None:
    await embedded.wait_exit()


async def run(
    broker: Broker,
    ready: Callable[[], None],
    requests: EndRequests,
    *,
    store_ended: asyncio.Task[None] | None = None,
) -> None:
    """From the broker's start to its end, which somebody requests."""
    first = asyncio.create_task(requests.first.wait())
    second = asyncio.create_task(requests.second.wait())
    try:
        starting = asyncio.create_task(broker.start())
        await asyncio.wait({starting, first}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        starting.result()
        gc.freeze()  # What is there by now stays.
        gc.set_threshold(YOUNG)
        ready()
        await asyncio.wait(
            {first, *([store_ended] if store_ended else [])},
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not first.done():
            raise StoreEnded
        draining = asyncio.create_task(broker.drain())
        await asyncio.wait({draining, second}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
    finally:
        for waiter in (first, second):
            waiter.cancel()
        await broker.close()
