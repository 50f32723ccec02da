"""Records and their bytes."""

from collections.abc import Callable
from typing import Any, Final

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from packhorse_broker.jobs.model import ActionRecord, AttemptRecord, End, Job, LogEntry, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.records import (
    INLINE_BYTES,
    ClientRecord,
    CorruptRecord,
    apart,
    decode_action,
    decode_attempt,
    decode_client,
    decode_entry,
    decode_job,
    encode_action,
    encode_attempt,
    encode_client,
    encode_entry,
    encode_job,
    size_bytes,
)
from tests.support.records import actions, attempts, clients, entries, jobs

SMALL: Final = Job(id="a", type="t", state=State.QUEUED, version=1, order=2, body=b"body")

Decode = Callable[[bytes], object]
DECODERS: Final[tuple[Decode, ...]] = (
    decode_job,
    decode_entry,
    decode_client,
    decode_attempt,
    decode_action,
)


# -- round trips


@given(jobs)
def test_job_comes_back_as_it_was_but_for_what_lives_apart(job: Job) -> None:
    expected = job
    if job.body is not None and len(job.body) > 512:
        expected = replace(expected, body=None, body_bytes=len(job.body))
    if job.outcome is not None and len(job.outcome) > 512:
        expected = replace(expected, outcome=None, outcome_bytes=len(job.outcome))
    found = decode_job(encode_job(job))
    assert found == expected
    for name, value in asdict(expected).items():
        assert type(getattr(found, name)) is type(value), name
    assert encode_job(found) == encode_job(expected)


