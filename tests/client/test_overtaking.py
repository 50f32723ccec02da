"""Outcomes that come before the answer to the create of their job."""

import asyncio

import pytest

from packhorse import errors
from packhorse_protocol.messages import Create, Created, Done, Handled, Join, Outcomes
from packhorse_protocol.messages import Outcome as OutcomeMessage
from tests.client.handling import push, synchronise
from tests.client.scripted import Peer, ScriptedBroker, connected


def push_for(peer: Peer, group: str, job: str) -> None:
    outcome = OutcomeMessage(
        job=job, type="t", state="COMPLETE", version=3, created_at=1, group=group
    )
    peer.send(Outcomes(outcomes=(outcome,)))


async def test_an_outcome_waits_for_the_answer_to_its_create(scripted: ScriptedBroker) -> None:
    """A program that handles all its outcomes must not answer this one: the create may be
    repeated."""
    async with connected(scripted) as (client, peer):
        rest = client.outcomes()
        first = asyncio.create_task(anext(rest))
        creating = asyncio.create_task(client.create("t", handle=True))
        request = await peer.expect(Create)
        job = str(request.jobs[0].id)
        push(peer, job)
        await synchronise(client, peer)
        assert not first.done()
        peer.ok(request, Created(job=job, state="COMPLETE"))
        assert (await creating).id == job
        assert (await first).job == job
        more = asyncio.create_task(anext(rest))
        handled = await peer.expect(Handled)
        assert handled.jobs == (job,)
        peer.ok(handled, Done())
        more.cancel()


async def test_others_pass_it(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        rest = client.outcomes(auto=False)
        creating = asyncio.create_task(client.create("t", handle=True))
        request = await peer.expect(Create)
        push(peer, str(request.jobs[0].id), "another")
        assert (await anext(rest)).job == "another"
        creating.cancel()
        await rest.aclose()


async def test_one_for_the_creates_group_waits_too(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        rest = client.outcomes(group="g", auto=False)
        first = asyncio.create_task(anext(rest))
        join = await peer.expect(Join)
        peer.ok(join, Done())
        creating = asyncio.create_task(client.create("t", group="g"))
        request = await peer.expect(Create)
        job = str(request.jobs[0].id)
        push_for(peer, "g", job)
        push_for(peer, "g", "another")
        assert (await first).job == "another"
        peer.ok(request, Created(job=job, state="COMPLETE"))
        await creating
        assert (await anext(rest)).job == job
        await rest.aclose()


async def test_it_comes_once_though_it_was_pushed_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        rest = client.outcomes(auto=False)
        creating = asyncio.create_task(client.create("t", handle=True))
        request = await peer.expect(Create)
        job = str(request.jobs[0].id)
        push(peer, job, job)
        push(peer, job)
        peer.ok(request, Created(job=job, state="COMPLETE"))
        await creating
        push(peer, "last")
        found = [await anext(rest), await anext(rest)]
        assert [outcome.job for outcome in found] == [job, "last"]
        await rest.aclose()


async def test_a_refused_create_holds_nothing_back(scripted: ScriptedBroker) -> None:
    """Its id is that of another job, whose outcome it is."""
    async with connected(scripted) as (client, peer):
        rest = client.outcomes(auto=False)
        creating = asyncio.create_task(client.create("t", handle=True, job_id="a"))
        request = await peer.expect(Create)
        push(peer, "a")
        peer.refuse(request, "conflict")
        with pytest.raises(errors.Conflict):
            await creating
        assert (await anext(rest)).job == "a"
        await rest.aclose()
