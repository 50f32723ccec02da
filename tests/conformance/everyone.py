"""`make conformance`: the kit against our broker and each client that there is, a line each.

    python -m tests.conformance.everyone

A client that is not there, or whose toolchain is not, is named as skipped. Of what fails the kit's
report stands above the line.
"""

import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from packhorse_conformance import broker_scenarios, client_scenarios
from packhorse_conformance.address import TcpAddress, parse
from packhorse_conformance.commands import Commands
from packhorse_conformance.report import lines_of, summary
from packhorse_conformance.running import Given, Result, play_all
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.stage import Stage, staged
from tests.support.daemon import Daemons
from tests.support.libraries import LIBRARIES, Library
from tests.support.shell_store import ShellStore
from tests.support.terminator import terminated
from tests.support.tls import OPENSSL, Certificates

TIMEOUT_S: Final = 30
AT_ONCE: Final = 4

DRAIN_MS: Final = "2000"
"""How long the broker waits for its clients when it goes away."""
STORE_TIMEOUT_MS: Final = "1000"
"""How long a request waits for a store that is away."""

OVER_TLS: Final = ("handshake.*", "frames.*", "flow.*", "resume.*")


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
    settings = ("--drain-ms", DRAIN_MS, "--store-timeout-ms", STORE_TIMEOUT_MS)
    with ShellStore() as store:
        async with Daemons() as daemons:
            daemon = await daemons.start("--store", store.url, *settings)
            fine = await tested_over_tls(daemon.url)
            commands = Commands(
                drain=f"kill -TERM {daemon.pid}", store_stop=store.stop, store_start=store.start
            )
            make = partial(sited, parse(daemon.url), commands)
            return await tested("broker", scenarios, make) and fine


async def tested_over_tls(url: str) -> bool:
    """The broker behind what speaks TLS, by those that have to do with connections."""
    if shutil.which(OPENSSL) is None:
        print(f"broker over TLS: skipped, there is no {OPENSSL}", flush=True)
        return True
    inner = parse(url)
    assert isinstance(inner, TcpAddress)
    scenarios: list[Scenario[Site]] = chosen(scenarios_in(broker_scenarios), OVER_TLS)
    with TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        open_inner = partial(asyncio.open_connection, inner.host, inner.port)
        async with terminated(open_inner, certificates.serving) as outer:
            make = partial(sited, parse(outer, certificates.authority))
            return await tested("broker over TLS", scenarios, make)


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
