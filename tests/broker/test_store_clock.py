"""Clocks that are set while brokers run: this machine's, and the store's."""

import time
from typing import Any, Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol.messages import ClaimJobs, Info, Watch
from tests.support.brokers import Brokers
from tests.support.log_lines import LogLines
from tests.support.requests import complete, create, get
from tests.support.wire import Wire

HOUR_MS: Final = 3_600_000
SHORT_MS: Final = 500
QUICK: Final[dict[str, Any]] = {"sweep_ms": 20, "last_response_flush_ms": 20}


def set_by(broker: Broker, step_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store says of its clock from now on is so much later."""
    read = broker._registry.time_ms

    async def time_ms() -> float:
        return await read() + step_ms

    monkeypatch.setattr(broker._registry, "time_ms", time_ms)


async def clients(wire: Wire) -> int:
    [info] = await wire.ask(Info)
    number: int = info.clients
    return number


@pytest.mark.parametrize("step_s", [-3_600, 3_600])
async def test_a_step_of_this_machines_clock_is_none_of_the_stores(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, timeout_ms=HOUR_MS)
    lost = await brokers.connect(broker, timeout_ms=HOUR_MS // 2)
    await create(wire, "later", delay_ms=HOUR_MS // 2)
    await lost.abort()
    [before] = await wire.ask(Info)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    for _ in range(3):
        await broker.parts.sweeper.sweep()
    [after] = await wire.ask(Info)
    assert 0 <= after.now_ms - before.now_ms < HOUR_MS // 2
    assert after.clients == 2
    assert (await get(wire, "later")).state == "PENDING"


async def test_a_store_that_is_set_forward_times_nobody_out_but_moves_jobs(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients have their whole timeout again; what is due by the store's clock is due."""
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, timeout_ms=HOUR_MS)
    lost = await brokers.connect(broker, "lost", timeout_ms=SHORT_MS)
    await create(wire, "held", attempts=2)
    await create(wire, "later", delay_ms=HOUR_MS // 2)
    await wire.ask(Watch, jobs=("later",))
    other = await brokers.connect(broker, timeout_ms=HOUR_MS)
    await other.ask(Watch, jobs=("held",))
    await lost.ask(ClaimJobs, jobs=("held",))
    await lost.abort()
    began = time.monotonic()
    set_by(broker, HOUR_MS, monkeypatch)
    line = await lines.of("clock.jumped")
    assert line["drift_ms"] == pytest.approx(HOUR_MS, abs=1_000)
    await wire.events("later", lambda event: event.state == "QUEUED")
    # The silent one is removed in the end, a whole timeout later.
    await other.events("held", lambda event: event.state == "QUEUED")
    assert time.monotonic() - began >= SHORT_MS / 1000
    assert await clients(wire) == 2


async def test_a_store_that_is_set_back_stands_still_and_work_goes_on(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time goes on when it has come there again."""
    lines = LogLines()
    broker = await brokers.start(**QUICK)
    wire = await brokers.connect(broker, timeout_ms=HOUR_MS)
    [before] = await wire.ask(Info)
    set_by(broker, -HOUR_MS, monkeypatch)
    await lines.of("clock.jumped")
    [after] = await wire.ask(Info)
    assert after.now_ms >= before.now_ms
    await create(wire, *"ab")
    for job in "ab":
        await complete(wire, *await wire.ask(ClaimJobs, jobs=(job,)))
    [later] = await wire.ask(Info)
    assert later.now_ms == after.now_ms
    assert await clients(wire) == 1
