"""`work`: runs the worker of a module."""

import asyncio
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from packhorse.address import ENVIRONMENT_VARIABLE
from packhorse.cli import output
from packhorse.cli.options import URL, url_option
from packhorse.worker import Worker


@click.command()
@click.argument("target", metavar="MODULE[:WORKER]")
@url_option
def work(target: str) -> None:
    """Run a worker until SIGTERM or Ctrl-C; running jobs are waited for.

    WORKER is the name of a packhorse.Worker in the module, `worker` if it is left out. The module
    is looked for here first.

    \b
    packhorse work app
    packhorse work shop.jobs:mailer --url tcp://10.0.0.5:7225
    """
    url = click.get_current_context().meta.get(URL)
    if url is not None:
        os.environ[ENVIRONMENT_VARIABLE] = url  # workers are made where they are defined
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[to_stderr])
    asyncio.run(_load(target).run())


class _OneLine(logging.Formatter):
    """Errors of jobs stand in log messages: what they hold is shown, not obeyed."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return output.shown(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(map(output.shown, super().formatException(ei).split("\n")))


def _load(target: str) -> Worker:
    module_name, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise click.UsageError(f"there is no module {error.name!r} to import") from None
        raise
    except ValueError:
        raise click.UsageError(f"{target!r} names no module") from None
    found = getattr(module, name or "worker", None)
    if not isinstance(found, Worker):
        raise click.UsageError(f"{module_name} has no packhorse.Worker called {name or 'worker'!r}")
    return found
