"""Outcomes that come again, are held back, or belong to another job of the same id."""

import asyncio
import gc
from typing import Any

import pytest

import packhorse
from packhorse import errors, outcomes
from packhorse.outcome import Outcome
from packhorse_protocol.messages import (
    Create,
    Created,
    Done,
    Ended,
    Event,
    Events,
    Get,
    Handle,
    Handled,
    JobView,
    Outcomes,
)
from packhorse_protocol.messages import Outcome as OutcomeMessage
from tests.client.handling import NOT_FOUND, begun, create, push, synchronise
from tests.client.scripted import ScriptedBroker, connected

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


# -- an id that is used again ---------------------------------------------------------------------


async def test_another_job_with_the_same_id_has_its_own_outcome(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        first_job = await create(client, peer, "a")
        push(peer, "a")
        first = await first_job.outcome()
        peer.ok(await peer.expect(Handled), Done())
        second_job = await create(client, peer, "a")
        waiting = asyncio.create_task(second_job.outcome(handled=False))
        await begun(waiting)
        later = OutcomeMessage(job="a", type="t", state="COMPLETE", version=3, created_at=9)
        peer.send(Outcomes(outcomes=(later,)))
        second = await waiting
        assert (first.created_at, second.created_at) == (0, 9)
        assert await first_job.outcome(handled=False) is first


async def test_its_outcome_may_come_before_it_is_known_to_be_created(
    scripted: ScriptedBroker,
) -> None:
    async with connected(scripted) as (client, peer):
        first_job = await create(client, peer, "a")
        push(peer, "a")
        first = await first_job.outcome()
        peer.ok(await peer.expect(Handled), Done())
        creating = asyncio.create_task(client.create("t", job_id="a", handle=True))
        request = await peer.expect(Create)
        later = OutcomeMessage(job="a", type="t", state="COMPLETE", version=3, created_at=9)
        peer.send(Outcomes(outcomes=(later,)))
        peer.ok(request, Created(job="a", state="QUEUED"))
        second = await (await creating).outcome(handled=False)
        assert (first.created_at, second.created_at) == (0, 9)


async def test_creating_the_same_again_keeps_its_outcome(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        first = await job.outcome(handled=False)
        creating = asyncio.create_task(client.create("t", job_id="a", handle=True))
        request = await peer.expect(Create)
        peer.ok(request, Created(job="a", state="COMPLETE", existed=True))
        assert await (await creating).outcome(handled=False) is first


async def test_the_id_of_a_removed_job_can_be_used_again(scripted: ScriptedBroker) -> None:
    """Whoever still has the former one gets no outcome of the new one."""
    async with connected(scripted) as (client, peer):
        former = await create(client, peer, "a")
        waiting = asyncio.create_task(former.outcome())
        await begun(waiting)
        peer.send(Events(events=(Event(job="a", version=2, removed=True),)))
        with pytest.raises(errors.NotFound):
            await waiting
        another = await create(client, peer, "a")
        push(peer, "a")
        assert await another.result() == 5
        peer.ok(await peer.expect(Handled), Done())
        with pytest.raises(errors.NotFound):
            await former.outcome()


async def test_a_removed_job_is_not_handled_again_after_a_lost_registration(
    scripted: ScriptedBroker,
) -> None:
    async with connected(scripted) as (client, peer):
        gone, here = await create(client, peer, "gone"), await create(client, peer, "here")
        peer.send(Events(events=(Event(job="gone", version=2, removed=True),)))
        await synchronise(client, peer)
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=False)
        handle = await again.expect(Handle)
        assert handle.jobs == (here.id,)
        with pytest.raises(errors.NotFound):
            await gone.outcome()


# -- a job that was retried by hand ---------------------------------------------------------------


async def test_a_retried_job_has_another_outcome(scripted: ScriptedBroker) -> None:
    """Also while the program has the former one, for those who ask for the job's too."""
    async with connected(scripted) as (client, peer):
        job = await create(client, peer, "a")
        push(peer, "a")
        rest = client.outcomes(auto=False)
        first = await anext(rest)
        for _ in range(2):
            push(peer, "a")
            push(peer, "a", version=6)
            push(peer, "b")
        second = await anext(rest)
        assert (first.version, second.version) == (3, 6)
        assert (await anext(rest)).job == "b"
        assert await job.outcome(handled=False) is second
        await rest.aclose()


async def test_one_end_is_told_once_though_its_job_has_changed_since(
    scripted: ScriptedBroker,
) -> None:
    """As when another handler has left."""
    async with connected(scripted) as (client, peer):
        push(peer, "a")
        rest = client.outcomes(auto=False)
        first = await anext(rest)
        push(peer, "a", version=4, ended_as=3)
        push(peer, "b")
        assert (await anext(rest)).job == "b"
        assert first.version == 3
        await rest.aclose()


async def test_it_comes_while_the_former_is_being_handled(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        push(peer, "a")
        rest = client.outcomes(auto=False)
        acknowledging = asyncio.create_task((await anext(rest)).handled())
        handled = await peer.expect(Handled)
        gc.collect()
        push(peer, "a")
        push(peer, "a", version=6)
        push(peer, "b")
        assert (await anext(rest)).version == 6
        peer.ok(handled, Done())
        await acknowledging
        await rest.aclose()


async def test_what_was_handled_of_it_leaves_the_other_in_the_crowd(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "CROWD_OUTCOMES", 1)
    async with connected(scripted) as (client, peer):
        rest = client.outcomes(auto=False)
        push(peer, "a")
        first = await anext(rest)
        push(peer, "a", version=6)
        push(peer, "b")
        second = await anext(rest)
        assert second.version == 6
        for held in (first, await anext(rest), second):
            assert client._session.outcomes._crowded.is_set()
            acknowledging = asyncio.create_task(held.handled())
            peer.ok(await peer.expect(Handled), Done())
            await acknowledging
        assert not client._session.outcomes._crowded.is_set()
        await rest.aclose()


# -- a lost registration --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "welcome", [{"resumed": False}, {"resumed": True, "registered_at": 2}], ids=["told", "lost"]
)
async def test_a_forgotten_client_handles_again_what_it_waits_for(
    scripted: ScriptedBroker, welcome: dict[str, Any]
) -> None:
    """Also if the welcome that said so was lost and another one followed."""
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
        await again.welcome(**welcome)
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
        view = JobView(id="a", type="t", state="COMPLETE", version=3, finished_at=3, result=b"\x07")
        peer.ok(get, view)
        assert await waiting == 7
        peer.ok(await peer.expect(Handled), Done())


async def test_an_outcome_that_was_taken_may_hold_back_others(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is not handled. Jobs that are waited for are looked at in turn."""
    monkeypatch.setattr(outcomes, "CROWD_OUTCOMES", 1)
    monkeypatch.setattr(outcomes, "FETCH_JOBS", 1)
    async with connected(scripted) as (client, peer):
        jobs = [await create(client, peer, job_id) for job_id in "abc"]
        waiting = [asyncio.create_task(job.outcome(handled=False)) for job in jobs]
        await begun(waiting[-1])
        push(peer, "a")
        assert (await waiting[0]).result() == 5
        for job_id in "bcb":
            look = await peer.expect(Handle)
            assert look.jobs == (job_id,)
            peer.ok(look, Ended(state="STARTED"))
        look = await peer.expect(Handle)
        peer.ok(look, Ended(state="COMPLETE"))
        get = await peer.expect(Get)
        assert get.jobs == ("c",)
        peer.ok(
            get,
            JobView(id="c", type="t", state="COMPLETE", version=3, finished_at=3, result=b"\x07"),
        )
        assert (await waiting[2]).result() == 7
        waiting[1].cancel()


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
            JobView(id="b", type="t", state="COMPLETE", version=3, finished_at=3),
            JobView(id="c", type="t", state="FAILED", version=3, reason="RUNNER_TIMEOUT"),
        )
        assert await waiting is None
        with pytest.raises(packhorse.JobFailed, match="RUNNER_TIMEOUT: its runner went away"):
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
