"""`make conformance`: the kit against our broker and each client that there is, a line each.

    python -m tests.conformance.everyone

A client that is not there, or whose toolchain is not, is named as skipped. Of what fails the kit's
report stands above the line.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Final

from packhorse_conformance import broker_scenarios, client_scenarios
from packhorse_conformance.address import parse
from packhorse_conformance.report import lines_of, summary
from packhorse_conformance.running import Given, Result, play_all
from packhorse_conformance.scenario import Scenario, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.stage import Stage, staged
from tests.support.daemon import Daemons
from tests.support.libraries import LIBRARIES, Library

TIMEOUT_S: Final = 30
AT_ONCE: Final = 4

DRAIN_MS: Final = "2000"
"""How long the broker waits for its clients when it goes away."""


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
    with TemporaryDirectory() as folder:
        async with Daemons() as daemons:
            daemon = await daemons.start("--data-dir", folder, "--drain-ms", DRAIN_MS)
            make = partial(sited, parse(daemon.url), f"kill -TERM {daemon.pid}")
            return await tested("broker", scenarios, make)


async def library_tested(library: Library) -> bool:
    missing = library.missing()
    if missing is not None:
        print(f"{library.name}: skipped, {missing}", flush=True)
        return True
    try:
        library.make()
    except RuntimeError as failed:
        print(failed, flush=True)
        return False
    scenarios: list[Scenario[Stage]] = scenarios_in(client_scenarios)
    return await tested(library.name, scenarios, partial(staged, library.driver))


async def everyone() -> bool:
    """Whether all that there are conform."""
    fine = await broker_tested()
    for library in LIBRARIES:
        fine = await library_tested(library) and fine
    return fine


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(everyone()) else 1)
