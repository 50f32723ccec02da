"""What one frame takes of what waits."""

import asyncio

import pytest

from packhorse import kinds_by_hand
from packhorse.errors import InvalidValue, NotFound, TooLarge
from packhorse.kinds_by_hand import Cancelled
from packhorse.lanes import MAX_BATCH_ELEMENTS, Gone, Kind, Lane, headers_bytes
from packhorse.requests import quietly
from packhorse_protocol.messages import Done, Get, JobView, Limits, Remove

LIMITS = Limits(
    frame_bytes=10_000,
    payload_bytes=1,
    result_bytes=1,
    log_message_bytes=1,
    batch=5,
    in_flight=1,
)

GET: Kind[str, JobView] = Kind(
    build=lambda request_id, jobs: Get(id=request_id, jobs=jobs), data_bytes=len
)


def lane_of(kind: Kind[str, JobView], *items: str) -> Lane[str, JobView]:
    lane = Lane(kind, lambda _: None)
    for item in items:
        quietly(lane.submit(item))
    return lane


def taken(lane: Lane[str, JobView]) -> list[str]:
    return [entry.item for entry in lane.take(LIMITS)]


async def test_items_leave_in_order_up_to_the_batch() -> None:
    lane = lane_of(GET, *"abcdefg")
    assert [taken(lane), taken(lane), taken(lane)] == [list("abcde"), list("fg"), []]


async def test_items_leave_up_to_the_size_of_a_frame() -> None:
    lane = lane_of(GET, "a" * 4_000, "b" * 4_000, "c" * 4_000)
    assert [len(taken(lane)), len(taken(lane))] == [2, 1]


async def test_an_item_larger_than_a_frame_goes_by_itself() -> None:
    lane = lane_of(GET, "a", "b" * 20_000, "c")
    assert [len(taken(lane)), len(taken(lane)), len(taken(lane))] == [1, 1, 1]


async def test_items_leave_up_to_the_number_of_elements() -> None:
    many: Kind[str, JobView] = Kind(
        build=GET.build, elements=lambda _: MAX_BATCH_ELEMENTS // 2 - 100
    )
    assert [len(taken(lane_of(many, *"abc")))] == [2]


async def test_an_item_of_a_wrong_type_fails_and_the_others_leave() -> None:
    lane = lane_of(GET, "a")
    wrong = lane.submit(5)  # type: ignore[arg-type]
    quietly(lane.submit("b"))
    assert taken(lane) == ["a", "b"]
    with pytest.raises(InvalidValue, match="can't be sent"):
        await wrong


async def test_what_is_put_back_comes_first() -> None:
    lane: Lane[str, JobView] = Lane(GET, lambda _: None)
    futures = [lane.submit(item) for item in "abc"]
    entries = lane.take(LIMITS)
    quietly(lane.submit("d"))
    futures[1].cancel()
    lane.put_back(entries)
    assert taken(lane) == ["a", "c", "d"]


async def test_what_goes_alone_goes_alone() -> None:
    lane = lane_of(GET, *"abc")
    entries = lane.take(LIMITS)
    entries[1].alone = True
    lane.put_back(entries)
    assert [taken(lane), taken(lane), taken(lane)] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("only_repeated", "repeated", "done"),
    [(True, False, False), (True, True, True), (False, False, True)],
)
async def test_what_is_gone_may_be_as_good_as_done(
    only_repeated: bool, repeated: bool, done: bool
) -> None:
    kind: Kind[str, Done] = Kind(
        build=lambda request_id, jobs: Remove(id=request_id, jobs=jobs),
        gone=Gone(result=Done(), only_repeated=only_repeated),
    )
    lane: Lane[str, Done] = Lane(kind, lambda _: None)
    future = lane.submit("a")
    [entry] = lane.take(LIMITS)
    if repeated:
        lane.put_back([entry])
        [entry] = lane.take(LIMITS)
    lane.refuse(entry, NotFound("gone"))
    if done:
        assert await future == Done()
    else:
        with pytest.raises(NotFound):
            await future


async def test_other_refusals_are_never_as_good_as_done() -> None:
    kind: Kind[str, Done] = Kind(build=GET.build, gone=Gone(result=Done(), only_repeated=False))
    lane: Lane[str, Done] = Lane(kind, lambda _: None)
    future = lane.submit("a")
    lane.refuse(lane.take(LIMITS)[0], TooLarge("no"))
    with pytest.raises(TooLarge):
        await future


async def test_each_who_waits_gets_an_exception_of_their_own() -> None:
    lane = Lane(GET, lambda _: None)
    futures = [lane.submit("a"), lane.submit("b")]
    lane.fail_waiting(lambda: NotFound("gone"))
    errors = await asyncio.gather(*futures, return_exceptions=True)
    assert errors[0] is not errors[1]
    assert not lane.waiting


def test_headers_are_measured_generously() -> None:
    headers = {"näme": "wért" * 10, "a": ""}
    assert headers_bytes(headers) >= len(repr(headers).encode())


async def test_what_is_said_once_is_the_same_for_a_whole_frame() -> None:
    lane = Lane(kinds_by_hand.CANCEL, lambda _: None)
    for job, why in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")]:
        quietly(lane.submit(Cancelled(job, None, why)))
    frames = [[entry.item.job for entry in lane.take(LIMITS)] for _ in range(3)]
    assert frames == [["a", "b"], ["c"], ["d"]]
