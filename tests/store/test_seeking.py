"""Going on in a sorted set that changes, whatever became of the entry after which it goes on."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.seeking import SEEKS, Ask, Entry, entries_after
from tests.support.inspection import Raw
from tests.support.opening import Opener

DIRECTIONS: Final = pytest.mark.parametrize("reverse", [False, True])


@pytest.fixture
def ask(opener: Opener) -> Ask:
    return opener.lane().ask


@pytest.fixture
def key(keys: PartitionKeys) -> bytes:
    return keys.complete("t")


def meddling(ask: Ask, before: Callable[[bytes], Awaitable[None]]) -> Ask:
    """Asks after something has been done."""

    async def meddled(*commands: bytes) -> list[Any]:
        await before(commands[0])
        return await ask(*commands)

    return meddled


def members(count: int, score: Callable[[int], int] = lambda _: 7) -> list[Entry]:
    return sorted((score(n), f"member-{n:05}".encode()) for n in range(count))


async def add(raw: Raw, key: bytes, entries: list[Entry]) -> None:
    for start in range(0, len(entries), 1_000):
        page = entries[start : start + 1_000]
        await raw("ZADD", key, *(part for entry in page for part in entry))


async def walk(ask: Ask, key: bytes, limit: int, *, reverse: bool) -> list[Entry]:
    """All pages, one after the other."""
    found: list[Entry] = []
    at_end = False
    while not at_end:
        page, at_end = await entries_after(
            ask, key, found[-1] if found else None, limit, reverse=reverse
        )
        assert len(page) <= limit
        found += page
    return found


@DIRECTIONS
@pytest.mark.parametrize("limit", [1, 3, 10, 11])
async def test_pages_make_up_the_set(
    ask: Ask, raw: Raw, key: bytes, limit: int, *, reverse: bool
) -> None:
    entries = members(10, score=lambda n: n // 4 - 1)
    await add(raw, key, entries)
    found = await walk(ask, key, limit, reverse=reverse)
    assert found == (entries[::-1] if reverse else entries)


@DIRECTIONS
async def test_a_set_that_is_not_there_is_at_its_end(
    ask: Ask, key: bytes, *, reverse: bool
) -> None:
    assert await entries_after(ask, key, None, 5, reverse=reverse) == ([], True)
    assert await entries_after(ask, key, (3, b"a"), 5, reverse=reverse) == ([], True)


@DIRECTIONS
@pytest.mark.parametrize("same_score", [True, False])
async def test_it_goes_on_after_an_entry_that_is_gone(
    ask: Ask, raw: Raw, key: bytes, *, same_score: bool, reverse: bool
) -> None:
    entries = members(3_000, score=(lambda _: 7) if same_score else (lambda n: n))
    await add(raw, key, entries)
    for place in (0, 1, 1_499, 2_998, 2_999):
        gone = entries[place]
        await raw("ZREM", key, gone[1])
        found, _ = await entries_after(ask, key, gone, 2, reverse=reverse)
        left = entries[:place][::-1] if reverse else entries[place + 1 :]
        assert found == left[:2]
        await add(raw, key, [gone])


@DIRECTIONS
async def test_it_goes_on_where_an_entry_was_that_stands_elsewhere_now(
    ask: Ask, raw: Raw, key: bytes, *, reverse: bool
) -> None:
    entries = members(20, score=lambda n: n)
    await add(raw, key, entries)
    after = entries[10]
    for elsewhere in (0, 99):
        await raw("ZADD", key, elsewhere, after[1])
        found, _ = await entries_after(ask, key, after, 1, reverse=reverse)
        assert found == [entries[9] if reverse else entries[11]]


@DIRECTIONS
async def test_a_bound_stands_before_all_of_its_score(
    ask: Ask, raw: Raw, key: bytes, *, reverse: bool
) -> None:
    entries = members(30, score=lambda n: n // 3)
    await add(raw, key, entries)
    for score in (0, 4, 9, 10):
        found, _ = await entries_after(ask, key, (score, b""), 30, reverse=reverse)
        if reverse:
            assert found == [entry for entry in entries[::-1] if entry[0] < score]
        else:
            assert found == [entry for entry in entries if entry[0] >= score]


@DIRECTIONS
async def test_what_goes_before_the_place_takes_nothing_along(
    ask: Ask, raw: Raw, key: bytes, *, reverse: bool
) -> None:
    """Between finding the place and reading from it many of those before it go."""
    entries = members(1_000)
    await add(raw, key, entries)
    order = entries[::-1] if reverse else entries
    gone = iter([order[:5], order[5:300]])

    async def before(command: bytes) -> None:
        if b"ZRANGE" in command:
            for _, member in next(gone, []):
                await raw("ZREM", key, member)

    found, _ = await entries_after(meddling(ask, before), key, order[499], 10, reverse=reverse)
    assert found == order[500:510]


@DIRECTIONS
async def test_what_comes_before_the_place_ends_nothing(
    ask: Ask, raw: Raw, key: bytes, *, reverse: bool
) -> None:
    entries = members(20)
    await add(raw, key, entries)
    order = entries[::-1] if reverse else entries
    came = iter([[(6 if not reverse else 8, b"new-%d" % n) for n in range(100)]])

    async def before(command: bytes) -> None:
        if b"ZRANGE" in command:
            for entry in next(came, []):
                await add(raw, key, [entry])

    found, at_end = await entries_after(meddling(ask, before), key, order[9], 5, reverse=reverse)
    assert found == order[10:15]
    assert not at_end


async def test_a_set_that_changes_too_fast_is_asked_again(ask: Ask, raw: Raw, key: bytes) -> None:
    await add(raw, key, members(6_000))
    reads = 0

    async def before(command: bytes) -> None:
        nonlocal reads
        if b"ZRANGE" in command:
            reads += 1
            await raw("ZREMRANGEBYRANK", key, 0, 8 ** (reads - 1) + 1)

    after = (7, b"member-05990")
    found, at_end = await entries_after(meddling(ask, before), key, after, 5, reverse=False)
    assert (found, at_end, reads) == ([], False, SEEKS)
    found, at_end = await entries_after(ask, key, after, 5, reverse=False)
    assert [member for _, member in found] == [b"member-%05d" % n for n in range(5_991, 5_996)]


@DIRECTIONS
@pytest.mark.parametrize("seed", range(10))
async def test_what_stays_is_found_once_whatever_comes_and_goes(
    ask: Ask, raw: Raw, key: bytes, seed: int, *, reverse: bool
) -> None:
    chance = random.Random(seed)
    scores = chance.choice((1, 5, 200))
    entries = members(300, score=lambda _: chance.randrange(scores))
    staying, passing = entries[::2], entries[1::2]
    await add(raw, key, entries)

    async def before(_: bytes) -> None:
        chosen = chance.sample(passing, 20)
        await raw("ZREM", key, *(member for _, member in chosen[:10]))
        await add(raw, key, chosen[10:])

    found = await walk(meddling(ask, before), key, chance.choice((1, 7, 40)), reverse=reverse)
    assert found == sorted(set(found), reverse=reverse)
    assert set(staying) <= set(found)


async def test_a_place_among_many_of_one_score_costs_few_exchanges(
    ask: Ask, raw: Raw, key: bytes
) -> None:
    entries = members(20_000)
    await add(raw, key, entries)
    await raw("ZREM", key, entries[12_345][1])
    exchanges = 0

    async def before(_: bytes) -> None:
        nonlocal exchanges
        exchanges += 1

    found, _ = await entries_after(meddling(ask, before), key, entries[12_345], 1, reverse=False)
    assert found == [entries[12_346]]
    assert exchanges <= 2 + 4
