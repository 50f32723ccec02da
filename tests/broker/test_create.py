"""Creating jobs: one or many, with ids of one's own, again, and wrongly."""

import re
from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Complete,
    Completion,
    CountJobs,
    Create,
    Get,
    Handled,
    NewJob,
    Problem,
)
from packhorse_protocol.records import replace
from tests.support.brokers import Brokers

MADE_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{16}")

FULL = NewJob(
    id="mine",
    type="thumb",
    payload=b"\x00\xff" * 400,
    key="tenant",
    headers={"content-type": "image/png", "traceparent": ""},
    attempts=3,
    persistent=True,
)


@pytest.mark.parametrize("payload_bytes", [0, 1, 500, 513, 1024 * 1024])
async def test_a_job_is_kept_as_it_was_created(
    brokers: Brokers, broker: Broker, payload_bytes: int
) -> None:
    wire = await brokers.connect(broker, "creator")
    new = replace(FULL, id=None, payload=bytes(payload_bytes))
    [created] = await wire.ask(Create, jobs=(new,), handle=True)
    assert MADE_ID.fullmatch(created.job)
    assert (created.state, created.existed) == ("QUEUED", False)
    [job] = await wire.ask(Get, jobs=(created.job,))
    for field in ("type", "payload", "key", "headers", "attempts", "persistent"):
        assert getattr(job, field) == getattr(new, field)
    assert (job.state, job.version, job.current_attempt) == ("QUEUED", 1, 0)
    assert (job.created_by, job.handlers, job.runner) == ("creator", ("creator",), None)
    assert job.created_at == job.queued_at > 0
    assert (job.started_at, job.finished_at, job.log_end) == (0, 0, 0)
    assert (job.failed, job.lost, job.released) == (0, 0, 0)
    assert (job.progress, job.reason, job.result, job.error) == (None, None, None, None)


async def test_each_job_of_a_batch_succeeds_or_fails_by_itself(brokers: Brokers) -> None:
    broker = await brokers.start(max_payload_bytes=100)
    wire = await brokers.connect(broker)
    results = await wire.ask(
        Create,
        jobs=(
            NewJob(type="t", id="a"),
            NewJob(type="t", payload=bytes(101)),
            NewJob(type="t", id="a", attempts=2),
            NewJob(type="t", id="a"),
            NewJob(type="t", payload=bytes(100)),
        ),
    )
    fits = [isinstance(result, Problem) for result in results]
    assert fits == [False, True, True, False, False]
    too_large, conflict, again = results[1:4]
    assert (too_large.code, too_large.details) == (Code.TOO_LARGE, {"limit": "100"})
    assert (conflict.code, conflict.details) == (Code.CONFLICT, {"state": "QUEUED"})
    assert not too_large.retryable
    assert not conflict.retryable
    assert (again.job, again.existed) == ("a", True)
    [counts] = await wire.ask(CountJobs)
    assert counts.types["t"]["QUEUED"] == 2


async def test_a_thousand_jobs_in_one_frame(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    results = await wire.ask(Create, jobs=tuple(NewJob(type="t", id=f"j{n}") for n in range(1_000)))
    assert [result.job for result in results] == [f"j{n}" for n in range(1_000)]
    [counts] = await wire.ask(CountJobs, types=("t",))
    assert counts.types["t"]["QUEUED"] == 1_000


# -- again


async def test_creating_again_is_answered_like_the_first_time(
    brokers: Brokers, broker: Broker
) -> None:
    wire, other = await brokers.connect(broker), await brokers.connect(broker, "other")
    [first] = await wire.ask(Create, jobs=(FULL,))
    [again] = await other.ask(Create, jobs=(FULL,))
    assert (first.existed, again.existed) == (False, True)
    assert again.job == first.job
    [job] = await wire.ask(Get, jobs=("mine",))
    assert (job.version, job.created_by) == (1, wire.id)


async def test_headers_that_are_empty_or_absent_are_the_same(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await wire.ask(Create, jobs=(NewJob(type="t", id="a"),))
    [again] = await wire.ask(Create, jobs=(NewJob(type="t", id="a", headers={}),))
    assert again.existed


@pytest.mark.parametrize(
    "other",
    [
        {"type": "other"},
        {"payload": b""},
        {"key": None},
        {"headers": None},
        {"headers": {"content-type": "image/png"}},
        {"attempts": 4},
        {"persistent": False},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_other_content_under_the_same_id_is_a_conflict(
    brokers: Brokers, broker: Broker, other: dict[str, Any]
) -> None:
    wire = await brokers.connect(broker)
    await wire.ask(Create, jobs=(FULL,))
    [refused] = await wire.ask(Create, jobs=(replace(FULL, **other),), handle=True)
    assert refused.code == Code.CONFLICT
    [job] = await wire.ask(Get, jobs=("mine",))
    assert (job.version, job.handlers) == (1, ())


async def test_an_id_that_the_broker_made_is_nobody_elses(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    [made] = await wire.ask(Create, jobs=(NewJob(type="t"),))
    [refused] = await wire.ask(Create, jobs=(NewJob(type="t", id=made.job),))
    assert refused.code == Code.CONFLICT


async def test_creating_again_can_add_a_handler(brokers: Brokers, broker: Broker) -> None:
    wire, other = await brokers.connect(broker, "a"), await brokers.connect(broker, "b")
    await wire.ask(Create, jobs=(FULL,), handle=True)
    [again] = await other.ask(Create, jobs=(FULL,), handle=True)
    assert again.existed
    [job] = await wire.ask(Get, jobs=("mine",))
    assert job.handlers == ("a", "b")


async def test_creating_a_finished_job_again_brings_its_outcome(
    brokers: Brokers, broker: Broker
) -> None:
    wire, late = await brokers.connect(broker), await brokers.connect(broker)
    await wire.ask(Create, jobs=(FULL,))
    [claim] = await wire.ask(ClaimJobs, jobs=("mine",))
    await wire.ask(Complete, jobs=(Completion(job="mine", token=claim.token, result=b"r"),))
    [again] = await late.ask(Create, jobs=(FULL,), handle=True)
    assert (again.state, again.existed) == ("COMPLETE", True)
    [outcome] = await late.outcomes(1)
    assert (outcome.job, outcome.result) == ("mine", b"r")


async def test_an_id_is_free_when_its_job_has_gone(brokers: Brokers, broker: Broker) -> None:
    """Also for the same content: it is another job, and its outcome another outcome."""
    wire = await brokers.connect(broker)
    new = NewJob(type="t", id="again")
    for result in (b"first", b"second"):
        [created] = await wire.ask(Create, jobs=(new,), handle=True)
        assert not created.existed
        [claim] = await wire.ask(ClaimJobs, jobs=("again",))
        await wire.ask(Complete, jobs=(Completion(job="again", token=claim.token, result=result),))
        [outcome] = await wire.outcomes(1)
        assert outcome.result == result
        await wire.ask(Handled, jobs=("again",))
