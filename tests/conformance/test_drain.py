"""Our broker drains as the kit wants it, and one that does not is caught."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from packhorse_conformance import broker_scenarios
from packhorse_conformance.address import TcpAddress, parse
from packhorse_conformance.commands import Commands
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_conformance.site import Site, sited
from packhorse_conformance.values import Message
from tests.conformance.meddler import Meddler
from tests.conformance.playing import assert_all_passed, played
from tests.support.daemon import Daemons

ALL: list[Scenario[Site]] = scenarios_in(broker_scenarios)
DRAIN = chosen(ALL, ["drain.runs_down"])


def test_it_is_played_last() -> None:
    assert ALL[-1:] == DRAIN


async def test_without_a_command_it_is_skipped(address: TcpAddress) -> None:
    [result] = await played(DRAIN, partial(sited, address))
    assert result.verdict == "skipped"
    assert "--drain-command" in result.why


async def test_a_command_that_fails_is_told(address: TcpAddress) -> None:
    [result] = await played(DRAIN, partial(sited, address, Commands(drain="exit 3")))
    assert (result.verdict, result.came) == ("failed", "3")


def says_nothing(message: Message) -> list[Message]:
    return [] if message["t"] == "drain" else [message]


def gives_no_reason(message: Message) -> list[Message]:
    return [] if message.get("closing") else [message]


def means_it_for_ever(message: Message) -> list[Message]:
    return [{**message, "retryable": False} if message.get("code") == "draining" else message]


@pytest.mark.parametrize("change", [None, says_nothing, gives_no_reason, means_it_for_ever])
async def test_the_broker_drains(
    tmp_path: Path, change: Callable[[Message], list[Message]] | None
) -> None:
    async with Daemons() as daemons:
        daemon = await daemons.start("--data-dir", tmp_path, "--drain-ms", "2000")
        target = parse(daemon.url)
        assert isinstance(target, TcpAddress)
        async with Meddler(target, None, change) as meddler:
            make = partial(sited, meddler.address, Commands(drain=f"kill -TERM {daemon.pid}"))
            results = await played(DRAIN, make, 4)
    if change is None:
        assert_all_passed(results)
    else:
        assert results[0].verdict == "failed"
