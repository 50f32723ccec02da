"""What is asked of each peer. Every workload returns its figures by name."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.peers.trial import Figures, Trial

WARM_UP_JOBS: Final = 20
LIMIT_S: Final = 120
"""Of one phase: who takes longer has failed."""
RATES_PER_S: Final = (100, 500)
"""Of jobs that come one by one in W2."""
SETTLE_S: Final = 0.5
"""After the start of a worker, before latencies are measured."""

ENQUEUES: Final = {"enqueue": "put", "enqueue_conc": "conc", "enqueue_bulk": "bulk"}
"""Figures of W1, and what the producer is told: single calls one after the other, 50 in flight,
100 at a time."""
ENDS: Final = {"e2e": "put", "e2e_conc": "conc", "e2e_bulk": "bulk"}
_ABILITY: Final = {"put": "put", "conc": "conc", "bulk": "put_many"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """None: what fits the peer."""

    jobs: int | None = None
    depth: int = 100_000
    seconds: float = 8
    """Of each rate in W2."""


def throughput(trial: Trial, sizes: Sizes) -> Figures:
    """W1 and W3: each way of enqueueing without a worker, draining, and both at once."""
    jobs = sizes.jobs or trial.peer.jobs
    found: Figures = {}

    def able(ways: dict[str, str]) -> dict[str, str]:
        return {name: do for name, do in ways.items() if _ABILITY[do] in trial.can}

    def note(phase: str, figures: Figures) -> None:
        found.update({f"{phase}.{name}": value for name, value in figures.items()})

    trial.order(do="put", jobs=WARM_UP_JOBS)
    note("enqueue", trial.fill("put", jobs))
    worker, drained = trial.drain(jobs + WARM_UP_JOBS, LIMIT_S)
    note("drain", drained)
    for phase, do in able(ENDS).items():
        note(phase, trial.end_to_end(do, jobs, LIMIT_S))
    trial.stop(worker)
    for phase, do in able(ENQUEUES).items():
        if do != "put":
            note(phase, trial.fill(do, jobs))
    return found


def latency(trial: Trial, sizes: Sizes) -> Figures:
    """W2: ms from the send to the start, and from a call to its result, of jobs that come one by
    one at a steady rate whether or not those before them are done."""
    found: Figures = {}

    def note(name: str, per_s: int, took_ms: list[float]) -> None:
        parts = statistics.quantiles(took_ms, n=100, method="inclusive")
        found[f"{name}.p50"], found[f"{name}.p99"] = parts[49], parts[98]
        found[f"{name}.done_percent"] = 100 * len(took_ms) / int(per_s * sizes.seconds)

    trial.worker()
    trial.order(do="put", jobs=WARM_UP_JOBS)
    if not trial.wait_started(WARM_UP_JOBS, LIMIT_S):
        raise trial.failed("the worker ran no job")
    time.sleep(SETTLE_S)
    trial.marks.take()
    if trial.peer.calls_per_s and "call" in trial.can:
        calls = trial.order(do="call", per_s=trial.peer.calls_per_s, seconds=sizes.seconds)
        note("result", trial.peer.calls_per_s, calls["took_ms"])
        trial.marks.take()
    for per_s in RATES_PER_S:
        trial.order(do="rate", per_s=per_s, seconds=sizes.seconds)
        trial.wait_started(int(per_s * sizes.seconds), sizes.seconds)
        took_ms = [(began - sent) / 1e6 for sent, began in trial.marks.take()]
        if len(took_ms) < 2:
            raise trial.failed(f"{len(took_ms)} jobs were run")
        note(f"start_{per_s}", per_s, took_ms)
    return found


def depth(trial: Trial, sizes: Sizes) -> Figures:
    """W4: what a job that waits takes, and how fast so many are drained."""
    do = "bulk" if "put_many" in trial.can else "conc" if "conc" in trial.can else "put"
    filled = trial.fill(do, sizes.depth)
    _, drained = trial.drain(sizes.depth, sizes.seconds, partly=True)
    return {
        **{f"fill.{name}": value for name, value in filled.items()},
        **{f"drain.{name}": value for name, value in drained.items()},
    }


Workload = Callable[[Trial, Sizes], Figures]

WORKLOADS: Final[dict[str, Workload]] = {
    "W1": throughput,
    "W2": latency,
    "W3": throughput,
    "W4": depth,
}
"""W3 is what the processes of W1 used: they are measured in one trial."""
