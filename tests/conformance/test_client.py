"""The Python client conforms, and a client or a driver that breaks a rule is caught."""

import sys
from functools import partial
from pathlib import Path

import pytest

from packhorse_conformance import client_scenarios
from packhorse_conformance.running import UNREADABLE
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.stage import Stage, staged
from tests.conformance.playing import assert_all_passed, played

ALL: list[Scenario[Stage]] = scenarios_in(client_scenarios)
SUBJECTS = sorted({scenario.name.partition(".")[0] for scenario in ALL})

DRIVER = (sys.executable, "-m", "packhorse.driver")
MUTANTS = Path(__file__).with_name("mutant_driver.py")

MUTANT_S = 2
"""A mutant that does nothing is known by then."""


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_the_python_client_conforms(subject: str) -> None:
    assert_all_passed(await played(chosen(ALL, [f"{subject}.*"]), partial(staged, DRIVER)))


# --- The kit can fail ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mutant", "caught_by"),
    [
        ("never_beats", "liveness.beats"),
        ("hears_no_silence", "liveness.gives_up_a_silent_broker"),
        ("forgets_its_secret", "resume.comes_back_as_itself"),
        ("takes_once", "resume.takes_again"),
        ("runs_twice", "resume.goes_on_with_what_it_runs"),
        ("ignores_the_loss", "resume.stops_what_is_lost"),
        ("ignores_revocations", "runner.stops_what_is_revoked"),
        ("ignores_cancellations", "cancelling.ends_what_is_to_be_cancelled"),
        ("takes_any_version", "hello.closes_on_a_version_not_offered"),
        ("ignores_in_flight", "requests.keeps_to_the_requests_in_flight"),
        ("ignores_the_batch", "requests.keeps_to_the_batch"),
        ("never_handles", "outcomes.handles_each_outcome"),
        ("handles_early", "outcomes.handles_after_the_create"),
        ("repeats_at_once", "requests.waits_as_it_is_told"),
        ("answers_for_itself", "outcomes.handles_for_a_group"),
        ("fights_back", "leaving.gives_way_to_a_newer_connection"),
        ("sends_text", "creating.sends_payloads_untouched"),
        ("answers_twice", "hello.keeps_what_the_broker_chose"),
        ("trusts_everybody", "tls.refuses_an_unknown_authority"),
        ("trusts_any_host", "tls.refuses_another_host"),
        ("says_more", "hello.keeps_what_the_broker_chose"),
        ("ends_badly", "hello.keeps_what_the_broker_chose"),
        ("crashes", "requests.takes_answers_in_any_order"),
    ],
)
async def test_a_client_that_breaks_a_rule_is_caught(mutant: str, caught_by: str) -> None:
    command = (sys.executable, str(MUTANTS), mutant)
    [result] = await played(chosen(ALL, [caught_by]), partial(staged, command), MUTANT_S)
    assert result.verdict == "failed"
    assert result.expected != UNREADABLE
    assert result.frames


async def test_what_a_driver_leaves_out_is_skipped() -> None:
    command = (sys.executable, str(MUTANTS), "has_no_cancel")
    [result] = await played(
        chosen(ALL, ["cancelling.asks_for_a_cancellation"]), partial(staged, command)
    )
    assert result.verdict == "skipped"
    assert "cancel" in result.why
