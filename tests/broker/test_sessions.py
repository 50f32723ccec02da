"""A session by itself: what it has room for, and how pushes are put together."""

from typing import Any

from packhorse_broker.pushes import ITEM_BYTES, MAX_HELD_BACK_LOG, PUSH_BYTES, Push
from packhorse_broker.sessions import MAX_HELD_BACK_BYTES, MAX_HELD_BACK_JOBS, Session
from packhorse_protocol.messages import (
    ROLES,
    Cancellation,
    Cancelling,
    Claim,
    Claims,
    Event,
    Events,
    LogEntry,
    Outcome,
    Outcomes,
    Progress,
    Revocation,
    Revoke,
)
from tests.broker.test_feeder import Outlet

TOKEN = bytes(16)


def session() -> Session:
    return Session("c", "1", Outlet(), roles=frozenset(ROLES), timeout_ms=9, heartbeat_ms=3)


def claim(job: str, size: int = 0) -> Claim:
    return Claim(job=job, token=TOKEN, fence=1, type="t", attempt=1, payload=bytes(size))


def cancellation(job: str, grace_ms: int = 9, why: str = "") -> Cancellation:
    return Cancellation(job=job, token=TOKEN, grace_ms=grace_ms, why=why)


def entry(offset: int, message: str = "m") -> LogEntry:
    return LogEntry(offset=offset, time_ms=1, attempt=1, type="log", message=message)


def pushes(waiting: Session) -> list[Push]:
    found: list[Push] = []
    while (push := waiting.next_push()) is not None:
        found.append(push)
    assert not waiting.has_pushes()
    return found


def test_what_matters_most_is_pushed_first() -> None:
    waiting = session()
    waiting.push_event(Event(job="e", version=1))
    waiting.push_outcome(Outcome(job="o", type="t", state="COMPLETE", version=2))
    waiting.push_revocation(Revocation(job="r", token=TOKEN, reason="removed"))
    waiting.hold("c", "t", TOKEN)
    waiting.push_cancellation(cancellation("c"), 9)
    waiting.push_claim(claim("c"))
    kinds = [type(push) for push in pushes(waiting)]
    assert kinds == [Claims, Cancelling, Revoke, Outcomes, Events]


def test_a_claim_that_is_ending_uses_no_place_until_it_is_known_to_go_on() -> None:
    runner = session()
    runner.ready, runner.credit, runner.takes = True, 2, {"t": 1, "other": 2}
    runner.hold("j", "t", TOKEN)
    assert runner.rooms() == {"t": 0, "other": 1}
    runner.ends("j", TOKEN)
    runner.ends("j", TOKEN)
    assert runner.rooms() == {"t": 1, "other": 2}
    runner.goes_on("j", TOKEN)
    runner.goes_on("j", TOKEN)
    assert runner.rooms() == {"t": 0, "other": 1}
    runner.ends("j", TOKEN)
    assert runner.let_go("j", TOKEN)
    runner.goes_on("j", TOKEN)
    assert runner.rooms() == {"t": 1, "other": 2}


def test_a_claim_takes_the_place_of_one_of_the_same_job_that_was_ending() -> None:
    runner = session()
    runner.ready, runner.credit, runner.takes = True, 2, {"t": 2}
    runner.hold("j", "t", TOKEN)
    runner.ends("j", TOKEN)
    assert runner.hold("j", "t", b"another".ljust(16))
    runner.goes_on("j", TOKEN)
    assert runner.room_for("t") == runner.free == 1


def test_of_a_claim_only_the_newest_cancellation_is_pushed_and_only_while_it_is_held() -> None:
    waiting = session()
    for job in ("ended", "again", "held"):
        waiting.hold(job, "t", TOKEN)
        waiting.push_cancellation(cancellation(job), 9)
    waiting.push_cancellation(cancellation("held", 3), 8)
    waiting.let_go("ended", TOKEN)
    waiting.let_go("again", TOKEN)
    waiting.hold("again", "t", b"another".ljust(16))
    assert pushes(waiting) == [Cancelling(claims=(cancellation("held", 3),))]
    waiting.push_cancellation(cancellation("ended"), 9)
    assert pushes(waiting) == []


def test_many_cancellations_with_long_reasons_go_in_several_pushes() -> None:
    waiting = session()
    for number in range(1_000):
        waiting.hold(f"j{number}", "t", TOKEN)
        waiting.push_cancellation(cancellation(f"j{number}", why="w" * 1_000), 9)
    sizes = [len(push.claims) for push in pushes(waiting)]  # type: ignore[union-attr]
    assert sum(sizes) == 1_000
    assert len(sizes) > 1


