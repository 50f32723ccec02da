from importlib import metadata

import pytest

from packhorse import version


def test_it_is_the_installed_one() -> None:
    assert version.version() == metadata.version("packhorse")
    assert version.library() == f"packhorse-python/{metadata.version('packhorse')}"


def test_a_bare_source_tree_has_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", missing)
    assert version.version.__wrapped__() == "0"
