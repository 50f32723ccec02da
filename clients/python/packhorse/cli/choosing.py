"""Jobs on the command line that are chosen by what they have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from packhorse.cli.moments import ago
from packhorse.client import Client
from packhorse.filters import STATES, Which
from packhorse_protocol.messages import State

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


STATE_NAME: Final = click.Choice(STATES, case_sensitive=False)
"""A state, in upper or lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What these options said, as they were passed."""

    job_type: str | None
    states: tuple[State, ...]
    label: str | None
    unique_key: str | None
    since: str | None
    until: str | None

    @property
    def anything(self) -> bool:
        """Whether any of them was given."""
        return any((self.job_type, self.states, self.label, self.unique_key)) or any(
            moment is not None for moment in (self.since, self.until)
        )

    async def which(self, client: Client) -> Which:
        """The same for `client.list` and its like, without the type."""
        return {
            "states": self.states,
            "label": self.label,
            "unique_key": self.unique_key,
            "since": await ago(client, self.since, "--since"),
            "until": await ago(client, self.until, "--until"),
        }


def which_options(command: Decorated) -> Decorated:
    """Options by which jobs are chosen; their values make a `Chosen`."""
    options = (
        click.option("--type", "job_type", metavar="TYPE", help="Jobs of this type."),
        click.option(
            "--state",
            "states",
            type=STATE_NAME,
            metavar="STATE",
            multiple=True,
            help="In this state. May be repeated.",
        ),
        click.option("--label", metavar="LABEL", help="With this label."),
        click.option("--unique", "unique_key", metavar="KEY", help="With this unique key."),
        click.option(
            "--since",
            metavar="TIME",
            help="Queued, started or ended from then on: 2026-12-01T08:00, local time without "
            "a zone; 2h: two hours ago.",
        ),
        click.option("--until", metavar="TIME", help="The same, before then."),
    )
    for option in reversed(options):
        command = option(command)
    return command
