"""What connections cost that only live: their memory, and the time of those that are busy.

Two brokers, one with a crowd of idle connections and one without, are measured in turn. While the
latter is, the crowd's processes stand still, for the processors are the same.
"""

import asyncio
import statistics
from typing import Final

from benchmarks.metering import Row, ratio
from benchmarks.prober import Prober
from benchmarks.processes import Broker, Load, memory

PROCESSES: Final = 2
"""Of the crowd."""
SETTLE_S: Final = 1
"""For what the crowd has to catch up with."""
TIMEOUT_MS: Final = 60_000
"""Of the crowd: far longer than it stands still."""


async def rows(
    alone: Broker, crowded: Broker, *, busy: int, idle: int, trips: int, rounds: int
) -> list[Row]:
    """`trips`: jobs that each busy client creates, claims and completes, one by one, in a round."""
    probers = [await start(broker, busy) for broker in (alone, crowded)]
    for one in probers:
        await times_ms(one, trips)  # Not counted.
    before = memory(crowded.pid)
    loads = [
        await Load.start(
            *("crowd", "--url", crowded.url, "--timeout-ms", TIMEOUT_MS),
            *("--connections", idle // PROCESSES),
        )
        for _ in range(PROCESSES)
    ]
    for load in loads:
        await load.said()
    await asyncio.sleep(SETTLE_S)
    each_bytes = (memory(crowded.pid).now_bytes - before.now_bytes) / idle
    without: list[float] = []
    beside: list[float] = []
    for _ in range(rounds):
        beside += await times_ms(probers[1], trips)
        for load in loads:
            load.stand_still()
        without += await times_ms(probers[0], trips)
        for load in loads:
            load.go_on()
        await asyncio.sleep(SETTLE_S)
    lost = sum([(await load.stop())["lost"] for load in loads])
    if lost:
        raise RuntimeError(f"{lost} idle connections were cut off")
    for prober in (*probers[0], *probers[1]):
        prober.close()
    over = f"{ratio(beside, without)}, p99 {_p99(beside) / _p99(without):.2f} x"
    return [
        Row(name=f"round trip of {busy} busy clients", figure=_shown(without)),
        Row(name=f"the same beside {idle:,} idle connections", figure=_shown(beside)),
        Row(name="beside them over without", figure=over),
        Row(name="broker's memory for each idle connection", figure=f"{each_bytes / 1024:.1f} KiB"),
    ]


async def start(broker: Broker, busy: int) -> list[Prober]:
    return [await Prober.start(broker.url, f"busy-{number}") for number in range(busy)]


async def times_ms(probers: list[Prober], trips: int) -> list[float]:
    """Of all their round trips: create, claim, complete."""
    found = await asyncio.gather(*(prober.trips(trips) for prober in probers))
    return [took_ms for times in found for took_ms in times.trips]


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ms, p99 {_p99(values):.1f} ms"
