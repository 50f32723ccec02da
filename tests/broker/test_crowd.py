"""Many clients at once: how they come in, and what each of them costs a sweep."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from packhorse_broker import reception
from packhorse_broker.broker import Broker
from packhorse_broker.clock import monotonic_ms
from packhorse_broker.reception import Reception
from packhorse_broker.sessions import Session
from packhorse_broker.store.records import ClientRecord
from packhorse_broker.store.registry import Refused as NotRegistered
from packhorse_broker.store.registry import Registered
from packhorse_broker.sweeper import LOOK_SWEEPS
from packhorse_protocol import Code
from packhorse_protocol.messages import Hello, Info, Welcome
from tests.support.brokers import Brokers, until
from tests.support.wire import Wire


class SlowRegistry:
    """Registers nobody before it is `opened`, and notes whom."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = asyncio.Event()
        self.registered: list[str] = []
        self._register = broker._registry.register
        monkeypatch.setattr(broker._registry, "register", self)

    async def __call__(self, wanted: ClientRecord, now_ms: int) -> Registered | NotRegistered:
        self.registered.append(wanted.id)
        await self.opened.wait()
        return await self._register(wanted, now_ms)


async def say_hello(brokers: Brokers, broker: Broker, client: str) -> Wire:
    """Without waiting for the welcome; the broker has read it when this returns."""
    greeting = broker.server._tasks.copy()
    wire = await brokers.dial(broker)
    wire.send(Hello(versions=(1,), client=client))
    await until(lambda: bool(broker.server._tasks - greeting))
    return wire


async def test_who_has_said_hello_takes_no_place_of_strangers(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = await brokers.start(max_unauthenticated=2)
    registry = SlowRegistry(broker, monkeypatch)
    wires = [await say_hello(brokers, broker, f"c{number}") for number in range(5)]
    registry.opened.set()
    for wire in wires:
        await wire.push(Welcome)


async def test_a_hello_waits_no_longer_than_for_the_store(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = await brokers.start()
    registry = SlowRegistry(broker, monkeypatch)
    first = await say_hello(brokers, broker, "first")
    second = await say_hello(brokers, broker, "second")
    gate = broker.server.gate
    assert isinstance(gate, Reception)
    await until(lambda: bool(gate._registering._waiters))
    late_ms = 1 + monotonic_ms() + broker.config.store_timeout_ms
    monkeypatch.setattr(reception, "monotonic_ms", lambda: late_ms)
    registry.opened.set()
    await first.push(Welcome)
    error = await second.closing_error()
    assert (error.code, error.retryable) == (Code.UNAVAILABLE, True)
    assert error.retry_after_ms
    assert registry.registered == ["first"]


async def test_each_sweep_looks_for_its_part_of_the_sessions(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = [await brokers.connect(broker, f"c{number}") for number in range(50)]
    sweeper = broker.parts.sweeper
    looked: list[list[str]] = []

    def missed_by(sessions: Iterable[Session]) -> None:
        looked.append([session.client for session in sessions])

    monkeypatch.setattr(broker.parts.fanout, "missed_by", missed_by)
    monkeypatch.setattr(sweeper, "_sweep_ms", 0)
    for _ in range(LOOK_SWEEPS):
        await sweeper._look_again()
    assert len(looked) == LOOK_SWEEPS
    assert max(map(len, looked)) < 50
    assert Counter(client for part in looked for client in part) == Counter(
        {f"c{number}": 1 for number in range(50)}
    )
    await wires[0].ask(Info)
