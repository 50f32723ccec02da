"""What a broker does when more is asked of it than it can do, and whether it recovers.

    make bench-overload     or: python -m benchmarks.overload --jobs 1000000 --connections 5000

One broker with its embedded store on loopback is burdened in one way after the other: by
connections, by jobs that nobody takes, by a watcher that never reads, by producers that are
faster than the store, by a store without memory. Before, meanwhile and afterwards a lone client
creates, claims and completes one job after the other. Read its times as ratios within one run.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.prober import LONG_MS, Prober, Times, end, ms_since
from benchmarks.processes import Broker, Load, Memory, cpu_us, has_files_for, memory, reset_peak
from benchmarks.store_probe import StoreProbe
from benchmarks.wire import Wire
from packhorse_protocol.messages import Claim, ClaimJobs, Create, LogReport, NewJob, Watch, WriteLog

MIB: Final = 1024 * 1024
CROWD_PROCESSES: Final = 2
CROWD_S: Final = 8
CROWD_TIMEOUT_MS: Final = 10_000
STOCK: Final = 1_000
"""Jobs that are there before a flood, to be claimed and completed in it."""
FLOOD_S: Final = 4
"""Before the store is stopped, and again after it goes on."""
WATCHED: Final = 500
LOG_ROUNDS: Final = 40
LOG_CHARS: Final = 4_000


@dataclass
class Row:
    """What one way of burdening came to."""

    name: str
    broker: Memory
    store_bytes: int
    trips: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    """Claims and completions, each by itself."""
    said: str = ""


class Bench:
    """The broker, its store, and who measures. A method for each burden."""

    def __init__(self, broker: Broker, store: StoreProbe, prober: Prober) -> None:
        self.rows: list[Row] = []
        self._broker = broker
        self._store = store
        self._prober = prober
        self._url = ("--url", broker.url)

    async def note(self, name: str, times: Times, said: str = "") -> None:
        row = Row(name, memory(self._broker.pid), await self._store.used_bytes(), said=said)
        row.ends = times.claims + times.completes
        row.trips = times.trips if times.creates else []
        self.rows.append(row)
        reset_peak(self._broker.pid)

    async def lone(self, name: str) -> None:
        """Nobody else is there."""
        await self.note(name, await self._prober.trips())

    async def crowd(self, connections: int) -> None:
        before = memory(self._broker.pid)
        loads = [
            await Load.start(
                *("crowd", *self._url, "--timeout-ms", CROWD_TIMEOUT_MS),
                *("--connections", connections // CROWD_PROCESSES),
            )
            for _ in range(CROWD_PROCESSES)
        ]
        ended = asyncio.Event()
        probing = asyncio.create_task(self._prober.trips_during(ended))
        came = await asyncio.gather(*(load.said() for load in loads))
        ended.set()
        times = await probing
        each_bytes = (memory(self._broker.pid).now_bytes - before.now_bytes) / connections
        refused = sum(sum(one["refused"].values()) for one in came)
        await self.note(
            f"{connections:,} say hello at once",
            times,
            f"all in after {max(one['seconds'] for one in came):.1f} s, "
            f"{refused:,} hellos repeated, {each_bytes / 1024:.1f} KiB for each",
        )
        used_us, started = cpu_us(self._broker.pid), time.perf_counter()
        times = await self._during(asyncio.sleep(CROWD_S))
        share = (cpu_us(self._broker.pid) - used_us) / 1e4 / (time.perf_counter() - started)
        gone = await asyncio.gather(*(load.stop() for load in loads))
        lost = sum(one["lost"] for one in gone)
        await self.note(
            f"{connections:,} beat", times, f"{lost} cut off, {share:.0f} % of a core in all"
        )
        times = await self._during(self._removed(connections))
        await self.note("they are gone and are removed", times)

    async def _removed(self, connections: int) -> None:
        while await self._store.clients() > connections // 100:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.2)

    async def backlog(self, jobs: int) -> None:
        load = await Load.start(
            *("producers", *self._url, "--jobs", jobs, "--connections", 2),
            *("--in-flight", 4, "--batch", 500),
        )
        await load.said()
        ended = asyncio.Event()
        probing = asyncio.create_task(self._prober.trips_during(ended))
        found = await load.said()
        ended.set()
        await self.note(
            f"{jobs:,} jobs are created",
            await probing,
            f"{found['answers']['created'] / found['seconds']:,.0f} jobs a second",
        )
        await self.lone("they wait")

    async def watcher(self) -> None:
        creator = await Wire.open(self._broker.url, timeout_ms=LONG_MS)
        watcher = await Wire.open(self._broker.url, receive_buffer_bytes=4_096, timeout_ms=LONG_MS)
        ids = tuple(f"watched-{number}" for number in range(WATCHED))
        await creator.ask(Create, jobs=tuple(NewJob(type="watched", id=job) for job in ids))
        await watcher.ask(Watch, jobs=ids)
        watcher.stop_reading()
        claims = await creator.ask(ClaimJobs, jobs=ids)
        times = await self._during(self._write_logs(creator, claims))
        written = WATCHED * LOG_ROUNDS * LOG_CHARS / MIB
        kept = "cut off" if watcher.closed.is_set() else "connected"
        await self.note(
            "a watcher never reads", times, f"{written:.0f} MiB of logs written; it stays {kept}"
        )
        await end(creator, *claims)
        watcher.close()
        creator.close()

    @staticmethod
    async def _write_logs(wire: Wire, claims: tuple[Claim, ...]) -> None:
        text = ("m" * LOG_CHARS,)
        for _ in range(LOG_ROUNDS):
            for at in range(0, len(claims), 100):
                reports = tuple(
                    LogReport(job=claim.job, token=claim.token, messages=text)
                    for claim in claims[at : at + 100]
                )
                await wire.ask(WriteLog, reports=reports)

    async def _during(self, burden: Any) -> Times:
        """Lone round trips meanwhile."""
        ended = asyncio.Event()
        probing = asyncio.create_task(self._prober.trips_during(ended))
        await burden
        ended.set()
        return await probing

    async def flood(self, name: str, stopped_s: float, **options: int) -> None:
        """Producers that do not wait; claims and completions of jobs that are there already. In
        the middle the store stands still."""
        ender = await self._stock()
        flags = [part for flag, value in options.items() for part in (f"--{flag}", value)]
        load = await Load.start("producers", *self._url, *flags)
        await load.said()
        ended = asyncio.Event()
        probing = asyncio.create_task(ender.ends_during(ended))
        await asyncio.sleep(FLOOD_S)
        ended.set()
        times = await probing
        self._store.stop()
        await asyncio.sleep(stopped_s)
        self._store.go_on()
        await asyncio.sleep(FLOOD_S / 2)
        found = await load.stop()
        ender.close()
        await self.note(name, times, _told(found))

    async def _stock(self) -> Prober:
        wire = await Wire.open(self._broker.url, timeout_ms=LONG_MS)
        await wire.ask(Create, jobs=(NewJob(type="stock"),) * STOCK)
        wire.close()
        return await Prober.start(self._broker.url, "stock")

    async def full(self) -> None:
        """The store's memory is bounded a little above what is in it."""
        ender = await self._stock()
        load = await Load.start("producers", *self._url, "--in-flight", 4)
        await load.said()
        used = await self._store.used_bytes()
        await self._store.bound(used * 100 // 85 + 32 * MIB)
        ended = asyncio.Event()
        probing = asyncio.create_task(ender.ends_during(ended))
        await asyncio.sleep(2 * FLOOD_S)
        ended.set()
        times = await probing
        found = await load.stop()
        await self._store.bound(0)
        started = time.perf_counter()
        await self._prober.trips(1)
        said = f"creates {ms_since(started) / 1000:.1f} s after there was room"
        ender.close()
        await self.note("the store is full", times, f"{_told(found)}; {said}")


def _told(found: dict[str, Any]) -> str:
    answers = ", ".join(f"{code} {number:,}" for code, number in sorted(found["answers"].items()))
    return (
        f"{answers}; longest wait {found['longest_s']:.1f} s, "
        f"{found['unanswered']} without an answer"
    )


@asynccontextmanager
async def opened() -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="packhorse-bench-") as data_dir:
        broker = await Broker.start(Path(data_dir))
        try:
            store = await StoreProbe.open(broker.store_url, broker.store_pid)
            prober = await Prober.start(broker.url, "probe")
            yield Bench(broker, store, prober)
            prober.close()
        finally:
            await broker.stop()


