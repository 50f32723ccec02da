"""How late delayed jobs are: from the moment they asked for to the start of their run.

    make bench-delays     or: python -m benchmarks.delays --jobs 200 --over 10

The jobs are due at moments spread evenly over some seconds, and a runner has room for all. They
are created once at the broker that the runner is connected to, and once at another one, which is
killed before the first of them is due.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import Broker
from packhorse import Client, Worker, connect

FIRST_MS: Final = 2_000
"""When the first one is due: by then the other broker is gone."""


async def create_and_wait(creator: Client, handler: Client, jobs: int, over_s: int) -> list[str]:
    """Creates the jobs; `handler` is to learn of their ends."""
    made = [
        await creator.create(
            "noop",
            payload=b"",
            delay=f"{FIRST_MS + 1_000 * over_s * number // jobs}ms",
            keep="10m",
        )
        for number in range(jobs)
    ]
    for job in made:
        await handler.job(job.id).handle()
    return [job.id for job in made]


async def lateness_ms(handler: Client, ids: list[str], over_s: int) -> list[int]:
    """Of each job, in the order of their ids."""
    late: list[int] = []
    for number, job_id in enumerate(ids):
        outcome = await handler.job(job_id).outcome()
        delay_ms = FIRST_MS + 1_000 * over_s * number // len(ids)
        late.append(outcome.started_at - outcome.created_at - delay_ms)
    return late


async def run(jobs: int, over_s: int) -> dict[str, list[int]]:
    with tempfile.TemporaryDirectory(prefix="packhorse-bench-") as folder:
        broker = await Broker.start(Path(folder))
        try:
            return await measure(broker, Path(folder), jobs, over_s)
        finally:
            await broker.stop()


async def measure(broker: Broker, folder: Path, jobs: int, over_s: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    worker = Worker(broker.url, concurrency=jobs)

    @worker.job("noop")
    async def noop() -> None:
        """Nothing."""

    async with worker, connect(broker.url) as handler:
        ids = await create_and_wait(handler, handler, jobs, over_s)
        found["the same broker"] = await lateness_ms(handler, ids, over_s)
        other = await Broker.start(folder, store_url=broker.store_url)
        async with connect(other.url, stay=True, outage_timeout="1s") as creator:
            ids = await create_and_wait(creator, handler, jobs, over_s)
            await other.kill()
        found["a broker that was killed"] = await lateness_ms(handler, ids, over_s)
    return found


@click.command()
@click.option("--jobs", default=200, help="Delayed jobs of a round.")
@click.option("--over", default=10, help="Seconds over which they are due.")
def main(jobs: int, over: int) -> None:
    """Measure how late delayed jobs start."""
    table = Table(title=f"{jobs} delayed jobs over {over} s: ms from due to started")
    for heading in ("created at", "median", "p99", "most"):
        table.add_column(heading, justify="left" if heading == "created at" else "right")
    for name, late in uvloop.run(run(jobs, over)).items():
        p99 = statistics.quantiles(late, n=100)[98]
        table.add_row(name, f"{statistics.median(late):.0f}", f"{p99:.0f}", f"{max(late)}")
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
