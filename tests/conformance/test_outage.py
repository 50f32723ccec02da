"""Our broker outlives its store as the kit wants it, and one that does not is caught."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from packhorse_broker.jobs import attempts, deadlines
from packhorse_conformance import broker_scenarios
from packhorse_conformance.address import TcpAddress, parse
from packhorse_conformance.commands import Commands
from packhorse_conformance.running import UNREADABLE, Result
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.values import Message
from tests.conformance.meddler import Change, Meddler
from tests.conformance.playing import assert_all_passed, played
from tests.support.brokers import Brokers
from tests.support.shell_store import ShellStore

ALL: list[Scenario[Site]] = scenarios_in(broker_scenarios)
OUTAGES = chosen(ALL, ["outage.*"])

MUTANT_S = 8
"""A mutant that says nothing is known by then."""


@pytest.fixture
def store() -> Iterator[ShellStore]:
    with ShellStore() as store:
        yield store


async def played_at(
    store: ShellStore, scenarios: list[Scenario[Site]], change: Change | None, timeout_s: float
) -> list[Result[Site]]:
    """At a broker on this store, whose messages are changed on their way."""
    brokers = Brokers(store.url, "outage")
    broker = await brokers.start(sweep_ms=50, store_timeout_ms=500)
    try:
        target = parse(broker.addresses[0])
        assert isinstance(target, TcpAddress)
        commands = Commands(store_stop=store.stop, store_start=store.start)
        async with Meddler(target, None, change) as meddler:
            return await played(scenarios, partial(sited, meddler.address, commands), timeout_s)
    finally:
        await brokers.close()


def test_they_are_played_alone_and_before_the_last() -> None:
    alone = [scenario for scenario in ALL if scenario.alone]
    assert ALL[-len(alone) :] == [*OUTAGES, *(one for one in alone if one.last)]


async def test_without_commands_they_are_skipped(address: TcpAddress) -> None:
    results = await played(OUTAGES, partial(sited, address))
    assert {result.verdict for result in results} == {"skipped"}
    assert all("--store-stop-command" in result.why for result in results)


async def test_the_broker_outlives_its_store(store: ShellStore) -> None:
    assert_all_passed(await played_at(store, OUTAGES, None, 60))


def means_it_for_ever(message: Message) -> list[Message]:
    return [{**message, "retryable": False} if message.get("code") == "unavailable" else message]


def closes(message: Message) -> list[Message]:
    return [{**message, "closing": True} if message.get("code") == "unavailable" else message]


def says_another_code(message: Message) -> list[Message]:
    return [{**message, "code": "internal"} if message.get("code") == "unavailable" else message]


def says_nothing(message: Message) -> list[Message]:
    return [] if message.get("code") == "unavailable" else [message]


@pytest.mark.parametrize(
    ("change", "caught_by"),
    [
        (means_it_for_ever, "outage.lets_nobody_in"),
        (means_it_for_ever, "outage.refuses_and_goes_on"),
        (closes, "outage.refuses_and_goes_on"),
        (says_another_code, "outage.refuses_and_goes_on"),
        (says_nothing, "outage.lets_nobody_in"),
    ],
)
async def test_a_broker_that_does_not_say_so_is_caught(
    store: ShellStore, change: Callable[[Message], list[Message]], caught_by: str
) -> None:
    [result] = await played_at(store, chosen(OUTAGES, [caught_by]), change, MUTANT_S)
    assert result.verdict == "failed"
    assert result.expected != UNREADABLE


async def test_a_broker_whose_clocks_go_on_is_caught(
    store: ShellStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed(job: Any, now_ms: int, *_: object) -> Any:
        return deadlines.passed(job, now_ms)

    monkeypatch.setattr(attempts, "passed", passed)
    scenarios = chosen(OUTAGES, ["outage.puts_timeouts_off"])
    [result] = await played_at(store, scenarios, None, MUTANT_S)
    assert result.verdict == "failed"
    assert result.expected != UNREADABLE
