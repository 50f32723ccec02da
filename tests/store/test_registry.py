"""Clients in the store: registration and liveness."""

import asyncio
from dataclasses import replace

import pytest

from packhorse_broker.jobs.outages import Outage
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.registry import (
    BROKER_TTL_MS,
    LastResponse,
    LastRun,
    Refused,
    Registered,
    Registry,
)
from tests.support.clients import ANN, BACK, NOW, Registries, all_of, given_up
from tests.support.inspection import Raw
from tests.support.proxy import Fault, FaultProxy

# -- registration


async def test_new_client(registry: Registry, raw: Raw, client_keys: ClientKeys) -> None:
    assert await registry.register(ANN, NOW) == Registered(ANN, resumed=False)
    assert await registry.get("ann") == ANN
    assert await registry.get("bob") is None
    assert await all_of(raw, client_keys, "ann") == [1, b"1030000", b"c-1", None]
    assert await registry.count() == 1


async def test_client_that_comes_back_keeps_when_it_was_registered(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    await registry.register(ANN, NOW)
    expected = replace(BACK, registered_at=NOW)
    assert await registry.register(BACK, NOW + 7) == Registered(expected, resumed=True)
    assert await registry.get("ann") == expected
    assert await all_of(raw, client_keys, "ann") == [1, b"1005007", b"c-2", None]
    assert await registry.count() == 1


async def test_another_secret_is_refused_and_changes_nothing(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    await registry.register(ANN, NOW)
    before = await all_of(raw, client_keys, "ann")
    stranger = replace(BACK, secret_hash=b"another")
    assert await registry.register(stranger, NOW + 7) == Refused(ANN, "secret")
    assert await registry.get("ann") == ANN
    assert await all_of(raw, client_keys, "ann") == before


async def test_leaving_client_can_not_come_back_until_it_is_gone(registry: Registry) -> None:
    await registry.register(ANN, NOW)
    assert await registry.begin_removal("ann", "b-3", NOW + 1)
    assert await registry.register(BACK, NOW + 2) == Refused(given_up("b-3", NOW + 1), "leaving")
    await registry.end_removal("ann", "b-3")
    assert await registry.register(BACK, NOW + 3) == Registered(BACK, resumed=False)


async def test_of_two_that_want_one_id_one_gets_it(
    registries: Registries, proxy: FaultProxy
) -> None:
    slow, quick = registries.make(proxy.url), registries.make()
    proxy.fail(Fault.PAUSE)
    registering = asyncio.create_task(slow.register(ANN, NOW))
    await proxy.met()
    other = replace(BACK, secret_hash=b"another")
    assert await quick.register(other, NOW) == Registered(other, resumed=False)
    proxy.resume()
    assert await registering == Refused(other, "secret")


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE, Fault.CUT_IN_ANSWER])
async def test_registration_whose_answer_was_lost_is_new_once(
    registries: Registries, proxy: FaultProxy, fault: Fault
) -> None:
    registry = registries.make(proxy.url)
    proxy.fail(fault)
    assert await registry.register(ANN, NOW) == Registered(ANN, resumed=False)
    assert await registry.count() == 1


async def test_many_at_once(registry: Registry) -> None:
    clients = [replace(ANN, id=f"client-{number}") for number in range(30)]
    found = await asyncio.gather(*(registry.register(client, NOW) for client in clients))
    assert found == [Registered(client, resumed=False) for client in clients]
    assert await registry.count() == 30


async def test_store_that_is_away_is_unavailable(registries: Registries, proxy: FaultProxy) -> None:
    registry = registries.make(proxy.url)
    proxy.refusing = True
    with pytest.raises(StoreUnavailable):
        await registry.register(ANN, NOW)
    with pytest.raises(StoreUnavailable):
        await registry.count()
    proxy.refusing = False
    assert await registry.register(ANN, NOW) == Registered(ANN, resumed=False)


async def test_caller_that_is_cancelled_costs_the_next_nothing(
    registries: Registries, proxy: FaultProxy
) -> None:
    registry = registries.make(proxy.url)
    proxy.pause_at(b"ZCARD")
    cancelled = asyncio.create_task(registry.count())
    await proxy.met()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    proxy.resume()
    assert await registry.register(ANN, NOW) == Registered(ANN, resumed=False)


