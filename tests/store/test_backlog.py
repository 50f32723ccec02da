"""Work that waits for its batch."""

from collections.abc import Sequence

import pytest

from packhorse_broker.jobs.commands import Claim, Command, Complete, Create, Fail, Remove
from packhorse_broker.store import backlog
from packhorse_broker.store.backlog import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Backlog,
)
from packhorse_broker.store.work import COMMAND_BYTES, Draw, Result, Submission, Work
from tests.support.commands import create


def ignored(_: list[Result], durable: bool) -> None:
    return


def submission(count: int = 1, *, body: bytes = b"") -> Submission:
    return Submission([create("a", body=body)] * count, ignored)


def draw(count: int) -> Draw:
    return Draw("mail", [Claim("ann", b"")] * count, lambda _drawn, _more: None)


def filled(*work: Work) -> Backlog:
    made = Backlog()
    for one in work:
        assert made.add(one)
    return made


def sizes(batch: Sequence[Work]) -> list[int]:
    return [work.size for work in batch]


def test_nothing_waits_at_first() -> None:
    empty = Backlog()
    assert not empty
    assert empty.next_batch() == []


def test_batch_is_the_oldest_in_order() -> None:
    work = [submission(number) for number in range(1, 6)]
    waiting = filled(*work)
    assert waiting
    assert waiting.next_batch() == work
    assert not waiting


def test_commands_of_a_batch_are_bounded() -> None:
    assert MAX_BATCH == 1_000
    waiting = filled(submission(600), draw(400), draw(1), submission(1_000), submission(1))
    batches = [sizes(waiting.next_batch()) for _ in range(5)]
    assert batches == [[600, 400], [1], [1_000], [1], []]


def test_one_that_is_too_large_goes_alone() -> None:
    waiting = filled(submission(1), submission(5_000), submission(1))
    assert [sizes(waiting.next_batch()) for _ in range(3)] == [[1], [5_000], [1]]


def test_bytes_of_a_batch_are_bounded() -> None:
    half = bytes(MAX_BATCH_BYTES // 2 - COMMAND_BYTES)
    waiting = filled(*(submission(body=half) for _ in range(3)), submission(body=half * 3))
    assert [len(waiting.next_batch()) for _ in range(4)] == [2, 1, 1, 0]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Create("a", "mail", bytes(7), "ann"), 7),
        (Complete("ann", b"token", bytes(8)), 8),
        (Fail("ann", b"token", bytes(9)), 9),
        (Remove(), 0),
    ],
)
def test_bytes_are_those_of_bodies_and_outcomes_and_some_for_each_command(
    command: Command, expected: int
) -> None:
    work = Submission([("a", command)] * 3, ignored)
    assert work.size_bytes == 3 * (expected + COMMAND_BYTES)


def test_bytes_of_claims_are_few() -> None:
    assert draw(10).size_bytes == 10 * COMMAND_BYTES


def test_what_waits_is_bounded() -> None:
    assert MAX_WAITING == 100_000
    waiting = filled(submission(MAX_WAITING - 1), submission(1))
    assert not waiting.add(submission(1))
    assert not waiting.add(draw(1))
    waiting.next_batch()
    assert waiting.add(submission(1))


def test_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_WAITING_BYTES == 128 * 1024 * 1024
    monkeypatch.setattr(backlog, "MAX_WAITING_BYTES", 2 * COMMAND_BYTES + 1_000)
    waiting = filled(submission(body=bytes(999)), submission(body=bytes(1)))
    assert not waiting.add(submission())
    waiting.next_batch()
    assert waiting.add(submission(body=bytes(2_000)))
    assert not waiting.add(submission())


def test_what_waits_too_long_is_taken_out_and_makes_room() -> None:
    work = [submission(MAX_WAITING // 2) for _ in range(2)]
    work[0].since_s, work[1].since_s = 1.0, 2.0
    waiting = filled(*work)
    assert waiting.overdue(1.0) == []
    assert waiting.overdue(1.5) == [work[0]]
    assert waiting.add(submission(1))
    assert waiting.overdue(float("inf")) == [work[1], submission(1)]
    assert not waiting
