"""The commands that a batch of changes becomes."""

from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.model import (
    ActionRecord,
    AttemptRecord,
    Course,
    End,
    Job,
    LogEntry,
    State,
)
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.changes import Change
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument
from packhorse_broker.store.records import (
    encode_action,
    encode_attempt,
    encode_entry,
    encode_job,
)
from packhorse_broker.store.writes import ACTIONS_KEPT, ATTEMPTS_KEPT, Writes

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
    return Change(before, after, log=log)


def removed(before: Job | None, last: Job) -> Change:
    return Change(before, last, removed=True)


# -- one job


def test_nothing_is_no_command() -> None:
    assert written() == []


def test_new_job() -> None:
    assert written(changed(None, QUEUED)) == [
        ("MSET", b"ph:{0}:j:one", encode_job(QUEUED)),
        ("ZADD", b"ph:{0}:q:mail", 0, PLACE),
        ("HINCRBY", b"ph:{0}:bytes", "mail", 4),
    ]


def test_new_job_with_a_large_body_and_a_handler() -> None:
    job = replace(QUEUED, body=LARGE, handlers=("bob",))
    assert written(changed(None, job)) == [
        ("MSET", b"ph:{0}:j:one", encode_job(job), b"ph:{0}:b:one", LARGE),
        ("ZADD", b"ph:{0}:q:mail", 0, PLACE),
        ("ZADD", b"ph:{0}:h:bob", 0, b"one"),
        ("HINCRBY", b"ph:{0}:bytes", "mail", 513),
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
        ("ZADD", b"ph:{0}:r:ann", 20, b"one"),
        ("ZADD", b"ph:{0}:s:mail", 20, b"one"),
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
        ("ZREM", b"ph:{0}:r:ann", b"one"),
        ("ZREM", b"ph:{0}:s:mail", b"one"),
        ("ZADD", b"ph:{0}:c:mail", 30, b"one"),
        ("ZADD", b"ph:{0}:h:bob", 30, b"one"),
        ("HINCRBY", b"ph:{0}:bytes", "mail", 6),
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
        ("HINCRBY", b"ph:{0}:bytes", "mail", -4),
    ]


def test_removed_job_takes_what_lived_apart_with_it() -> None:
    stored = replace(
        DONE,
        handlers=("bob",),
        body=None,
        body_bytes=513,
        outcome=None,
        outcome_bytes=600,
        log_first=1,
        log_end=2,
        failed=1,
    )
    assert written(removed(stored, replace(stored, handlers=()))) == [
        (
            "DEL",
            b"ph:{0}:j:one",
            b"ph:{0}:b:one",
            b"ph:{0}:o:one",
            b"ph:{0}:l:one",
            b"ph:{0}:a:one",
        ),
        ("ZREM", b"ph:{0}:c:mail", b"one"),
        ("ZREM", b"ph:{0}:h:bob", b"one"),
        ("HINCRBY", b"ph:{0}:bytes", "mail", -1113),
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
        ("HINCRBY", 4),
        ("MSET", 1 + 200 * 2),
        ("ZADD", 2 + 100 * 2),
        ("ZADD", 2 + 100 * 2),
        ("ZADD", 2 + 100 * 2),
        ("ZREM", 2 + 100),
        ("ZREM", 2 + 100),
    ]


# -- beyond the plain

LOCKED: Final = replace(QUEUED, terms=Terms(unique=Unique("k", Scope.UNTIL_FINISHED)))
LOCK: Final = b"ph:{0}:u:mail\0k"
WINDOW: Final = replace(QUEUED, terms=Terms(unique=Unique("k", Scope.WINDOW, 5_000)))


def test_unique_key_is_taken_with_the_job() -> None:
    [stored, *_] = written(changed(None, LOCKED))
    assert stored == ("MSET", b"ph:{0}:j:one", encode_job(LOCKED), LOCK, "one")


