"""The commands that a batch of changes becomes."""

from typing import Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.model import End, Job, LogEntry, State
from packhorse_broker.store.changes import Change, Writes
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import Argument
from packhorse_broker.store.records import encode_entry, encode_job

KEYS: Final = PartitionKeys("ph", 0)
LARGE: Final = bytes(513)

QUEUED: Final = Job(
    id="one", type="mail", state=State.QUEUED, version=1, order=1, attempts=2, body=b"body"
)
PLACE: Final = b"\0\0\0\0\0\0\1one"
HELD: Final = replace(
    QUEUED,
    state=State.STARTED,
    version=2,
    current_attempt=1,
    runner="ann",
    token=b"t" * 16,
    fence=1,
    started_at=20,
)
DONE: Final = replace(
    HELD, state=State.COMPLETE, version=3, end=End.COMPLETED, finished_at=30, outcome=b"result"
)
LINES: Final = tuple(LogEntry(offset, 25, 1, "log", f"line {offset}") for offset in range(6))


def written(*changes: Change, known: tuple[str, ...] = ("mail",)) -> list[Argument]:
    writes = Writes(KEYS, set(known))
    for change in changes:
        writes.add(change)
    return writes.commands()


def changed(before: Job | None, after: Job, *log: LogEntry) -> Change:
    return Change(before, after, False, list(log))


def removed(before: Job | None, last: Job) -> Change:
    return Change(before, last, True, [])


# -- one job


def test_nothing_is_no_command() -> None:
    assert written() == []


def test_new_job() -> None:
    assert written(changed(None, QUEUED)) == [
        ("MSET", b"ph:{0}:j:one", encode_job(QUEUED)),
        ("ZADD", b"ph:{0}:q:mail", 0, PLACE),
    ]


def test_new_job_with_a_large_body_and_a_handler() -> None:
    job = replace(QUEUED, body=LARGE, handlers=("bob",))
    assert written(changed(None, job)) == [
        ("MSET", b"ph:{0}:j:one", encode_job(job), b"ph:{0}:b:one", LARGE),
        ("ZADD", b"ph:{0}:q:mail", 0, PLACE),
        ("ZADD", b"ph:{0}:h:bob", 0, b"one"),
    ]


def test_types_are_told_where_they_are_not_known_to_be() -> None:
    other = replace(QUEUED, id="two", type="post")
    writes = Writes(KEYS, {"mail"})
    for change in (changed(None, QUEUED), changed(None, other)):
        writes.add(change)
    assert writes.new_types == {"post"}
    assert writes.commands()[-1] == ("SADD", b"ph:{0}:types", "post")


def test_claim_moves_a_job_and_records_its_holder() -> None:
    assert written(changed(QUEUED, HELD)) == [
        ("MSET", b"ph:{0}:j:one", encode_job(HELD)),
        ("ZREM", b"ph:{0}:q:mail", PLACE),
        ("ZADD", b"ph:{0}:s:mail", 20, b"one"),
        ("ZADD", b"ph:{0}:r:ann", 20, b"one"),
    ]


def test_large_body_is_not_written_again() -> None:
    stored = replace(QUEUED, body=None, body_bytes=513)
    held = replace(HELD, body=None, body_bytes=513)
    [record, *_] = written(changed(stored, held))
    assert record == ("MSET", b"ph:{0}:j:one", encode_job(held))


def test_report_touches_no_index() -> None:
    spoken = replace(HELD, version=3, log_end=2)
    assert written(changed(HELD, spoken, *LINES[:2])) == [
        ("MSET", b"ph:{0}:j:one", encode_job(spoken)),
        ("RPUSH", b"ph:{0}:l:one", encode_entry(LINES[0]), encode_entry(LINES[1])),
    ]


