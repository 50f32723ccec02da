"""Strategies for whole records: every field, whatever it may hold."""

from typing import Final

from hypothesis import strategies as st

from packhorse_broker.jobs.model import End, Job, LogEntry, Progress, Reason, State
from packhorse_broker.store.records import ClientRecord

texts: Final = st.text(max_size=20)
times: Final = st.integers(0, 2**48)
counts: Final = st.integers(0, 2**31)
data: Final = st.binary(max_size=40) | st.sampled_from((511, 512, 513)).map(bytes)

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
)

entries: Final[st.SearchStrategy[LogEntry]] = st.builds(
    LogEntry,
    offset=counts,
    time_ms=times,
    attempt=counts,
    type=st.sampled_from(("log", "progress")),
    message=texts,
    percent=st.none() | st.integers(0, 100),
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
