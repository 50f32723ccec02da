"""The side-by-side comparison runs, in small, with Packhorse alone; it judges no figure."""

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from benchmarks.peers.__main__ import main
from benchmarks.peers.beanstalkd import Beanstalkd
from benchmarks.peers.marks import PAYLOAD_CHARS, Marks, marker, payload
from benchmarks.peers.peer import Command, Site
from benchmarks.peers.roster import ROSTER
from benchmarks.peers.tables import COLUMNS

JOBS: Final = 200
SMALL: Final = ("--rounds", "1", "--jobs", str(JOBS), "--depth", "300", "--seconds", "0.5")


class NeverListens(Beanstalkd):
    """A peer that is installed, and whose server ends at once."""

    def missing(self) -> str | None:
        return None

    def server(self, site: Site) -> Command:
        return Command(("sh", "-c", "echo no room for a server >&2; exit 1"))


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner(env=variables).invoke(main, arguments, catch_exceptions=False)


def test_every_workload_gives_the_figures_of_its_table(tmp_path: Path) -> None:
    rounds = tmp_path / "rounds.json"
    result = run("--peers", "packhorse", *SMALL, "--json", str(rounds))
    assert result.exit_code == 0, result.output
    written: dict[str, Any] = json.loads(rounds.read_text())
    assert written["versions"].keys() == {"store", "packhorse"}
    assert [found["workloads"] for found in written["runs"]] == [["W1", "W3"], ["W2"], ["W4"]]
    figures: dict[str, float] = {}
    for found in written["runs"]:
        figures |= found["figures"]
    for workload, columns in COLUMNS.items():
        assert f"{workload}: " in result.output
        assert {column.figure for column in columns} <= figures.keys()
    assert figures["drain.jobs"] == 300
    assert figures["e2e.jobs"] == figures["e2e_bulk.jobs"] == JOBS
    assert figures["start_100.done_percent"] == 100


def test_who_is_not_installed_is_named_and_skipped(tmp_path: Path) -> None:
    result = run("--peers", "saq,bullmq", *SMALL, PEERS_DIR=str(tmp_path), PATH=os.defpath)
    assert result.exit_code == 0
    assert f"skipped saq: no interpreter {tmp_path}/venv/bin/python: set PEERS_PYTHON" in (
        result.output
    )
    assert "skipped bullmq: no" in result.output
    assert "W1" not in result.output


def test_a_peer_that_fails_is_named_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(ROSTER, "beanstalkd", NeverListens())
    rounds = tmp_path / "rounds.json"
    result = run("--peers", "beanstalkd", "--workloads", "W4", *SMALL, "--json", str(rounds))
    assert result.exit_code == 1
    assert "failed beanstalkd, W4: nothing listens on port" in result.output
    [found] = json.loads(rounds.read_text())["runs"]
    assert found["error"].endswith("no room for a server")


def test_an_unknown_name_is_refused() -> None:
    result = run("--peers", "packhorse,sidekiq")
    assert result.exit_code == 2
    assert "sidekiq is none of packhorse, " in result.output


def test_marks_are_counted_since_they_were_last_taken(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks")
    mark = marker(str(tmp_path / "marks"))
    assert len(payload()) == PAYLOAD_CHARS
    mark(payload(7))
    mark(payload(8).encode())
    assert marks.count() == 2
    assert [sent for sent, _ in marks.take()] == [7, 8]
    assert (marks.count(), marks.take()) == (0, [])
    mark(payload(9))
    assert [sent for sent, _ in marks.take()] == [9]
