"""Plain lifecycles, counted: broker, producer and runner in this process, on a store of their own.

Each step is waited for until nothing happens any more, so that every run does the same.
"""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from benchmarks.instructions import Instructions
from benchmarks.quiet_loop import QuietLoop
from benchmarks.store_meter import StoreMeter, StoreUse
from packhorse import Client, NewJob, Worker, ids
from packhorse_broker.local import LocalBroker
from packhorse_broker.logs import set_up
from packhorse_broker.store.embedded import EmbeddedStore

PAYLOAD: Final = b"\x81\xa4data\xc4\x5c" + bytes(92)
"""100 bytes of msgpack: {"data": 92 bytes}."""
BATCH: Final = 100
CONCURRENCY: Final = 500

LONG: Final = "5m"
"""The clients' timeout: their clock stands still meanwhile, and then goes on at once."""


async def _one(client: Client) -> None:
    await client.create("noop", payload=PAYLOAD)


async def _batch(client: Client) -> None:
    await client.create_many([NewJob("noop", payload=PAYLOAD) for _ in range(BATCH)])


@dataclass(frozen=True, slots=True)
class Mode:
    """`create` creates so many jobs; `warm_up` times uncounted, then `times`."""

    create: Callable[[Client], Awaitable[None]]
    jobs: int
    warm_up: int
    times: int


MODES: Final = {
    "one by one": Mode(_one, 1, warm_up=8, times=32),
    f"batches of {BATCH}": Mode(_batch, BATCH, warm_up=2, times=6),
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Of `jobs` lifecycles."""

    jobs: int
    instructions: dict[tuple[str, str], int]
    """By stage and function."""
    exchanges: int
    store: StoreUse


async def count_all(modes: Mapping[str, Mode] = MODES) -> dict[str, Counts]:
    """By mode. Needs a `QuietLoop`."""
    set_up(level="error")
    store = EmbeddedStore(ephemeral=True)
    await store.start()
    try:
        return await _count_on(store, modes)
    finally:
        await store.stop()


async def _count_on(store: EmbeddedStore, modes: Mapping[str, Mode]) -> dict[str, Counts]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, QuietLoop)
    meter = StoreMeter(unquote(store.url.removeprefix("unix://")))
    done = 0
    async with LocalBroker(store_url=store.url) as broker, AsyncExitStack() as leaving:
        worker = Worker(concurrency=CONCURRENCY, timeout=LONG, dial=broker.dial)

        @worker.job("noop")
        async def noop(data: bytes) -> None:  # noqa: ARG001 - the payload of every job
            nonlocal done
            done += 1

        found = {}
        with loop.held(meter):
            await leaving.enter_async_context(worker)
            client = await leaving.enter_async_context(broker.connect(timeout=LONG))
            for name, mode in modes.items():
                done = 0
                found[name] = await _count(mode, client, meter, loop)
                created = (mode.warm_up + mode.times) * mode.jobs
                if done != created:
                    raise RuntimeError(f"{name}: {done} of {created} jobs were done")
    meter.close()
    return found


async def _count(mode: Mode, client: Client, meter: StoreMeter, loop: QuietLoop) -> Counts:
    random.seed(0)
    # Ids are made many at a time: each count begins with none.
    ids._made.clear()  # noqa: SLF001
    await loop.rest()
    for _ in range(mode.warm_up):
        await mode.create(client)
        await loop.rest()
    before, exchanges = meter.use(), loop.exchanges
    instructions = Instructions()
    gc.disable()
    instructions.start()
    try:
        for _ in range(mode.times):
            await mode.create(client)
            await loop.rest()
    finally:
        instructions.stop()
        gc.enable()
    return Counts(
        mode.times * mode.jobs,
        dict(instructions.counts),
        loop.exchanges - exchanges,
        meter.use().since(before),
    )
