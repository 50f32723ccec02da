"""Which index entries a job has."""

from typing import Final

import pytest
from hypothesis import given
from msgspec.structs import replace

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.indexes import Entry, entries, removed_entries
from packhorse_broker.store.keys import PartitionKeys
from tests.support.records import jobs

KEYS: Final = PartitionKeys("ph", 0)
JOB: Final = Job(
    id="job:1",
    type="mail",
    state=State.QUEUED,
    version=1,
    order=0x0102,
    runner="ann",
    started_at=20,
    finished_at=0,
)
MEMBER: Final = b"job:1"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (JOB, {(b"ph:{0}:q:mail", b"\0\0\0\0\0\1\2job:1", 0)}),
        (
            replace(JOB, state=State.STARTED),
            {(b"ph:{0}:s:mail", MEMBER, 20), (b"ph:{0}:r:ann", MEMBER, 20)},
        ),
        (
            replace(JOB, state=State.COMPLETE, finished_at=30),
            {(b"ph:{0}:c:mail", MEMBER, 30)},
        ),
        (
            replace(JOB, state=State.FAILED, finished_at=30, expires_at=90),
            {(b"ph:{0}:f:mail", MEMBER, 30), (b"ph:{0}:t", MEMBER, 90)},
        ),
        (
            replace(JOB, handlers=("bob", "c:d")),
            {
                (b"ph:{0}:q:mail", b"\0\0\0\0\0\1\2job:1", 0),
                (b"ph:{0}:h:bob", MEMBER, 0),
                (b"ph:{0}:h:c:d", MEMBER, 0),
            },
        ),
        (
            replace(JOB, state=State.COMPLETE, finished_at=30, handlers=("bob",)),
            {(b"ph:{0}:c:mail", MEMBER, 30), (b"ph:{0}:h:bob", MEMBER, 30)},
        ),
    ],
    ids=["queued", "started", "complete", "failed", "handled", "owed"],
)
def test_entries_of_a_job(job: Job, expected: set[Entry]) -> None:
    found = entries(KEYS, job)
    assert set(found) == expected
    assert len(found) == len(expected)


@given(jobs.filter(lambda job: job.runner is not None))
def test_each_entry_is_in_another_set(job: Job) -> None:
    places = [key for key, _, _ in entries(KEYS, job)]
    assert len(set(places)) == len(places)


@given(jobs.filter(lambda job: job.runner is not None))
def test_entries_do_not_depend_on_what_a_job_carries(job: Job) -> None:
    bare = replace(job, body=None, outcome=None, progress=None, version=0, log_end=0, key=None)
    assert entries(KEYS, bare) == entries(KEYS, job)


def test_entry_whose_score_changes_is_not_removed() -> None:
    before = [(b"k", b"m", 1), (b"k", b"n", 1), (b"l", b"m", 1)]
    after = [(b"k", b"m", 2), (b"l", b"n", 1)]
    assert list(removed_entries(before, after)) == [(b"k", b"n", 1), (b"l", b"m", 1)]
