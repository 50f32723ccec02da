"""The checker finds bugs: brokers that have one are run under the faults that bring it to light."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest
from msgspec import Struct
from msgspec.structs import replace

from tests.history.checker import INVARIANTS
from tests.history.faults import Cast, PlannedFault
from tests.history.mutations import MUTATIONS
from tests.history.recording import Pace
from tests.history.run import Finished, Settings, run
from tests.history.scene import Company

Plan = Callable[[Cast], Sequence[PlannedFault]]

SECONDS: Final = 2.0
DRAIN_S: Final = 6.0
"""Enough for what a sound broker still has to do after so short a run."""

STUCK_DRAIN_S: Final = 3.5
"""Of bugs that leave something undone for ever: longer than anything else takes."""

SHORT_DRAIN_S: Final = 1.0
"""Of bugs that show in what was done, not in what is left undone."""

COMPANY: Final = Company(
    producers=1,
    runners=2,
    members=1,
    collectors=0,
    pace=Pace(timeout_ms=900),
    mean_pause_s=0.05,
)


def nothing(_: Cast) -> list[PlannedFault]:
    return []


def each(kind: str, *at_s: float, length_s: float = 0.0) -> Plan:
    """The fault at each of these times, the targets taking turns."""

    def plan(cast: Cast) -> list[PlannedFault]:
        word = kind.split()[-1]
        of: dict[str, Sequence[str]] = {
            "broker": cast.brokers,
            "store": cast.servers["store"],
            "runner": cast.runners,
            "handler": cast.handlers,
            "producer": cast.producers,
        }
        targets = cast.brokers if kind.startswith("exec") else of.get(word, cast.clients)
        return [
            PlannedFault(at_s=at, kind=kind, target=targets[n % len(targets)], length_s=length_s)
            for n, at in enumerate(at_s)
        ]

    return plan


class Bug(Struct, frozen=True, kw_only=True):
    """What brings it to light, and which promises it breaks: at least one of these is named."""

    plan: Plan = nothing
    breaks: frozenset[int]
    company: Company = COMPANY
    drain_s: float = SHORT_DRAIN_S


ONE_BROKER: Final = replace(
    COMPANY, brokers=1, pace=Pace(timeout_ms=1_500, back_after_s=(0.5, 0.8))
)
"""Clients that take their time to come back: within their timeout, not at once."""

BUGS: Final[dict[str, Bug]] = {
    "answers_before_exec": Bug(
        plan=each("kill broker", 0.6, 0.9, 1.2, 1.5), breaks=frozenset({1, 3, 6})
    ),
    "token_not_checked": Bug(
        plan=each("pause runner", 0.4, 0.7, length_s=1.2), breaks=frozenset({3})
    ),
    "watch_dropped": Bug(breaks=frozenset({3, 4, 7, 12})),
    "grace_ignored": Bug(
        plan=each("kill broker", 0.5, length_s=1.8), breaks=frozenset({13}), company=ONE_BROKER
    ),
    "outcomes_not_repeated": Bug(
        plan=each("cut", *(0.4 + 0.08 * n for n in range(20))),
        breaks=frozenset({5, 11}),
        drain_s=STUCK_DRAIN_S,
    ),
    "claim_without_holder": Bug(plan=each("kill runner", 0.8, 1.0), breaks=frozenset({12})),
    "unknown_repeated": Bug(
        plan=each("exec answer lost", *(0.3 + 0.06 * n for n in range(25))),
        breaks=frozenset({1, 3, 10}),
    ),
    "unknown_taken_for_done": Bug(
        plan=each("exec cut before", 0.4, 0.5, 0.7, 0.8, 1.0, 1.1, 1.3, 1.4),
        breaks=frozenset({1, 3, 6}),
    ),
    "delay_cut_short": Bug(breaks=frozenset({8})),
    "attempts_not_counted": Bug(breaks=frozenset({7})),
    "handled_forgotten": Bug(plan=each("cut", 0.8, 1.0, 1.2), breaks=frozenset({9})),
}


async def run_with(bug: Bug, mutation: str, folder: Path) -> Finished:
    settings = Settings(
        seed="seeded",
        seconds=SECONDS,
        company=replace(bug.company, mutation=mutation),
        drain_s=bug.drain_s,
        plan=bug.plan,
    )
    return await run(settings, folder)


def test_every_mutation_is_tried() -> None:
    assert set(BUGS) == set(MUTATIONS)


@pytest.mark.parametrize("mutation", BUGS)
async def test_is_found(mutation: str, tmp_path: Path) -> None:
    bug = BUGS[mutation]
    finished = await run_with(bug, mutation, tmp_path)
    found = {INVARIANTS[number] for number in finished.verdict.broken & bug.breaks}
    assert found, [violation.what for violation in finished.verdict.violations]


async def test_without_a_bug_nothing_is_found(tmp_path: Path) -> None:
    """By faults of every kind that brought one to light."""

    def plan(cast: Cast) -> list[PlannedFault]:
        return [fault for bug in BUGS.values() for fault in bug.plan(cast)[:2]]

    bug = Bug(plan=plan, breaks=frozenset(), drain_s=DRAIN_S)
    finished = await run_with(bug, "", tmp_path)
    assert finished.verdict.sound, [violation.what for violation in finished.verdict.violations]
