"""Plays scenarios, each on a stage of its own, and tells how each ended."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeVar

from packhorse_conformance.scenario import Scenario
from packhorse_conformance.trace import Trace
from packhorse_conformance.verdict import Failed, Skipped


class Traced(Protocol):
    """What scenarios are given knows what passed."""

    @property
    def trace(self) -> Trace: ...


Given = TypeVar("Given", bound=Traced)

CLEANING_S: Final = 10
"""Seconds that a stage has to go down, beside the scenario's own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[Given]):
    """How a scenario ended. `expected` and `came` are set where it failed."""

    scenario: Scenario[Given]
    verdict: Literal["passed", "failed", "skipped"]
    took_s: float
    why: str = ""
    expected: str = ""
    came: str = ""
    frames: tuple[str, ...] = ()


async def play_all(
    scenarios: Sequence[Scenario[Given]],
    make: Callable[[], AbstractAsyncContextManager[Given]],
    *,
    timeout_s: float,
    at_once: int,
    told: Callable[[Result[Given]], None],
) -> list[Result[Given]]:
    """The results in the scenarios' order; each is told in this order, as soon as it is known."""
    places = asyncio.Semaphore(at_once)

    async def in_its_turn(scenario: Scenario[Given]) -> Result[Given]:
        async with places:
            return await play(scenario, make, timeout_s)

    results = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_its_turn(scenario)) for scenario in scenarios]
        for task in tasks:
            results.append(await task)
            told(results[-1])
    return results


async def play(
    scenario: Scenario[Given],
    make: Callable[[], AbstractAsyncContextManager[Given]],
    timeout_s: float,
) -> Result[Given]:
    """Plays one. A mistake of the scenario itself is a failure too."""
    began_s = time.monotonic()
    trace: Trace | None = None

    def ended(
        verdict: Literal["passed", "failed", "skipped"],
        *,
        why: str = "",
        expected: str = "",
        came: str = "",
    ) -> Result[Given]:
        return Result(
            scenario=scenario,
            verdict=verdict,
            took_s=time.monotonic() - began_s,
            why=why,
            expected=expected,
            came=came,
            frames=tuple(trace.lines()) if trace is not None and verdict == "failed" else (),
        )

    try:
        async with asyncio.timeout(timeout_s + CLEANING_S), make() as given:
            trace = given.trace
            async with asyncio.timeout(timeout_s):
                await scenario.play(given)
    except Skipped as error:
        return ended("skipped", why=str(error))
    except Failed as error:
        return ended("failed", expected=error.expected, came=error.came)
    except TimeoutError:
        awaited = "the scenario's end" if trace is None else trace.awaited
        return ended("failed", expected=awaited, came=f"nothing within {timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in one, the others go on
        return ended(
            "failed",
            expected="what the scenario can read",
            came=f"{type(error).__name__}: {error}",
        )
    return ended("passed")
