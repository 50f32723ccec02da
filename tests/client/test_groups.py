"""What a member of a group says, and what becomes of it across connections."""

import asyncio

import pytest

from packhorse import errors
from packhorse_protocol.limits import MAX_GROUPS
from packhorse_protocol.messages import Done, Handled, Join
from tests.client.handling import begun, push, synchronise
from tests.client.scripted import ScriptedBroker, connected


async def test_a_member_joins_takes_and_leaves(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        found = client.outcomes(group="g")
        taking = asyncio.ensure_future(anext(found))
        join = await peer.expect(Join)
        assert join.groups == ("g",)
        peer.ok(join, Done())
        push(peer, "a", "b", group="g")
        outcome = await taking
        assert (outcome.job, outcome.group, outcome.result()) == ("a", "g", 5)
        await synchronise(client, peer)  # so nothing was handled
        assert (await anext(found)).job == "b"
        handled = await peer.expect(Handled)
        assert (handled.jobs, handled.group) == (("a",), "g")
        peer.ok(handled, Done())
        await found.aclose()
        leave = await peer.expect(Join)
        assert leave.groups == ()
        peer.ok(leave, Done())
    assert await peer.end() == []


async def test_handled_by_hand(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        found = client.outcomes(group="g", auto=False)
        taking = asyncio.ensure_future(anext(found))
        peer.ok(await peer.expect(Join), Done())
        push(peer, "a", "b", group="g")
        first, second = await taking, await anext(found)
        acknowledging = asyncio.gather(second.handled(), first.handled())
        handled = await peer.expect(Handled)
        assert (handled.jobs, handled.group) == (("b", "a"), "g")
        peer.ok(handled, Done(), Done())
        await acknowledging
        await found.aclose()


async def test_a_refused_join_is_raised(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        taking = asyncio.ensure_future(anext(client.outcomes(group="g")))
        peer.refuse(await peer.expect(Join), "forbidden")
        with pytest.raises(errors.Forbidden):
            await taking
        assert (await peer.expect(Join)).groups == ()


async def test_several_groups_and_the_client_s_own(scripted: ScriptedBroker) -> None:
    """The same job may come once for each of them."""
    async with connected(scripted) as (client, peer):
        streams = {name: client.outcomes(group=name) for name in ("g", "h")}
        taking = {name: asyncio.ensure_future(anext(found)) for name, found in streams.items()}
        await begun(taking["h"])
        joins = [await peer.expect(Join), await peer.expect(Join)]
        assert joins[-1].groups == ("g", "h")
        for join in joins:
            peer.ok(join, Done())
        push(peer, "a", group="h")
        push(peer, "a", group="g")
        push(peer, "a")
        for name in ("g", "h"):
            assert (await taking[name]).group == name
        assert (await anext(client.outcomes())).group is None
        for found in streams.values():
            await found.aclose()


async def test_readers_of_one_group_share_it(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        streams = [client.outcomes(group="g") for _ in range(2)]
        taking = [asyncio.ensure_future(anext(found)) for found in streams]
        for _ in streams:
            peer.ok(await peer.expect(Join), Done())
        push(peer, "a", "b", group="g")
        assert {outcome.job for outcome in await asyncio.gather(*taking)} == {"a", "b"}
        await streams[0].aclose()
        await synchronise(client, peer)  # so it is still a member
        await streams[1].aclose()
        assert (await peer.expect(Join)).groups == ()


async def test_joined_again_after_a_reconnect(scripted: ScriptedBroker) -> None:
    """What comes again meanwhile is not given twice, unless the program dropped it."""
    async with connected(scripted) as (client, peer):
        found = client.outcomes(group="g", auto=False)
        taking = asyncio.ensure_future(anext(found))
        peer.ok(await peer.expect(Join), Done())
        push(peer, "a", "b", "c", group="g")
        held = await taking
        dropped = await anext(found)
        assert (held.job, dropped.job) == ("a", "b")
        del dropped
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        join = await again.expect(Join)
        assert join.groups == ("g",)
        again.ok(join, Done())
        push(again, "a", "b", "c", group="g")
        assert [(await anext(found)).job for _ in range(2)] == ["c", "b"]
        acknowledging = asyncio.create_task(held.handled())
        again.ok(await again.expect(Handled), Done())
        await acknowledging
        await found.aclose()


async def test_a_retried_job_has_another_outcome(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        found = client.outcomes(group="g", auto=False)
        taking = asyncio.ensure_future(anext(found))
        peer.ok(await peer.expect(Join), Done())
        push(peer, "a", group="g")
        first = await taking
        push(peer, "a", group="g")
        push(peer, "a", version=6, group="g")
        push(peer, "b", group="g")
        second = await anext(found)
        assert (first.version, second.version) == (3, 6)
        await found.aclose()


async def test_what_comes_for_a_group_that_was_left_is_let_go(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        found = client.outcomes(group="g")
        taking = asyncio.ensure_future(anext(found))
        peer.ok(await peer.expect(Join), Done())
        await begun(taking)
        taking.cancel()
        await asyncio.wait([taking])
        assert (await peer.expect(Join)).groups == ()
        push(peer, "a", group="g")
        await synchronise(client, peer)
    assert await peer.end() == []


async def test_a_handled_under_way_is_not_given_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        found = client.outcomes(group="g", auto=False)
        taking = asyncio.ensure_future(anext(found))
        peer.ok(await peer.expect(Join), Done())
        push(peer, "a", group="g")
        quiet = asyncio.create_task((await taking).handled())
        handled = await peer.expect(Handled)
        push(peer, "a", "b", group="g")
        assert (await anext(found)).job == "b"
        peer.ok(handled, Done())
        await quiet
        await found.aclose()


async def test_a_client_is_a_member_of_so_many_groups(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, _):
        streams = [client.outcomes(group=f"g{n}") for n in range(MAX_GROUPS)]
        taking = [asyncio.ensure_future(anext(found)) for found in streams]
        await begun(taking[-1])
        with pytest.raises(errors.InvalidValue, match="at most 64 groups"):
            await anext(client.outcomes(group="one more"))
        for task in taking:
            task.cancel()
        await asyncio.wait(taking)


async def test_who_takes_learns_of_the_end(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        taking = asyncio.ensure_future(anext(client.outcomes(group="g")))
        peer.ok(await peer.expect(Join), Done())
        await synchronise(client, peer)
    with pytest.raises(errors.ClientClosed):
        await taking
    with pytest.raises(errors.ClientClosed):
        await anext(client.outcomes(group="g"))
