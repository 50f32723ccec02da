"""Commands from other packages, found by entry point."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

import click
import pytest

from packhorse.cli import group
from packhorse.cli.group import CommandGroup

Entries = dict[str, Callable[[], Any]]


@click.command()
def greet() -> None:
    click.echo("hello")


class Entry:
    """An entry point that loads what the test says."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self.name = name
        self.load = load


def missing() -> Any:
    raise ModuleNotFoundError("No module named 'structlog'")


def invoke(monkeypatch: pytest.MonkeyPatch, entries: Entries, *arguments: str) -> Any:
    def found(*, group: str) -> list[Entry]:
        assert group == "packhorse.commands"
        return [Entry(name, load) for name, load in entries.items()]

    monkeypatch.setattr(metadata, "entry_points", found)
    return CommandGroup(name="packhorse").main(arguments, standalone_mode=False)


def test_a_command_from_elsewhere_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(monkeypatch, {"greet": lambda: greet}, "greet")
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize("entries", [{}, {"serve": missing}])
@pytest.mark.parametrize("name", ["serve"])
def test_without_the_broker_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, entries: Entries, name: str
) -> None:
    with pytest.raises(click.ClickException) as raised:
        invoke(monkeypatch, entries, name)
    assert raised.value.exit_code == 1
    assert raised.value.message == (
        "`packhorse serve` needs the broker: pip install 'packhorse[broker]'"
    )


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (missing, "'greet' can't be loaded: No module named 'structlog'"),
        (lambda: 5, "'greet' is no click command"),
    ],
)
def test_a_command_that_is_none(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[], Any], said: str
) -> None:
    with pytest.raises(click.ClickException) as raised:
        invoke(monkeypatch, {"greet": load}, "greet")
    assert said in raised.value.message


def test_help_loads_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(monkeypatch, {"greet": missing, "serve": missing}, "--help")
    shown = capsys.readouterr().out
    assert "greet    (from another package)" in shown
    for name, about in group.BROKER_COMMANDS.items():
        assert name in shown
        assert about in shown


def test_names_from_elsewhere_are_suggested_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(click.UsageError, match="did you mean 'greet'"):
        invoke(monkeypatch, {"greet": missing}, "great")
