"""What a job's life costs in numbers without noise, compared with `counts.json`.

    make bench-counts                    or: python -m benchmarks.counts
    make bench-counts BASELINE=write     what it costs now is what it may cost

Bytecode instructions by stage, and what the store is asked, for each lifecycle (create, claim,
complete). They are equal in every run, on a busy machine too, so 10 % more of anything is a
regression: it is named, and the exit status is 1. `--functions` shows where the instructions are.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.counted_lifecycles import Counts, count_all
from benchmarks.figures import (
    PYTHON,
    Baseline,
    Figures,
    by_function,
    growths,
    shown_change,
)
from benchmarks.quiet_loop import QuietLoop

BASELINE: Final = Path(__file__).with_name("counts.json")
RENEW: Final = "make bench-counts BASELINE=write"

MOST_S: Final = 180
"""Far above what it takes: it ends a hang."""


COUNTINGS: Final = 3
"""So often is counted what seems to have grown: tokens are random, and one that looks like a long
map has its frame read in another way, once in many runs."""


@click.command()
@click.option("--write", is_flag=True, help="Keep what was counted as the baseline.")
@click.option("--brief", is_flag=True, help="Say only what grew; count nothing if none can tell.")
@click.option("--functions", default=0, help="Show so many functions that execute the most.")
def main(write: bool, brief: bool, functions: int) -> None:
    """Count plain lifecycles and compare them with the baseline."""
    console = Console(width=110, highlight=False)
    if sys.platform != "linux":
        console.print("Nothing is counted: only Linux tells what the store has read.")
        return
    baseline = Baseline.read(BASELINE) if BASELINE.exists() else Baseline(PYTHON, {})
    if not baseline.is_comparable:
        console.print(
            f"Counts are not compared: the baseline was counted on Python {baseline.python}, "
            f"this is {PYTHON}."
        )
        if brief:
            return
    before = baseline.lifecycles if baseline.is_comparable else {}
    counted = _count()
    for _ in range(COUNTINGS - 1):
        now = _figures(counted)
        if write or before.keys() != now.keys() or not growths(before, now):
            break
        counted = _count()
    now = _figures(counted)
    if not brief:
        console.print(_table(before, now))
        for mode, counts in counted.items() if functions else ():
            console.print(_functions(mode, counts, functions))
    if write:
        Baseline(PYTHON, now).write(BASELINE)
        console.print(f"{BASELINE.name} is renewed.")
        return
    if baseline.is_comparable:
        _judge(console, before, now)


def _judge(console: Console, before: Mapping[str, Figures], now: Mapping[str, Figures]) -> None:
    """Ends the process with 1 if anything grew."""
    missing = sorted(before.keys() ^ now.keys())
    if missing:
        console.print(f"{BASELINE.name} has not the same modes: {', '.join(missing)}. {RENEW}")
        sys.exit(1)
    grown = growths(before, now)
    for growth in grown:
        console.print(str(growth), soft_wrap=True)
    if grown:
        console.print(f"If it has to be: {RENEW}")
        sys.exit(1)
    console.print("A lifecycle costs no more than its baseline allows.")
    if growths(now, before):
        console.print(f"Some of it costs less; this keeps it so: {RENEW}")


def _count() -> dict[str, Counts]:
    with asyncio.Runner(loop_factory=QuietLoop) as runner:
        return runner.run(asyncio.wait_for(count_all(), MOST_S))


def _figures(counted: Mapping[str, Counts]) -> dict[str, Figures]:
    return {mode: Figures.of(counts) for mode, counts in counted.items()}


def _table(before: Mapping[str, Figures], now: Mapping[str, Figures]) -> Table:
    table = Table(title="a lifecycle: bytecode instructions by stage, and what the store is asked")
    table.add_column("")
    for mode in now:
        table.add_column(mode, justify="right")
        table.add_column("baseline", justify="right")
        table.add_column("change", justify="right")
    rows = {mode: dict(_rows(figures)) for mode, figures in now.items()}
    had = {mode: dict(_rows(figures)) for mode, figures in before.items()}
    for name in dict.fromkeys(name for mode in rows.values() for name in mode):
        cells: list[str] = []
        for mode, figures in rows.items():
            cells += _cells(had.get(mode, {}).get(name), figures.get(name, 0))
        ends_section = name in {"client in all", "store reply bytes"}
        table.add_row(name, *cells, end_section=ends_section)
    return table


def _rows(figures: Figures) -> Iterator[tuple[str, float]]:
    yield from figures.instructions.items()
    yield from figures.totals().items()
    for name, count in figures.store.items():
        yield f"store {name}", count
    for name, calls in figures.commands.items():
        yield name.upper(), calls


def _cells(before: float | None, now: float) -> tuple[str, str, str]:
    if before is None:
        return _shown(now), "", ""
    return _shown(now), _shown(before), shown_change(before, now) if before != now else "="


def _shown(count: float) -> str:
    return f"{count:,.1f}" if count >= 1 else f"{count:.3f}"


def _functions(mode: str, counts: Counts, most: int) -> Table:
    table = Table(title=f"{mode}: the functions that execute the most")
    table.add_column("instructions", justify="right")
    table.add_column("stage")
    table.add_column("function")
    for stage, name, count in by_function(counts, most):
        table.add_row(_shown(count), stage, name)
    return table


def _with_fixed_hashes() -> None:
    """Sets have the same order in each run. Nobody else traces, and no setting changes anything."""
    wanted = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERAGE_", "PACKHORSE_", "PYTHONASYNCIO", "PYTHONDEV"))
    }
    wanted["PYTHONHASHSEED"] = "0"
    if os.environ != wanted:
        command = [sys.executable, "-m", "benchmarks.counts", *sys.argv[1:]]
        os.execve(sys.executable, command, wanted)  # noqa: S606


if __name__ == "__main__":
    _with_fixed_hashes()
    main()
