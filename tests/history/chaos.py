"""`python -m tests.history.chaos`: a run under faults, judged.

Exit status 1 if a promise was broken; the history and the logs are kept then, and it says where.
"""

import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from tests.history.run import Finished, Settings, run
from tests.history.table import show
from tests.history.topologies import TOPOLOGIES


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True)
@click.option("--seed", default="", help="Repeats the faults and choices of a run.")
@click.option("--topology", type=click.Choice(sorted(TOPOLOGIES)), default="embedded")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep history and logs here.")
def main(seconds: float, seed: str, topology: str, keep: Path | None) -> None:
    """Run brokers and clients under random faults and judge what came of it."""
    # Connections are cut on purpose: that something was written to one is no news.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    console = Console(width=None if sys.stdout.isatty() else 120)
    folder = keep or Path(tempfile.mkdtemp(prefix="packhorse-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(seed=seed or secrets.token_hex(4), seconds=seconds, topology=topology)
    console.print(f"SEED={settings.seed}, {seconds:g} s, {topology}; history in {folder}")
    finished = asyncio.run(_run(settings, folder))
    show(finished, console)
    if not finished.verdict.sound:
        console.print(f"history and logs are kept in {folder}")
        sys.exit(1)
    if keep is None:
        shutil.rmtree(folder)


async def _run(settings: Settings, folder: Path) -> Finished:
    """SIGTERM ends it as Ctrl-C does: with all that it started."""
    running = asyncio.create_task(run(settings, folder))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


if __name__ == "__main__":
    main()
