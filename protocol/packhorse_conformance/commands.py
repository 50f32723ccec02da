"""What the kit can't do to a broker by the protocol: commands that its user gives for that."""

import asyncio
from dataclasses import dataclass

from packhorse_conformance.verdict import Skipped, expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Each for the shell; None where nobody said it."""

    drain: str | None = None
    """Has the broker go away."""
    store_stop: str | None = None
    """Has its store away, until `store_start`."""
    store_start: str | None = None


async def run(command: str | None, option: str) -> None:
    """To its end. Raises `Skipped` where it was not given."""
    if command is None:
        raise Skipped(f"there is no {option}")
    process = await asyncio.create_subprocess_shell(command)
    status = await process.wait()
    expect(status == 0, f"the command {command!r} to end with 0", status)
