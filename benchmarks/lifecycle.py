"""What a job's life costs: create, claim, complete, one producer and one runner on loopback.

    make bench        or: python -m benchmarks.lifecycle --jobs 20000 --rounds 5

Each mode creates jobs of a 100-byte payload while the runner takes and completes them; a round
ends when the last one is done. Figures are medians of the rounds, with least and most. Read them
as ratios within one run: the machine is not ours alone.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import Broker, Runner, cpu_us
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


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round. CPU in microseconds for each lifecycle."""

    per_s: float
    broker_us: float
    store_us: float
    clients_us: float


async def measure(broker: Broker, runner: Runner, client: Client, mode: Mode, jobs: int) -> Figures:
    pids = (broker.pid, broker.store_pid, runner.pid, os.getpid())
    await runner.expect(jobs)
    before = [cpu_us(pid) for pid in pids]
    started = time.perf_counter()
    await mode(client, jobs)
    await runner.done()
    seconds = time.perf_counter() - started
    used = [(cpu_us(pid) - was) / jobs for pid, was in zip(pids, before, strict=True)]
    return Figures(jobs / seconds, used[0], used[1], used[2] + used[3])


async def run(jobs: int, rounds: int) -> dict[str, list[Figures]]:
    """The modes in turn, `rounds` times, after a round that is not counted."""
    found: dict[str, list[Figures]] = {name: [] for name in MODES}
    with tempfile.TemporaryDirectory(prefix="packhorse-bench-") as data_dir:
        broker = await Broker.start(Path(data_dir))
        runner = await Runner.start(broker.url)
        async with connect(broker.url) as client:
            for round_ in range(rounds + 1):
                for name, (mode, share) in MODES.items():
                    figures = await measure(broker, runner, client, mode, jobs // share)
                    if round_:
                        found[name].append(figures)
        await runner.stop()
        await broker.stop()
    return found


def shown(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


@click.command()
@click.option("--jobs", default=20_000, help="Jobs of a round.")
@click.option("--rounds", default=5, help="Rounds that are counted.")
def main(jobs: int, rounds: int) -> None:
    """Measure the plain lifecycle."""
    found = uvloop.run(run(jobs - jobs % (BATCH * SINGLE_SHARE), rounds))
    table = Table(title=f"lifecycles, median of {rounds} rounds (least-most)")
    for heading in ("mode", "per second", "broker CPU us", "store CPU us", "client+runner CPU us"):
        table.add_column(heading, justify="left" if heading == "mode" else "right")
    for name, figures in found.items():
        table.add_row(
            name,
            shown([one.per_s for one in figures], 0),
            shown([one.broker_us for one in figures], 1),
            shown([one.store_us for one in figures], 1),
            shown([one.clients_us for one in figures], 1),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
