"""Lifecycles that are counted do the same in each run, on the store that they are given."""

import asyncio
import sys
from typing import Final

import pytest

from benchmarks.counted_lifecycles import MODES, Counts, count_all
from benchmarks.figures import Figures
from benchmarks.quiet_loop import QuietLoop
from benchmarks.stages import ORDER

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells what the store has read"
)

WAIT_S: Final = 60

NOISE: Final = 0.01
"""A minute that begins in one of the runs costs some instructions."""


def run() -> dict[str, Counts]:
    few = {
        name: type(mode)(mode.create, mode.jobs, warm_up=2, times=3) for name, mode in MODES.items()
    }
    with asyncio.Runner(loop_factory=QuietLoop) as runner:
        return runner.run(asyncio.wait_for(count_all(few), WAIT_S))


def test_two_runs_count_the_same() -> None:
    first, second = run(), run()
    for mode, counts in first.items():
        now, before = Figures.of(second[mode]), Figures.of(counts)
        assert now.instructions == pytest.approx(before.instructions, rel=NOISE)
        assert now.store == pytest.approx(before.store, rel=NOISE)
        assert now.commands == before.commands
        assert {stage for stage, _ in counts.instructions} == set(ORDER)
        assert counts.exchanges > 0
        assert counts.store.commands["exec"] > 0
        assert counts.store.command_bytes > 100 * counts.jobs
        assert "info" not in counts.store.commands
        assert "ping" not in counts.store.commands
