"""Removing jobs by hand, whatever their state."""

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.delivery import WINDOW
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Create,
    Done,
    Events,
    Get,
    Handle,
    Handled,
    NewJob,
    Ok,
    Outcomes,
    Remove,
    Revoke,
    Watch,
)
from tests.broker.test_looking import in_state
from tests.support.brokers import Brokers, at_rest
from tests.support.requests import complete, count, create, get, names, take


@pytest.mark.parametrize("state", ["QUEUED", "STARTED", "COMPLETE", "FAILED"])
@pytest.mark.parametrize("size", [1, 2_000])
async def test_a_job_is_removed_in_any_state(
    brokers: Brokers, broker: Broker, state: str, size: int
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True, persistent=True, payload=bytes(size))
    await in_state(wire, "a", state)
    done, twice, missing = await wire.ask(Remove, jobs=("a", "a", "missing"))
    assert done == Done()
    assert twice.code == missing.code == Code.NOT_FOUND
    for jobs_state in ("QUEUED", "STARTED", "COMPLETE", "FAILED"):
        assert await count(wire, jobs_state) == 0
    # The id is free.
    await create(wire, "a", payload=b"another")


async def test_its_runner_is_told(brokers: Brokers, broker: Broker) -> None:
    runner, admin = await brokers.connect(broker), await brokers.connect(broker)
    await create(admin, "a", "b")
    first, second = await runner.ask(ClaimJobs, jobs=("a", "b"))
    await admin.ask(Remove, jobs=("a",))
    revoke = await runner.push(Revoke)
    [revoked] = revoke.claims
    assert (revoked.job, revoked.token, revoked.reason) == ("a", first.token, "removed")
    [late] = await complete(runner, first)
    assert late.code == Code.NOT_FOUND
    await complete(runner, second)


async def test_a_runner_that_is_away_finds_out_when_it_reports(
    brokers: Brokers, broker: Broker
) -> None:
    runner, admin = await brokers.connect(broker, "r"), await brokers.connect(broker)
    await create(admin, "a", "b")
    claims = await runner.ask(ClaimJobs, jobs=("a", "b"))
    await runner.abort()
    await admin.ask(Remove, jobs=("a",))
    again = await brokers.connect(broker, "r", secret=runner.welcome.secret)
    assert names(await again.claims(1)) == ["b"]
    late, fine = await complete(again, *claims)
    assert late.code == Code.NOT_FOUND
    assert not hasattr(fine, "code")


async def test_watchers_are_told_and_handlers_get_no_outcome(
    brokers: Brokers, broker: Broker
) -> None:
    wire, admin = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "a", handle=True)
    await wire.ask(Watch, jobs=("a",))
    await admin.ask(Remove, jobs=("a",))
    [*_, last] = await wire.events("a", lambda event: event.removed)
    assert last.version == 2
    await at_rest(broker)
    [found] = await wire.ask(Get, jobs=("a",))
    assert found.code == Code.NOT_FOUND
    assert not wire.kept(Outcomes)


async def test_a_removed_claim_makes_room(brokers: Brokers, broker: Broker) -> None:
    runner, admin = await brokers.connect(broker), await brokers.connect(broker)
    await create(admin, "a", "b")
    await take(runner, 1)
    assert names(await runner.claims(1)) == ["a"]
    await admin.ask(Remove, jobs=("a",))
    assert names(await runner.claims(1)) == ["b"]


