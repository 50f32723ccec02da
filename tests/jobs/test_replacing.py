"""A job that was never started gets the content of another create that wanted its unique key."""

from typing import Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Command,
    Complete,
    Create,
    Due,
    Replace,
)
from packhorse_broker.jobs.handlers import MAX_HANDLERS
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    Course,
    End,
    Job,
    Now,
    RefusalCode,
    Replacement,
    State,
)
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from tests.jobs.examples import HELD, NEW, NOW, RULES, after, refused

LATER: Final = Now(ms=150_000, order=1_000)
NONCE: Final = b"nonce---"
FIRST: Final = (1).to_bytes(8, "big") + NONCE
"""The token of the first claim with this nonce."""


def _create(delay_ms: int = 0, delay_until: int = 0, terms: Terms | None = None) -> Create:
    return Create(
        "job", "mail", b"", "maker", delay_ms=delay_ms, delay_until=delay_until, terms=terms
    )


CONTENT = Create(
    "other",
    "mail",
    b"new",
    "second maker",
    key="other tenant",
    attempts=9,
    persistent=True,
    handler="second",
    fingerprint=b"other content",
    group="shop",
    terms=Terms(priority=2),
)


def test_replaced_job_has_the_new_content_and_its_old_identity_and_handlers() -> None:
    assert after(replace(NEW, body=None, body_bytes=700), Replace(CONTENT)) == replace(
        NEW,
        version=8,
        order=900,
        attempts=9,
        persistent=True,
        handlers=("handler", "second"),
        key="other tenant",
        queued_at=100_000,
        body=b"new",
        body_bytes=0,
        terms=Terms(priority=2),
        course=Course(groups=("shop",), replaced_by=Replacement("other", b"other content")),
    )


def test_replacement_does_not_change_how_long_the_unique_key_is_held() -> None:
    window = Unique("k", Scope.WINDOW, 60_000)
    longer = Terms(priority=2, unique=Unique("k", Scope.WINDOW, 90_000))
    held = replace(NEW, terms=Terms(unique=window))
    assert after(held, Replace(replace(CONTENT, terms=longer))).terms == Terms(
        priority=2, unique=window
    )
    assert after(NEW, Replace(replace(CONTENT, terms=Terms(unique=window)))).terms is None


@pytest.mark.parametrize(
    "commands",
    [
        (),
        (Claim("runner", NONCE),),
        (Claim("runner", NONCE), Complete("runner", FIRST, b"")),
        (Cancel("boss"),),
    ],
    ids=len,
)
def test_the_same_replacement_again_changes_nothing_but_may_add_handlers(
    commands: tuple[Command, ...],
) -> None:
    job = after(NEW, Replace(CONTENT), *commands)
    assert after(job, Replace(CONTENT)) is job
    added = after(job, Replace(replace(CONTENT, handler="third")))
    assert added == replace(
        job, version=job.version + 1, handlers=("handler", "second", "third"), expires_at=0
    )


def test_who_made_the_job_may_repeat_that_after_it_was_replaced() -> None:
    job = after(NEW, Replace(CONTENT))
    again = Create("job", "mail", b"body", "maker", fingerprint=b"content")
    assert after(job, again) is job
    other = replace(again, fingerprint=b"other content")
    assert refused(decide(job, other, NOW, RULES)).code is RefusalCode.CONFLICT


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTENT, id="third"),
        replace(CONTENT, fingerprint=b"third content"),
        replace(CONTENT, fingerprint=None),
    ],
)
def test_another_replacement_is_one(other: Create) -> None:
    job = after(NEW, Replace(CONTENT))
    again = after(job, Replace(other), now=LATER)
    assert (again.version, again.queued_at) == (job.version + 1, LATER.ms)
    refusal = refused(decide(after(job, Claim("r", NONCE)), Replace(other), NOW, RULES))
    assert refusal.code is RefusalCode.WRONG_STATE


def test_replacement_begins_the_delay_anew() -> None:
    pending = after(None, _create(delay_ms=50_000))
    pushed = after(pending, Replace(_create(delay_ms=70_000)), now=Now(120_000, 1_000))
    assert (pushed.state, pushed.delayed_until, pushed.order) == (State.PENDING, 190_000, 900)
    at_once = after(pushed, Replace(_create()), now=LATER)
    assert (at_once.state, at_once.course, at_once.order) == (State.QUEUED, None, 1_000)
    held_back = after(at_once, Replace(_create(delay_until=160_000)), now=LATER)
    assert (held_back.state, held_back.delayed_until) == (State.PENDING, 160_000)
    assert held_back.order == 1_000


def test_replacement_begins_the_total_timeout_when_the_job_can_run() -> None:
    terms = Terms(total_ms=500)
    queued = after(NEW, Replace(_create(terms=terms)))
    assert queued.course == Course(total_until=100_500)
    delayed = after(queued, Replace(_create(delay_ms=50_000, terms=terms)))
    assert delayed.course == Course(delayed_until=150_000)
    assert after(delayed, Due(), now=LATER).course == Course(total_until=150_500)
    assert after(queued, Replace(_create())).course is None


@pytest.mark.parametrize(
    "job",
    [
        replace(HELD, state=State.QUEUED, end=End.RELEASED, current_attempt=0),
        replace(HELD, state=State.PENDING, end=End.FAILED, course=Course(delayed_until=9)),
    ],
)
def test_job_that_was_started_before_is_not_replaced(job: Job) -> None:
    refusal = refused(decide(job, Replace(CONTENT), NOW, RULES))
    assert (refusal.code, refusal.state) == (RefusalCode.WRONG_STATE, job.state)


def test_replacement_may_not_bring_too_many_handlers() -> None:
    full = replace(NEW, handlers=tuple(f"client-{number}" for number in range(MAX_HANDLERS - 1)))
    refusal = refused(decide(full, Replace(CONTENT), NOW, RULES))
    assert refusal.code is RefusalCode.TOO_MANY
    known = replace(CONTENT, handler="client-0")
    assert len(after(full, Replace(known)).handlers) == MAX_HANDLERS - 1


@pytest.mark.parametrize("command", [Due(), Replace(_create(delay_ms=5))])
def test_groups_outlast_a_delay(command: Command) -> None:
    job = after(None, replace(_create(delay_ms=50_000), group="shop"))
    assert after(job, command, now=LATER).groups == ("shop",)
