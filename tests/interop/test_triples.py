"""A job created in one language, run in a second, and handled in a third."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, Final, NamedTuple

import pytest

from packhorse_broker.local import LocalBroker
from packhorse_conformance.driver import Driver, base64_of
from packhorse_conformance.trace import Trace
from tests.support.libraries import LIBRARIES, Library

WAIT_S: Final = 60
"""Far above what anything takes: it ends a wait for what never comes."""

MEGABYTE: Final = bytes(range(256)) * 4_096

PAYLOADS: Final = {
    "empty": b"",
    "binary": bytes(range(256)),
    "text": "Grüße, 世界, e\u0301, \u202bעברית\u202c, 👩‍👩‍👧 \x00\r\n".encode(),
    "large": MEGABYTE,
}

GROUP: Final = "handlers"


class Cast(NamedTuple):
    """Who does what with a job."""

    creator: Driver
    runner: Driver
    handler: Driver

    async def create(self, **job: Any) -> str:
        """Creates one job that the group of handlers is owed the outcome of; its id."""
        made = await self.creator.do("create", jobs=[job], group=GROUP).ok()
        job_id: str = made["jobs"][0]["job"]
        return job_id

    async def outcome(self, job_id: str) -> dict[str, Any]:
        event = await self.handler.event("outcome", lambda line: line["outcome"]["job"] == job_id)
        found: dict[str, Any] = event["outcome"]
        return found


@pytest.fixture(scope="session")
def made() -> Callable[[Library], Library]:
    """Builds each driver once; skips a test whose toolchain is missing."""
    there: set[str] = set()

    def make(library: Library) -> Library:
        missing = library.missing()
        if missing is not None:
            pytest.skip(f"{library.name}: {missing}")
        if library.name not in there:
            library.make()
            there.add(library.name)
        return library

    return make


@pytest.fixture
async def broker(store_url: str, prefix: str) -> AsyncIterator[LocalBroker]:
    settings = {"listen": ("tcp://127.0.0.1:0",), "prefix": prefix}
    async with LocalBroker(store_url=store_url, **settings) as local:
        yield local


@asynccontextmanager
async def cast(broker: LocalBroker, libraries: Sequence[Library]) -> AsyncIterator[Cast]:
    """Three programs, connected; the runner runs all that the tests create."""
    [url] = broker.addresses
    drivers = [await Driver.start(library.driver, Trace()) for library in libraries]
    try:
        async with asyncio.timeout(WAIT_S):
            for connected in [driver.do("connect", url=url) for driver in drivers]:
                await connected.ok()
            players = Cast(*drivers)
            await players.handler.do("handle_outcomes", groups=[GROUP]).ok()
            how = {
                behaviour: behaviour
                for behaviour in ("reverse", "report", "fail", "fail_for_good", "hold")
            }
            types = dict.fromkeys(how, 4)
            await players.runner.do("run", types=types, credit=8, how=how).ok()
            yield players
            for driver in drivers:
                driver.end_input()
            assert [await driver.exit_status() for driver in drivers] == [0, 0, 0]
    finally:
        for driver in drivers:
            await driver.kill()


TRIPLES: Final = [
    pytest.param(triple, id="-".join(library.name for library in triple))
    for triple in product(LIBRARIES, repeat=3)
]


@pytest.mark.parametrize("libraries", TRIPLES)
async def test_a_job_goes_through_three_languages(
    broker: LocalBroker,
    libraries: tuple[Library, Library, Library],
    made: Callable[[Library], Library],
) -> None:
    async with cast(broker, [made(library) for library in libraries]) as players:
        for scene in (payloads_arrive, errors_are_told, reports_are_read, a_cancel_ends_it):
            await scene(players)


async def payloads_arrive(players: Cast) -> None:
    for payload in PAYLOADS.values():
        job = await players.create(
            type="reverse", payload=base64_of(payload), headers={"naïve": "✓"}
        )
        outcome = await players.outcome(job)
        assert outcome["state"] == "COMPLETE"
        assert base64.b64decode(outcome.get("result", "")) == payload[::-1]


async def errors_are_told(players: Cast) -> None:
    message = "it can't be: naïve ✓"
    job = await players.create(type="fail", payload=base64_of(message.encode()), attempts=2)
    for attempt in (1, 2):
        await players.runner.event("running", job=job, attempt=attempt)
    outcome = await players.outcome(job)
    assert (outcome["state"], outcome["reason"], outcome["attempt"]) == ("FAILED", "FAILED", 2)
    assert (outcome["error"]["type"], outcome["error"]["message"]) == ("DriverError", message)
    job = await players.create(type="fail_for_good", payload=base64_of(b"no"), attempts=5)
    outcome = await players.outcome(job)
    assert (outcome["state"], outcome["attempt"]) == ("FAILED", 1)


async def reports_are_read(players: Cast) -> None:
    job = await players.create(type="report", payload=base64_of(b"x"), persistent=True)
    assert (await players.outcome(job))["state"] == "COMPLETE"
    for reader in (players.creator, players.handler):
        entries = (await reader.do("logs", job=job).ok())["entries"]
        lines = [entry["message"] for entry in entries if entry["type"] == "log"]
        assert lines == ["first", "second ✓"]
        reports = [entry for entry in entries if entry["type"] == "progress"]
        assert (reports[-1]["percent"], reports[-1]["message"]) == (100, "end")


async def a_cancel_ends_it(players: Cast) -> None:
    job = await players.create(type="hold")
    await players.runner.event("running", job=job)
    await players.creator.do("cancel", job=job, grace_ms=30_000, why="it is enough").ok()
    await players.runner.event("ended", job=job, how="cancelled")
    outcome = await players.outcome(job)
    assert (outcome["state"], outcome["reason"]) == ("FAILED", "CANCELLED")
