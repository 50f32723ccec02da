"""Our broker conforms, and a broker that breaks a rule is caught."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from packhorse_broker.jobs import attempts, byhand, handlers, waiting
from packhorse_conformance import broker_scenarios
from packhorse_conformance.address import TcpAddress
from packhorse_conformance.running import UNREADABLE
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.values import Message
from tests.conformance.meddler import Meddler
from tests.conformance.playing import assert_all_passed, played

ALL: list[Scenario[Site]] = scenarios_in(broker_scenarios)

MUTANT_S = 1.5
"""A mutant that says nothing is known by then."""


async def test_our_broker_conforms_and_is_left_without_a_job(address: TcpAddress) -> None:
    before_it_goes = [scenario for scenario in ALL if not scenario.alone]
    assert_all_passed(await played(before_it_goes, partial(sited, address)))
    async with sited(address) as site:
        wire = await site.client()
        counted = await wire.one("counts")
    left = {name: states for name, states in counted["types"].items() if any(states.values())}
    assert left == {}


# --- The kit can fail ------------------------------------------------------------------------


def results(message: Message, change: Callable[[Message], Message]) -> Message:
    """An `ok` whose entries are changed."""
    if message["t"] != "ok":
        return message
    return {**message, "results": [change(entry) for entry in message["results"]]}


def takes_any_version(message: Message) -> list[Message]:
    return [{**message, "versions": [1]} if message["t"] == "hello" else message]


def takes_floats(message: Message) -> list[Message]:
    jobs = [
        {**job, "priority": 7} if isinstance(job, dict) and "priority" in job else job
        for job in message.get("jobs", ())
    ]
    return [{**message, "jobs": jobs} if message["t"] == "create" else message]


def answers_twice(message: Message) -> list[Message]:
    return [message, message] if message["t"] == "ok" else [message]


def answers_in_reverse(message: Message) -> list[Message]:
    return [{**message, "results": message["results"][::-1]} if message["t"] == "ok" else message]


def forgets_existed(message: Message) -> list[Message]:
    return [results(message, lambda entry: {k: v for k, v in entry.items() if k != "existed"})]


def is_never_retryable(message: Message) -> list[Message]:
    def final(entry: Message) -> Message:
        problem = entry.get("problem")
        return {"problem": {**problem, "retryable": False}} if problem else entry

    return [results(message, final)]


def tells_another_code(message: Message) -> list[Message]:
    def other(entry: Message) -> Message:
        if entry.get("problem", {}).get("code") != "stale_claim":
            return entry
        return {"problem": {**entry["problem"], "code": "wrong_state"}}

    return [results(message, other)]


def forgets_cancellations(message: Message) -> list[Message]:
    def failed(entry: Message) -> Message:
        return {**entry, "reason": "FAILED"} if entry.get("reason") == "CANCELLED" else entry

    return [results(message, failed)]


def means_to_try_again(message: Message) -> list[Message]:
    """What was cancelled is over; this one says when it will be tried next."""

    def waiting(entry: Message) -> Message:
        attempts = [{**attempt, "next_at": 1} for attempt in entry.get("attempts", ())]
        return {**entry, "attempts": attempts} if attempts else entry

    return [results(message, waiting)]


def makes_new_tokens(message: Message) -> list[Message]:
    if message["t"] != "claims":
        return [message]
    return [{**message, "claims": [{**one, "token": bytes(16)} for one in message["claims"]]}]


def revokes_nothing(message: Message) -> list[Message]:
    return [] if message["t"] == "revoke" else [message]


def never_beats(message: Message) -> list[Message]:
    return [] if message["t"] == "beat" else [message]


def repeats_outcomes(message: Message) -> list[Message]:
    return [message, message] if message["t"] == "outcomes" else [message]


def closes_silently(message: Message) -> list[Message]:
    return [{key: value for key, value in message.items() if key != "closing"}]


def sends_a_float(message: Message) -> list[Message]:
    return [{**message, "now_ms": 1.0} if message["t"] == "welcome" else message]


@pytest.mark.parametrize(
    ("from_client", "from_broker", "caught_by"),
    [
        (takes_any_version, None, "handshake.refuses_other_versions"),
        (takes_floats, None, "frames.refuses_a_float_for_an_integer"),
        (None, answers_twice, "handshake.welcomes"),
        (None, answers_in_reverse, "creating.answers_in_the_order_of_the_items"),
        (None, forgets_existed, "creating.creates_once"),
        (None, is_never_retryable, "types.keeps_to_a_budget"),
        (None, tells_another_code, "claims.refuses_stale_claims"),
        (None, forgets_cancellations, "cancelling.ends_as_cancelled"),
        (None, means_to_try_again, "cancelling.ends_as_cancelled"),
        (None, makes_new_tokens, "resume.keeps_claims"),
        (None, revokes_nothing, "timeouts.ends_an_attempt"),
        (None, never_beats, "resume.beats"),
        (None, repeats_outcomes, "outcomes.pushes_many"),
        (None, closes_silently, "handshake.protects_an_id"),
        (None, sends_a_float, "handshake.welcomes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_broker_that_breaks_a_rule_is_caught(
    address: TcpAddress,
    from_client: Callable[[Message], list[Message]] | None,
    from_broker: Callable[[Message], list[Message]] | None,
    caught_by: str,
) -> None:
    async with Meddler(address, from_client, from_broker) as meddler:
        [result] = await played(chosen(ALL, [caught_by]), partial(sited, meddler.address), MUTANT_S)
    assert result.verdict == "failed"
    assert result.expected != UNREADABLE
    assert result.frames
    async with Meddler(address) as meddler:
        assert_all_passed(await played(chosen(ALL, [caught_by]), partial(sited, meddler.address)))


def keeps_its_place(job: Any, now: Any, _: int) -> Any:
    return waiting.queued(job, now, job.order)


def goes_to_the_end(job: Any, now: Any, _: int) -> Any:
    return waiting.queued(job, now, now.order)


def forgets_the_cancellation(
    before: Any, ended: Any, reason: Any, now: Any, rules: Any, error: bytes | None = None
) -> Any:
    return attempts._finish(before, ended, reason, now, rules, error)


@pytest.mark.parametrize(
    ("module", "name", "rule", "caught_by"),
    [
        (
            attempts,
            "_has_another",
            lambda job: job.current_attempt < job.attempts,
            ["cancelling.keeps_the_error", "cancelling.ends_with_its_runner"],
        ),
        (
            attempts,
            "_last",
            forgets_the_cancellation,
            ["cancelling.keeps_the_error", "cancelling.ends_with_its_run_timeout"],
        ),
        (
            attempts,
            "_set_aside",
            lambda job, _: job.lost >= job.terms.lost_limit,
            ["by_hand.forgives_losses"],
        ),
        (attempts, "queued", keeps_its_place, ["attempts.goes_to_the_end_when_timed_out"]),
        (attempts, "queued", goes_to_the_end, ["attempts.keeps_its_place_when_lost"]),
        (byhand, "queued", keeps_its_place, ["by_hand.queues_at_the_end"]),
        (
            byhand,
            "total_end",
            lambda job, _: job.course.total_until,
            ["by_hand.begins_the_total_anew"],
        ),
        (handlers, "kept_ms", lambda *_: 0, ["outcomes.is_kept_when_its_handlers_left"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_broker_whose_jobs_go_another_way_is_caught(
    address: TcpAddress,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    rule: Callable[..., Any],
    caught_by: list[str],
) -> None:
    monkeypatch.setattr(module, name, rule)
    results = await played(chosen(ALL, caught_by), partial(sited, address), MUTANT_S)
    assert [result.verdict for result in results] == ["failed"] * len(caught_by)
    assert all(result.expected != UNREADABLE for result in results)
