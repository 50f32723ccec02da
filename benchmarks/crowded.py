"""What connections cost that only live: their memory, and the time of those that are busy."""

import asyncio
import statistics
from typing import Final

from benchmarks.metering import Row, ratio
from benchmarks.prober import Prober
from benchmarks.processes import Broker, Load, memory

PROCESSES: Final = 2
"""Of the crowd."""
SETTLE_S: Final = 2
TIMEOUT_MS: Final = 60_000


async def rows(broker: Broker, busy: int, idle: int, trips: int) -> list[Row]:
    """`trips`: jobs that each busy client creates, claims and completes, one by one."""
    probers = [await Prober.start(broker.url, f"busy-{number}") for number in range(busy)]
    await times_ms(probers, trips)  # Not counted.
    alone = await times_ms(probers, trips)
    before = memory(broker.pid)
    loads = [
        await Load.start(
            *("crowd", "--url", broker.url, "--timeout-ms", TIMEOUT_MS),
            *("--connections", idle // PROCESSES),
        )
        for _ in range(PROCESSES)
    ]
    for load in loads:
        await load.said()
    await asyncio.sleep(SETTLE_S)
    each_bytes = (memory(broker.pid).now_bytes - before.now_bytes) / idle
    beside = await times_ms(probers, trips)
    lost = sum([(await load.stop())["lost"] for load in loads])
    for prober in probers:
        prober.close()
    if lost:
        raise RuntimeError(f"{lost} idle connections were cut off")
    return [
        Row(name=f"round trip of {busy} busy clients, alone", figure=_shown(alone)),
        Row(name=f"the same beside {idle:,} idle connections", figure=_shown(beside)),
        Row(name="beside over alone", figure=f"{ratio(beside, alone)}, p99 {_p99s(beside, alone)}"),
        Row(name="broker's memory for each idle connection", figure=f"{each_bytes / 1024:.1f} KiB"),
    ]


async def times_ms(probers: list[Prober], trips: int) -> list[float]:
    """Of all their round trips: create, claim, complete."""
    found = await asyncio.gather(*(prober.trips(trips) for prober in probers))
    return [took_ms for times in found for took_ms in times.trips]


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def _p99s(values: list[float], of: list[float]) -> str:
    return f"{_p99(values) / _p99(of):.2f} x"


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ms, p99 {_p99(values):.1f} ms"
