"""A list page by page: what is on a page, while jobs come and go, and what it costs."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.finder import (
    CHUNK,
    MAX_LOOKED_AT,
    Finder,
    Page,
    Place,
    Query,
    WrongPlace,
)
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import encode_job
from packhorse_broker.store.seeking import Entry
from tests.store.shelf import Shelf, all_pages, find, ids, job
from tests.support.inspection import Raw
from tests.support.opening import Opener

EVERYTHING: Final = Query()


@pytest.fixture
def shelf(raw: Raw, keys: PartitionKeys) -> Shelf:
    return Shelf(raw, keys)


@pytest.fixture
def finder(opener: Opener, keys: PartitionKeys) -> Finder:
    return Finder([ReadLane(opener.lane(), keys)])


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 7, 30])
async def test_pages_make_up_the_list(
    finder: Finder, shelf: Shelf, limit: int, *, newest_first: bool
) -> None:
    await shelf.put(
        *(
            job(f"{job_type}-{state.name}-{n}", state, 10 + n // 2, job_type, labels=("red",))
            for job_type in ("t", "u")
            for state in State
            for n in range(3)
        )
    )
    for query in (
        Query(newest_first=newest_first),
        Query(newest_first=newest_first, type="u"),
        Query(newest_first=newest_first, label="red"),
        Query(newest_first=newest_first, states=(State.QUEUED, State.FAILED), since=11),
    ):
        whole = await finder.page(query, None, 1_000)
        assert whole.next is None
        assert await all_pages(finder, query, limit) == ids(whole)
        for place, (_, after) in enumerate(whole.jobs):
            following = await finder.page(query, after, 2)
            assert ids(following) == ids(whole)[place + 1 : place + 3]


async def test_what_stays_is_found_once_though_others_come_and_go(
    finder: Finder, shelf: Shelf
) -> None:
    await shelf.put(*(job(f"{n:02}", at=n, labels=("red",), created_at=n) for n in range(20)))
    for query in (Query(type="t"), Query(label="red"), Query(newest_first=True)):
        found: list[str] = []
        place: Place | None = None
        while True:
            page = await finder.page(query, place, 4)
            found += ids(page)
            place = page.next
            if place is None:
                break
            last = found[-1]
            await shelf.drop(last)
            await shelf.put(job("first", at=0, labels=("red",), created_at=0, priority=1))
            await shelf.put(job(last, at=int(last), labels=("red",), created_at=int(last)))
            await shelf.drop("first", *found[-3:-1])
        wanted = [f"{n:02}" for n in range(20)]
        assert found == (wanted[::-1] if query.newest_first else wanted)
        await shelf.put(*(job(f"{n:02}", at=n, labels=("red",), created_at=n) for n in range(20)))


async def test_a_job_that_has_moved_on_is_shown_where_it_is(
    finder: Finder, shelf: Shelf, raw: Raw, keys: PartitionKeys
) -> None:
    """Its record is read after the index: what does not agree with the entry is left out there."""
    await shelf.put(job("a", State.STARTED, 10), job("b", State.STARTED, 20))
    moved = job("a", State.COMPLETE, 30)
    await raw("SET", keys.record("a"), encode_job(moved))
    assert await find(finder) == ["b"]
    await shelf.put(moved)
    await raw("ZADD", keys.started("t"), 10, "a")
    assert await find(finder) == ["b", "a"]
    again = job("b", State.STARTED, 40)
    await shelf.put(again)
    await raw("ZADD", keys.started("t"), 20, "b")
    assert await find(finder, states=(State.STARTED,)) == []


async def test_a_page_that_matches_nothing_has_a_next_one(
    finder: Finder, raw: Raw, keys: PartitionKeys, shelf: Shelf
) -> None:
    """Entries without a record are the cheapest that match nothing."""
    count = 2 * MAX_LOOKED_AT + 100
    await raw("SADD", keys.types, "t")
    await raw(
        "ZADD", keys.complete("t"), *(part for n in range(count) for part in (n + 1, f"none-{n}"))
    )
    await shelf.put(job("last", State.COMPLETE, count + 5))
    query = Query(type="t", states=(State.COMPLETE,))
    places: list[Place] = []
    page = await finder.page(query, None, 10)
    while page.next is not None:
        assert ids(page) == []
        places.append(page.next)
        page = await finder.page(query, page.next, 10)
    assert ids(page) == ["last"]
    # Each index that is looked at costs as much as an entry.
    assert [place.score for place in places] == [MAX_LOOKED_AT - 1, 2 * (MAX_LOOKED_AT - 1)]


async def test_many_types_without_jobs_end_a_page_too(
    finder: Finder, raw: Raw, keys: PartitionKeys, shelf: Shelf
) -> None:
    types = [f"type-{n:04}" for n in range(MAX_LOOKED_AT)]
    await raw("SADD", keys.types, *types)
    await shelf.put(job("a", job_type=types[-1]))
    pages = 0
    place: Place | None = None
    found: list[str] = []
    while pages == 0 or place is not None:
        page = await finder.page(EVERYTHING, place, 10)
        place = page.next
        found += ids(page)
        pages += 1
    assert found == ["a"]
    assert pages == len(types) * len(State) // MAX_LOOKED_AT + 1


async def test_an_index_that_changes_too_fast_leaves_a_place_to_go_on_from(
    finder: Finder, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.put(job("a", at=1), job("b", at=2))
    [(_, after_a), _] = (await finder.page(EVERYTHING, None, 2)).jobs

    async def too_fast(*_: Any, **__: Any) -> tuple[list[Entry], bool]:
        return [], False

    with monkeypatch.context() as patched:
        patched.setattr("packhorse_broker.store.finder.entries_after", too_fast)
        page = await finder.page(EVERYTHING, after_a, 2)
    assert page == Page([], after_a)
    assert ids(await finder.page(EVERYTHING, page.next, 2)) == ["b"]


async def test_no_more_is_read_than_a_page_needs(
    finder: Finder, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.put(*(job(f"{n:03}", at=n) for n in range(CHUNK + 50)))
    asked: list[int] = []
    records = finder._records

    async def counted(job_ids: Sequence[str]) -> list[Job | None]:
        asked.append(len(job_ids))
        return await records(job_ids)

    monkeypatch.setattr(finder, "_records", counted)
    await finder.page(EVERYTHING, None, 30)
    assert asked == [30]
    asked.clear()
    await finder.page(EVERYTHING, None, CHUNK + 50)
    assert asked == [CHUNK, 50]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        (Query(type="t"), Place("u", State.QUEUED)),
        (Query(type="t"), Place(None, None, 5, b"a")),
        (Query(type="t", states=(State.FAILED,)), Place("t", State.QUEUED)),
        (Query(label="red"), Place("t", State.QUEUED)),
        (Query(), Place("never-seen", State.QUEUED)),
        (Query(), Place("t", None)),
        (Query(), Place(None, State.QUEUED)),
    ],
)
async def test_a_place_in_another_list_is_refused(
    finder: Finder, shelf: Shelf, query: Query, place: Place
) -> None:
    await shelf.put(job("a"))
    with pytest.raises(WrongPlace):
        await finder.page(query, place, 5)


async def test_what_can_not_be_read_costs_no_other_job(
    finder: Finder, shelf: Shelf, raw: Raw, keys: PartitionKeys
) -> None:
    await shelf.put(*(job(name, at=5) for name in "abc"))
    await raw("SET", keys.record("b"), b"rubbish")
    await raw("ZADD", keys.queue("t"), 0, b"\xff")
    with capture_logs() as logs:
        assert await find(finder) == ["a", "c"]
    assert [log["event"] for log in logs] == ["store.corrupt_record"]
