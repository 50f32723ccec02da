"""A short run under random faults, as `make chaos` does long ones."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.history.chaos import main


@pytest.mark.parametrize("topology", ["embedded", "partitioned", "cluster"])
def test_a_short_run_breaks_no_promise(topology: str, tmp_path: Path) -> None:
    asked = ["--seconds", "6", "--seed", "ci", "--topology", topology, "--keep", str(tmp_path)]
    ended = CliRunner().invoke(main, asked)
    assert ended.exit_code == 0, ended.output
    assert "SEED=ci" in ended.output
