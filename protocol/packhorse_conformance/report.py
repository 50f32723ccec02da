"""Results for people: a line for each scenario, and more where one failed."""

from collections.abc import Sequence

from packhorse_conformance.running import Given, Result

SIGNS = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}


def lines_of(result: Result[Given]) -> list[str]:
    """One line, or with a failure what a person needs to find its cause."""
    scenario = result.scenario
    head = f"{SIGNS[result.verdict]}  {scenario.name}: {scenario.title}"
    if result.verdict == "skipped":
        return [f"{head} ({result.why})"]
    if result.verdict == "passed":
        return [head]
    return [
        head,
        f"      expected (SPEC.md, section {scenario.section}): {result.expected}",
        f"      came: {result.came}",
        "      the last that passed:",
        *(f"      {line}" for line in result.frames),
    ]


def summary(results: Sequence[Result[Given]]) -> str:
    """`41 passed, 1 failed, 2 skipped`."""
    counts = [
        (sum(result.verdict == verdict for result in results), verdict)
        for verdict in ("passed", "failed", "skipped")
    ]
    return ", ".join(f"{count} {verdict}" for count, verdict in counts)
