"""What a piece of work costs in time and CPU, and how the rounds of a measurement are told."""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.processes import Broker, cpu_us


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one round. CPU in microseconds for each unit of work."""

    per_s: float
    broker_us: float
    store_us: float
    clients_us: float


class Meter:
    """Runs from its making until `cost` is asked for."""

    def __init__(self, broker: Broker, *client_pids: int) -> None:
        self._pids = (broker.pid, broker.store_pid, os.getpid(), *client_pids)
        self._before = [cpu_us(pid) for pid in self._pids]
        self._started = time.perf_counter()

    def cost(self, units: int) -> Cost:
        """This process is one of the clients."""
        seconds = time.perf_counter() - self._started
        used = [
            (cpu_us(pid) - was) / units for pid, was in zip(self._pids, self._before, strict=True)
        ]
        return Cost(units / seconds, used[0], used[1], sum(used[2:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: a figure, and what it cost where that was measured."""

    name: str
    figure: str
    broker_us: str = ""
    store_us: str = ""
    clients_us: str = ""

    @classmethod
    def of(cls, name: str, costs: Sequence[Cost], unit: str) -> Self:
        return cls(
            name=name,
            figure=f"{shown([cost.per_s for cost in costs], 0)} {unit}/s",
            broker_us=shown([cost.broker_us for cost in costs], 1),
            store_us=shown([cost.store_us for cost in costs], 1),
            clients_us=shown([cost.clients_us for cost in costs], 1),
        )


def shown(values: Sequence[float], digits: int) -> str:
    """The median, with least and most."""
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def ratio(values: Sequence[float], of: Sequence[float]) -> str:
    """Of the medians."""
    return f"{statistics.median(values) / statistics.median(of):.2f} x"
