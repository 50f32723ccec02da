"""What a lifecycle costs against its baseline: what grew is named, what shrank passes."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from click.testing import CliRunner, Result

from benchmarks import counts
from benchmarks.counted_lifecycles import MODES, Counts
from benchmarks.figures import PYTHON, Baseline, Figures, growths
from benchmarks.store_meter import StoreUse

MODE: Final = "one by one"

COUNTED: Final = Counts(
    jobs=10,
    instructions={
        ("decide", "packhorse_broker.jobs.machine.decide"): 3_000,
        ("decide", "packhorse_broker.jobs.claims.claim"): 1_000,
        ("read", "packhorse_broker.store.committer.Committer._read"): 60_000,
        ("socket", "packhorse_broker.server.Server.spawn"): 10,
        ("client", "packhorse.lanes.Lane.take"): 10_000,
    },
    exchanges=70,
    store=StoreUse({"exec": 30, "zadd": 30}, 20_000, 8_000),
)
BEFORE: Final = Figures.of(COUNTED)

Run: TypeAlias = Callable[..., Result]


def grown(**changed: Any) -> list[str]:
    """What is named of a lifecycle that is as before but for these fields."""
    return [growth.name for growth in growths({MODE: BEFORE}, {MODE: replace(BEFORE, **changed)})]


def with_stages(**stages: float) -> dict[str, float]:
    return {**BEFORE.instructions, **stages}


def test_figures_are_those_of_one_lifecycle_by_stage() -> None:
    assert BEFORE.instructions == {"socket": 1, "read": 6_000, "decide": 400, "client": 1_000}
    assert BEFORE.totals() == {"broker in all": 6_401, "client in all": 1_000}
    assert BEFORE.store == {
        "exchanges": 7,
        "commands": 6,
        "command bytes": 2_000,
        "reply bytes": 800,
    }
    assert BEFORE.commands == {"exec": 3, "zadd": 3}


def test_what_is_as_it_was_passes() -> None:
    assert grown() == []


def test_a_stage_that_grew_is_named() -> None:
    assert grown(instructions=with_stages(decide=441)) == ["decide"]
    assert grown(instructions=with_stages(decide=440)) == []


def test_a_new_stage_is_named() -> None:
    assert grown(instructions=with_stages(other=50)) == ["other"]


def test_a_stage_that_shrank_or_went_passes() -> None:
    assert grown(instructions=with_stages(decide=1)) == []
    assert grown(instructions={"read": 6_000, "client": 1_000}) == []


def test_a_stage_of_a_few_instructions_may_have_a_few_more() -> None:
    assert grown(instructions=with_stages(socket=8)) == []
    assert grown(instructions=with_stages(socket=9)) == ["socket"]


def test_the_sum_of_the_broker_is_named_too() -> None:
    assert grown(instructions=with_stages(read=7_000)) == ["read", "broker in all"]


@pytest.mark.parametrize("name", ["exchanges", "commands", "command bytes", "reply bytes"])
def test_what_the_store_is_asked_more_is_named(name: str) -> None:
    assert grown(store={**BEFORE.store, name: BEFORE.store[name] * 1.2}) == [f"store {name}"]
    assert grown(store={**BEFORE.store, name: BEFORE.store[name] * 0.5}) == []


def test_more_commands_are_named_by_their_names() -> None:
    now = replace(
        BEFORE, store={**BEFORE.store, "commands": 7}, commands={"exec": 2, "zadd": 4, "get": 1}
    )
    [growth] = growths({MODE: BEFORE}, {MODE: now})
    assert str(growth) == (
        "one by one: store commands grew from 6 to 7 a lifecycle (+16.7%): zadd +1, get +1"
    )


# -- the command


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "counts.json"
    Baseline(PYTHON, {MODE: BEFORE}).write(path)
    monkeypatch.setattr(counts, "BASELINE", path)
    monkeypatch.setattr(sys, "platform", "linux")
    return path


@pytest.fixture
def run(baseline: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, where `decide` executes so many instructions in ten lifecycles."""

    def run(*flags: str, decide: int) -> Result:
        counted = replace(COUNTED, instructions={**COUNTED.instructions, ("decide", "f"): decide})
        monkeypatch.setattr(counts, "_count", lambda: {MODE: counted})
        return CliRunner().invoke(counts.main, flags)

    return run


def test_the_command_fails_with_the_stage_that_grew(run: Run) -> None:
    result = run("--brief", decide=2_000)
    assert result.exit_code == 1
    assert "one by one: decide grew from 400 to 600 a lifecycle (+50.0%)" in result.output


def test_the_command_passes_where_nothing_grew(run: Run) -> None:
    result = run(decide=0)
    assert result.exit_code == 0
    assert "costs no more" in result.output


def test_what_is_written_is_the_baseline(run: Run, baseline: Path) -> None:
    assert run("--write", decide=2_000).exit_code == 0
    assert Baseline.read(baseline).lifecycles[MODE].instructions["decide"] == 600
    assert run("--brief", decide=2_000).exit_code == 0


def test_a_gain_is_to_be_kept(run: Run) -> None:
    run("--write", decide=2_000)
    assert "BASELINE=write" in run("--brief", decide=0).output


def test_a_mode_that_the_baseline_lacks_fails(run: Run, baseline: Path) -> None:
    Baseline(PYTHON, {}).write(baseline)
    result = run("--brief", decide=0)
    assert result.exit_code == 1
    assert MODE in result.output


def test_another_python_compares_nothing_and_says_so(run: Run, baseline: Path) -> None:
    Baseline("3.0", {MODE: BEFORE}).write(baseline)
    for flags in ((), ("--brief",)):
        result = run(*flags, decide=1_000_000)
        assert result.exit_code == 0
        assert f"the baseline was counted on Python 3.0, this is {PYTHON}" in result.output
        assert "costs no more" not in result.output


def test_the_functions_are_shown_that_execute_the_most(run: Run) -> None:
    output = run("--functions", "1", decide=0).output
    assert "packhorse_broker.store.committer.Committer._read" in output
    assert "packhorse.lanes.Lane.take" not in output


def test_the_baseline_has_the_modes_that_are_counted() -> None:
    kept = Baseline.read(Path(counts.__file__).with_name("counts.json"))
    assert kept.lifecycles.keys() == MODES.keys()
