"""What brokers tell each other of the types that their runners take."""

from collections.abc import Collection

from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.shares import ALONE, Rivals
from packhorse_broker.store.takes import TAKES_TTL_MS, Taken, TakesBoard
from tests.support.clients import NOW
from tests.support.inspection import Raw
from tests.support.opening import Opener


def board(
    opener: Opener, keys: ClientKeys, broker: str, taken: Taken, claimed: Collection[str] = ()
) -> TakesBoard:
    return TakesBoard(
        opener.lane(), keys, broker=broker, taken=lambda: taken, claimed=lambda: claimed
    )


async def test_all_brokers_together(
    opener: Opener, registry: Registry, client_keys: ClientKeys
) -> None:
    await registry.announce_broker("b-1", NOW)
    await registry.announce_broker("b-2", NOW)
    one = board(opener, client_keys, "b-1", {"mail": (2, 7), "resize": (1, 0)})
    two = board(opener, client_keys, "b-2", {"mail": (1, 1)})
    await one.announce()
    await two.announce()
    assert await two.takes() == {"mail": (3, 8), "resize": (1, 0)}
    assert await one.takes() == await two.takes()


async def test_of_this_broker_what_holds_now(
    opener: Opener, registry: Registry, client_keys: ClientKeys
) -> None:
    await registry.announce_broker("b-1", NOW)
    taken = {"mail": (1, 1)}
    one = board(opener, client_keys, "b-1", taken)
    await one.announce()
    taken["mail"] = (1, 0)
    assert await one.takes() == {"mail": (1, 0)}


async def test_what_a_broker_said_is_forgotten(
    opener: Opener, registry: Registry, client_keys: ClientKeys, raw: Raw
) -> None:
    """When it says that nothing is taken any more, when it ends, and when it says nothing."""
    await registry.announce_broker("b-1", NOW)
    taken = {"mail": (1, 1)}
    one = board(opener, client_keys, "b-1", taken)
    other = board(opener, client_keys, "b-2", {})
    await one.announce()
    assert 0 < await raw("PTTL", client_keys.takes("b-1")) <= TAKES_TTL_MS
    del taken["mail"]
    await one.announce()
    assert await other.takes() == {}
    taken["mail"] = (1, 1)
    await one.announce()
    assert await other.takes() == {"mail": (1, 1)}
    await one.withdraw()
    assert await other.takes() == {}


async def test_what_is_no_announcement_is_passed_over(
    opener: Opener, registry: Registry, client_keys: ClientKeys, raw: Raw
) -> None:
    for broker in ("b-1", "b-2", "b-3"):
        await registry.announce_broker(broker, NOW)
    await board(opener, client_keys, "b-1", {"mail": (1, 1)}).announce()
    await raw("SET", client_keys.takes("b-2"), b"\xc1")
    await raw("SET", client_keys.takes("b-3"), b"\x01")
    assert await board(opener, client_keys, "b-4", {}).takes() == {"mail": (1, 1)}


async def test_rivals_are_those_who_claim(
    opener: Opener, registry: Registry, client_keys: ClientKeys
) -> None:
    """One whose runners are busy with long jobs has no place free, and gets none either."""
    for broker in ("b-1", "b-2", "b-3", "b-4"):
        await registry.announce_broker(broker, NOW)
    await board(opener, client_keys, "b-4", {"mail": (1, 1)}).announce()
    await board(opener, client_keys, "b-1", {"mail": (1, 0)}, claimed=("mail",)).announce()
    await board(opener, client_keys, "b-3", {"mail": (1, 0)}).announce()
    mine = board(opener, client_keys, "b-2", {"mail": (1, 1), "own": (1, 1)})
    assert mine.rivals("mail") == ALONE
    await mine.announce()
    assert mine.rivals("mail") == Rivals(("b-1", "b-2", "b-4"), 1)
    assert mine.rivals("own") == mine.rivals("unknown") == ALONE
