"""The rules of the state machine for finished jobs: handlers, groups, retention, removal."""

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Due,
    Evict,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Remove,
    RunnerGone,
)
from packhorse_broker.jobs.handlers import MAX_HANDLERS
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    ActionRecord,
    Applied,
    Course,
    Now,
    Refusal,
    RefusalCode,
    Retention,
    State,
)
from packhorse_broker.jobs.terms import Terms
from tests.jobs.examples import FAILED, HELD, JOBS, NEW, NOW, RULES, TOKEN, after, applied, refused


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
    early = applied(decide(job, Due(), Now(ms=159_999, order=1), RULES))
    assert not early.changed
    due = applied(decide(job, Due(), Now(ms=160_000, order=1), RULES))
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
            decision = applied(decide(job, Remove("boss", "old"), NOW, RULES))
            action = ActionRecord(100_000, "remove", "boss", "old", "job", "mail")
            assert decision == Applied(job, replace(job, version=8), removed=True, action=action)


def test_refusal_names_the_state_it_found() -> None:
    refusal = decide(HELD, Claim("other", b"nonce--3"), NOW, RULES)
    assert refusal == Refusal(RefusalCode.WRONG_STATE, "the job is STARTED", State.STARTED)


def test_outcome_is_apart_where_its_size_is_all_that_the_record_has() -> None:
    assert not HELD.outcome_apart
    assert not FAILED.outcome_apart
    assert replace(FAILED, outcome=None, outcome_bytes=9).outcome_apart


# -- retention


ENDS = (Complete("runner", TOKEN, b"x"), Fail("runner", TOKEN, b"x", retry=False))


@pytest.mark.parametrize(("end", "kept_ms"), [(ENDS[0], 300), (ENDS[1], 400)])
def test_retention_of_the_type_is_by_outcome(end: Command, kept_ms: int) -> None:
    rules = replace(RULES, retention=Retention(complete_ms=300, failed_ms=400))
    job = after(replace(HELD, handlers=()), end, rules=rules)
    assert job.expires_at == 100_000 + kept_ms
    left = after(after(HELD, end, rules=rules), HandlerGone("handler"), rules=rules)
    assert left.expires_at == 100_000 + kept_ms


@pytest.mark.parametrize("end", ENDS)
def test_job_with_a_retention_of_its_own_goes_by_that(end: Command) -> None:
    lonely = replace(HELD, handlers=(), terms=Terms(keep_ms=5))
    assert after(lonely, end).expires_at == 100_005
    at_once = applied(decide(replace(lonely, terms=Terms(keep_ms=0)), end, NOW, RULES))
    assert at_once.removed
    assert at_once.job.expires_at == 0


@pytest.mark.parametrize("end", ENDS)
def test_retention_of_nothing_removes_the_job_at_its_end_and_when_its_last_handler_leaves(
    end: Command,
) -> None:
    rules = replace(RULES, retention=Retention())
    assert applied(decide(replace(HELD, handlers=()), end, NOW, rules)).removed
    job = after(HELD, end, rules=rules)
    assert applied(decide(job, HandlerGone("handler"), NOW, rules)).removed


def test_evicted_are_only_jobs_that_nobody_handles_and_that_are_not_persistent() -> None:
    lonely = replace(FAILED, handlers=())
    assert applied(decide(lonely, Evict(), NOW, RULES)).removed
    for kept in (
        FAILED,
        replace(lonely, persistent=True),
        replace(lonely, course=Course(groups=("shop",))),
        replace(NEW, handlers=()),
    ):
        assert after(kept, Evict()) is kept


# -- groups of handlers


def test_group_handles_in_its_own_name_and_keeps_the_job_until_then() -> None:
    job = after(replace(HELD, handlers=()), Handle("ann", "shop"))
    assert (job.handlers, job.groups) == ((), ("shop",))
    job = after(job, Complete("runner", TOKEN, b""))
    assert job.expires_at == 0
    assert refused(decide(job, Handled("shop"), NOW, RULES)).code is RefusalCode.NOT_HANDLER
    assert after(job, HandlerGone("shop")) is job
    last = applied(decide(job, Handled("bob", "shop"), NOW, RULES))
    assert last.removed
    assert last.job.course is None


def test_job_goes_when_the_last_of_clients_and_groups_has_handled_it() -> None:
    job = after(HELD, Handle("ann", "shop"), Handle("ann", "till"), ENDS[1])
    job = after(job, Handled("handler"), Handled("ann", "shop"))
    assert (job.handlers, job.groups, job.version) == ((), ("till",), 12)
    assert applied(decide(job, Handled("ann", "till"), NOW, RULES)).removed
    persistent = after(replace(job, persistent=True), Handled("ann", "till"))
    assert (persistent.groups, persistent.expires_at) == ((), 0)


def test_group_keeps_a_job_whose_last_client_leaves() -> None:
    job = after(HELD, Handle("ann", "shop"), ENDS[0], HandlerGone("handler"))
    assert (job.handlers, job.expires_at) == ((), 0)


def test_group_that_comes_late_stops_retention() -> None:
    kept = replace(FAILED, handlers=(), expires_at=130_000)
    assert after(kept, Handle("ann", "shop")).expires_at == 0


def test_creating_again_adds_both_kinds_in_one_change() -> None:
    again = Create(
        "job", "mail", b"", "maker", handler="second", group="shop", fingerprint=b"content"
    )
    job = after(HELD, again)
    assert job == replace(
        HELD, handlers=("handler", "second"), course=Course(groups=("shop",)), version=8
    )
    assert after(job, again) is job


def test_clients_and_groups_have_one_bound_together() -> None:
    job = replace(
        NEW,
        handlers=tuple(f"client-{number}" for number in range(MAX_HANDLERS // 2)),
        course=Course(groups=tuple(f"group-{number}" for number in range(MAX_HANDLERS // 2))),
    )
    for command in (
        Handle("one-more"),
        Handle("ann", "one-more"),
        Create("job", "mail", b"", "maker", group="one-more", fingerprint=b"content"),
    ):
        assert refused(decide(job, command, NOW, RULES)).code is RefusalCode.TOO_MANY
    assert after(job, Handle("ann", "group-0")) is job
