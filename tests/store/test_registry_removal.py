"""How clients leave the store."""

import asyncio
from dataclasses import replace

import pytest

from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.registry import REMOVAL_LEASE_MS, Registered, Registry
from tests.support.clients import ANN, BACK, NOW, Registries, all_of, given_up
from tests.support.inspection import Raw
from tests.support.proxy import Fault, FaultProxy


async def test_removal_step_by_step(registry: Registry, raw: Raw, client_keys: ClientKeys) -> None:
    await registry.register(ANN, NOW)
    assert await registry.begin_removal("ann", "b-3", NOW + 1)
    assert await registry.get("ann") == given_up("b-3", NOW + 1)
    assert await all_of(raw, client_keys, "ann") == [1, None, None, b"1000001"]
    assert await registry.leaving(10) == {"ann": NOW + 1}
    assert await registry.count() == 0
    await registry.end_removal("ann", "b-3")
    assert await all_of(raw, client_keys, "ann") == [0, None, None, None]
    assert await registry.leaving(10) == {}
    await registry.end_removal("ann", "b-3")


async def test_one_broker_sees_to_a_removal_until_its_lease_is_over(registry: Registry) -> None:
    await registry.register(ANN, NOW)
    end = NOW + REMOVAL_LEASE_MS
    assert await registry.begin_removal("ann", "b-3", NOW)
    assert not await registry.begin_removal("ann", "b-4", end - 1)
    await registry.end_removal("ann", "b-4")
    assert await registry.get("ann") == given_up("b-3", NOW)

    assert await registry.begin_removal("ann", "b-3", NOW + 5), "it renews its lease"
    assert await registry.get("ann") == given_up("b-3", NOW + 5)
    assert not await registry.begin_removal("ann", "b-4", end)

    assert await registry.begin_removal("ann", "b-4", end + 5), "another takes over"
    assert not await registry.begin_removal("ann", "b-3", end + 6)
    await registry.end_removal("ann", "b-3")
    assert await registry.get("ann") == given_up("b-4", end + 5)
    assert await registry.leaving(10) == {"ann": NOW}, "since it began"
    await registry.end_removal("ann", "b-4")
    assert await registry.get("ann") is None


async def test_of_two_brokers_that_begin_one_does_it(
    registries: Registries, proxy: FaultProxy
) -> None:
    slow, quick = registries.make(proxy.url), registries.make()
    await quick.register(ANN, NOW)
    proxy.fail(Fault.PAUSE)
    beginning = asyncio.create_task(slow.begin_removal("ann", "b-3", NOW))
    await proxy.met()
    assert await quick.begin_removal("ann", "b-4", NOW)
    proxy.resume()
    assert not await beginning
    assert await quick.get("ann") == given_up("b-4", NOW)


async def test_client_that_does_not_leave_is_not_removed(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    await registry.register(ANN, NOW)
    before = await all_of(raw, client_keys, "ann")
    await registry.end_removal("ann", ANN.broker)
    assert await all_of(raw, client_keys, "ann") == before


async def test_nobody_can_leave(registry: Registry, raw: Raw, client_keys: ClientKeys) -> None:
    """An entry without a record is cleared away."""
    assert not await registry.begin_removal("ann", "b-3", NOW)
    await raw("ZADD", client_keys.leaving, 1, "ann")
    await registry.end_removal("ann", "b-3")
    assert await registry.leaving(10) == {}


async def test_only_a_silent_client_is_given_up(registry: Registry) -> None:
    await registry.register(ANN, NOW)
    until = NOW + 30_000
    assert not await registry.begin_removal("ann", "b-3", until, if_silent_at=until - 1)
    assert await registry.get("ann") == ANN
    assert await registry.begin_removal("ann", "b-3", until, if_silent_at=until)
    assert await registry.get("ann") == given_up("b-3", until)


async def test_client_without_a_time_is_not_taken_for_silent(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    await registry.register(ANN, NOW)
    await raw("ZREM", client_keys.alive, "ann")
    assert not await registry.begin_removal("ann", "b-3", NOW, if_silent_at=2 * NOW)


async def test_client_that_is_on_another_connection_now_is_not_given_up(
    registry: Registry,
) -> None:
    await registry.register(ANN, NOW)
    await registry.register(BACK, NOW)
    assert not await registry.begin_removal("ann", "b-3", NOW, if_connection="c-1")
    assert await registry.begin_removal("ann", "b-3", NOW, if_connection="c-2")


async def test_client_that_comes_back_at_the_last_moment_stays(
    registries: Registries, proxy: FaultProxy
) -> None:
    sweeping, other = registries.make(proxy.url), registries.make()
    await other.register(ANN, NOW)
    late = NOW + 30_000
    proxy.fail(Fault.PAUSE)
    giving_up = asyncio.create_task(sweeping.begin_removal("ann", "b-3", late, if_silent_at=late))
    await proxy.met()
    await other.register(BACK, late)
    proxy.resume()
    assert not await giving_up
    assert await other.get("ann") == replace(BACK, registered_at=NOW)


async def test_client_is_not_forgotten_if_another_took_its_id(
    registries: Registries, proxy: FaultProxy
) -> None:
    sweeping, other = registries.make(proxy.url), registries.make()
    await other.register(ANN, NOW)
    await other.begin_removal("ann", "b-3", NOW)
    proxy.fail(Fault.PAUSE)
    ending = asyncio.create_task(sweeping.end_removal("ann", "b-3"))
    await proxy.met()
    await other.end_removal("ann", "b-3")
    assert await other.register(BACK, NOW) == Registered(BACK, resumed=False)
    proxy.resume()
    await ending
    assert await other.get("ann") == BACK


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE])
async def test_removal_goes_on_though_answers_are_lost(
    registries: Registries, proxy: FaultProxy, raw: Raw, client_keys: ClientKeys, fault: Fault
) -> None:
    registry = registries.make(proxy.url)
    await registry.register(ANN, NOW)
    proxy.fail(fault)
    assert await registry.begin_removal("ann", "b-3", NOW)
    assert await registry.get("ann") == given_up("b-3", NOW)
    proxy.fail(fault)
    await registry.end_removal("ann", "b-3")
    assert await all_of(raw, client_keys, "ann") == [0, None, None, None]
