"""What several commands share: the broker's address, the form of the output, the connection."""

import asyncio
import getpass
import os
import secrets
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

import click

from packhorse.address import ENVIRONMENT_VARIABLE
from packhorse.client import Client, connect
from packhorse.durations import seconds
from packhorse.errors import InvalidValue

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

URL: Final = "packhorse.url"
WHO: Final = "packhorse.who"
"""Where the address and the name given on the command line are kept in the context."""

WHO_VARIABLE: Final = "PACKHORSE_CLIENT"

MAX_WHO_CHARS: Final = 100
"""Of a client id's 128: beside it stands what makes it unique."""


class WholeNumber(click.IntRange):
    """A whole number within bounds."""

    name = "whole number"


def _keep_url(context: click.Context, _: click.Parameter, url: str | None) -> None:
    if url is not None:
        context.meta[URL] = url


def _keep_who(context: click.Context, _: click.Parameter, who: str | None) -> None:
    if who is None:
        return
    if not who.isprintable() or not 1 <= len(who) <= MAX_WHO_CHARS:
        raise click.UsageError(f"--as: a name of 1 to {MAX_WHO_CHARS} printable characters")
    context.meta[WHO] = who


def url_option(command: Decorated) -> Decorated:
    """`--url`, before or after the command's name."""
    return click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_keep_url,
        help=f"The broker's address (else {ENVIRONMENT_VARIABLE}, else tcp://127.0.0.1:7225).",
    )(command)


def client_options(command: Decorated) -> Decorated:
    """`--url` and `--as`: which broker, and in whose name."""
    return url_option(
        click.option(
            "--as",
            "who",
            metavar="NAME",
            expose_value=False,
            callback=_keep_who,
            help=f"Who does it, for the records (else {WHO_VARIABLE}, else user@host).",
        )(command)
    )


def json_option(command: Decorated) -> Decorated:
    """`--json`: one object a line, for programs."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def why_option(command: Decorated) -> Decorated:
    """`--why`: what whoever looks later is told."""
    return click.option(
        "--why", metavar="TEXT", default="", help="The reason, for whoever looks later."
    )(command)


def check_timeout(timeout: str | None) -> None:
    """Raises `UsageError` for a `--timeout` that is no duration, before anything is asked."""
    if timeout is None:
        return
    try:
        seconds(timeout, "--timeout")
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error


def with_client(work: Callable[[Client], Coroutine[Any, Any, Result]]) -> Result:
    """Runs `work` with a client connected to the address on the command line."""
    url = click.get_current_context().meta.get(URL)

    async def connected() -> Result:
        async with connect(url, client_id=client_id(), stay=False) as client:
            return await work(client)

    return asyncio.run(connected())


def client_id() -> str:
    """Says who sits here: what is done by hand is recorded with it. Never the same twice.

    An id is one client's at a time, and two commands may run at once in the same name.
    """
    context = click.get_current_context(silent=True)
    said = None if context is None else context.meta.get(WHO)
    who = said or os.environ.get(WHO_VARIABLE) or _user_at_host()
    readable = "".join(letter for letter in who if letter.isprintable())
    return f"{readable[:MAX_WHO_CHARS]}-{secrets.token_hex(4)}"


def _user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"  # a process in a container may belong to a user without name
    return f"{user}@{socket.gethostname()}"
