"""Plays scenarios of the kit in the test's own event loop."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from packhorse_conformance.report import lines_of
from packhorse_conformance.running import Given, Result, play_all
from packhorse_conformance.scenario import Scenario

TIMEOUT_S: Final = 60
"""Far above what a scenario takes."""


async def played(
    scenarios: Sequence[Scenario[Given]],
    make: Callable[[], AbstractAsyncContextManager[Given]],
    timeout_s: float = TIMEOUT_S,
) -> list[Result[Given]]:
    """How each ended."""
    assert scenarios
    return await play_all(scenarios, make, timeout_s=timeout_s, at_once=4, told=_nobody)


def assert_all_passed(results: Sequence[Result[Given]]) -> None:
    """Else the kit's own report is the test's."""
    bad = [line for result in results if result.verdict != "passed" for line in lines_of(result)]
    assert not bad, "\n".join(bad)


def _nobody(_: Result[Given]) -> None:
    """Is told how a scenario ended."""
