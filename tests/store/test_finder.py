"""Finding jobs in the indexes: what a list has, and in which order."""

import pytest

from packhorse_broker.jobs.model import State
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.finder import Finder, Place, Query, WrongPlace, time_of
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.read_lane import ReadLane
from tests.store.shelf import Shelf, find, job
from tests.support.inspection import Raw
from tests.support.opening import Opener


@pytest.fixture
def shelf(raw: Raw, keys: PartitionKeys) -> Shelf:
    return Shelf(raw, keys)


@pytest.fixture
def finder(opener: Opener, keys: PartitionKeys) -> Finder:
    return Finder([ReadLane(opener.lane(), keys)])


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
