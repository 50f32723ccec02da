"""Lists over several partitions are those of one, page by page and while jobs come and go."""

from collections.abc import AsyncIterator, Sequence
from itertools import count
from random import Random
from typing import Any, Final

import pytest

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.finder import CHUNK, SMALL_CHUNK, Finder, Page, Place, Query, WrongPlace
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.seeking import Ask, Entry, entries_after
from packhorse_protocol.ids import unique_tag
from tests.store.shelf import Shelf, find, ids, job
from tests.support.inspection import Raw
from tests.support.opening import Opener

PARTITIONS: Final = 3
HOMES: Final = Homes(PARTITIONS)

QUERIES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"type": "u"},
    {"type": "none"},
    {"type": "t", "states": (State.FAILED, State.PENDING)},
    {"states": (State.QUEUED,)},
    {"states": (State.QUEUED, State.COMPLETE), "since": 12, "until": 14},
    {"states": (State.STARTED,), "since": 13},
    {"type": "t", "until": 13},
    {"label": "red"},
    {"label": "red", "type": "u", "states": (State.QUEUED,)},
    {"label": "blue"},
)


class Shelves:
    """The same jobs at home in their partitions, and all of them in one."""

    def __init__(self, raw: Raw, opener: Opener, prefix: str) -> None:
        self.keys = [PartitionKeys(prefix, number) for number in range(PARTITIONS)]
        self.lanes = [ReadLane(opener.lane(), keys) for keys in self.keys]
        self.several = Finder(self.lanes)
        together = PartitionKeys(f"{prefix}-of-1", 0)
        self.all_keys = (*self.keys, together)
        self.one = Finder([ReadLane(opener.lane(), together)])
        self._shelves = [Shelf(raw, keys) for keys in self.keys]
        self._together = Shelf(raw, together)

    async def put(self, *jobs: Job) -> None:
        await self._together.put(*jobs)
        for one in jobs:
            await self._shelves[HOMES.of(one.id)].put(one)

    async def drop(self, *ids: str) -> None:
        await self._together.drop(*ids)
        for job_id in ids:
            await self._shelves[HOMES.of(job_id)].drop(job_id)

    async def page(self, query: Query, place: Place | None, limit: int) -> Page:
        """Of several, which is that of one."""
        page = await self.several.page(query, place, limit)
        assert page == await self.one.page(query, place, limit)
        return page


@pytest.fixture
async def shelves(raw: Raw, opener: Opener, prefix: str) -> AsyncIterator[Shelves]:
    made = Shelves(raw, opener, prefix)
    yield made
    for keys in made.all_keys:
        await raw.clear(keys.base)


def of_all_kinds() -> list[Job]:
    return [
        job(
            f"{job_type}-{state.name}-{n}",
            state,
            10 + n // 3,
            job_type,
            labels=("red",) if n % 2 else (),
            priority=n % 3,
            created_at=500 + n % 4,
        )
        for job_type in ("t", "u")
        for state in State
        for n in range(15)
    ]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("asked", QUERIES)
async def test_pages_are_those_of_one_partition(
    shelves: Shelves, asked: dict[str, Any], *, newest_first: bool
) -> None:
    await shelves.put(*of_all_kinds())
    query = Query(**asked, newest_first=newest_first)
    whole = await shelves.page(query, None, 1_000)
    assert whole.next is None
    for limit in (1, 4, 30):
        found: list[str] = []
        place: Place | None = None
        while True:
            page = await shelves.page(query, place, limit)
            found += ids(page)
            place = page.next
            if place is None:
                break
        assert found == ids(whole)
    for done, (_, after) in enumerate(whole.jobs, 1):
        following = await shelves.page(query, after, 3)
        assert ids(following) == ids(whole)[done : done + 3]


async def test_a_type_that_one_partition_has_is_listed(shelves: Shelves) -> None:
    await shelves.put(job("a", job_type="z"), job("b", job_type="y"), job("c", job_type="x"))
    assert await find(shelves.several) == ["c", "b", "a"]


