"""`make conformance`: the kit against our broker and each client that there is, a line each.

    python -m tests.conformance.everyone

A client that is not there, or whose toolchain is not, is named as skipped. Of what fails the kit's
report stands above the line.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from packhorse_broker.local import LocalBroker
from packhorse_conformance import broker_scenarios, client_scenarios
from packhorse_conformance.address import parse
from packhorse_conformance.report import lines_of, summary
from packhorse_conformance.running import Given, Result, play_all
from packhorse_conformance.scenario import Scenario, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.stage import Stage, staged

CLIENTS: Final = Path(__file__).resolve().parents[2] / "clients"

TIMEOUT_S: Final = 30
AT_ONCE: Final = 4
BUILD_S: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A client library: how its driver is built, in its folder, and started."""

    name: str
    tools: tuple[str, ...] = ()
    build: tuple[tuple[str, ...], ...] = ()
    driver: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return CLIENTS / self.name

    def missing(self) -> str | None:
        """Why it can't be tested here."""
        if not self.folder.is_dir():
            return f"there is no {self.folder.relative_to(CLIENTS.parent)}"
        lacking = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"there is no {lacking[0]}" if lacking else None


def libraries(built: Path) -> tuple[Library, ...]:
    """All of them; what they build goes to `built`, or to where their own builds go."""
    go_driver = str(built / "packhorse-driver")
    typescript_driver = str(CLIENTS / "typescript/dist/driver/driver.js")
    return (
        Library(name="python", driver=(sys.executable, "-m", "packhorse.driver")),
        Library(
            name="typescript",
            tools=("npm", "node"),
            build=(("npm", "ci", "--silent"), ("npm", "run", "--silent", "build")),
            driver=("node", typescript_driver),
        ),
        Library(
            name="go",
            tools=("go",),
            build=(("go", "build", "-o", go_driver, "./cmd/packhorse-driver"),),
            driver=(go_driver,),
        ),
    )


async def tested(
    name: str,
    scenarios: Sequence[Scenario[Given]],
    make: Callable[[], AbstractAsyncContextManager[Given]],
) -> bool:
    """Tells the line of one, and more of what failed; whether nothing did."""

    def tell(result: Result[Given]) -> None:
        if result.verdict == "failed":
            print("\n".join(lines_of(result)))

    results = await play_all(scenarios, make, timeout_s=TIMEOUT_S, at_once=AT_ONCE, told=tell)
    print(f"{name}: {summary(results)}", flush=True)
    return all(result.verdict != "failed" for result in results)


async def broker_tested() -> bool:
    scenarios: list[Scenario[Site]] = scenarios_in(broker_scenarios)
    async with LocalBroker(listen=("tcp://127.0.0.1:0",)) as broker:
        return await tested("broker", scenarios, partial(sited, parse(broker.addresses[0])))


async def library_tested(library: Library) -> bool:
    missing = library.missing()
    if missing is not None:
        print(f"{library.name}: skipped, {missing}", flush=True)
        return True
    for command in library.build:
        built = subprocess.run(
            command,
            cwd=library.folder,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        if built.returncode:
            print(f"{library.name}: {' '.join(command)} failed\n{built.stdout}{built.stderr}")
            return False
    scenarios: list[Scenario[Stage]] = scenarios_in(client_scenarios)
    return await tested(library.name, scenarios, partial(staged, library.driver))


async def everyone() -> bool:
    """Whether all that there are conform."""
    fine = await broker_tested()
    with tempfile.TemporaryDirectory() as built:
        for library in libraries(Path(built)):
            fine = await library_tested(library) and fine
    return fine


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(everyone()) else 1)
