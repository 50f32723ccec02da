"""The rules of the state machine for finished jobs: handlers, persistence, retention, removal."""

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Expire,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Remove,
    RunnerGone,
)
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    Applied,
    Now,
    Refusal,
    RefusalCode,
    State,
)
from tests.jobs.examples import FAILED, HELD, JOBS, NEW, NOW, RULES, TOKEN, after, applied


def test_handlers_keep_their_order_and_go_one_by_one() -> None:
    job = after(HELD, Handle("second"), Handle("third"), Complete("runner", TOKEN, b""))
    assert job.handlers == ("handler", "second", "third")
    job = after(job, Handled("second"))
    assert job.handlers == ("handler", "third")
    job = after(job, Handled("handler"))
    last = applied(decide(job, Handled("third"), NOW, RULES))
    assert last.removed
    assert last.job.handlers == ()


def test_complete_job_that_nobody_waits_for_goes_at_once() -> None:
    lonely = replace(HELD, handlers=())
    decision = applied(decide(lonely, Complete("runner", TOKEN, b"result"), NOW, RULES))
    assert decision.removed
    assert (decision.job.state, decision.job.outcome) == (State.COMPLETE, b"result")


@pytest.mark.parametrize(
    "command", [Fail("runner", TOKEN, b"error", retry=False), RunnerGone("runner")]
)
def test_failed_job_that_nobody_waits_for_is_kept_a_while(command: Command) -> None:
    lonely = replace(HELD, handlers=(), current_attempt=3)
    job = after(lonely, command)
    assert job.expires_at == 100_000 + 60_000
    early = applied(decide(job, Expire(), Now(ms=159_999, order=1), RULES))
    assert not early.changed
    due = applied(decide(job, Expire(), Now(ms=160_000, order=1), RULES))
    assert due.removed


@pytest.mark.parametrize(
    "command", [Complete("runner", TOKEN, b"x"), Fail("runner", TOKEN, b"x", retry=False)]
)
def test_persistent_job_stays_for_good(command: Command) -> None:
    job = after(replace(HELD, persistent=True), command, Handled("handler"))
    assert (job.handlers, job.expires_at) == ((), 0)
    lonely = after(replace(HELD, persistent=True, handlers=()), command)
    assert lonely.expires_at == 0
    assert after(job, Handle("late")).handlers == ("late",)


def test_persistent_job_stays_when_its_handler_leaves() -> None:
    done = after(replace(HELD, persistent=True), Complete("runner", TOKEN, b"result"))
    decision = applied(decide(done, HandlerGone("handler"), NOW, RULES))
    assert not decision.removed
    assert (decision.job.handlers, decision.job.expires_at) == ((), 0)


def test_handler_that_comes_late_stops_retention() -> None:
    job = after(replace(FAILED, handlers=(), expires_at=100_000), Handle("late"))
    assert (job.handlers, job.expires_at) == (("late",), 0)
    assert applied(decide(job, Handled("late"), NOW, RULES)).removed


def test_retention_counts_from_the_end_of_the_job_when_the_last_handler_leaves() -> None:
    two = replace(FAILED, handlers=("handler", "second"))
    one = after(two, HandlerGone("second"))
    assert (one.handlers, one.expires_at) == (("handler",), 0)
    none = after(one, HandlerGone("handler"))
    assert (none.handlers, none.expires_at) == ((), 30_000 + 60_000)


def test_handler_that_leaves_an_unfinished_job_removes_nothing() -> None:
    for job in (NEW, HELD):
        decision = applied(decide(job, HandlerGone("handler"), NOW, RULES))
        assert decision == Applied(job, replace(job, handlers=(), version=8))


def test_removed_job_is_told_as_it_was() -> None:
    for job in JOBS.values():
        if job is not None:
            decision = applied(decide(job, Remove(), NOW, RULES))
            assert decision == Applied(job, replace(job, version=8), removed=True)


def test_refusal_names_the_state_it_found() -> None:
    refused = decide(HELD, Claim("other", b"nonce--3"), NOW, RULES)
    assert refused == Refusal(RefusalCode.WRONG_STATE, "the job is STARTED", State.STARTED)