@pytest.mark.parametrize("seed", range(6))
async def test_what_stays_is_found_once_though_others_come_and_go(
    shelves: Shelves, seed: int
) -> None:
    random = Random(seed)

    def some(name: str) -> Job:
        at = random.randrange(1, 30)
        return job(name, at=at, labels=("red",), priority=random.randrange(2), created_at=at)

    staying = {f"stays-{n:02}" for n in range(40)}
    await shelves.put(*map(some, sorted(staying)))
    for query in (Query(type="t"), Query(label="red", newest_first=True), Query()):
        found: list[str] = []
        place: Place | None = None
        while True:
            page = await shelves.page(query, place, random.randrange(1, 9))
            found += ids(page)
            place = page.next
            if place is None:
                break
            for _ in range(random.randrange(6)):
                name = f"other-{random.randrange(30):02}"
                await shelves.drop(name)
                if random.random() < 0.7:
                    await shelves.put(some(name))
        assert sorted(name for name in found if name in staying) == sorted(staying)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_entries_that_come_in_while_a_page_is_read_hide_none(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch, *, newest_first: bool
) -> None:
    """One partition then gives fewer entries than were asked for, and is not at its end."""
    lane = shelves.lanes[0]
    new = (name for name in map("new-{}".format, count()) if HOMES.of(name) == 0)
    names = sorted(map(str, range(100, 160)), key=lambda name: (HOMES.of(name) > 0, name))
    await shelves.put(
        *(job(name, at=500 + (-n if newest_first else n)) for n, name in enumerate(names))
    )
    ask = lane.ask
    disturbances = 0

    async def disturbed(*commands: bytes) -> list[Any]:
        """Between the look for the place and the page that goes on from there."""
        nonlocal disturbances
        replies = await ask(*commands)
        if b"RANK" in commands[0]:
            disturbances += 1
            at = 900 if newest_first else 1
            await shelves.put(*(job(next(new), at=at) for _ in range(SMALL_CHUNK - 2)))
        return replies

    monkeypatch.setattr(lane, "ask", disturbed)
    query = Query(type="t", newest_first=newest_first)
    found: list[str] = []
    place: Place | None = Place("t", State.QUEUED)
    while place is not None:
        page = await shelves.several.page(query, place, 5)
        found += ids(page)
        place = page.next
    assert disturbances
    assert [name for name in found if name in names] == names


async def test_one_index_that_changes_too_fast_leaves_a_place_to_go_on_from(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n:03}" for n in range(20)]
    await shelves.put(*(job(name, at=100 + int(name)) for name in names))
    first = await shelves.several.page(Query(), None, 5)
    shown = ids(first)

    async def too_fast(ask: Ask, key: bytes, *place: Any, **how: Any) -> tuple[list[Entry], bool]:
        if key == shelves.keys[1].queue("t"):
            return [], False
        return await entries_after(ask, key, *place, **how)

    with monkeypatch.context() as patched:
        patched.setattr("packhorse_broker.store.finder.entries_after", too_fast)
        assert await shelves.several.page(Query(), first.next, 5) == Page([], first.next)
    place = first.next
    while place is not None:
        page = await shelves.several.page(Query(), place, 5)
        shown += ids(page)
        place = page.next
    assert shown == names


async def test_no_more_is_read_than_a_page_needs(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n:03}" for n in range(CHUNK + 50)]
    await shelves.put(*(job(name, at=100 + int(name)) for name in names))
    asked: list[int] = []
    records = shelves.several._records

    async def counted(job_ids: Sequence[str]) -> list[Job | None]:
        asked.append(len(job_ids))
        return await records(job_ids)

    monkeypatch.setattr(shelves.several, "_records", counted)
    await shelves.several.page(Query(), None, 30)
    assert asked == [30]
    asked.clear()
    assert ids(await shelves.several.page(Query(), None, CHUNK + 50)) == names
    assert asked == [CHUNK, 50]


async def test_a_unique_key_is_looked_up_where_it_is(shelves: Shelves, raw: Raw) -> None:
    homes = set()
    for number in range(12):
        tag = unique_tag("t", f"k-{number}")
        terms = Terms(unique=Unique(f"k-{number}", Scope.UNTIL_FINISHED))
        holder = job(f"h-{number}~{tag}", at=50, terms=terms)
        await shelves.put(holder)
        homes.add(home := HOMES.of(holder.id))
        await raw("SET", shelves.keys[home].unique("t", f"k-{number}"), holder.id)
        assert await find(shelves.several, type="t", unique_key=f"k-{number}") == [holder.id]
        assert await find(shelves.several, type="u", unique_key=f"k-{number}") == []
    assert homes == set(range(PARTITIONS))
    with pytest.raises(WrongPlace):
        await shelves.several.page(Query(type="t", unique_key="k-1"), Place("t", State.QUEUED), 5)


async def test_a_place_in_another_list_is_refused(shelves: Shelves) -> None:
    await shelves.put(job("a"))
    for query, place in (
        (Query(type="t"), Place("u", State.QUEUED)),
        (Query(label="red"), Place("t", State.QUEUED)),
        (Query(), Place("never-seen", State.QUEUED)),
    ):
        with pytest.raises(WrongPlace):
            await shelves.several.page(query, place, 5)
