"""`work`: runs the worker of a module."""

import asyncio
import importlib
import logging
import os
import sys
from pathlib import Path

import click

from packhorse.address import ENVIRONMENT_VARIABLE
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_load(target).run())


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