@given(entries)
def test_log_entry_comes_back_as_it_was(entry: LogEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@given(clients)
def test_client_comes_back_as_it_was(client: ClientRecord) -> None:
    assert decode_client(encode_client(client)) == client


@given(attempts)
def test_attempt_comes_back_as_it_was(attempt: AttemptRecord) -> None:
    found = decode_attempt(encode_attempt(attempt))
    assert found == attempt
    assert (type(found.end), type(found.expired)) == (type(attempt.end), type(attempt.expired))


@given(actions)
def test_action_comes_back_as_it_was(action: ActionRecord) -> None:
    assert decode_action(encode_action(action)) == action


def test_job_record_is_small() -> None:
    assert len(encode_job(SMALL)) < 64


def test_plain_job_does_not_pay_for_what_others_have() -> None:
    assert len(msgpack.unpackb(encode_job(SMALL))) == 31
    assert len(msgpack.unpackb(encode_job(replace(SMALL, terms=Terms(priority=1))))) == 35


# -- what lives apart


@pytest.mark.parametrize(("size", "lives_apart"), [(0, False), (512, False), (513, True)])
def test_size_from_which_body_and_outcome_live_apart(size: int, lives_apart: bool) -> None:
    assert INLINE_BYTES == 512
    value = bytes(size)
    assert apart(value) is lives_apart
    done = replace(SMALL, state=State.COMPLETE, end=End.COMPLETED, body=value, outcome=value)
    found = decode_job(encode_job(done))
    assert found.body == (None if lives_apart else value)
    assert found.body_bytes == (size if lives_apart else 0)
    assert found.outcome == (None if lives_apart else value)
    assert found.outcome_apart is lives_apart


def test_nothing_does_not_live_apart() -> None:
    assert not apart(None)


def test_size_of_a_body_apart_is_kept_by_later_changes() -> None:
    stored = decode_job(encode_job(replace(SMALL, body=bytes(1_000))))
    again = decode_job(encode_job(replace(stored, version=2)))
    assert (again.body, again.body_bytes) == (None, 1_000)


def test_size_of_an_outcome_apart_is_kept_by_later_changes() -> None:
    done = replace(SMALL, state=State.COMPLETE, outcome=bytes(1_000))
    again = decode_job(encode_job(replace(decode_job(encode_job(done)), version=2)))
    assert (again.outcome, again.outcome_bytes, again.outcome_apart) == (None, 1_000, True)


@pytest.mark.parametrize("size", [0, 1, 512, 513, 2_000])
def test_size_of_a_job_is_the_same_wherever_its_parts_are(size: int) -> None:
    job = replace(SMALL, body=bytes(size), outcome=bytes(7))
    assert size_bytes(job) == size_bytes(decode_job(encode_job(job))) == size + 7


# -- older records


@given(jobs)
def test_older_record_is_shorter_and_gets_defaults(job: Job) -> None:
    job = replace(job, terms=job.terms or Terms(priority=1))
    whole: list[Any] = msgpack.unpackb(encode_job(job))
    names = Job.__struct_fields__
    defaults = asdict(Job(id="", type="", state=State.QUEUED, version=0, order=0))
    for kept in range(names.index("reason") + 1, len(names) + 1):
        found = decode_job(msgpack.packb(whole[:kept]))
        complete = decode_job(encode_job(job))
        for name in names[:kept]:
            assert getattr(found, name) == getattr(complete, name)
        for name in names[kept:]:
            assert getattr(found, name) == defaults[name]


def test_layout_of_the_stored_record() -> None:
    """Fields are only ever added, at the end: what is listed here stays as it is."""
    assert Job.__struct_fields__[:31] == (
        "id",
        "type",
        "state",
        "version",
        "order",
        "attempts",
        "current_attempt",
        "persistent",
        "runner",
        "token",
        "fence",
        "end",
        "handlers",
        "key",
        "created_by",
        "created_at",
        "queued_at",
        "started_at",
        "finished_at",
        "expires_at",
        "failed",
        "lost",
        "released",
        "progress",
        "log_first",
        "log_end",
        "reason",
        "fingerprint",
        "body",
        "body_bytes",
        "outcome",
    )


# -- what is no record


def _without(record: bytes, place: int, value: object) -> bytes:
    """The record with another value in one place."""
    values: list[object] = msgpack.unpackb(record)
    values[place] = value
    data: bytes = msgpack.packb(values)
    return data


RECORD: Final = encode_job(SMALL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"hello",
        RECORD[:-1],
        RECORD + b"\0",
        msgpack.packb([]),
        msgpack.packb(["a", "t", 1, 1]),
        msgpack.packb([*msgpack.unpackb(RECORD), 0, None, None, None, None]),
        msgpack.packb([*msgpack.unpackb(RECORD), 0, 5]),
        msgpack.packb([*msgpack.unpackb(RECORD), 0, ["high"]]),
        msgpack.packb([*msgpack.unpackb(RECORD), 0, None, [0, 0, 0, 0, 77]]),
        msgpack.packb(dict(zip("abcdef", range(6), strict=True))),
        msgpack.packb("a text that is longer than a record has fields"),
        msgpack.packb(7),
        msgpack.packb(None),
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        _without(RECORD, 2, 0),
        _without(RECORD, 2, 9),
        _without(RECORD, 2, "QUEUED"),
        _without(RECORD, 2, [1]),
        _without(RECORD, 11, 77),
        _without(RECORD, 12, None),
        _without(RECORD, 12, 5),
        _without(RECORD, 23, [1]),
        _without(RECORD, 23, 5),
        _without(RECORD, 26, 77),
        _without(RECORD, 26, {}),
    ],
)
def test_what_is_no_job_record_says_so(data: bytes) -> None:
    with pytest.raises(CorruptRecord, match=f"^{len(data)} bytes are no job record"):
        decode_job(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x98" + b"\0" * 8, b"\x05", b"\xc0"])
def test_what_is_no_log_entry_says_so(data: bytes) -> None:
    with pytest.raises(CorruptRecord, match="are no log entry"):
        decode_entry(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x99" + b"\0" * 9, b"\x05", b"\xc0"])
@pytest.mark.parametrize("decode", [decode_attempt, decode_action])
def test_what_is_no_attempt_or_action_says_so(decode: Decode, data: bytes) -> None:
    with pytest.raises(CorruptRecord, match=r"are no a(ttempt|ction)"):
        decode(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x9a" + b"\0" * 10, b"\x05", b"\xc0"])
def test_what_is_no_client_says_so(data: bytes) -> None:
    with pytest.raises(CorruptRecord, match="are no client record"):
        decode_client(data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(data)
        except CorruptRecord:
            continue


@given(jobs.map(encode_job), st.integers(0), st.integers(0, 255))
def test_a_record_with_one_byte_changed_raises_nothing_else(
    data: bytes, place: int, value: int
) -> None:
    broken = bytearray(data)
    broken[place % len(data)] = value
    try:
        decode_job(bytes(broken))
    except CorruptRecord:
        return
