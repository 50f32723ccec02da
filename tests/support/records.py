"""Strategies for whole records: every field, whatever it may hold."""

from typing import Final

from hypothesis import strategies as st

from packhorse_broker.jobs.model import (
    ActionRecord,
    AttemptRecord,
    CancelRequest,
    Course,
    End,
    Expired,
    Job,
    LogEntry,
    LogTail,
    Progress,
    Reason,
    State,
)
from packhorse_broker.jobs.terms import Backoff, Growth, Jitter, Scope, Terms, Unique
from packhorse_broker.store.records import ClientRecord

texts: Final = st.text(max_size=20)
times: Final = st.integers(0, 2**48)
counts: Final = st.integers(0, 2**31)
data: Final = st.binary(max_size=40) | st.sampled_from((511, 512, 513)).map(bytes)

names: Final = st.lists(texts, max_size=3, unique=True).map(tuple)

terms: Final[st.SearchStrategy[Terms]] = st.builds(
    Terms,
    priority=st.integers(-1_000, 1_000),
    backoff=st.none()
    | st.builds(
        Backoff,
        growth=st.sampled_from(Growth),
        delay_ms=counts,
        factor_percent=counts,
        delays_ms=st.lists(counts, max_size=3).map(tuple),
        max_ms=counts,
        jitter=st.sampled_from(Jitter),
        jitter_percent=counts,
    ),
    idle_ms=counts,
    run_ms=counts,
    total_ms=counts,
    lost_limit=st.none() | counts,
    labels=names,
    unique=st.none() | st.builds(Unique, texts, st.sampled_from(Scope), counts),
    keep_ms=st.none() | counts,
)

courses: Final[st.SearchStrategy[Course]] = st.builds(
    Course,
    delayed_until=times,
    run_until=times,
    total_until=times,
    timed_out=counts,
    expired=st.sampled_from(Expired),
    cancel=st.none() | st.builds(CancelRequest, by=texts, at=times, until=times, why=texts),
    groups=names,
    pardoned=counts,
    retried=counts,
)

log_tails: Final[st.SearchStrategy[LogTail]] = st.builds(
    LogTail,
    size_bytes=counts,
    dropped_bytes=counts,
    marks=st.lists(st.tuples(counts, counts), max_size=3).map(tuple),
)

jobs: Final[st.SearchStrategy[Job]] = st.builds(
    Job,
    id=texts,
    type=texts,
    state=st.sampled_from(State),
    version=counts,
    order=st.integers(0, 2**55),
    attempts=counts,
    current_attempt=counts,
    persistent=st.booleans(),
    runner=st.none() | texts,
    token=st.none() | st.binary(min_size=16, max_size=16),
    fence=counts,
    end=st.sampled_from(End),
    handlers=st.lists(texts, max_size=3, unique=True).map(tuple),
    key=st.none() | texts,
    created_by=st.none() | texts,
    created_at=times,
    queued_at=times,
    started_at=times,
    finished_at=times,
    expires_at=times,
    failed=counts,
    lost=counts,
    released=counts,
    progress=st.none() | st.builds(Progress, st.integers(0, 100), texts),
    log_first=counts,
    log_end=counts,
    reason=st.none() | st.sampled_from(Reason),
    fingerprint=st.none() | st.binary(max_size=32),
    body=st.none() | data,
    body_bytes=counts,
    outcome=st.none() | data,
    terms=st.none() | terms,
    course=st.none() | courses,
    log_tail=st.none() | log_tails,
)

attempts: Final[st.SearchStrategy[AttemptRecord]] = st.builds(
    AttemptRecord,
    attempt=counts,
    runner=texts,
    started_at=times,
    finished_at=times,
    end=st.sampled_from(End),
    expired=st.sampled_from(Expired),
    error=st.none() | data,
    next_at=times,
)

actions: Final[st.SearchStrategy[ActionRecord]] = st.builds(
    ActionRecord,
    at=times,
    action=texts,
    by=texts,
    why=texts,
    job=st.none() | texts,
    type=st.none() | texts,
)

entries: Final[st.SearchStrategy[LogEntry]] = st.builds(
    LogEntry,
    offset=counts,
    time_ms=times,
    attempt=counts,
    type=st.sampled_from(("log", "progress", "action")),
    message=texts,
    percent=st.none() | st.integers(0, 100),
    by=st.none() | texts,
)

clients: Final[st.SearchStrategy[ClientRecord]] = st.builds(
    ClientRecord,
    id=texts,
    secret_hash=st.binary(max_size=32),
    timeout_ms=counts,
    roles=st.lists(texts, max_size=3).map(tuple),
    library=texts,
    registered_at=times,
    connection=texts,
    broker=texts,
    leaving_until=times,
)
