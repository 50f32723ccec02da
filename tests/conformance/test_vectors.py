"""The kit has the protocol's vectors with it, wherever it is installed."""

import tomllib
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_they_stand_in_the_package_and_are_shipped_with_it() -> None:
    shipped = resources.files("packhorse_conformance").joinpath("vectors")
    names = {path.name for path in (ROOT / "protocol" / "vectors").glob("*.json")}
    assert names <= {entry.name for entry in shipped.iterdir()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]["packhorse_conformance"]
    assert "vectors/*.json" in data
