"""The command `packhorse-conformance`."""

import asyncio
import shutil
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from packhorse_conformance import broker_scenarios, client_scenarios, junit, report
from packhorse_conformance.address import Address, look, parse
from packhorse_conformance.commands import Commands
from packhorse_conformance.running import Given, Result, play_all
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.stage import Stage, staged

FAILED: Final = 1
"""Exit status where a scenario failed; click has 2 for misuse."""

Command = TypeVar("Command", bound=Callable[..., Any])


def _options(command: Command) -> Command:
    """What both commands take."""
    for option in (
        click.option("--list", "listed", is_flag=True, help="Name the scenarios and play none."),
        click.option(
            "--only",
            "patterns",
            multiple=True,
            metavar="PATTERN",
            help="Play those that fit: resume.*, or a part of the name. Can be repeated.",
        ),
        click.option(
            "--junit",
            "junit_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write the results to this file as JUnit XML.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(min=0.1),
            default=20.0,
            show_default=True,
            metavar="SECONDS",
            help="How long one scenario may take.",
        ),
        click.option(
            "--at-once",
            type=click.IntRange(min=1),
            default=4,
            show_default=True,
            metavar="COUNT",
            help="How many scenarios are played side by side.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Test a client library, or a broker, against the Packhorse protocol (SPEC.md).

    The exit status is 1 if a scenario failed, 2 if the command was wrong.
    """


@main.command(context_settings={"ignore_unknown_options": True})
@_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def client(
    command: Sequence[str],
    listed: bool,
    patterns: Sequence[str],
    junit_file: Path | None,
    timeout_s: float,
    at_once: int,
) -> None:
    """Test a client library by its driver: -- COMMAND starts it. DRIVER.md says what it does."""
    found: list[Scenario[Stage]] = _chosen(client_scenarios, patterns)
    if listed:
        _list(found)
        return
    if not command:
        raise click.UsageError("which driver? packhorse-conformance client -- COMMAND ...")
    if shutil.which(command[0]) is None:
        raise click.UsageError(f"there is no program {command[0]!r} to start")
    _play("client", found, partial(staged, command), junit_file, timeout_s, at_once)


@main.command()
@_options
@click.option("--url", metavar="URL", help="tcp://host:port, tls://host:port or unix:///path.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Whom to trust at a tls:// address, in PEM, instead of whom the system trusts.",
)
@click.option(
    "--drain-command",
    metavar="COMMAND",
    help='Has the broker go away, in the end: "kill -TERM 123".',
)
@click.option(
    "--store-stop-command",
    metavar="COMMAND",
    help="Has the broker's store away, when all but the drain is over.",
)
@click.option("--store-start-command", metavar="COMMAND", help="Has it there again.")
def broker(
    url: str | None,
    ca_file: str | None,
    drain_command: str | None,
    store_stop_command: str | None,
    store_start_command: str | None,
    listed: bool,
    patterns: Sequence[str],
    junit_file: Path | None,
    timeout_s: float,
    at_once: int,
) -> None:
    """Test the broker at URL from outside. It makes jobs of types of its own, and removes them."""
    found: list[Scenario[Site]] = _chosen(broker_scenarios, patterns)
    if listed:
        _list(found)
        return
    if url is None:
        raise click.UsageError("which broker? packhorse-conformance broker --url URL")
    address = _address(url, ca_file)
    if (store_stop_command is None) != (store_start_command is None):
        raise click.UsageError("--store-stop-command and --store-start-command go together")
    commands = Commands(
        drain=drain_command, store_stop=store_stop_command, store_start=store_start_command
    )
    _play("broker", found, partial(sited, address, commands), junit_file, timeout_s, at_once)


def _address(url: str, ca_file: str | None) -> Address:
    """Where something listens."""
    try:
        address = parse(url, ca_file)
    except ssl.SSLError:
        raise click.BadParameter("it holds no certificate in PEM", param_hint="--ca-file") from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    try:
        look(address)
    except ssl.SSLCertVerificationError as error:
        raise click.UsageError(f"{url} is not trusted: {error.verify_message}") from None
    except OSError as error:
        raise click.UsageError(f"{url} can't be reached: {error.strerror or error}") from None
    return address


def _chosen(package: Any, patterns: Sequence[str]) -> list[Scenario[Given]]:
    found: list[Scenario[Given]] = chosen(scenarios_in(package), patterns)
    if not found:
        raise click.UsageError(f"no scenario fits {', '.join(patterns)}: see --list")
    return found


def _list(scenarios: Sequence[Scenario[Given]]) -> None:
    for scenario in scenarios:
        click.echo(f"{scenario.name}: {scenario.title} (section {scenario.section})")


def _play(
    suite: str,
    scenarios: Sequence[Scenario[Given]],
    make: Callable[[], AbstractAsyncContextManager[Given]],
    junit_file: Path | None,
    timeout_s: float,
    at_once: int,
) -> None:
    def tell(result: Result[Given]) -> None:
        for line in report.lines_of(result):
            click.echo(line)

    results = asyncio.run(
        play_all(scenarios, make, timeout_s=timeout_s, at_once=at_once, told=tell)
    )
    click.echo(report.summary(results))
    if junit_file is not None:
        junit.write(junit_file, suite, results)
    if any(result.verdict == "failed" for result in results):
        sys.exit(FAILED)
