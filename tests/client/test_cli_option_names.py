"""Errors of the client name an option where a command has one for what was wrong."""

import click
import pytest

from packhorse.cli.command import packhorse
from packhorse.cli.option_names import as_option
from packhorse.errors import InvalidValue, PayloadError
from tests.client.terminal import Terminal, run


@pytest.mark.parametrize(
    ("command", "said", "shown"),
    [
        ("create", "delay: 'x' is none", "--delay: 'x' is none"),
        ("create", "job_id: no", "--id: no"),
        ("create", "labels: no", "--label: no"),
        ("create", "headers['a']: no", "--header['a']: no"),
        ("create", "idle_timeout: no", "--idle-timeout: no"),
        ("create", "unique: window: no", "--unique: window: no"),
        ("create", "job_type: no", "TYPE: no"),
        ("cancel", "grace: no", "--grace: no"),
        ("cancel", "job_id: no", "JOB: no"),
        ("pause", "job_type: no", "TYPE: no"),
        ("list", "job_type: no", "--type: no"),
        ("schema", "job_type: no", "TYPE: no"),
        ("limit", "max_jobs: no", "max_jobs: no"),
        ("show", "there is a text: no", "there is a text: no"),
        (None, "delay: no", "delay: no"),
    ],
)
def test_an_argument_is_called_what_the_command_calls_it(
    command: str | None, said: str, shown: str
) -> None:
    found = None if command is None else packhorse.commands[command]
    with click.Context(packhorse):
        assert as_option(InvalidValue(said), found) == shown
        assert as_option(PayloadError(said), found) == said


def test_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "create", "t", "--delay", "soon")
    assert (said.status, said.out) == (2, "")
    assert said.err == "error: --delay: 'soon' is no duration: write 250ms, 30s or 1h30m\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("create", "t", "--id", ""), "--id"),
        (("create", ""), "TYPE"),
        (("show", ""), "JOB"),
        (("schema", "get", ""), "TYPE"),
        (("list", "--label", ""), "--label"),
    ],
)
async def test_when_it_was_to_be_sent(
    terminal: Terminal, arguments: tuple[str, ...], named: str
) -> None:
    said = await terminal(*arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"error: {named}: must be ")
    assert said.err.count("\n") == 1
