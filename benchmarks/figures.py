"""What a lifecycle costs in numbers that are the same each time, and which of them grew."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.counted_lifecycles import Counts
from benchmarks.stages import CLIENT_STAGES, ORDER

TOLERANCE: Final = 0.10
"""What grows by more is a regression."""

LEAST_SHARE: Final = 0.001
"""A stage has to grow by this share of all instructions too: some have only a few."""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Another version executes other instructions for the same source."""

_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one lifecycle."""

    instructions: dict[str, float]
    """By stage."""
    store: dict[str, float]
    commands: dict[str, float]
    """To the store, by name."""

    @classmethod
    def of(cls, counts: Counts) -> "Figures":
        def each(count: float) -> float:
            return round(count / counts.jobs, _DIGITS)

        by_stage: Counter[str] = Counter()
        for (stage, _), count in counts.instructions.items():
            by_stage[stage] += count
        return cls(
            {stage: each(by_stage[stage]) for stage in ORDER if stage in by_stage},
            {
                "exchanges": each(counts.exchanges),
                "commands": each(sum(counts.store.commands.values())),
                "command bytes": each(counts.store.command_bytes),
                "reply bytes": each(counts.store.reply_bytes),
            },
            {name: each(calls) for name, calls in counts.store.commands.items()},
        )

    def totals(self) -> dict[str, float]:
        """Of all stages of the broker, and of the client."""
        client = sum(self.instructions.get(stage, 0) for stage in CLIENT_STAGES)
        return {
            "broker in all": sum(self.instructions.values()) - client,
            "client in all": client,
        }


@dataclass(frozen=True, slots=True)
class Growth:
    """What costs more than it did."""

    mode: str
    name: str
    before: float
    now: float
    causes: str = ""

    def __str__(self) -> str:
        return (
            f"{self.mode}: {self.name} grew from {self.before:,.6g} to {self.now:,.6g} a lifecycle "
            f"({shown_change(self.before, self.now)}){self.causes}"
        )


def shown_change(before: float, now: float) -> str:
    return f"{now / before - 1:+.1%}" if before else "new"


def growths(before: Mapping[str, Figures], now: Mapping[str, Figures]) -> list[Growth]:
    """In modes that both have."""
    return [
        growth
        for mode in now
        if mode in before
        for growth in _growths(mode, before[mode], now[mode])
    ]


def _growths(mode: str, before: Figures, now: Figures) -> Iterator[Growth]:
    least = LEAST_SHARE * sum(before.instructions.values())
    had = {**before.instructions, **before.totals()}
    for name, count in {**now.instructions, **now.totals()}.items():
        was = had.get(name, 0)
        if _grew(was, count) and count - was > least:
            yield Growth(mode, name, was, count)
    for name, count in now.store.items():
        was = before.store.get(name, 0)
        if _grew(was, count):
            causes = _more(before.commands, now.commands) if name == "commands" else ""
            yield Growth(mode, f"store {name}", was, count, causes)


def _grew(before: float, now: float) -> bool:
    return now > before * (1 + TOLERANCE)


def _more(before: Mapping[str, float], now: Mapping[str, float]) -> str:
    more = {name: calls - before.get(name, 0) for name, calls in now.items()}
    return ": " + ", ".join(f"{name} {calls:+.6g}" for name, calls in more.items() if calls > 0)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a lifecycle cost when somebody last said that it may."""

    python: str
    lifecycles: dict[str, Figures]
    """By mode."""

    @classmethod
    def read(cls, path: Path) -> "Baseline":
        kept = json.loads(path.read_text())
        lifecycles = {mode: Figures(**figures) for mode, figures in kept["lifecycles"].items()}
        return cls(kept["python"], lifecycles)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @property
    def is_comparable(self) -> bool:
        return self.python == PYTHON


def by_function(counts: Counts, most: int) -> Sequence[tuple[str, str, float]]:
    """The functions that execute the most: stage, name, instructions a lifecycle."""
    found = Counter(counts.instructions).most_common(most)
    return [(stage, name, count / counts.jobs) for (stage, name), count in found]
