"""Every way in which a store can be no good for a while.

Requests wait, or are answered as `unavailable` and can be repeated; nothing that was answered is
lost; nobody is timed out for it; and work goes on by itself.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from packhorse_broker.config import HEARTBEATS_PER_TIMEOUT
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    ClientBeat,
    Complete,
    Completion,
    Create,
    Ended,
    Extend,
    Extension,
    Get,
    Handled,
    NewJob,
    Ok,
    Problem,
    Timeouts,
)
from tests.support.brokers import Brokers
from tests.support.requests import create, names, repeated, take
from tests.support.store_troubles import TROUBLES, Trouble
from tests.support.wire import Wire

SHORT_MS: Final = 600
"""How long requests wait here, and what half of the trouble lasts at least."""
HASTY_MS: Final = 1_000
"""The timeout of clients that the trouble outlasts."""

QUICK: Final[dict[str, Any]] = {"sweep_ms": 50, "last_response_flush_ms": 50}


@pytest.fixture(params=TROUBLES, ids=lambda kind: kind.__name__)
async def trouble(request: pytest.FixtureRequest) -> AsyncIterator[Trouble]:
    made: Trouble = request.param()
    async with made.server:
        await made.prepare()
        yield made
        await made.close()


@pytest.fixture
def store_url(trouble: Trouble) -> str:
    """In this module every test has a store to itself."""
    return trouble.server.url


async def beat(wire: Wire) -> None:
    """Signs of life are a matter of time, whatever happens: so it sleeps between two."""
    while True:
        wire.send(ClientBeat())
        await asyncio.sleep(HASTY_MS / 1000 / HEARTBEATS_PER_TIMEOUT)


async def test_what_cant_be_done_is_said_and_can_be_repeated(
    brokers: Brokers, trouble: Trouble
) -> None:
    broker = await brokers.start(store_timeout_ms=SHORT_MS, **QUICK)
    wire = await brokers.connect(broker)
    hasty = await brokers.connect(broker, "hasty", timeout_ms=HASTY_MS)
    lost = await brokers.connect(broker, "lost", timeout_ms=HASTY_MS)
    await create(wire, *"abc", handle=True)
    await create(wire, "limited", timeouts=Timeouts(run_ms=HASTY_MS))
    [a] = await hasty.ask(ClaimJobs, jobs=("a",))
    [limited] = await hasty.ask(ClaimJobs, jobs=("limited",))
    [b] = await lost.ask(ClaimJobs, jobs=("b",))
    await lost.abort()
    beating = asyncio.create_task(beat(hasty))
    await trouble.begin()
    new = (NewJob(type="t", id="new"),)
    ended = (Completion(job="a", token=a.token, result=b""),)
    # Each waits as long as the broker lets it, so that the two outlast the timeouts.
    for _ in range(2):
        asked = wire.begin(Create, jobs=new), hasty.begin(Complete, jobs=ended)
        for one, request in zip((wire, hasty), asked, strict=True):
            answer = await one.answer(request)
            assert isinstance(answer, Ok)
            [problem] = answer.results
            assert isinstance(problem, Problem)
            assert (problem.code, problem.retryable) == (Code.UNAVAILABLE, True)
            assert problem.retry_after_ms
    await trouble.end()
    extension = (Extension(job="limited", token=limited.token, run_ms=60_000),)
    extended = await repeated(hasty, Extend, claims=extension)
    assert extended.remaining_ms > HASTY_MS
    back = await brokers.connect_when_possible(
        broker, "lost", secret=lost.welcome.secret, timeout_ms=HASTY_MS
    )
    assert back.welcome.resumed
    assert await back.claims(1) == [b]
    assert await repeated(hasty, Complete, jobs=ended) == Ended(state="COMPLETE")
    beating.cancel()
    assert (await repeated(wire, Create, jobs=new)).job == "new"
    [outcome] = await wire.outcomes(1)
    assert (outcome.job, outcome.state) == ("a", "COMPLETE")
    await repeated(wire, Handled, jobs=("a",))
    assert (await repeated(wire, Get, jobs=("b",))).state == "STARTED"
    await take(wire, 2)
    assert names(await wire.claims(2)) == ["c", "new"]


async def test_what_is_over_soon_is_only_slower(brokers: Brokers, trouble: Trouble) -> None:
    broker = await brokers.start(store_timeout_ms=20_000, **QUICK)
    wire, other = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "a", handle=True)
    [a] = await other.ask(ClaimJobs, jobs=("a",))
    await trouble.begin()
    creating = wire.begin(Create, jobs=(NewJob(type="t", id="new"),))
    completing = other.begin(Complete, jobs=(Completion(job="a", token=a.token, result=b""),))
    await trouble.end()
    for one, request in ((wire, creating), (other, completing)):
        answer = await one.answer(request)
        assert isinstance(answer, Ok)
        assert not isinstance(answer.results[0], Problem), answer
    assert [outcome.job for outcome in await wire.outcomes(1)] == ["a"]
    assert (await repeated(wire, Get, jobs=("new",))).state == "QUEUED"
