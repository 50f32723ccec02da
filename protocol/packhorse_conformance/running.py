"""Plays scenarios, each on a stage of its own, and tells how each ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeVar

from packhorse_conformance.scenario import Scenario
from packhorse_conformance.trace import Trace
from packhorse_conformance.verdict import Failed, Skipped


class Played(Protocol):
    """What scenarios are given knows what passed, and when it makes no sense to go on."""

    @property
    def trace(self) -> Trace: ...

    async def interruption(self) -> Exception: ...


UNREADABLE: Final = "what the scenario can read"
"""Expected by a scenario that stumbled over what came, or over its own mistake."""

Given = TypeVar("Given", bound=Played)

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
    """The results in the scenarios' order; each is told in this order, as soon as it is known.

    Those that are played alone stand last.
    """
    places = asyncio.Semaphore(at_once)

    async def in_its_turn(scenario: Scenario[Given]) -> Result[Given]:
        async with places:
            return await play(scenario, make, timeout_s)

    results = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_its_turn(one)) for one in scenarios if not one.alone]
        for task in tasks:
            results.append(await task)
            told(results[-1])
    for scenario in (one for one in scenarios if one.alone):
        results.append(await play(scenario, make, timeout_s))
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
    frames: list[str] = []

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
            frames=tuple(frames or (trace.lines() if trace is not None else ())),
        )

    try:
        async with asyncio.timeout(timeout_s + CLEANING_S), make() as given:
            trace = given.trace
            try:
                async with asyncio.timeout(timeout_s):
                    await _unless_interrupted(scenario.play(given), given)
            except BaseException:
                frames = trace.lines()  # before the stage goes down
                raise
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
            expected=UNREADABLE,
            came=f"{type(error).__name__}: {error}",
        )
    return ended("passed")


async def _unless_interrupted(playing: Awaitable[None], given: Played) -> None:
    plays = asyncio.ensure_future(playing)
    interrupted = asyncio.create_task(given.interruption())
    try:
        await asyncio.wait([plays, interrupted], return_when=asyncio.FIRST_COMPLETED)
        if not plays.done():
            raise interrupted.result()
        plays.result()
    finally:
        for task in (plays, interrupted):
            task.cancel()
        await asyncio.wait([plays, interrupted])
