"""Work that waits for its batch."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from packhorse_broker.jobs.commands import Claim, Command, Complete, Create, Fail, Remove
from packhorse_broker.store import backlog
from packhorse_broker.store.backlog import (
    CREATES_BESIDE,
    KEPT_PERCENT,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Backlog,
    Room,
)
from packhorse_broker.store.work import COMMAND_BYTES, Draw, Result, Submission, Work
from tests.support.commands import create


def ignored(_: list[Result], durable: bool) -> None:
    return


def ends(count: int = 1, *, job: str = "a", outcome: bytes = b"") -> Submission:
    return Submission([(job, Complete("ann", b"token", outcome))] * count, ignored)


def creates(count: int = 1, *, job: str = "new", body: bytes = b"") -> Submission:
    return Submission([create(job, body=body)] * count, ignored)


def draw(count: int) -> Draw:
    return Draw("mail", [Claim("ann", b"")] * count, lambda _drawn, _more: None)


def filled(*work: Work) -> Backlog:
    made = Backlog(Room())
    for one in work:
        assert made.add(one)
    return made


def batched(waiting: Backlog) -> list[Submission]:
    return [work for work in waiting.next_batch() if isinstance(work, Submission)]


def sizes(batch: Sequence[Work]) -> list[int]:
    return [work.size for work in batch]


def test_nothing_waits_at_first() -> None:
    empty = Backlog(Room())
    assert not empty
    assert empty.next_batch() == []


def test_batch_is_the_oldest_in_order() -> None:
    work = [ends(number) for number in range(1, 6)]
    waiting = filled(*work)
    assert waiting
    assert waiting.next_batch() == work
    assert not waiting


@pytest.mark.parametrize("made", [ends, creates])
def test_commands_of_a_batch_are_bounded(made: Callable[[int], Submission]) -> None:
    assert MAX_BATCH == 1_000
    waiting = filled(made(600), made(400), made(1), made(1_000), made(1))
    batches = [sizes(waiting.next_batch()) for _ in range(5)]
    assert batches == [[600, 400], [1], [1_000], [1], []]


@pytest.mark.parametrize("made", [ends, creates])
def test_one_that_is_too_large_goes_alone(made: Callable[[int], Submission]) -> None:
    waiting = filled(made(1), made(5_000), made(1))
    assert [sizes(waiting.next_batch()) for _ in range(3)] == [[1], [5_000], [1]]


def test_bytes_of_a_batch_are_bounded() -> None:
    half = bytes(MAX_BATCH_BYTES // 2 - COMMAND_BYTES)
    for made in (partial(creates, body=half), partial(ends, outcome=half)):
        waiting = filled(made(), made(), made(), made(3))
        assert [len(waiting.next_batch()) for _ in range(4)] == [2, 1, 1, 0]


# -- what ends or claims jobs goes first


def test_what_ends_or_claims_jobs_overtakes_creates() -> None:
    flood = [creates(10) for _ in range(500)]
    waiting = filled(*flood, ends(1), draw(2), ends(3))
    batch = waiting.next_batch()
    assert sizes(batch) == [1, 2, 3, *[10] * (CREATES_BESIDE // 10)]
    # The next one is already on its way when these leave, and no larger.
    waiting.add(ends(4))
    assert sizes(waiting.next_batch())[0] == 4
    # Nobody else waits: a full batch.
    assert sizes(waiting.next_batch()) == [10] * (MAX_BATCH // 10)


def test_creates_have_a_share_of_each_batch() -> None:
    waiting = filled(*(creates(1) for _ in range(1_000)), *(ends(1) for _ in range(10_000)))
    shares = [sum(work.items[0][0] == "new" for work in batched(waiting)) for _ in range(4)]
    assert shares == [CREATES_BESIDE] * 4


def test_creates_of_one_large_request_have_a_batch_of_their_own() -> None:
    waiting = filled(creates(1_000), creates(1_000), *(ends(500) for _ in range(4)))
    batches = [sizes(waiting.next_batch()) for _ in range(6)]
    assert batches == [[500], [1_000], [500], [1_000], [500, 500], []]


def test_creates_with_large_bodies_have_a_batch_of_their_own() -> None:
    body = bytes(MAX_BATCH_BYTES // 2)
    waiting = filled(creates(body=body), *(ends(700) for _ in range(3)))
    assert [sizes(waiting.next_batch()) for _ in range(4)] == [[700], [1], [700], [700]]


def test_a_large_create_that_is_given_up_holds_up_nobody() -> None:
    large = creates(1_000)
    large.since_s = -1.0
    waiting = filled(large, ends(2), ends(700))
    assert sizes(waiting.next_batch()) == [2, 700]
    waiting.add(ends(3))
    assert waiting.overdue(0.0) == [large]
    assert sizes(waiting.next_batch()) == [3]


def test_commands_for_one_job_stay_in_the_order_of_arrival() -> None:
    first, after, other = creates(job="j"), ends(job="j"), ends(job="k")
    later = Submission([*ends(job="k").items, *ends(job="j").items], ignored)
    behind_that = ends(job="k")
    waiting = filled(first, after, other, later, behind_that)
    assert waiting.next_batch() == [other, first, after, later, behind_that]
    # All of that is over.
    waiting.add(creates(job="other"))
    waiting.add(after)
    assert sizes(waiting.next_batch()) == [1, 1]
    assert not waiting._created


def test_a_job_is_waited_for_until_the_last_of_its_creates_is_taken() -> None:
    first, second = creates(CREATES_BESIDE, job="j"), creates(CREATES_BESIDE, job="j")
    waiting = filled(ends(), first, second)
    assert waiting.next_batch() == [ends(), first]
    waiting.add(ends(job="j"))
    waiting.add(ends(job="k"))
    assert waiting.next_batch() == [ends(job="k"), second]
    assert waiting.next_batch() == [ends(job="j")]


def test_work_without_commands_waits_for_all_before_it() -> None:
    told: list[bool] = []
    barrier = Submission([], lambda _results, durable: told.append(durable))
    waiting = filled(ends(), *(creates(CREATES_BESIDE) for _ in range(2)), barrier, ends())
    batches = []
    while waiting:
        assert not told
        batches.append(waiting.next_batch())
        for work in batches[-1]:
            if not work.size:
                assert isinstance(work, Submission)
                work.done([], True)
    assert told == [True]
    assert [size for batch in batches for size in sizes(batch) if size] == [1, 1, 250, 250]


# -- how much may wait


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
    waiting = filled(ends(MAX_WAITING - 1), ends(1))
    assert not waiting.add(ends(1))
    assert not waiting.add(draw(1))
    waiting.next_batch()
    assert waiting.add(ends(1))


def test_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_WAITING_BYTES == 128 * 1024 * 1024
    monkeypatch.setattr(backlog, "MAX_WAITING_BYTES", 2 * COMMAND_BYTES + 1_000)
    waiting = filled(ends(outcome=bytes(999)), ends(outcome=bytes(1)))
    assert not waiting.add(ends())
    waiting.next_batch()
    assert waiting.add(ends(outcome=bytes(2_000)))
    assert not waiting.add(ends())


def test_creates_leave_room_for_claims_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    of_creates = MAX_WAITING * (100 - KEPT_PERCENT) // 100
    waiting = filled(creates(of_creates))
    assert not waiting.add(creates())
    assert waiting.add(draw(MAX_WAITING - of_creates - 1))
    assert waiting.add(ends())
    assert not waiting.add(ends())
    monkeypatch.setattr(backlog, "MAX_WAITING_BYTES", 10_000)
    waiting = filled(creates(body=bytes(9_000)))
    assert not waiting.add(creates())
    assert waiting.add(ends())


def test_all_backlogs_of_a_broker_share_the_room() -> None:
    room = Room()
    one, other = Backlog(room), Backlog(room)
    assert one.add(ends(MAX_WAITING))
    assert not other.add(ends())
    one.next_batch()
    assert other.add(ends())
    assert (one.size, other.size, room.size) == (0, 1, 1)


def test_what_waits_too_long_is_taken_out_and_makes_room() -> None:
    work = [creates(MAX_WAITING // 2), ends(MAX_WAITING // 2), ends(1)]
    work[0].since_s, work[1].since_s, work[2].since_s = 1.0, 1.0, 2.0
    waiting = filled(*work[:2])
    assert waiting.overdue(1.0) == []
    assert sorted(sizes(waiting.overdue(1.5))) == [MAX_WAITING // 2] * 2
    assert waiting.add(work[2])
    assert waiting.overdue(float("inf")) == [work[2]]
    assert not waiting
