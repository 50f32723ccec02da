"""A client by itself, whose times tell how others fare beside a burden."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.wire import Wire
from packhorse_protocol.messages import (
    Claim,
    Complete,
    Completion,
    Create,
    NewJob,
    Problem,
    Take,
)

LONG_MS: Final = 600_000
"""Timeout of the clients that measure."""
TRIPS: Final = 200
"""Lone round trips of one measurement."""
PAUSE_S: Final = 0.01
"""Between two jobs: who measures is no burden."""
AGAIN_MS: Final = 100


@dataclass
class Times:
    """Of a client that measures, in ms."""

    creates: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)
    """From the answer to the create, or from the end of the job before."""
    completes: list[float] = field(default_factory=list)
    refused: int = 0
    """Creates that had to be repeated."""

    @property
    def trips(self) -> list[float]:
        return [sum(parts) for parts in zip(self.creates, self.claims, self.completes, strict=True)]


class Prober:
    """A client that claims and completes one job after the other."""

    def __init__(self, wire: Wire, job_type: str) -> None:
        self._wire = wire
        self._type = job_type

    @classmethod
    async def start(cls, url: str, job_type: str) -> "Prober":
        wire = await Wire.open(url, timeout_ms=LONG_MS)
        await wire.ask(Take, types={job_type: 1}, credit=1)
        return cls(wire, job_type)

    async def trips(self, number: int = TRIPS) -> Times:
        """Creates each job itself."""
        times = Times()
        for _ in range(number):
            await self._trip(times)
            await asyncio.sleep(PAUSE_S)
        return times

    async def trips_during(self, ended: asyncio.Event) -> Times:
        times = Times()
        while not ended.is_set():
            await self._trip(times)
            await asyncio.sleep(PAUSE_S)
        return times

    async def ends_during(self, ended: asyncio.Event) -> Times:
        """Of jobs that are there."""
        times = Times()
        while not ended.is_set():
            await self._end_next(times)
            await asyncio.sleep(PAUSE_S)
        return times

    async def _trip(self, times: Times) -> None:
        started = time.perf_counter()
        while True:
            [created] = await self._wire.ask(Create, jobs=(NewJob(type=self._type),))
            if not isinstance(created, Problem):
                break
            times.refused += 1
            await asyncio.sleep((created.retry_after_ms or AGAIN_MS) / 1000)
        times.creates.append(ms_since(started))
        await self._end_next(times)

    async def _end_next(self, times: Times) -> None:
        started = time.perf_counter()
        claim = await self._wire.claims.get()
        times.claims.append(ms_since(started))
        started = time.perf_counter()
        await end(self._wire, claim)
        times.completes.append(ms_since(started))

    def close(self) -> None:
        self._wire.close()


async def end(wire: Wire, *claims: Claim) -> tuple[Any, ...]:
    """Again and again, as clients do, until the store has taken it."""
    jobs = tuple(Completion(job=claim.job, token=claim.token) for claim in claims)
    while True:
        results = await wire.ask(Complete, jobs=jobs)
        if not any(isinstance(result, Problem) and result.retryable for result in results):
            return results


def ms_since(started: float) -> float:
    """Since a time of `perf_counter`."""
    return (time.perf_counter() - started) * 1000
