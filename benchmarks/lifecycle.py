"""What a job's life costs: create, claim, complete, one producer and one runner on loopback.

Each mode creates jobs of a 100-byte payload while the runner takes and completes them; a round
ends when the last one is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks.metering import Cost, Meter, Row
from benchmarks.processes import Broker, Runner
from packhorse import Client, NewJob, connect

PAYLOAD: Final = b"\x81\xa4data\xc4\x5c" + bytes(92)
"""100 bytes of msgpack: {"data": 92 bytes}."""
IN_FLIGHT: Final = 50
BATCH: Final = 100
SINGLE_SHARE: Final = 5
"""One call after the other is slow: it gets so many times fewer jobs."""

Mode = Callable[[Client, int], Awaitable[None]]


async def single(client: Client, jobs: int) -> None:
    """One create after the other, each awaited."""
    for _ in range(jobs):
        await client.create("noop", payload=PAYLOAD)


async def in_flight(client: Client, jobs: int) -> None:
    """Single creates, 50 at a time."""
    left = iter(range(jobs))

    async def creator() -> None:
        for _ in left:
            await client.create("noop", payload=PAYLOAD)

    await asyncio.gather(*(creator() for _ in range(IN_FLIGHT)))


async def batches(client: Client, jobs: int) -> None:
    """Batches of 100, each awaited."""
    for _ in range(jobs // BATCH):
        await client.create_many([NewJob("noop", payload=PAYLOAD) for _ in range(BATCH)])


MODES: Final[dict[str, tuple[Mode, int]]] = {
    "single calls": (single, SINGLE_SHARE),
    "50 in flight": (in_flight, 1),
    "batches of 100": (batches, 1),
}


async def measure(broker: Broker, runner: Runner, client: Client, mode: Mode, jobs: int) -> Cost:
    await runner.expect(jobs)
    meter = Meter(broker, runner.pid)
    await mode(client, jobs)
    await runner.done()
    return meter.cost(jobs)


async def rows(broker: Broker, jobs: int, rounds: int) -> list[Row]:
    """The modes in turn, `rounds` times, after a round that is not counted."""
    found: dict[str, list[Cost]] = {name: [] for name in MODES}
    runner = await Runner.start(broker.url)
    async with connect(broker.url) as client:
        for round_ in range(rounds + 1):
            for name, (mode, share) in MODES.items():
                # At least a batch, and whole ones.
                of_mode = max(BATCH, jobs // share // BATCH * BATCH)
                cost = await measure(broker, runner, client, mode, of_mode)
                if round_:
                    found[name].append(cost)
    await runner.stop()
    return [Row.of(f"lifecycles, {name}", costs, "jobs") for name, costs in found.items()]
