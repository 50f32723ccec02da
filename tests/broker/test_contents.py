"""What is kept of what users put into a job."""

from typing import Any, Final

import pytest

from packhorse_broker.contents import (
    MAX_ERROR_BYTES,
    fingerprint,
    on_duplicate_of,
    pack_body,
    pack_error,
    pack_result,
    terms_of,
    unpack_body,
    unpack_outcome,
)
from packhorse_broker.jobs.commands import OnDuplicate
from packhorse_broker.jobs.terms import Backoff, Growth, Jitter, Scope, Terms, Unique
from packhorse_protocol.messages import Backoff as WireBackoff
from packhorse_protocol.messages import Error, NewJob, Timeouts
from packhorse_protocol.messages import Unique as WireUnique
from packhorse_protocol.records import replace

PLAIN: Final = NewJob(type="t", payload=b"data", headers={"a": "b", "c": "d"}, key="k")

UNCOMMON: Final[list[dict[str, Any]]] = [
    {"delay_ms": 1},
    {"delay_until": 1},
    {"priority": -1},
    {"backoff": WireBackoff(type="fixed")},
    {"timeouts": Timeouts(idle_ms=1)},
    {"timeouts": Timeouts(run_ms=1)},
    {"timeouts": Timeouts(total_ms=1)},
    {"lost_limit": 0},
    {"labels": ("a",)},
    {"labels": ("b",)},
    {"unique": WireUnique(key="u")},
    {"unique": WireUnique(key="u", on_duplicate="join")},
    {"unique": WireUnique(key="u", scope="window", window_ms=1)},
    {"unique": WireUnique(key="u", scope="window", window_ms=2)},
    {"keep_ms": 0},
]


def test_bodies_come_back() -> None:
    for payload, headers in ((b"", None), (b"\x00\xff", {"a": "ä"})):
        assert unpack_body(pack_body(payload, headers)) == (payload, headers)


def test_a_plain_job_has_no_terms() -> None:
    assert terms_of(PLAIN) is None
    assert terms_of(replace(PLAIN, delay_ms=5, delay_until=5)) is None
    assert terms_of(replace(PLAIN, timeouts=Timeouts())) is None
    assert on_duplicate_of(PLAIN) is OnDuplicate.REJECT


def test_terms_are_what_the_creator_asked_for() -> None:
    job = replace(
        PLAIN,
        priority=-3,
        backoff=WireBackoff(
            type="exponential",
            delay_ms=100,
            factor_percent=150,
            max_ms=9_000,
            jitter="share",
            jitter_percent=20,
        ),
        timeouts=Timeouts(idle_ms=1, run_ms=2, total_ms=3),
        lost_limit=4,
        labels=("b", "a", "b"),
        unique=WireUnique(key="u", scope="window", window_ms=7, on_duplicate="replace"),
        keep_ms=0,
    )
    assert terms_of(job) == Terms(
        priority=-3,
        backoff=Backoff(Growth.EXPONENTIAL, 100, 150, (), 9_000, Jitter.SHARE, 20),
        idle_ms=1,
        run_ms=2,
        total_ms=3,
        lost_limit=4,
        labels=("b", "a"),
        unique=Unique("u", Scope.WINDOW, 7),
        keep_ms=0,
    )
    assert on_duplicate_of(job) is OnDuplicate.REPLACE


@pytest.mark.parametrize("growth", ["fixed", "linear", "exponential", "list"])
@pytest.mark.parametrize("jitter", ["none", "full", "equal", "share"])
def test_every_backoff_has_its_like(growth: Any, jitter: Any) -> None:
    terms = terms_of(replace(PLAIN, backoff=WireBackoff(type=growth, jitter=jitter)))
    assert terms is not None
    assert terms.backoff is not None
    assert terms.backoff.growth.name.lower() == growth
    assert terms.backoff.jitter.name.lower() == jitter
    assert terms.backoff.max_ms == 0


def told(job: NewJob) -> bytes:
    return fingerprint(job, terms_of(job))


def test_a_fingerprint_tells_jobs_apart() -> None:
    different = [
        PLAIN,
        replace(PLAIN, type="u"),
        replace(PLAIN, payload=b"other"),
        replace(PLAIN, headers=None),
        replace(PLAIN, key=None),
        replace(PLAIN, attempts=2),
        replace(PLAIN, persistent=True),
        *(replace(PLAIN, **fields) for fields in UNCOMMON),
    ]
    assert len({told(job) for job in different}) == len(different)


def test_a_fingerprint_is_the_same_for_what_means_the_same() -> None:
    assert told(PLAIN) == told(replace(PLAIN, headers={"c": "d", "a": "b"}))
    assert told(PLAIN) == told(replace(PLAIN, timeouts=Timeouts()))
    twice = replace(PLAIN, labels=("a", "b", "a"))
    assert told(twice) == told(replace(PLAIN, labels=("a", "b")))


def test_a_plain_job_keeps_its_fingerprint_over_versions() -> None:
    """A create that is repeated at a newer broker finds the job of an older one."""
    assert told(NewJob(type="a", payload=b"x")).hex() == "107c348ee0b43cbedc32b3645c7c5a64"


def test_outcomes_come_back() -> None:
    error = Error(type="Oops", message="no", traceback="line 1\nline 2")
    assert unpack_outcome(pack_result(b"\x00")) == b"\x00"
    assert unpack_outcome(pack_error(error)) == error


@pytest.mark.parametrize("text", ["x", "ü", "€", "\U0001f40e"])
@pytest.mark.parametrize("around", ["", "\U0001f40e" * 1_024])
def test_a_long_traceback_keeps_its_two_ends(text: str, around: str) -> None:
    traceback = f"first\n{text * 32_000}\nlast"
    packed = pack_error(Error(type=around, message=around, traceback=traceback))
    assert MAX_ERROR_BYTES - 16 < len(packed) <= MAX_ERROR_BYTES
    error = unpack_outcome(packed)
    assert isinstance(error, Error)
    assert (error.type, error.message) == (around, around)
    head, marker, tail = error.traceback.split("\n... ")[0], "bytes left out ...", "last"
    assert head.startswith("first\n")
    assert error.traceback.endswith(f"{text}\n{tail}")
    assert error.traceback.count(marker) == 1
    assert set(error.traceback.replace("first\n", "").split("\n... ")[0]) == {text}


def test_a_traceback_that_just_fits_is_left_alone() -> None:
    overhead = len(pack_error(Error(traceback="x" * 300))) - 300
    fits = Error(traceback="x" * (MAX_ERROR_BYTES - overhead))
    assert len(pack_error(fits)) == MAX_ERROR_BYTES
    assert unpack_outcome(pack_error(fits)) == fits
    longer = Error(traceback=fits.traceback + "x")
    cut = unpack_outcome(pack_error(longer))
    assert isinstance(cut, Error)
    assert "bytes left out" in cut.traceback
