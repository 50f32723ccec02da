"""Failed jobs that nobody waits for are kept for a while, then they go."""

from typing import Any, Final

from packhorse_protocol import Code
from packhorse_protocol.messages import ClaimJobs, Fail, Get, Handle, Watch
from tests.support.brokers import Brokers
from tests.support.requests import create, failure, get
from tests.support.wire import Wire

QUICK: Final[dict[str, Any]] = {"sweep_ms": 10, "last_response_flush_ms": 10}


async def fail(wire: Wire, *jobs: str) -> None:
    claims = await wire.ask(ClaimJobs, jobs=jobs)
    await wire.ask(Fail, jobs=tuple(map(failure, claims)))


async def test_a_failed_job_goes_when_its_time_is_over(brokers: Brokers) -> None:
    broker = await brokers.start(failed_retention_ms=50, **QUICK)
    wire = await brokers.connect(broker)
    await create(wire, "a", payload=bytes(2_000))
    await wire.ask(Watch, jobs=("a",))
    await fail(wire, "a")
    [*_, last] = await wire.events("a", lambda event: event.removed)
    assert last.state == "FAILED"
    [gone] = await wire.ask(Get, jobs=("a",))
    assert gone.code == Code.NOT_FOUND


async def test_others_stay(brokers: Brokers) -> None:
    """Those with a handler, persistent ones, and those that got a handler in time."""
    broker = await brokers.start(failed_retention_ms=200, **QUICK)
    wire = await brokers.connect(broker)
    await create(wire, "handled", handle=True)
    await create(wire, "persistent", persistent=True)
    await create(wire, "late", "goes")
    await wire.ask(Watch, jobs=("goes",))
    await fail(wire, "handled", "persistent", "late")
    await wire.ask(Handle, jobs=("late",))
    await fail(wire, "goes")
    # It failed last, so the time of the others is over too.
    await wire.events("goes", lambda event: event.removed)
    for job in ("handled", "persistent", "late"):
        assert (await get(wire, job)).state == "FAILED"


async def test_a_broker_that_was_down_catches_up(brokers: Brokers) -> None:
    first = await brokers.start(failed_retention_ms=10)
    wire = await brokers.connect(first)
    ids = [f"j{n}" for n in range(1_200)]
    await create(wire, *ids)
    for start in range(0, len(ids), 600):
        await fail(wire, *ids[start : start + 600])
    await brokers.stop(first)
    second = await brokers.start(failed_retention_ms=10)
    while (await second.parts.reader.due(second._clock.now_ms(), 1))[0]:
        pass
    other = await brokers.connect(second)
    found = await other.ask(Get, jobs=tuple(ids[:1_000]))
    assert {answer.code for answer in found} == {Code.NOT_FOUND}