async def test_corrupt_record_is_told(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    await raw("SET", client_keys.client("ann"), "no record")
    with pytest.raises(CorruptRecord):
        await registry.get("ann")
    with pytest.raises(CorruptRecord):
        await registry.register(ANN, NOW)
    assert await raw("GET", client_keys.client("ann")) == b"no record"


# -- liveness


async def test_renewal_brings_nobody_back(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    await registry.register(ANN, NOW)
    await registry.register(replace(ANN, id="bob"), NOW)
    await registry.begin_removal("bob", "b-3", NOW)
    await registry.renew({"bob": 7, "ann": 8, "cid": 9})
    assert await raw("ZRANGE", client_keys.alive, 0, -1, "WITHSCORES") == [b"ann", b"8"]
    await registry.renew({})


async def test_newest_connection_of_everybody(registry: Registry) -> None:
    await registry.register(ANN, NOW)
    await registry.register(replace(ANN, id="bob"), NOW)
    await registry.register(BACK, NOW)
    await registry.begin_removal("bob", "b-3", NOW)
    assert await registry.newest_connections(["bob", "ann", "cid"]) == {
        "bob": None,
        "ann": "c-2",
        "cid": None,
    }
    assert await registry.newest_connections([]) == {}


async def test_silent_clients_longest_first(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    clients = [replace(ANN, id=name) for name in ("ann", "bob", "cid", "dan")]
    for place, client in enumerate(clients):
        await registry.register(client, NOW - place)
    late = NOW + 30_000
    assert await registry.silent(late - 4, 10) == []
    assert await registry.silent(late - 2, 10) == [clients[3], clients[2]]
    assert await registry.silent(late, 3) == [clients[3], clients[2], clients[1]]
    await raw("DEL", client_keys.client("dan"))
    assert await registry.silent(late - 2, 10) == [clients[2]], "an entry without a record"


async def test_corrupt_client_keeps_no_other_from_being_found_silent(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    for name in ("ann", "bob"):
        await registry.register(replace(ANN, id=name), NOW)
    await raw("SET", client_keys.client("ann"), "no record")
    late = NOW + 30_000
    assert await registry.silent(late, 10) == [replace(ANN, id="bob")]


async def test_last_responses_of_those_that_are_there(
    registry: Registry, raw: Raw, client_keys: ClientKeys
) -> None:
    for name in ("ann", "bob", "cid", "dan"):
        await registry.register(replace(ANN, id=name), NOW)
    await registry.renew({"bob": NOW + 35_000})
    await registry.begin_removal("cid", "b-3", NOW)
    await raw("SET", client_keys.client("dan"), "no record")
    assert await registry.last_responses(["ann", "bob", "cid", "dan", "eve"]) == {
        "ann": LastResponse(NOW, ANN.timeout_ms),
        "bob": LastResponse(NOW + 35_000 - ANN.timeout_ms, ANN.timeout_ms),
    }
    assert await registry.last_responses([]) == {}


async def test_leaving_clients_longest_first(registry: Registry) -> None:
    for place, name in enumerate(("ann", "bob", "cid")):
        await registry.register(replace(ANN, id=name), NOW)
        await registry.begin_removal(name, "b-3", NOW - place)
    assert list((await registry.leaving(2)).items()) == [("cid", NOW - 2), ("bob", NOW - 1)]


# -- brokers and the clock


async def test_brokers_that_run_are_known(registry: Registry) -> None:
    both = {"one", "two"}
    assert await registry.announce_broker("one", NOW) == {"one"}
    assert await registry.announce_broker("two", NOW + 1) == both
    assert await registry.announce_broker("one", NOW + 2) == both
    assert await registry.announce_broker("one", NOW + BROKER_TTL_MS) == both
    assert await registry.announce_broker("one", NOW + 1 + BROKER_TTL_MS) == {"one"}
    await registry.announce_broker("two", NOW + BROKER_TTL_MS)
    await registry.withdraw_broker("one")
    await registry.withdraw_broker("none")
    assert await registry.announce_broker("two", NOW + BROKER_TTL_MS) == {"two"}


async def test_until_when_a_broker_ran_is_known_with_all_outages(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packhorse_broker.store.registry.MAX_OUTAGES", 3)
    assert await registry.last_run() == LastRun(0)
    await registry.announce_broker("one", NOW)
    assert await registry.last_run() == LastRun(NOW)
    outages = [Outage(at, at + 5) for at in range(10, 50, 10)]
    for outage in outages:
        await registry.announce_broker("one", NOW + 1, [outage])
    # Another one saw it a little later.
    await registry.announce_broker("two", NOW + 2, [Outage(41, 46)])
    assert await registry.last_run() == LastRun(NOW + 2, (outages[2], Outage(40, 46)))


async def test_time_is_the_stores(registry: Registry, raw: Raw) -> None:
    [before_s, before_us] = map(int, await raw("TIME"))
    told_ms = await registry.time_ms()
    [after_s, after_us] = map(int, await raw("TIME"))
    assert before_s * 1000 + before_us / 1000 <= told_ms <= after_s * 1000 + after_us / 1000


async def test_closing_twice_is_quiet(registry: Registry) -> None:
    await registry.register(ANN, NOW)
    await registry.close()
    await registry.close()
