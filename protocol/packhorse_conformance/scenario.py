"""A scenario: what is played, its title, and the section of SPEC.md that it tests.

    @scenario("8")
    async def beats(stage: Stage) -> None:
        ...

Its title is the function's docstring, its name the file's and the function's.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Generic, TypeVar

Given = TypeVar("Given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Generic[Given]):
    """`play` returns if all was as it should be, else raises what `verdict.py` has."""

    name: str
    """The file and the function: `resume.keeps_its_id`."""
    title: str
    section: str
    play: Callable[[Given], Awaitable[None]]
    alone: bool
    """Played when those that go side by side are over, one after the other."""
    last: bool
    """Alone, and nothing can be played behind it."""


def scenario(
    section: str, *, alone: bool = False, last: bool = False
) -> Callable[[Callable[[Given], Awaitable[None]]], Scenario[Given]]:
    """Makes a scenario of a coroutine function: its docstring is the title."""

    def make(play: Callable[[Given], Awaitable[None]]) -> Scenario[Given]:
        file = play.__module__.rpartition(".")[2]
        title = " ".join((play.__doc__ or "").split()).rstrip(".")
        name = f"{file}.{play.__name__}"
        return Scenario(
            name=name, title=title, section=section, play=play, alone=alone or last, last=last
        )

    return make


def scenarios_in(package: ModuleType) -> list[Scenario[Given]]:
    """All of a package's files, in their names' order, each in the order in which it is written;
    behind them those that are played alone, and those that are played last."""
    found: list[Scenario[Given]] = []
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        found += [value for value in vars(module).values() if isinstance(value, Scenario)]
    return sorted(found, key=lambda scenario: (scenario.alone, scenario.last))


def chosen(scenarios: Sequence[Scenario[Given]], patterns: Sequence[str]) -> list[Scenario[Given]]:
    """Those that a pattern fits: a whole name, `resume.*`, or a part of the name; without any
    pattern all."""
    names = {scenario.name for scenario in scenarios}

    def fits(name: str, pattern: str) -> bool:
        return (
            name == pattern if pattern in names else fnmatchcase(name, pattern) or pattern in name
        )

    return [
        scenario
        for scenario in scenarios
        if not patterns or any(fits(scenario.name, pattern) for pattern in patterns)
    ]
