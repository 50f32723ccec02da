"""Finding jobs in the indexes: what a list has, in which order, and what a page of it costs."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from packhorse_broker.jobs.model import AttemptRecord, Course, End, Expired, Job, State
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.finder import (
    CHUNK,
    MAX_LOOKED_AT,
    Finder,
    Page,
    Place,
    Query,
    WrongPlace,
    time_of,
)
from packhorse_broker.store.indexes import entries
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.records import encode_attempt, encode_job
from packhorse_broker.store.seeking import Entry
from packhorse_broker.store.types import PLAIN, TypeSettings, encode_settings
from tests.support.inspection import Raw
from tests.support.opening import Opener

EVERYTHING: Final = Query()


class Shelf:
    """Puts jobs into the store as the committer would, and takes them out again."""

    def __init__(self, raw: Raw, keys: PartitionKeys) -> None:
        self._raw = raw
        self._keys = keys
        self._there: dict[str, Job] = {}

    async def put(self, *jobs: Job) -> None:
        """New ones, or what became of those that are there."""
        for job in jobs:
            await self.drop(job.id)
            self._there[job.id] = job
            await self._raw("SET", self._keys.record(job.id), encode_job(job))
            await self._raw("SADD", self._keys.types, job.type)
            for key, member, score in entries(self._keys, job):
                await self._raw("ZADD", key, score, member)

    async def drop(self, *ids: str) -> None:
        for job_id in ids:
            job = self._there.pop(job_id, None)
            if job is not None:
                await self._raw("DEL", self._keys.record(job_id))
                for key, member, _ in entries(self._keys, job):
                    await self._raw("ZREM", key, member)


@pytest.fixture
def shelf(raw: Raw, keys: PartitionKeys) -> Shelf:
    return Shelf(raw, keys)


@pytest.fixture
def finder(opener: Opener, keys: PartitionKeys) -> Finder:
    return Finder(opener.lane(), keys)


def job(
    job_id: str,
    state: State = State.QUEUED,
    at: int = 1_000,
    job_type: str = "t",
    *,
    labels: tuple[str, ...] = (),
    priority: int = 0,
    **fields: Any,
) -> Job:
    """A job that came into its state at this time."""
    times: dict[State, dict[str, Any]] = {
        State.PENDING: {"course": Course(delayed_until=at)},
        State.QUEUED: {"queued_at": at, "order": at * 1_000},
        State.STARTED: {"started_at": at, "runner": "ann"},
        State.COMPLETE: {"finished_at": at},
        State.FAILED: {"finished_at": at},
    }
    terms = Terms(labels=labels, priority=priority) if labels or priority else None
    return Job(
        **{
            "id": job_id,
            "type": job_type,
            "state": state,
            "version": 1,
            "order": 1,
            "created_at": 500,
            "terms": terms,
            "body": b"",
            **times[state],
            **fields,
        }
    )


def ids(page: Page) -> list[str]:
    return [found.id for found, _ in page.jobs]


async def all_pages(finder: Finder, query: Query, limit: int) -> list[str]:
    found: list[str] = []
    place: Place | None = None
    while True:
        page = await finder.page(query, place, limit)
        assert len(page.jobs) <= limit
        found += ids(page)
        place = page.next
        if place is None:
            return found


async def find(finder: Finder, **asked: Any) -> list[str]:
    """All in one page."""
    page = await finder.page(Query(**asked), None, 1_000)
    assert page.next is None
    return ids(page)


# -- what is found, in which order


async def test_each_state_in_the_order_of_its_index(finder: Finder, shelf: Shelf) -> None:
    await shelf.put(
        *(
            job(f"{state.name.lower()}-{at}", state, at)
            for state in State
            for at in (3_000, 1_000, 2_000)
        )
    )
    expected = [
        f"{state}-{at}"
        for state in ("pending", "queued", "started", "complete", "failed")
        for at in (1_000, 2_000, 3_000)
    ]
    assert await find(finder, type="t") == expected
    assert await find(finder, type="t", states=(State.FAILED, State.PENDING)) == [
        name for name in expected if name.startswith(("pending", "failed"))
    ]
    assert await find(finder, type="none") == []
    assert await find(finder, type="t", states=(State.STARTED,), newest_first=True) == [
        "started-3000",
        "started-2000",
        "started-1000",
    ]


async def test_a_queue_by_priority_and_then_by_place(finder: Finder, shelf: Shelf) -> None:
    await shelf.put(
        job("late", at=30),
        job("early", at=10),
        job("urgent", at=40, priority=5),
        job("idle", at=5, priority=-5),
    )
    order = ["urgent", "early", "late", "idle"]
    assert await find(finder, states=(State.QUEUED,)) == order
    assert await find(finder, states=(State.QUEUED,), newest_first=True) == order[::-1]


async def test_all_types_in_the_order_of_their_names(finder: Finder, shelf: Shelf) -> None:
    await shelf.put(
        job("1", job_type="mail"), job("2", job_type="ärger"), job("3", State.FAILED, 5, "mail")
    )
    await shelf.put(job("4", State.PENDING, 5, "post"))
    assert await find(finder) == ["1", "3", "4", "2"]


async def test_a_label_has_jobs_of_every_type_and_state(finder: Finder, shelf: Shelf) -> None:
    await shelf.put(
        job("a", State.FAILED, created_at=3, labels=("red", "big")),
        job("b", State.PENDING, job_type="u", created_at=2, labels=("red",)),
        job("c", created_at=1, labels=("big",)),
    )
    assert await find(finder, label="red") == ["b", "a"]
    assert await find(finder, label="red", newest_first=True) == ["a", "b"]
    assert await find(finder, label="red", type="u") == ["b"]
    assert await find(finder, label="red", states=(State.FAILED, State.COMPLETE)) == ["a"]
    assert await find(finder, label="green") == []


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("label", [None, "red"])
async def test_a_span_of_time_is_that_of_the_state(
    finder: Finder, shelf: Shelf, state: State, label: str | None, *, newest_first: bool
) -> None:
    names = [f"at-{at}" for at in range(10, 60, 10)]
    await shelf.put(*(job(name, state, int(name[3:]), labels=("red",)) for name in names))

    async def between(since: int, until: int | None) -> list[str]:
        found = await find(finder, label=label, since=since, until=until, newest_first=newest_first)
        # By label they come as they were created, here all at once, so by their names.
        return found[::-1] if newest_first else found

    assert await between(20, 40) == names[1:3]
    assert await between(21, None) == names[2:]
    assert await between(0, 10) == []
    assert await between(0, 11) == names[:1]
    assert await between(0, 0) == []
    assert await between(99, None) == []
    assert await between(0, None) == names


async def test_the_time_of_each_state() -> None:
    assert [time_of(job("a", state, 77)) for state in State] == [77] * 5


async def test_a_unique_key_names_its_holder(
    finder: Finder, shelf: Shelf, raw: Raw, keys: PartitionKeys
) -> None:
    terms = Terms(unique=Unique("k", Scope.UNTIL_FINISHED), labels=("red",))
    await shelf.put(job("a", at=50, terms=terms), job("b"))
    await raw("SET", keys.unique("t", "k"), "a")
    assert await find(finder, type="t", unique_key="k") == ["a"]
    assert await find(finder, type="u", unique_key="k") == []
    assert await find(finder, type="t", unique_key="j") == []
    assert await find(finder, type="t", unique_key="k", label="red", since=50) == ["a"]
    assert await find(finder, type="t", unique_key="k", label="blue") == []
    assert await find(finder, type="t", unique_key="k", states=(State.FAILED,)) == []
    assert await find(finder, type="t", unique_key="k", until=50) == []
    with pytest.raises(WrongPlace):
        await finder.page(Query(type="t", unique_key="k"), Place("t", State.QUEUED), 5)


async def test_a_key_held_past_its_job_finds_nothing(
    finder: Finder, shelf: Shelf, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("SET", keys.unique("t", "k"), "gone")
    assert await find(finder, type="t", unique_key="k") == []
    await shelf.put(job("gone"))  # another job under the id
    assert await find(finder, type="t", unique_key="k") == []


# -- pages


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


# -- single jobs


async def test_attempts_are_the_newest_ones(finder: Finder, raw: Raw, keys: PartitionKeys) -> None:
    records = [
        AttemptRecord(n, "ann", 10 * n, 10 * n + 5, End.TIMED_OUT, Expired.RUN, None, 99)
        for n in range(1, 4)
    ]
    await raw("RPUSH", keys.attempts("a"), *map(encode_attempt, records))
    await raw("RPUSH", keys.attempts("b"), b"rubbish", encode_attempt(records[0]))
    with capture_logs() as logs:
        assert await finder.attempts(["a", "none", "b"], 50) == [records, [], records[:1]]
    assert [log["event"] for log in logs] == ["store.corrupt_attempt"]
    assert await finder.attempts(["a"], 1) == [records[-1:]]
    assert await finder.attempts([], 50) == []


async def test_how_many_stand_before_a_job(finder: Finder, shelf: Shelf) -> None:
    jobs = [job("a", at=3), job("b", at=1), job("c", at=9, priority=1), job("d", job_type="u")]
    await shelf.put(*jobs)
    assert await finder.ahead(jobs) == [2, 1, 0, 0]
    assert await finder.ahead([replace(jobs[0], order=7)]) == [None]
    assert await finder.ahead([]) == []


async def test_settings_as_they_are_stored(finder: Finder, raw: Raw, keys: PartitionKeys) -> None:
    paused = TypeSettings(paused=True, by="ann", why="tired")
    await raw("SET", keys.settings("t"), encode_settings(paused))
    await raw("SET", keys.settings("u"), b"rubbish")
    with capture_logs() as logs:
        found = await finder.settings(["t", "u", "v"])
    assert found == {"t": paused, "u": PLAIN, "v": PLAIN}
    assert [log["event"] for log in logs] == ["store.corrupt_settings"]
    assert await finder.settings([]) == {}
