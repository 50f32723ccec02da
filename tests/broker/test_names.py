"""Names of jobs, types and clients may be anything that the protocol allows; none meets another."""

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol.messages import (
    CountJobs,
    Create,
    Handled,
    NewJob,
    ReadLog,
    Remove,
    Take,
    Watch,
)
from tests.support.brokers import Brokers
from tests.support.requests import complete, get, names

ODD = [
    "plain",
    " lead and trail ",
    "with:colon",
    ":",
    "j:plain",
    "{0}",
    "{c}:client:x",
    "*",
    "?[a-z]\\",
    "'\"`$(x);|&",
    "../../etc/passwd",
    "%s%n{}",
    "e\u0301 is not \u00e9",
    "\u202eright-to-left",
    "\u00a0no-break",
    "\U0001f40e" * 128,
    "A" * 128,
    "0",
    "-1",
    "nil",
]


@pytest.mark.parametrize("name", ODD)
async def test_a_name_serves_for_everything(brokers: Brokers, broker: Broker, name: str) -> None:
    wire = await brokers.connect(broker, name)
    assert wire.id == name
    other = await brokers.connect(broker, f"not {name}"[:128])
    new = NewJob(type=name, id=name, key=name, headers={name: name})
    await other.ask(Create, jobs=(NewJob(type="other", id="other"),))
    [created] = await wire.ask(Create, jobs=(new,), handle=True)
    assert created.job == name
    await wire.ask(Watch, jobs=(name,))
    [counts] = await other.ask(CountJobs)
    assert counts.types[name]["QUEUED"] == 1
    await wire.ask(Take, types={name: 1}, credit=1)
    [claim] = await wire.claims(1)
    assert (claim.job, claim.type, claim.key, claim.headers) == (name, name, name, {name: name})
    view = await get(other, name)
    assert (view.runner, view.created_by, view.handlers) == (name, name, (name,))
    await complete(wire, claim)
    [outcome] = await wire.outcomes(1)
    assert (outcome.job, outcome.type) == (name, name)
    [page] = await wire.ask(ReadLog, job=name)
    assert page.end == 0
    await wire.ask(Handled, jobs=(name,))
    await wire.events(name, lambda event: event.removed)
    # It all went, and nothing else with it.
    assert (await get(other, "other")).state == "QUEUED"


async def test_names_that_look_alike_are_different(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    alike = ["a", "A", "a ", " a", "\u00e4", "a\u0308", "a:", "a\u200b"]
    await wire.ask(Create, jobs=tuple(NewJob(type=name, id=name) for name in alike))
    [counts] = await wire.ask(CountJobs)
    assert {name: states["QUEUED"] for name, states in counts.types.items()} == dict.fromkeys(
        alike, 1
    )
    await wire.ask(Take, types=dict.fromkeys(alike, 1), credit=len(alike))
    assert sorted(names(await wire.claims(len(alike)))) == sorted(alike)
    await wire.ask(Remove, jobs=tuple(alike))
