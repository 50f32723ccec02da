"""Requests on their way: batched, bounded, repeated, and answered one by one."""

import asyncio

import pytest

from packhorse import NewJob, errors, requests
from packhorse_protocol.messages import (
    Create,
    Created,
    Done,
    Get,
    JobView,
    LogPage,
    Problem,
    ReadLog,
    Remove,
)
from packhorse_protocol.messages import (
    NewJob as NewJobMessage,
)
from tests.client.scripted import Peer, ScriptedBroker, connected

UNAVAILABLE = Problem(code="unavailable", message="no store", retryable=True, retry_after_ms=5)


def view(job: str) -> JobView:
    return JobView(id=job, type="t", state="QUEUED", version=1)


def created(jobs: tuple[NewJobMessage, ...]) -> list[Created]:
    return [Created(job=job.id or "", state="QUEUED") for job in jobs]


async def test_what_is_asked_in_one_turn_leaves_in_one_frame(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.gather(*(client.create("t", n) for n in range(50)))
        request = await peer.expect(Create)
        assert len(request.jobs) == 50
        peer.ok(request, *created(request.jobs))
        assert [job.id for job in await creating] == [job.id for job in request.jobs]


async def test_handled_and_plain_creates_do_not_mix(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.gather(client.create("t"), client.create("t", handle=True))
        requests = [await peer.expect(Create), await peer.expect(Create)]
        assert [(len(request.jobs), request.handle) for request in requests] == [
            (1, False),
            (1, True),
        ]
        for request in reversed(requests):
            peer.ok(request, *created(request.jobs))
        await creating


async def test_each_item_has_its_own_answer(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create_many([NewJob("t"), NewJob("t"), NewJob("t")]))
        request = await peer.expect(Create)
        first, second, third = created(request.jobs)
        peer.ok(request, first, Problem(code="conflict", message="other content"), third)
        with pytest.raises(errors.SomeRefused) as raised:
            await creating
        one, two, three = raised.value.results
        assert isinstance(two, errors.Conflict)
        assert two.subject == second.job
        assert [repr(one), repr(three)] == [f"<Job {first.job} t>", f"<Job {third.job} t>"]


async def test_batches_keep_to_the_number_of_items(scripted: ScriptedBroker) -> None:
    async with connected(scripted, welcome={"limits": {"batch": 4}}) as (client, peer):
        getting = asyncio.gather(*(client.get(str(n)) for n in range(10)))
        sizes = []
        for _ in range(3):
            request = await peer.expect(Get)
            sizes.append(len(request.jobs))
            peer.ok(request, *map(view, request.jobs))
        assert sizes == [4, 4, 2]
        assert [found.id for found in await getting] == [str(n) for n in range(10)]


async def test_batches_keep_to_the_size_of_a_frame(scripted: ScriptedBroker) -> None:
    scripted.frame_bytes = 64 * 1024
    async with connected(scripted) as (client, peer):
        payload = b"x" * 30 * 1024
        creating = asyncio.gather(*(client.create("t", payload=payload) for _ in range(3)))
        for expected in (2, 1):
            request = await peer.expect(Create)
            assert len(request.jobs) == expected
            peer.ok(request, *created(request.jobs))
        await creating


async def test_a_payload_above_the_limit_is_not_sent(scripted: ScriptedBroker) -> None:
    async with connected(scripted, welcome={"limits": {"payload_bytes": 10}}) as (client, peer):
        with pytest.raises(errors.TooLarge, match="11 bytes; this broker takes 10") as raised:
            await client.create("t", payload=b"x" * 11)
        assert raised.value.details == {"limit": "10"}
    assert await peer.end() == []


async def test_a_frame_above_the_limit_is_not_sent(scripted: ScriptedBroker) -> None:
    scripted.frame_bytes = 16 * 1024
    async with connected(scripted) as (client, peer):
        with pytest.raises(errors.TooLarge):
            await client.create("t", payload=b"x" * 16 * 1024)
    assert await peer.end() == []


async def test_no_more_requests_are_unanswered_than_allowed(scripted: ScriptedBroker) -> None:
    limits = {"in_flight": 2, "batch": 1}
    async with connected(scripted, welcome={"limits": limits}) as (client, peer):
        getting = asyncio.gather(*(client.get(str(n)) for n in range(5)))
        unanswered = [await peer.expect(Get), await peer.expect(Get)]
        for n in range(2, 5):
            peer.ok(unanswered[0], view(unanswered[0].jobs[0]))
            del unanswered[0]
            unanswered.append(await peer.expect(Get))
            assert unanswered[-1].jobs == (str(n),)
        for request in unanswered:
            peer.ok(request, view(request.jobs[0]))
        assert [found.id for found in await getting] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("whole", [True, False])
async def test_what_may_succeed_later_is_tried_again(scripted: ScriptedBroker, whole: bool) -> None:
    async with connected(scripted) as (client, peer):
        getting = asyncio.gather(client.get("a"), client.get("b"))
        request = await peer.expect(Get)
        if whole:
            peer.refuse(request, "unavailable", retryable=True)
        else:
            peer.ok(request, UNAVAILABLE, view("b"))
        asked = await again(peer, ["a", "b"] if whole else ["a"])
        assert asked == (["a", "b"] if whole else ["a"])
        assert [found.id for found in await getting] == ["a", "b"]


async def again(peer: Peer, wanted: list[str]) -> list[str]:
    """Answers gets until all wanted were asked for again; what was."""
    asked: list[str] = []
    while len(asked) < len(wanted):
        request = await peer.expect(Get)
        peer.ok(request, *map(view, request.jobs))
        asked += request.jobs
    return sorted(asked)


async def test_trying_again_has_an_end(scripted: ScriptedBroker) -> None:
    async with connected(scripted, outage_timeout="20ms") as (client, peer):
        getting = asyncio.create_task(client.get("a"))
        while not getting.done():
            asking = asyncio.create_task(peer.expect(Get))
            await asyncio.wait([asking, getting], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
                break
            peer.ok(asking.result(), UNAVAILABLE)
        with pytest.raises(errors.Unavailable) as raised:
            await getting
        assert raised.value.retry_after_ms == 5


async def test_a_value_that_the_wire_refuses_harms_no_neighbour(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.gather(
            client.create("good"),
            client.create("bad\x00"),
            client.create("good"),
            return_exceptions=True,
        )
        for _ in range(2):
            request = await peer.expect(Create)
            assert [job.type for job in request.jobs] == ["good"]
            peer.ok(request, *created(request.jobs))
        first, second, third = await creating
        assert isinstance(second, errors.InvalidValue)
        assert str(second).startswith("job_type: ")
        assert not isinstance(first, BaseException)
        assert not isinstance(third, BaseException)


async def test_an_item_that_the_broker_can_not_read_harms_no_neighbour(
    scripted: ScriptedBroker,
) -> None:
    async with connected(scripted) as (client, peer):
        removing = asyncio.gather(client.remove("a"), client.remove("b"), return_exceptions=True)
        peer.refuse(await peer.expect(Remove), "malformed", details={"path": "jobs[1]"})
        first = await peer.expect(Remove)
        second = await peer.expect(Remove)
        assert (first.jobs, second.jobs) == (("a",), ("b",))
        peer.ok(first, Done())
        peer.refuse(second, "malformed", details={"path": "jobs[0]"})
        done, refused = await removing
        assert done is None
        assert isinstance(refused, errors.Malformed)
        assert refused.details == {"path": "jobs[0]"}


async def test_a_reply_without_room_is_asked_for_alone(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        getting = asyncio.gather(client.get("a"), client.get("b"))
        peer.ok(await peer.expect(Get), view("a"), Problem(code="too_large", message="no room"))
        alone = await peer.expect(Get)
        assert alone.jobs == ("b",)
        peer.ok(alone, view("b"))
        assert [found.id for found in await getting] == ["a", "b"]


async def test_what_does_not_fit_alone_is_refused(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        getting = asyncio.create_task(client.get("a"))
        peer.ok(await peer.expect(Get), Problem(code="too_large", message="no room"))
        with pytest.raises(errors.TooLarge, match="job a: no room"):
            await getting


async def test_what_is_cancelled_in_time_does_not_leave(scripted: ScriptedBroker) -> None:
    limits = {"in_flight": 1}
    async with connected(scripted, welcome={"limits": limits}) as (client, peer):
        first = asyncio.create_task(client.get("a"))
        request = await peer.expect(Get)
        second = asyncio.create_task(client.get("b"))
        third = asyncio.create_task(client.get("c"))
        await asyncio.wait([second, third], timeout=0)
        second.cancel()
        await asyncio.wait([second])
        peer.ok(request, view("a"))
        await first
        request = await peer.expect(Get)
        assert request.jobs == ("c",)
        peer.ok(request, view("c"))
        await third


async def test_an_answer_that_nobody_waits_for_is_nothing(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        first = asyncio.create_task(client.get("a"))
        request = await peer.expect(Get)
        first.cancel()
        await asyncio.wait([first])
        peer.ok(request, view("a"))
        second = asyncio.create_task(client.get("b"))
        peer.ok(await peer.expect(Get), view("b"))
        assert (await second).id == "b"


async def test_requests_with_one_item_go_alone(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        logs = [client.job(job).logs() for job in ("a", "b")]
        reading = asyncio.gather(*(anext(log, None) for log in logs))
        for job in ("a", "b"):
            request = await peer.expect(ReadLog)
            assert request.job == job
            peer.ok(request, LogPage(entries=(), first=0, end=0))
        assert await reading == [None, None]


async def test_many_items_wait_for_room(
    scripted: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_WAITING_ITEMS", 3)
    limits = {"in_flight": 1, "batch": 1}
    async with connected(scripted, welcome={"limits": limits}) as (client, peer):
        first = asyncio.create_task(client.create_many([NewJob("first")] * 5))
        request = await peer.expect(Create)
        second = asyncio.create_task(client.create_many([NewJob("second")]))
        for waiting in (3, 2, 1, 0):
            assert request.jobs[0].type == "first"
            assert client._session.requests.waiting >= waiting
            peer.ok(request, *created(request.jobs))
            request = await peer.expect(Create)
        peer.ok(request, *created(request.jobs))
        assert len(await first) == 5
        request = await peer.expect(Create)
        assert request.jobs[0].type == "second"
        peer.ok(request, *created(request.jobs))
        await second


async def test_a_slow_connection_holds_requests_back(scripted: ScriptedBroker) -> None:
    async with connected(scripted, welcome={"limits": {"batch": 8}}) as (client, peer):
        payload = b"x" * 100 * 1024
        jobs = [NewJob("t", payload=payload) for _ in range(100)]
        creating = asyncio.create_task(client.create_many(jobs))
        left = len(jobs)
        while left:
            request = await peer.expect(Create)
            left -= len(request.jobs)
            peer.ok(request, *created(request.jobs))
        assert len(await creating) == len(jobs)