def test_unique_key_is_let_go_with_the_end_of_the_job() -> None:
    done = replace(DONE, terms=LOCKED.terms, handlers=("bob",))
    held = replace(HELD, terms=LOCKED.terms)
    assert ("DEL", LOCK) in written(changed(held, done))
    assert written(removed(held, done))[0] == ("DEL", b"ph:{0}:j:one", LOCK)
    assert ("DEL", LOCK) not in written(changed(LOCKED, held))


def test_unique_key_until_the_start_is_let_go_by_the_claim() -> None:
    terms = Terms(unique=Unique("k", Scope.UNTIL_STARTED))
    queued, held = replace(QUEUED, terms=terms), replace(HELD, terms=terms)
    assert ("DEL", LOCK) in written(changed(queued, held))


def test_unique_key_passes_from_one_job_to_another_in_one_batch() -> None:
    other = replace(LOCKED, id="two")
    commands = written(removed(LOCKED, LOCKED), changed(None, other))
    assert commands[0] == ("DEL", b"ph:{0}:j:one", LOCK)
    assert commands[1] == ("MSET", b"ph:{0}:j:two", encode_job(other), LOCK, "two")


def test_unique_key_for_a_window_is_left_to_the_store() -> None:
    assert ("SET", LOCK, "one", "PX", 5_000) in written(changed(None, WINDOW))
    held = replace(HELD, terms=WINDOW.terms)
    for change in (changed(WINDOW, held), removed(held, held)):
        assert not [command for command in written(change) if LOCK in command]


def test_new_content_takes_the_place_of_the_former() -> None:
    stored = replace(QUEUED, body=None, body_bytes=600)
    small = replace(QUEUED, version=2, body=b"small", body_bytes=0)
    assert written(changed(stored, small)) == [
        ("DEL", b"ph:{0}:b:one"),
        ("MSET", b"ph:{0}:j:one", encode_job(small)),
        ("HINCRBY", b"ph:{0}:bytes", "mail", -595),
    ]
    large = replace(QUEUED, version=2, body=LARGE)
    assert written(changed(QUEUED, large))[0] == (
        "MSET",
        b"ph:{0}:j:one",
        encode_job(large),
        b"ph:{0}:b:one",
        LARGE,
    )


def test_outcome_apart_goes_when_the_job_is_retried() -> None:
    failed = replace(DONE, state=State.FAILED, outcome=None, outcome_bytes=600)
    again = replace(QUEUED, version=4)
    commands = written(changed(failed, again))
    assert commands[0] == ("DEL", b"ph:{0}:o:one")
    assert ("HINCRBY", b"ph:{0}:bytes", "mail", -600) in commands
    assert written(changed(failed, replace(failed, version=4)))[0][0] == "MSET"


def test_attempts_and_actions_are_kept_up_to_a_bound() -> None:
    attempt = AttemptRecord(1, "ann", 20, 30, End.FAILED, error=b"error")
    action = ActionRecord(30, "retry", "bob", "why not", "one", "mail")
    change = Change(HELD, replace(QUEUED, failed=1), attempts=(attempt,), actions=(action,))
    assert written(change)[-4:] == [
        ("RPUSH", b"ph:{0}:a:one", encode_attempt(attempt)),
        ("LTRIM", b"ph:{0}:a:one", -ATTEMPTS_KEPT, -1),
        ("RPUSH", b"ph:{0}:actions", encode_action(action)),
        ("LTRIM", b"ph:{0}:actions", -ACTIONS_KEPT, -1),
    ]


def test_pending_job_is_in_the_index_that_moves_it_and_in_its_types() -> None:
    pending = replace(QUEUED, state=State.PENDING, course=Course(delayed_until=500))
    assert written(changed(None, pending))[1:3] == [
        ("ZADD", b"ph:{0}:p", 500, b"one"),
        ("ZADD", b"ph:{0}:d:mail", 500, b"one"),
    ]
