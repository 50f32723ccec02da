"""What the documentation shows of the code is what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Final, get_args

import pytest
from click.testing import CliRunner

from packhorse_broker.jobs.commands import Command
from packhorse_broker.jobs.machine import TABLE
from packhorse_broker.jobs.model import End, Expired, Reason, State

DOCS: Final = Path(__file__).parent.parent / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_states", DOCS / "generate_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate: Final = _generator()
PAGE: Final = (DOCS / "states.md").read_text()


def test_diagram_and_tables_are_those_of_the_machine() -> None:
    assert generate.renewed(PAGE) == PAGE


def test_what_requests_make_of_a_job_is_that_of_the_machine() -> None:
    spec = generate.SPEC.read_text()
    assert re.findall(r"<!-- generated: (\w+) -->", spec) == ["requests"]
    assert generate.renewed(spec) == spec


def test_the_page_has_every_generated_part_once() -> None:
    assert re.findall(r"<!-- generated: (\w+) -->", PAGE) == ["diagram", "commands", "reasons"]
    assert PAGE.count("<!-- end -->") == 3


def test_the_walk_comes_to_every_pair_of_the_machine() -> None:
    outcomes = generate.Walk().outcomes
    states = (None, *State)
    assert set(outcomes) == {(state, command) for state in states for command in get_args(Command)}
    for pair, found in outcomes.items():
        refused_only = all(outcome.startswith("`") for outcome in found)
        assert found
        if pair not in TABLE:
            assert refused_only, pair


def test_the_page_explains_every_state_reason_and_timeout() -> None:
    prose = re.sub(r"<!-- generated.*?<!-- end -->", "", PAGE, flags=re.S)
    for word in (*State, *Reason, *(end for end in End if end is not End.NONE)):
        assert f"`{word.name}`" in prose, word
    for timeout in (Expired.IDLE, Expired.RUN, Expired.TOTAL):
        assert f"`{timeout.name.lower()}`" in prose, timeout


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("PENDING --> QUEUED", "PENDING --> STARTED", 1), ("stateDiagram", "stateDiagram", 0)],
)
def test_check_tells_whether_the_page_differs(
    before: str, after: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "states.md"
    page.write_text(PAGE.replace(before, after))
    monkeypatch.setattr(generate, "PAGE", page)
    result = CliRunner().invoke(generate.main, ["--check"])
    assert result.exit_code == expected
    assert ("differs" in result.output) is bool(expected)
    assert page.read_text() == PAGE.replace(before, after)


def test_the_page_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "states.md"
    page.write_text(PAGE.replace("PENDING --> QUEUED", "PENDING --> STARTED"))
    monkeypatch.setattr(generate, "PAGE", page)
    assert CliRunner().invoke(generate.main).exit_code == 0
    assert page.read_text() == PAGE
