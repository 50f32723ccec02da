"""When a connection is read from."""

import asyncio
from typing import cast

import pytest

from packhorse_broker import intake
from packhorse_broker.config import Config
from packhorse_broker.intake import BATCHES_IN_FLIGHT, MAX_MESSAGES_A_TURN, SLICE_BYTES, Intake
from tests.support.brokers import until


class FakeTransport:
    """Notes whether it reads."""

    def __init__(self) -> None:
        self.reads = True
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Opened:
    """An intake, what it gave to be looked at, and whether its transport reads."""

    def __init__(self, **settings: int) -> None:
        self.taken: list[bytes] = []
        self.transport = FakeTransport()
        loop = asyncio.get_running_loop()
        self.intake = Intake(loop, Config(**settings), self.taken.append)  # type: ignore[arg-type]
        self.intake.open(cast(asyncio.Transport, self.transport))

    def reads(self) -> bool:
        return self.transport.reads


async def turns(number: int = 10) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_little_is_taken_at_once() -> None:
    opened = Opened()
    opened.intake.received(b"abc")
    assert opened.taken == [b"abc"]
    assert opened.reads()


async def test_much_is_taken_in_slices_and_nothing_is_read_meanwhile() -> None:
    opened = Opened()
    opened.intake.received(bytes(2 * SLICE_BYTES + 1))
    opened.intake.received(b"abc")
    assert (opened.taken, opened.reads()) == ([], False)
    await turns()
    assert [len(data) for data in opened.taken] == [SLICE_BYTES, SLICE_BYTES, 1, 3]
    assert opened.reads()


async def test_many_messages_cost_a_turn() -> None:
    opened = Opened()
    opened.intake.leave_turn(MAX_MESSAGES_A_TURN)
    assert opened.reads()
    opened.intake.leave_turn(MAX_MESSAGES_A_TURN + 1)
    assert not opened.reads()
    await turns()
    assert opened.reads()


async def test_reading_stops_at_either_bound_and_goes_on_at_half_of_both() -> None:
    opened = Opened(max_in_flight=4, max_batch=10)
    for _ in range(4):
        assert opened.reads()
        opened.intake.begun(1)
    assert not opened.reads()
    opened.intake.ended(1)
    assert not opened.reads()
    opened.intake.ended(1)
    assert opened.reads()
    opened.intake.begun(10 * BATCHES_IN_FLIGHT)
    assert not opened.reads()
    assert opened.intake.paused
    opened.intake.ended(10 * BATCHES_IN_FLIGHT)
    assert opened.reads()


async def test_one_that_is_slow_is_looked_at_only_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "SLOW_S", 0.001)
    opened = Opened()
    taken = opened.taken
    opened.intake.received(bytes(3 * SLICE_BYTES))
    for number in (1, 2, 3):
        opened.intake.slow_down()
        seen = len(taken)
        await turns()
        # What was read already waits, too; and no bound that is left meanwhile starts it.
        opened.intake.begun(1)
        opened.intake.ended(1)
        assert (len(taken), opened.reads()) == (seen, False)
        await until(lambda number=number: len(taken) == number)  # type: ignore[misc]
    await until(opened.reads)


async def test_a_slow_one_waits_for_its_answers_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SLOW_S", 0.001)
    opened = Opened(max_in_flight=1)
    opened.intake.begun(1)
    opened.intake.slow_down()
    await until(lambda: not opened.intake._slow)
    assert not opened.reads()
    opened.intake.slow_down()
    opened.intake.ended(1)
    assert not opened.reads()
    await until(opened.reads)


async def test_after_the_end_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SLOW_S", 0.001)
    opened = Opened()
    opened.intake.received(bytes(3 * SLICE_BYTES))
    opened.intake.slow_down()
    opened.transport.closing = True
    opened.intake.close()
    opened.intake.received(b"abc")
    await until(lambda: not opened.intake._slow)
    await turns()
    assert (opened.taken, opened.reads()) == ([], False)