async def test_an_outcome_on_its_way_to_its_handler_is_no_harm(
    brokers: Brokers, broker: Broker
) -> None:
    """Removed between the push and the answer: the same id can be used again at once."""
    wire = await brokers.connect(broker)
    for _ in range(2):
        await create(wire, "a", handle=True)
        [claim] = await wire.ask(ClaimJobs, jobs=("a",))
        await complete(wire, claim)
        [outcome] = await wire.outcomes(1)
        assert outcome.job == "a"
        await wire.ask(Remove, jobs=("a",))
        [refused] = await wire.ask(Handle, jobs=("a",))
        assert refused.code == Code.NOT_FOUND


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("watches", [False, True])
async def test_its_handlers_are_told_once(
    brokers: Brokers, never_missed: None, elsewhere: bool, watches: bool
) -> None:
    first = await brokers.start()
    second = await brokers.start() if elsewhere else first
    for broker in (first, second, first):
        await broker.parts.sweeper.sweep()
    waiting, admin = await brokers.connect(first), await brokers.connect(second)
    await create(waiting, "a", "b", handle=True)
    if watches:
        await waiting.ask(Watch, jobs=("a",))
    await admin.ask(Remove, jobs=("a",))
    [event] = await waiting.events("a", lambda event: event.removed)
    assert event.version > 1
    await admin.ask(Remove, jobs=("b",))
    events = await waiting.events("b", lambda event: event.removed)
    assert len(events) == 1
    assert all(event.job != "a" for push in waiting.kept(Events) for event in push.events)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("watches", [False, True])
async def test_its_handlers_are_told_though_another_job_has_its_id_at_once(
    brokers: Brokers, never_missed: None, elsewhere: bool, watches: bool
) -> None:
    """Both in one transaction."""
    first = await brokers.start()
    second = await brokers.start() if elsewhere else first
    for broker in (first, second, first):
        await broker.parts.sweeper.sweep()
    waiting, admin = await brokers.connect(first), await brokers.connect(second)
    await create(waiting, "a", handle=True)
    if watches:
        await waiting.ask(Watch, jobs=("a",))
    commits = second.parts.committer.commits
    removal = Remove(id=901, jobs=("a",))
    creation = Create(id=902, jobs=(NewJob(id="a", type="other"),))
    admin.send_bytes(admin.connection.send(removal) + admin.connection.send(creation))
    for request in (removal, creation):
        assert isinstance(await admin.answer(request.id), Ok)
    assert second.parts.committer.commits == commits + 1
    [event] = await waiting.events("a", lambda event: event.removed)
    assert event.version > 1
    assert (await get(admin, "a")).handlers == ()
    # And of that one they are told nothing.
    await complete(admin, *await admin.ask(ClaimJobs, jobs=("a",)))
    await at_rest(first)
    await waiting.ask(Get, jobs=("a",))
    assert not waiting.kept(Events)
    assert not waiting.kept(Outcomes)


async def test_whoever_handled_it_last_is_told_nothing(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", "b", handle=True)
    claims = await wire.ask(ClaimJobs, jobs=("a",))
    await complete(wire, *claims)
    await wire.outcomes(1)
    await wire.ask(Handled, jobs=("a",))
    await wire.ask(Remove, jobs=("b",))
    [event] = await wire.events("b", lambda event: event.removed)
    assert event.job == "b"
    assert not wire.kept(Events)


async def test_outcomes_that_were_sent_and_removed_make_room_for_others(
    never_missed: None, brokers: Brokers, broker: Broker
) -> None:
    """Nothing is handled: the client may have dropped them."""
    handler, admin = await brokers.connect(broker), await brokers.connect(broker)
    jobs = [f"j{n:04}" for n in range(WINDOW + 200)]
    await create(handler, *jobs, handle=True)
    for start in range(0, len(jobs), 300):
        await complete(admin, *await admin.ask(ClaimJobs, jobs=tuple(jobs[start : start + 300])))
    sent = [outcome.job for outcome in await handler.outcomes(WINDOW)]
    await admin.ask(Remove, jobs=tuple(sent[: WINDOW // 2]))
    rest = [outcome.job for outcome in await handler.outcomes(200)]
    assert sorted([*sent, *rest]) == jobs


async def test_who_may_not_handle_is_not_told(brokers: Brokers, broker: Broker) -> None:
    """It came back with other roles."""
    wire, admin = await brokers.connect(broker, "c"), await brokers.connect(broker)
    await create(wire, "a", handle=True)
    again = await brokers.connect(broker, "c", secret=wire.welcome.secret, roles=("read",))
    await admin.ask(Remove, jobs=("a",))
    [missing] = await again.ask(Get, jobs=("a",))
    assert missing.code == Code.NOT_FOUND
    assert not again.kept(Events)