def test_log_is_trimmed_by_as_many_as_were_dropped() -> None:
    before = replace(HELD, log_first=1, log_end=4)
    after = replace(HELD, version=3, log_first=3, log_end=6)
    [_, pushed, trimmed] = written(changed(before, after, *LINES[4:]))
    assert pushed == ("RPUSH", b"ph:{0}:l:one", *map(encode_entry, LINES[4:]))
    assert trimmed == ("LTRIM", b"ph:{0}:l:one", 2, -1)


def test_log_of_a_job_that_is_new_in_this_batch_is_trimmed_too() -> None:
    after = replace(HELD, log_first=2, log_end=6)
    *_, pushed, trimmed = written(changed(None, after, *LINES))
    assert pushed == ("RPUSH", b"ph:{0}:l:one", *map(encode_entry, LINES))
    assert trimmed == ("LTRIM", b"ph:{0}:l:one", 2, -1)


def test_end_of_a_job_with_a_handler_changes_its_place_there() -> None:
    held, done = replace(HELD, handlers=("bob",)), replace(DONE, handlers=("bob",))
    assert written(changed(held, done)) == [
        ("MSET", b"ph:{0}:j:one", encode_job(done)),
        ("ZREM", b"ph:{0}:s:mail", b"one"),
        ("ZREM", b"ph:{0}:r:ann", b"one"),
        ("ZADD", b"ph:{0}:c:mail", 30, b"one"),
        ("ZADD", b"ph:{0}:h:bob", 30, b"one"),
    ]


def test_large_outcome_is_written_apart() -> None:
    done = replace(DONE, outcome=LARGE)
    [record, *_] = written(changed(HELD, done))
    assert record == ("MSET", b"ph:{0}:j:one", encode_job(done), b"ph:{0}:o:one", LARGE)


def test_expiry_is_a_timer_until_it_is_called_off() -> None:
    kept = replace(DONE, state=State.FAILED, end=End.FAILED, expires_at=90)
    assert ("ZADD", b"ph:{0}:t", 90, b"one") in written(changed(HELD, kept))
    handled = replace(kept, handlers=("bob",), expires_at=0)
    assert ("ZREM", b"ph:{0}:t", b"one") in written(changed(kept, handled))


# -- removal


def test_removed_job_leaves_nothing() -> None:
    assert written(removed(QUEUED, QUEUED)) == [
        ("DEL", b"ph:{0}:j:one"),
        ("ZREM", b"ph:{0}:q:mail", PLACE),
    ]


def test_removed_job_takes_what_lived_apart_with_it() -> None:
    stored = replace(
        DONE, handlers=("bob",), body=None, body_bytes=513, outcome=None, log_first=1, log_end=2
    )
    assert written(removed(stored, replace(stored, handlers=()))) == [
        ("DEL", b"ph:{0}:j:one", b"ph:{0}:b:one", b"ph:{0}:o:one", b"ph:{0}:l:one"),
        ("ZREM", b"ph:{0}:c:mail", b"one"),
        ("ZREM", b"ph:{0}:h:bob", b"one"),
    ]


def test_job_that_came_and_went_in_one_batch_was_never_there() -> None:
    assert written(removed(None, DONE), known=()) == []


# -- many jobs


def test_many_changes_are_few_commands() -> None:
    def named(job: Job, number: int) -> Job:
        return replace(job, id=f"job-{number}", order=number)

    changes = [
        *(changed(None, named(QUEUED, number)) for number in range(100)),
        *(changed(named(QUEUED, number), named(HELD, number)) for number in range(100, 200)),
        *(removed(named(DONE, number), named(DONE, number)) for number in range(200, 300)),
    ]
    commands = written(*changes)
    assert sorted((command[0], len(command)) for command in commands) == [
        ("DEL", 1 + 100),
        ("MSET", 1 + 200 * 2),
        ("ZADD", 2 + 100 * 2),
        ("ZADD", 2 + 100 * 2),
        ("ZADD", 2 + 100 * 2),
        ("ZREM", 2 + 100),
        ("ZREM", 2 + 100),
    ]


