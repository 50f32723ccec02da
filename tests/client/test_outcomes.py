"""Outcomes: each reaches the program before `handled` leaves, and none is lost on the way."""

import asyncio

import pytest

from packhorse import errors
from packhorse.outcomes import OutcomeBook
from packhorse_broker.local import LocalBroker
from packhorse_protocol.messages import (
    Create,
    Created,
    Done,
    Ended,
    Handle,
    Handled,
    Problem,
)
from tests.client.handling import NOT_FOUND, begun, create, outcome, push, synchronise
from tests.client.scripted import ScriptedBroker, connected

# -- waiting for one ----------------------------------------------------------------------------


async def test_an_outcome_is_handled_when_it_was_returned(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        waiting = asyncio.create_task(job.outcome())
        await begun(waiting)
        push(peer, "a")
        assert (await waiting).result() == 5
        handled = await peer.expect(Handled)
        assert handled.jobs == ("a",)
        peer.ok(handled, Done())


async def test_an_outcome_may_come_before_anybody_waits(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("t", job_id="a", handle=True))
        request = await peer.expect(Create)
        push(peer, "a")
        peer.ok(request, Created(job="a", state="COMPLETE", existed=True))
        assert await (await creating).result() == 5
        peer.ok(await peer.expect(Handled), Done())


async def test_an_outcome_is_not_handled_before_it_was_returned(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        await synchronise(client, peer)
        assert await job.result() == 5
        peer.ok(await peer.expect(Handled), Done())


async def test_all_who_wait_get_it(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        handles = (job, job, client.job("a"))
        waiting = asyncio.gather(*(handle.result() for handle in handles))
        await asyncio.sleep(0)
        push(peer, "a")
        assert await waiting == [5, 5, 5]
        peer.ok(await peer.expect(Handled), Done())
        assert await job.result() == 5
    assert await peer.end() == []


async def test_handled_by_hand(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        found = await job.outcome(handled=False)
        await synchronise(client, peer)  # so nothing else was sent
        acknowledging = asyncio.gather(found.handled(), found.handled())
        peer.ok(await peer.expect(Handled), Done())
        await acknowledging
        await found.handled()
    assert await peer.end() == []


@pytest.mark.parametrize("code", ["not_found", "not_handler"])
async def test_handling_what_is_gone_is_done(scripted: ScriptedBroker, code: str) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        found = await job.outcome(handled=False)
        acknowledging = asyncio.create_task(found.handled())
        peer.ok(await peer.expect(Handled), Problem(code=code, message="no"))
        await acknowledging


async def test_handling_that_failed_can_be_repeated(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        found = await job.outcome(handled=False)
        acknowledging = asyncio.create_task(found.handled())
        peer.refuse(await peer.expect(Handled), "forbidden")
        with pytest.raises(errors.Forbidden):
            await acknowledging
        acknowledging = asyncio.create_task(found.handled())
        peer.ok(await peer.expect(Handled), Done())
        await acknowledging


async def test_waiting_has_an_end_if_wanted(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        with pytest.raises(errors.OutcomeTimeout, match="job a has not ended within 10ms"):
            await job.outcome(timeout="10ms")
        push(peer, "a")
        assert await job.result(timeout="10s") == 5
        peer.ok(await peer.expect(Handled), Done())


async def test_cancelled_in_the_moment_of_arrival(scripted: ScriptedBroker) -> None:
    """The outcome is still there for the next who asks, in either way."""
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        waiting = asyncio.create_task(job.outcome())
        await begun(waiting)
        client._session.outcomes.pushed([outcome("a")])
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        found = await anext(client.outcomes())
        assert found.job == "a"
        assert await job.outcome(handled=False) is found


async def test_another_job_is_handled_first(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        waiting = asyncio.create_task(client.job("a").result())
        handle = await peer.expect(Handle)
        assert handle.jobs == ("a",)
        peer.ok(handle, Ended(state="COMPLETE"))
        push(peer, "a")
        assert await waiting == 5
        peer.ok(await peer.expect(Handled), Done())


async def test_a_job_that_is_not_there(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        waiting = asyncio.create_task(client.job("a").result())
        peer.ok(await peer.expect(Handle), NOT_FOUND)
        with pytest.raises(errors.NotFound):
            await waiting


async def test_a_job_created_for_nobody_says_so(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("t", job_id="a"))
        peer.ok(await peer.expect(Create), Created(job="a", state="QUEUED"))
        job = await creating
        with pytest.raises(errors.NotHandler, match="without handle=True"):
            await job.outcome()
        handling = asyncio.create_task(job.handle())
        peer.ok(await peer.expect(Handle), Ended(state="QUEUED"))
        await handling
        await job.handle()
        push(peer, "a")
        assert await job.result() == 5
        peer.ok(await peer.expect(Handled), Done())


# -- those that nobody waits for ----------------------------------------------------------------


async def test_each_is_handled_when_the_next_is_asked_for(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        push(peer, "a", "b")
        found = client.outcomes()
        assert (await anext(found)).job == "a"
        await synchronise(client, peer)  # so nothing was sent
        assert (await anext(found)).job == "b"
        handled = await peer.expect(Handled)
        assert handled.jobs == ("a",)
        peer.ok(handled, Done())
        await found.aclose()
    assert await peer.end() == []


async def test_several_are_handled_in_one_frame(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        push(peer, "a", "b", "c")
        found = client.outcomes(auto=False)
        gathered = [await anext(found) for _ in range(3)]
        await found.aclose()
        acknowledging = asyncio.gather(*(item.handled() for item in gathered))
        handled = await peer.expect(Handled)
        assert handled.jobs == ("a", "b", "c")
        peer.ok(handled, Done(), Done(), Done())
        await acknowledging


async def test_who_waits_comes_before_who_takes_all(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        waiting = asyncio.create_task(job.result())
        rest = client.outcomes(auto=False)
        taking = asyncio.ensure_future(anext(rest))
        await begun(waiting)
        push(peer, "a", "b")
        assert await waiting == 5
        assert (await taking).job == "b"
        peer.ok(await peer.expect(Handled), Done())
        await rest.aclose()


async def test_who_takes_all_leaves_it_with_the_job(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        rest = client.outcomes(auto=False)
        found = await anext(rest)
        assert await job.outcome(handled=False) is found
        await rest.aclose()


# -- the end --------------------------------------------------------------------------------------


async def test_closing_waits_for_what_was_handled(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        await job.outcome()
        closing = asyncio.create_task(client._session.close(bye=False))
        handled = await peer.expect(Handled)
        assert not closing.done()
        peer.ok(handled, Done())
        await closing


async def test_who_waits_learns_of_the_end(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        waiting = asyncio.create_task(job.outcome())
        taking = asyncio.ensure_future(anext(client.outcomes()))
        await begun(waiting)
    for ended in (waiting, taking):
        with pytest.raises(errors.ClientClosed):
            await ended
    with pytest.raises(errors.ClientClosed):
        await job.outcome()
    assert await peer.end() == []


async def test_a_job_that_is_removed_ends_the_waiting_at_once(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks: the broker says so."""
    defaults = OutcomeBook.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "look_every_s", 600)
    async with broker.connect() as client, broker.connect() as admin:
        job = await client.create("t", handle=True)
        waiting = asyncio.create_task(job.result())
        late = asyncio.create_task(client.job(job.id).outcome())
        await begun(waiting)
        await begun(late)
        await admin.remove(job.id)
        for task in (waiting, late):
            with pytest.raises(errors.NotFound, match="removed"):
                await task
