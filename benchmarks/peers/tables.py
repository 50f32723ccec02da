"""What the rounds came to: medians with least and most, one table a workload."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from benchmarks.peers.trial import Figures


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table: the figure that it shows."""

    heading: str
    figure: str
    digits: int = 0


TITLES: Final = {
    "W1": "W1: jobs a second",
    "W2": "W2: milliseconds",
    "W3": "W3: microseconds of CPU for each job (server: with its store)",
    "W4": "W4: jobs that wait",
}
COLUMNS: Final = {
    "W1": (
        Column("enqueue", "enqueue.per_s"),
        Column("50 in flight", "enqueue_conc.per_s"),
        Column("bulk of 100", "enqueue_bulk.per_s"),
        Column("drain", "drain.per_s"),
        Column("end to end", "e2e.per_s"),
        Column("e2e, 50 in flight", "e2e_conc.per_s"),
        Column("e2e, bulk", "e2e_bulk.per_s"),
    ),
    "W2": (
        Column("start, 100/s: p50", "start_100.p50", 2),
        Column("p99", "start_100.p99", 2),
        Column("start, 500/s: p50", "start_500.p50", 2),
        Column("p99", "start_500.p99", 2),
        Column("done, %", "start_500.done_percent"),
        Column("result: p50", "result.p50", 2),
        Column("p99", "result.p99", 2),
    ),
    "W3": (
        Column("enqueue: server", "enqueue.server_us"),
        Column("client", "enqueue.client_us"),
        Column("drain: server", "drain.server_us"),
        Column("worker", "drain.worker_us"),
        Column("end to end: all", "e2e.all_us"),
        Column("50 in flight: server", "e2e_conc.server_us"),
        Column("all", "e2e_conc.all_us"),
        Column("bulk: server", "e2e_bulk.server_us"),
        Column("all", "e2e_bulk.all_us"),
    ),
    "W4": (
        Column("fill, jobs/s", "fill.per_s"),
        Column("bytes in the store", "fill.store_bytes"),
        Column("resident bytes", "fill.resident_bytes"),
        Column("drain, jobs/s", "drain.per_s"),
        Column("drain: server CPU us", "drain.server_us"),
    ),
}


def shown(values: Iterable[float], digits: int) -> str:
    """Median, least and most; nothing where there is none."""
    found = list(values)
    if not found:
        return "-"
    middle, least, most = (
        f"{value:,.{digits}f}" for value in (statistics.median(found), min(found), max(found))
    )
    return middle if len(found) == 1 else f"{middle} ({least}-{most})"


def table(workload: str, runs: Iterable[dict[str, Any]]) -> Table:
    """Of the runs that measured this workload, a row for each peer in their order."""
    by_peer: dict[str, list[Figures]] = {}
    for run in runs:
        if workload in run["workloads"] and "figures" in run:
            by_peer.setdefault(run["peer"], []).append(run["figures"])
    made = Table(title=f"{TITLES[workload]}, median (least-most)", title_justify="left")
    made.add_column("peer")
    for column in COLUMNS[workload]:
        made.add_column(column.heading, justify="right")
    for peer, rounds in by_peer.items():
        cells = (
            shown((one[column.figure] for one in rounds if column.figure in one), column.digits)
            for column in COLUMNS[workload]
        )
        made.add_row(peer, *cells)
    return made
