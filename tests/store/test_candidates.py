"""What is read of a queue beyond one batch of draws, and when it is not relied on."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.candidates import PROBE_EVERY, READ_ON, READ_ON_MS, Candidates
from packhorse_broker.store.keys import PartitionKeys, job_of_member, queue_member
from packhorse_broker.store.shares import ALONE, Rivals, Shares
from tests.support.commands import stored

START_MS = 1_790_000_000_000


class Queue:
    """A queue of one type as a store would show it, from which `draw` takes."""

    def __init__(self, jobs: int) -> None:
        self.now_ms = START_MS
        self.rivals = ALONE
        self.members = [queue_member(1_000 * (START_MS - 60_000) + n, f"j{n}") for n in range(jobs)]
        self._asked = 0
        shares = Shares(lambda _: self.rivals, lambda: self.now_ms)
        self.candidates = Candidates(PartitionKeys("test", 0), shares)

    def draw(self, claims: int, *, changes: Sequence[tuple[Job | None, Job]] = ()) -> list[str]:
        """The jobs that a batch claims; `changes` are others that it makes."""
        asked = self.candidates.asking({"mail": claims})
        self._asked += bool(asked)
        replies = [self._answer(command) for command in asked]
        windows = self.candidates.windows({"mail": claims}, replies)
        drawn: list[str] = []
        while len(drawn) < claims and (found := windows["mail"].next()) is not None:
            job_id, head = found
            if job_id in drawn:
                continue
            windows["mail"].took(stored(job_id), head=head)
            drawn.append(job_id)
        for before, job in changes:
            self.candidates.changed(before, job)
        self.candidates.settled(windows)
        self.members = [one for one in self.members if job_of_member(one) not in drawn]
        return drawn

    def times_asked(self) -> int:
        """How often the store was asked for the queue, since this was called last."""
        asked, self._asked = self._asked, 0
        return asked

    def _answer(self, command: bytes) -> list[bytes]:
        words = command.split(b"\r\n")[2::2]
        if b"BYSCORE" in words:
            return [part for member in self.members[:1] for part in (member, b"0")]
        return self.members[: int(words[3]) + 1]


@pytest.fixture
def queue() -> Queue:
    return Queue(200)


def names(first: int, count: int) -> list[str]:
    return [f"j{n}" for n in range(first, first + count)]


def begun(queue: Queue) -> None:
    """It is known to be long, and has been read on."""
    assert queue.draw(10) == names(0, 10)
    assert queue.draw(10) == names(10, 10)
    queue.times_asked()


def test_the_next_draws_of_a_long_queue_need_not_ask(queue: Queue) -> None:
    begun(queue)
    for draw in range(READ_ON):
        assert queue.draw(10) == names(20 + 10 * draw, 10)
    assert not queue.times_asked()
    assert queue.draw(10) == names(50, 10)
    assert queue.times_asked() == 1


def test_a_queue_that_was_emptied_is_read_no_further_than_it_is_drawn() -> None:
    queue = Queue(15)
    assert queue.draw(10) == names(0, 10)
    assert queue.draw(10) == names(10, 5)
    [zrange] = queue.candidates.asking({"mail": 3})
    assert zrange.split(b"\r\n")[8] == b"2"


def test_more_claims_than_were_read_ask_anew(queue: Queue) -> None:
    begun(queue)
    assert queue.draw(READ_ON * 10 + 1) == names(20, READ_ON * 10 + 1)
    assert queue.times_asked() == 1


def test_what_was_read_is_soon_too_old(queue: Queue) -> None:
    begun(queue)
    queue.now_ms += READ_ON_MS
    assert queue.draw(5) == names(20, 5)
    assert not queue.times_asked()
    queue.now_ms += 1
    assert queue.draw(5) == names(25, 5)
    assert queue.times_asked() == 1


def test_a_job_that_is_queued_again_is_looked_for(queue: Queue) -> None:
    begun(queue)
    job = stored("back")
    queue.candidates.changed(replace(job, state=State.STARTED), job)
    queue.members.insert(0, queue_member(1_000, "back"))
    assert queue.draw(2) == ["back", "j20"]
    assert queue.times_asked() == 1


def test_so_is_one_that_is_queued_by_the_batch_that_draws(queue: Queue) -> None:
    begun(queue)
    job = stored("back")
    assert queue.draw(2, changes=[(replace(job, state=State.STARTED), job)]) == names(20, 2)
    queue.members.insert(0, queue_member(1_000, "back"))
    assert queue.draw(2) == ["back", "j22"]


def test_new_jobs_come_behind_what_was_read(queue: Queue) -> None:
    begun(queue)
    queue.candidates.changed(None, stored("new"))
    assert queue.draw(5) == names(20, 5)
    assert not queue.times_asked()


def test_a_job_of_another_priority_comes_before_it(queue: Queue) -> None:
    begun(queue)
    urgent = replace(stored("urgent"), terms=Terms(priority=5))
    queue.candidates.changed(None, urgent)
    queue.draw(5)
    assert queue.times_asked() == 1


def test_where_others_claim_nothing_is_read_on(queue: Queue) -> None:
    begun(queue)
    queue.rivals = Rivals(("b-1", "b-2"), 0)
    queue.draw(5)
    assert queue.times_asked() == 1


def test_other_priorities_are_still_looked_for(queue: Queue) -> None:
    for _ in range(3 * PROBE_EVERY):
        queue.draw(2)
    assert queue.times_asked() >= 3 * PROBE_EVERY / (READ_ON + 1)
    turns = queue.candidates._turns["mail"]
    turns.draws = PROBE_EVERY
    queue.times_asked()
    queue.draw(1)
    assert queue.times_asked() == 1


def test_nothing_is_relied_on_in_a_store_that_was_wiped(queue: Queue) -> None:
    begun(queue)
    queue.candidates.forget_rests()
    queue.draw(5)
    assert queue.times_asked() == 1


def test_candidates_that_nobody_took_are_the_first_again(queue: Queue) -> None:
    begun(queue)
    windows = queue.candidates.windows({"mail": 4}, queue.candidates.asking({"mail": 4}))
    assert windows["mail"].next() == ("j20", True)
    queue.candidates.settled(windows)
    assert queue.draw(3) == names(21, 3)


def test_what_could_not_be_claimed_is_read_past(queue: Queue) -> None:
    begun(queue)
    windows = queue.candidates.windows({"mail": 4}, queue.candidates.asking({"mail": 4}))
    windows["mail"].undrawable = 1
    queue.candidates.settled(windows)
    queue.draw(3)
    assert queue.times_asked() == 1