def test_many_small_items_go_in_one_push_and_large_ones_alone() -> None:
    waiting = session()
    sizes = [10, 10, PUSH_BYTES, 10, 2 * PUSH_BYTES, 3 * PUSH_BYTES, 10, 10]
    for number, size in enumerate(sizes):
        waiting.push_claim(claim(f"j{number}", size))
    told = [[one.job for one in push.claims] for push in pushes(waiting)]  # type: ignore[union-attr]
    assert told == [["j0", "j1"], ["j2"], ["j3"], ["j4"], ["j5"], ["j6", "j7"]]


def test_a_push_is_bounded_in_number_too() -> None:
    waiting = session()
    for number in range(5_000):
        waiting.push_outcome(Outcome(job=f"j{number}", type="t", state="COMPLETE", version=2))
    sizes = [len(push.outcomes) for push in pushes(waiting)]  # type: ignore[union-attr]
    assert sum(sizes) == 5_000
    assert max(sizes) <= PUSH_BYTES // ITEM_BYTES


def test_events_of_a_job_held_back_become_one() -> None:
    waiting = session()
    waiting.push_event(Event(job="a", version=2, state="STARTED"))
    waiting.push_event(Event(job="b", version=7, state="QUEUED"))
    half = Progress(percent=50)
    waiting.push_event(Event(job="a", version=3, progress=half, log=(entry(0),)))
    waiting.push_event(Event(job="a", version=4, log=(entry(1),)))
    waiting.push_event(Event(job="a", version=5, state="COMPLETE", removed=True))
    [push] = pushes(waiting)
    assert push == Events(
        events=(
            Event(
                job="a",
                version=5,
                state="COMPLETE",
                progress=half,
                log=(entry(0), entry(1)),
                removed=True,
            ),
            Event(job="b", version=7, state="QUEUED"),
        )
    )


def test_the_log_held_back_is_bounded_for_each_job_and_for_all() -> None:
    waiting = session()
    for number in range(MAX_HELD_BACK_LOG + 50):
        waiting.push_event(Event(job="a", version=number, log=(entry(number),)))
    [push] = pushes(waiting)
    assert isinstance(push, Events)
    [event] = push.events
    assert [line.offset for line in event.log] == list(range(50, MAX_HELD_BACK_LOG + 50))
    for number in range(2_000):
        line = entry(number, "m" * 4_000)
        waiting.push_event(Event(job=f"j{number % 50}", version=number, log=(line,)))
    kept = [line for event in waiting._events.values() for line in event.log]
    assert sum(len(line.message) for line in kept) <= MAX_HELD_BACK_BYTES
    # Of each job the newest line stays.
    newest: dict[str, Any] = {job: event.log[-1].offset for job, event in waiting._events.items()}
    assert newest == {f"j{number % 50}": number for number in range(1_950, 2_000)}


def test_claims_held_count_by_type_and_in_all() -> None:
    runner = session()
    runner.ready = True
    runner.takes, runner.credit = {"a": 2, "b": 5}, 4
    assert (runner.room_for("a"), runner.room_for("b"), runner.room_for("c")) == (2, 4, 0)
    assert runner.hold("j1", "a", b"1")
    assert not runner.hold("j1", "a", b"1")
    runner.reserve("b")
    assert (runner.room_for("a"), runner.room_for("b")) == (1, 2)
    # The same job claimed anew is one claim.
    assert runner.hold("j1", "a", b"2")
    assert not runner.let_go("j1", b"1")
    assert (runner.room_for("a"), runner.room_for("b")) == (1, 2)
    runner.reserve("b", -1)
    assert runner.let_go("j1", b"2")
    assert (runner.room_for("a"), runner.room_for("b")) == (2, 4)


def test_what_ended_during_a_lookup_is_not_held_again() -> None:
    runner = session()
    with runner.lookup():
        with runner.lookup():
            assert not runner.let_go("j", b"old")
        assert not runner.hold("j", "t", b"old")
        assert runner.hold("j", "t", b"new")
    assert runner.hold("other", "t", b"old")


def test_removals_held_back_for_a_slow_reader_are_bounded() -> None:
    waiting = session()
    for n in range(MAX_HELD_BACK_JOBS + 5):
        waiting.push_removal(f"j{n}", version=2)
    waiting.push_event(Event(job="watched", version=3))
    events = [
        event for push in pushes(waiting) if isinstance(push, Events) for event in push.events
    ]
    assert len(events) == MAX_HELD_BACK_JOBS + 1
    assert events[0] == Event(job="j0", version=2, removed=True)
    assert events[-1].job == "watched"
