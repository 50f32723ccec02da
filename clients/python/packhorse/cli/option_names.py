"""What an argument of the Python client is called on the command line."""

import re
from collections.abc import Iterator

import click

from packhorse.errors import InvalidValue, PayloadError


def as_option(error: InvalidValue, command: click.Command | None) -> str:
    """The error's message, beginning with the option or argument of this command that it names.

    As it is where the command has none of that name: a payload is made of many arguments.
    """
    said = str(error)
    found = re.match(r"[a-z_]+(?=[:\[.])", said)
    if command is None or found is None or isinstance(error, PayloadError):
        return said
    for parameter in _parameters(command):
        if parameter.name in (found[0], f"{found[0]}s"):
            return _shown(parameter) + said[found.end() :]
    return said


def _parameters(command: click.Command) -> Iterator[click.Parameter]:
    """Those of the command, and of the commands in it."""
    yield from command.params
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _parameters(inner)


def _shown(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return parameter.opts[-1]
    return re.sub(r"[^A-Z]", "", parameter.make_metavar(click.get_current_context()))
