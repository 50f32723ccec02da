"""`python -m tests.history.programs SETTINGS`: one client of a run, as a process.

SIGUSR1 winds it down: it begins nothing new, and says `wound down` on its standard output when
that is so. It runs until it is killed. Whatever it does it records; it decides nothing.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from tests.history.handler import Collector, Member
from tests.history.producer import Producer
from tests.history.recording import Pace
from tests.history.role import Program
from tests.history.runner import Runner

KINDS: Final[dict[str, type[Program]]] = {
    "producer": Producer,
    "runner": Runner,
    "member": Member,
    "collector": Collector,
}

READY: Final = "ready"
WOUND_DOWN: Final = "wound down"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is told on its command line, as JSON."""

    kind: str
    who: str
    life: int
    seed: str
    folder: str
    addresses: tuple[str, ...]
    pace: Pace
    mean_pause_s: float


async def run(settings: Settings) -> None:
    program = KINDS[settings.kind](
        folder=Path(settings.folder),
        who=settings.who,
        life=settings.life,
        seed=settings.seed,
        addresses=settings.addresses,
        pace=settings.pace,
        mean_pause_s=settings.mean_pause_s,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, program.winding_down.set)
    program.recorder.write("note", "started", number=settings.life)
    _say(READY)
    async with asyncio.TaskGroup() as group:
        group.create_task(_tell_wound_down(program))
        await program.run()


async def _tell_wound_down(program: Program) -> None:
    await program.winding_down.wait()
    await program.idle()
    _say(WOUND_DOWN)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=Settings)))