# -- what a change means

BACK: Final = replace(HELD, state=State.QUEUED, version=3, current_attempt=0, released=1)
AGAIN: Final = replace(BACK, state=State.STARTED, version=4, fence=2, token=b"u" * 16)


def renewed(before: Job, after: Job) -> Change:
    return Change(before, after, False, [], renewed=True)


@pytest.mark.parametrize(
    ("change", "queued", "finished"),
    [
        pytest.param(changed(None, QUEUED), True, False, id="created"),
        pytest.param(changed(QUEUED, HELD), False, False, id="claimed"),
        pytest.param(changed(HELD, BACK), True, False, id="given back"),
        pytest.param(changed(QUEUED, BACK), True, False, id="claimed and given back"),
        pytest.param(changed(None, HELD), False, False, id="created and claimed"),
        pytest.param(changed(QUEUED, replace(QUEUED, version=2)), False, False, id="handled"),
        pytest.param(changed(HELD, DONE), False, True, id="completed"),
        pytest.param(changed(None, DONE), False, True, id="created and completed"),
        pytest.param(changed(DONE, replace(DONE, version=4)), False, False, id="handled late"),
        pytest.param(removed(HELD, DONE), False, True, id="completed and gone"),
        pytest.param(removed(HELD, HELD), False, False, id="removed under its runner"),
        pytest.param(removed(QUEUED, QUEUED), False, False, id="removed from its queue"),
        pytest.param(removed(DONE, DONE), False, False, id="removed when finished"),
        pytest.param(removed(None, QUEUED), False, False, id="came and went"),
        pytest.param(renewed(QUEUED, QUEUED), True, False, id="another in its place"),
        pytest.param(renewed(DONE, DONE), False, True, id="another, finished too"),
    ],
)
def test_what_became_of_the_job(change: Change, queued: bool, finished: bool) -> None:
    assert (change.queued, change.finished) == (queued, finished)


@pytest.mark.parametrize(
    ("change", "ended", "revoked"),
    [
        pytest.param(changed(None, QUEUED), None, None, id="never held"),
        pytest.param(changed(QUEUED, HELD), None, None, id="claimed"),
        pytest.param(changed(HELD, replace(HELD, version=3)), None, None, id="still held"),
        pytest.param(changed(HELD, DONE), HELD, False, id="completed"),
        pytest.param(removed(HELD, DONE), HELD, False, id="completed and gone"),
        pytest.param(changed(HELD, replace(BACK, end=End.RELEASED)), HELD, False, id="given back"),
        pytest.param(changed(HELD, replace(BACK, end=End.FAILED)), HELD, False, id="failed"),
        pytest.param(changed(HELD, replace(BACK, end=End.LOST)), HELD, True, id="lost"),
        pytest.param(changed(HELD, replace(BACK, end=End.TAKEN_BACK)), HELD, True, id="taken back"),
        pytest.param(changed(HELD, AGAIN), HELD, False, id="given back and claimed again"),
        pytest.param(removed(HELD, HELD), HELD, True, id="removed under its runner"),
        pytest.param(removed(HELD, AGAIN), AGAIN, True, id="removed under its next runner"),
        pytest.param(removed(QUEUED, HELD), HELD, True, id="claimed and removed"),
        pytest.param(removed(QUEUED, QUEUED), None, None, id="removed from its queue"),
        pytest.param(removed(DONE, DONE), None, None, id="removed when finished"),
        pytest.param(renewed(HELD, QUEUED), HELD, True, id="another in its place"),
        pytest.param(renewed(DONE, QUEUED), None, None, id="another in a finished one's place"),
    ],
)
def test_which_claim_ended_and_whether_its_runner_has_to_be_told(
    change: Change, ended: Job | None, revoked: bool | None
) -> None:
    assert change.ended_claim == ((ended.runner, ended.token) if ended is not None else None)
    if ended is not None:
        assert change.revoked is revoked