async def run(jobs: int, connections: int) -> list[Row]:
    async with opened() as bench:
        await bench.lone("idle, at first")
        await bench.lone("idle")
        await bench.crowd(connections)
        await bench.lone("afterwards")
        await bench.watcher()
        await bench.lone("afterwards")
        await bench.flood("producers of small jobs", 2, connections=16)
        await bench.lone("afterwards")
        options = {"connections": 16, "in-flight": 1_000, "batch": 1, "bytes": 64 * 1024}
        await bench.flood("producers of 64 KiB jobs", 7, **options)
        await bench.lone("afterwards")
        await bench.backlog(jobs)
        await bench.full()
        await bench.lone("afterwards")
        return bench.rows


def shown(values: list[float], of: list[float] | None = None) -> str:
    """Median and 99th percentile; with `of` as multiples of the median there."""
    if not values:
        return ""
    p99 = statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]
    middle = statistics.median(values)
    if of is None:
        return f"{middle:,.2f} / {p99:,.1f}"
    return f"{middle / statistics.median(of):.1f} x"


@click.command()
@click.option("--jobs", default=1_000_000, help="Jobs that wait.")
@click.option("--connections", default=5_000, help="Connections at once.")
def main(jobs: int, connections: int) -> None:
    """Measure a broker of which too much is asked."""
    if not has_files_for(connections):
        print(f"{connections} connections need more open files: ulimit -n is too low here")
        sys.exit(1)
    started = time.perf_counter()
    rows = uvloop.run(run(jobs, connections))
    idle = rows[1].trips
    table = Table(title="memory in MiB; times in ms, median / 99th percentile")
    headings = ("", "broker", "peak", "store", "round trip", "of idle", "claim or complete", "")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.broker.now_bytes / MIB:,.0f}",
            f"{row.broker.peak_bytes / MIB:,.0f}",
            f"{row.store_bytes / MIB:,.0f}",
            shown(row.trips),
            shown(row.trips, idle),
            shown(row.ends),
            row.said,
        )
    Console(width=180).print(table)
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
