"""Outcomes: each reaches the program before `handled` leaves, and none is lost on the way."""

import asyncio
import gc
from typing import Any

import pytest

from packhorse import errors, outcomes
from packhorse.client import Client
from packhorse.job import Job
from packhorse.outcome import Outcome
from packhorse_protocol.messages import (
    Create,
    Created,
    Done,
    Ended,
    Get,
    Handle,
    Handled,
    JobView,
    Outcomes,
    Problem,
)
from packhorse_protocol.messages import Outcome as OutcomeMessage
from tests.client.scripted import Peer, ScriptedBroker, connected

NOT_FOUND = Problem(code="not_found", message="there is no such job")


def outcome(job: str, *, result: bytes = b"\x05") -> OutcomeMessage:
    return OutcomeMessage(job=job, type="t", state="COMPLETE", version=3, result=result)


def push(peer: Peer, *jobs: str) -> None:
    peer.send(Outcomes(outcomes=tuple(map(outcome, jobs))))


async def create(client: Client, peer: Peer, job_id: str) -> Job:
    """A job that this client handles."""
    creating = asyncio.create_task(client.create("t", job_id=job_id, handle=True))
    peer.ok(await peer.expect(Create), Created(job=job_id, state="QUEUED"))
    return await creating


async def synchronise(client: Client, peer: Peer) -> None:
    """Returns when the client has read all that was said to it."""
    getting = asyncio.create_task(client.get("sync"))
    view = JobView(id="sync", type="t", state="QUEUED", version=1)
    peer.ok(await peer.expect(Get), view)
    await getting


async def begun(task: "asyncio.Task[Any]") -> None:
    """Returns when the task waits for something."""
    await asyncio.wait([task], timeout=0)
    await asyncio.wait([task], timeout=0)


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


# -- repeated pushes ----------------------------------------------------------------------------


async def test_what_is_being_dealt_with_does_not_come_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        push(peer, "a")
        rest = client.outcomes(auto=False)
        held: list[Outcome] = [await anext(rest)]
        push(peer, "a", "b")
        held.append(await anext(rest))
        assert [item.job for item in held] == ["a", "b"]
        await rest.aclose()


async def test_what_was_dropped_comes_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        push(peer, "a")
        rest = client.outcomes(auto=False)
        assert (await anext(rest)).job == "a"
        gc.collect()
        push(peer, "a")
        assert (await anext(rest)).job == "a"
        await rest.aclose()


async def test_what_is_being_handled_does_not_come_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        await job.outcome()
        del job
        await peer.expect(Handled)
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        gc.collect()
        push(again, "a", "b")
        rest = client.outcomes(auto=False)
        assert (await anext(rest)).job == "b"
        again.ok(await again.expect(Handled), Done())
        await rest.aclose()


# -- a lost registration --------------------------------------------------------------------------


async def test_a_forgotten_client_handles_again_what_it_waits_for(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        here = await create(client, peer, "here")
        gone = await create(client, peer, "gone")
        done = await create(client, peer, "done")
        push(peer, "done")
        await done.outcome()
        peer.ok(await peer.expect(Handled), Done())
        waiting = asyncio.gather(here.result(), gone.result(), return_exceptions=True)
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=False)
        handle = await again.expect(Handle)
        assert handle.jobs == ("here", "gone")
        again.ok(handle, Ended(state="QUEUED"), NOT_FOUND)
        push(again, "here")
        result, error = await waiting
        assert result == 5
        assert isinstance(error, errors.NotFound)
        again.ok(await again.expect(Handled), Done())


# -- looking --------------------------------------------------------------------------------------


async def test_a_removed_job_is_found_by_looking(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        client._session.outcomes._look_every_s = 0.01
        job = await create(client, peer, "a")
        waiting = asyncio.create_task(job.outcome())
        peer.ok(await peer.expect(Handle), Ended(state="QUEUED"))
        peer.refuse(await peer.expect(Handle), "forbidden")
        peer.ok(await peer.expect(Handle), NOT_FOUND)
        with pytest.raises(errors.NotFound):
            await waiting


async def test_an_outcome_that_is_held_back_is_fetched(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends only so many before it wants some handled: no reason to wait for ever."""
    monkeypatch.setattr(outcomes, "CROWD_OUTCOMES", 2)
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        await create(client, peer, "b")
        waiting = asyncio.create_task(job.result())
        await begun(waiting)
        push(peer, "x", "y")
        look = await peer.expect(Handle)
        assert look.jobs == ("a",)
        peer.ok(look, Ended(state="STARTED"))
        look = await peer.expect(Handle)
        peer.ok(look, Ended(state="COMPLETE"))
        get = await peer.expect(Get)
        assert get.jobs == ("a",)
        view = JobView(id="a", type="t", state="COMPLETE", version=3, result=b"\x07")
        peer.ok(get, view)
        assert await waiting == 7
        peer.ok(await peer.expect(Handled), Done())


async def test_fetching_takes_the_next_ones_along(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "CROWD_OUTCOMES", 1)
    async with connected(scripted) as (client, peer):
        jobs = [await create(client, peer, job_id) for job_id in "abc"]
        waiting = asyncio.create_task(jobs[1].result())
        await begun(waiting)
        push(peer, "x")
        look = await peer.expect(Handle)
        assert look.jobs == ("b", "a", "c")
        peer.ok(look, Ended(state="COMPLETE"), Ended(state="QUEUED"), Ended(state="FAILED"))
        get = await peer.expect(Get)
        assert get.jobs == ("b", "c")
        peer.ok(
            get,
            JobView(id="b", type="t", state="COMPLETE", version=3),
            JobView(id="c", type="t", state="FAILED", version=3, reason="RUNNER_TIMEOUT"),
        )
        assert await waiting is None
        with pytest.raises(errors.JobFailed, match="RUNNER_TIMEOUT: no word from the runner"):
            await jobs[2].result()
        for job_id in ("b", "c"):
            handled = await peer.expect(Handled)
            assert handled.jobs == (job_id,)
            peer.ok(handled, Done())


async def test_too_many_are_left_with_the_broker(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outcomes, "MAX_KEPT_OUTCOMES", 2)
    async with connected(scripted) as (client, peer):
        push(peer, "a", "b", "c")
        rest = client.outcomes(auto=False)
        held = [await anext(rest), await anext(rest)]
        push(peer, "c")
        held.append(await anext(rest))
        assert [item.job for item in held] == ["a", "b", "c"]
        await rest.aclose()
    assert "left with the broker" in caplog.text


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
