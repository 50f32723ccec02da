"""What people see of a run: the figures, the invariants, and the lines behind a violation."""

from typing import Final

from rich.console import Console
from rich.table import Table

from tests.history.checker import INVARIANTS, Verdict
from tests.history.evidence import Case, Violation
from tests.history.figures import Figures, count
from tests.history.run import Finished

SHOWN: Final = 20
"""Violations that are shown with their lines; more are counted."""


def show(finished: Finished, console: Console) -> None:
    case = Case(finished.evidence)
    figures = count(case)
    console.print(_operations(figures))
    console.print(_faults(figures))
    console.print(_summary(finished, figures))
    console.print(_invariants(finished.verdict))
    for violation in finished.verdict.violations[:SHOWN]:
        _show_violation(violation, console)
    hidden = len(finished.verdict.violations) - SHOWN
    if hidden > 0:
        console.print(f"... and {hidden} violations more")


def _operations(figures: Figures) -> Table:
    columns = ("operation", "acknowledged", "of them not met", "refused", "unknown")
    table = Table(*columns, title="what was asked")
    for name, one in figures.operations.items():
        counts = (one.acknowledged, one.not_met, one.refused, one.unknown)
        table.add_row(name, *map(str, counts))
    every = figures.operations.values()
    table.add_section()
    table.add_row(
        "all",
        str(sum(one.acknowledged for one in every)),
        str(sum(one.not_met for one in every)),
        str(sum(one.refused for one in every)),
        str(sum(one.unknown for one in every)),
    )
    return table


def _faults(figures: Figures) -> Table:
    table = Table("fault", "times", title="what was done to it")
    for kind, times in sorted(figures.faults.items()):
        table.add_row(kind, str(times))
    return table


def _summary(finished: Finished, figures: Figures) -> Table:
    settings, verdict = finished.settings, finished.verdict
    table = Table("", "", title="what came of it", show_header=False)
    table.add_row("seed, seconds, topology", _repeated_by(finished))
    table.add_row("lines of history", str(len(finished.evidence.history)))
    table.add_row("jobs", str(figures.jobs))
    table.add_row("claims, executions", f"{figures.claims}, {figures.executions}")
    table.add_row("lost", str(verdict.count(1)))
    table.add_row("lost by roll-back", _lost_by_roll_back(verdict))
    if figures.failovers:
        table.add_row("failovers", str(figures.failovers))
    for where, spans_ms in figures.lost_spans_ms.items():
        table.add_row(f"rolled back: {where}", f"{len(spans_ms)} times, {sum(spans_ms):.0f} ms")
    if figures.lost_spans_ms:
        table.add_row("acknowledged in what was rolled back", str(figures.risked))
    table.add_row("finished twice or by a stale claim", str(verdict.count(3)))
    for cause, times in sorted(figures.again.items()):
        table.add_row(f"executed again: {cause}", str(times))
    table.add_row("longest overlap of two claims' code", f"{figures.overlap_ms:.0f} ms")
    table.add_row("clients given up", str(figures.removals))
    if figures.missed:
        table.add_row("outcomes missed by handlers that were given up", str(figures.missed))
    for what, length_ms in sorted(figures.longest_outage_ms.items()):
        table.add_row(f"longest outage survived: {what}", f"{length_ms} ms")
    late = figures.lateness_ms
    if late:
        table.add_row(
            f"lateness of {len(late)} delayed jobs, p50 and p99",
            f"{late[len(late) // 2]:.0f} ms, {late[len(late) * 99 // 100]:.0f} ms",
        )
    drained = f"{finished.drained_s:.1f} s"
    if not finished.evidence.drained:
        drained = f"NOT within {settings.drain_s:.0f} s"
    table.add_row("drained in", drained)
    table.add_row("fsck", f"{len(finished.evidence.fsck)} findings")
    return table


def _lost_by_roll_back(verdict: Verdict) -> str:
    lost = [violation for violation in verdict.rolled_back if violation.invariant == 1]
    not_met = sum(any(line.not_met for line in violation.lines) for violation in lost)
    return f"{len(lost)} jobs, {not_met} of them acknowledged as not met"


def _repeated_by(finished: Finished) -> str:
    settings = finished.settings
    return f"SEED={settings.seed} SECONDS={settings.seconds:g} TOPOLOGY={settings.topology}"


def _invariants(verdict: Verdict) -> Table:
    table = Table("", "invariant", "violations", "by roll-back", title="what was promised")
    for number, what in INVARIANTS.items():
        count = verdict.count(number)
        excused = str(verdict.count_rolled_back(number))
        table.add_row(str(number), what, f"[bold red]{count}[/]" if count else "0", excused)
    return table


def _show_violation(violation: Violation, console: Console) -> None:
    console.print(f"[bold red]{violation.invariant}[/] {violation.what}", soft_wrap=True)
    for line in violation.lines:
        console.print(f"    {line.line()}", markup=False, highlight=False, soft_wrap=True)
