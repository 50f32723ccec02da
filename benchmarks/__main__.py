"""What Packhorse does by itself, in one table.

    make bench        or: python -m benchmarks --jobs 20000 --rounds 5 lifecycle logs

Brokers with embedded stores, clients and runners on loopback; lifecycles are create, claim and
complete. Figures are medians of the rounds, with least and most. Read them as ratios within one
run: the machine is not ours alone.
"""

import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import crowded, lifecycle, log_lines, waiting
from benchmarks.metering import Row
from benchmarks.processes import Broker, has_files_for

PARTS: Final = ("lifecycle", "logs", "idle", "waiting")
BUSY: Final = 10
"""Clients, beside those that are idle."""
FEW: Final = 1_000
"""Jobs that wait, over which many are measured."""


@asynccontextmanager
async def fresh() -> AsyncIterator[Broker]:
    """A broker with nothing in its store."""
    with tempfile.TemporaryDirectory(prefix="packhorse-bench-") as data_dir:
        broker = await Broker.start(Path(data_dir))
        try:
            yield broker
        finally:
            await broker.stop()


async def run(
    parts: tuple[str, ...],
    *,
    jobs: int,
    rounds: int,
    lines: int,
    connections: int,
    trips: int,
    waiting_jobs: int,
) -> list[Row]:
    found: list[Row] = []
    if "lifecycle" in parts:
        async with fresh() as broker:
            found += await lifecycle.rows(broker, jobs, rounds)
    if "logs" in parts:
        async with fresh() as broker:
            found += await log_lines.rows(broker, lines, rounds)
    if "idle" in parts:
        async with fresh() as alone, fresh() as beside:
            found += await crowded.rows(
                alone, beside, busy=BUSY, idle=connections, trips=trips, rounds=rounds
            )
    if "waiting" in parts:
        few = max(1, min(FEW, waiting_jobs // 10))
        async with fresh() as few_broker, fresh() as many_broker:
            found += await waiting.rows(few_broker, few, many_broker, waiting_jobs, jobs, rounds)
    return found


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--jobs", default=20_000, show_default=True, help="Lifecycles of a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds that are counted.")
@click.option("--lines", default=20_000, show_default=True, help="Log lines of a round.")
@click.option("--connections", default=5_000, show_default=True, help="That are idle.")
@click.option("--trips", default=100, show_default=True, help="Of each busy client in a round.")
@click.option("--waiting", "waiting_jobs", default=1_000_000, show_default=True, help="Jobs.")
def main(
    parts: tuple[str, ...],
    jobs: int,
    rounds: int,
    lines: int,
    connections: int,
    trips: int,
    waiting_jobs: int,
) -> None:
    """Measure Packhorse: all PARTS, or those that are named."""
    parts = parts or PARTS
    if "idle" in parts and not has_files_for(connections):
        print(f"{connections} connections need more open files: ulimit -n is too low here")
        sys.exit(1)
    started = time.perf_counter()
    found = uvloop.run(
        run(
            parts,
            jobs=jobs,
            rounds=rounds,
            lines=lines,
            connections=connections,
            trips=trips,
            waiting_jobs=waiting_jobs,
        )
    )
    table = Table(title=f"median of {rounds} rounds (least-most); CPU in us for each")
    for heading in ("", "", "broker CPU", "store CPU", "clients' CPU"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in found:
        table.add_row(row.name, row.figure, row.broker_us, row.store_us, row.clients_us)
    Console(width=150).print(table)
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
