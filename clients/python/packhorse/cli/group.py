"""A group of commands that finds further ones by entry point, and suggests what was meant."""

import difflib
from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from typing import Any, Final

import click

from packhorse.cli.option_names import as_option
from packhorse.cli.repeated import check_given_once
from packhorse.errors import InvalidValue

COMMANDS_GROUP: Final = "packhorse.commands"
"""Entry points of this group are commands; the broker's package brings some."""

BROKER_COMMANDS: Final[Mapping[str, str]] = {
    "serve": "Run the broker.",
    "fsck": "Check that records and indexes in the store agree.",
    "migrate": "Bring the store to this release's schema version.",
    "config": "Show the broker's settings.",
}
"""What the broker brings, with the line that stands in our help without importing it."""

SHORT_HELP_CHARS: Final = 64
"""What is left beside a command's name in a line of 80 characters."""

INSTALL_BROKER: Final = "pip install 'packhorse[broker]'"


class CommandGroup(click.Group):
    """Commands of this package are there at once, others are imported when they are run."""

    @cached_property
    def _found(self) -> Mapping[str, metadata.EntryPoint]:
        return {found.name: found for found in metadata.entry_points(group=COMMANDS_GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._found, *BROKER_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            return command
        if cmd_name in self._found:
            return self._load(self._found[cmd_name])
        if cmd_name in BROKER_COMMANDS:
            raise _not_installed(cmd_name)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f"did you mean {near[0]!r}?" if near else "see `packhorse --help`"
            raise click.UsageError(f"there is no command {name!r}: {meant}", ctx)
        found, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            own = click.Context(command, parent=ctx, info_name=found)
            check_given_once(command, own, rest)
        return found, command, rest

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Of the arguments up to the command's name; the command's own are looked at with it.
        check_given_once(self, ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InvalidValue as error:
            name = ctx.invoked_subcommand
            command = None if name is None else self.get_command(ctx, name)
            raise click.UsageError(as_option(error, command)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = super().get_command(ctx, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(limit=SHORT_HELP_CHARS)))
            else:
                rows.append((name, BROKER_COMMANDS.get(name, "(from another package)")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _load(self, found: metadata.EntryPoint) -> click.Command:
        try:
            command: Any = found.load()
        except ImportError as error:
            if found.name in BROKER_COMMANDS:
                raise _not_installed(found.name) from error
            raise click.ClickException(f"{found.name!r} can't be loaded: {error}") from error
        if not isinstance(command, click.Command):
            raise click.ClickException(f"command {found.name!r} is no click command")
        return command


def _not_installed(name: str) -> click.ClickException:
    return click.ClickException(f"`packhorse {name}` needs the broker: {INSTALL_BROKER}")
