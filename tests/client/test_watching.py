"""Events: who reads slowly gets them merged, and a new connection makes no gap."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

import pytest

from packhorse import errors, watching
from packhorse_protocol.messages import (
    Done,
    Event,
    Events,
    LogEntry,
    LogPage,
    Problem,
    Progress,
    ReadLog,
    Unwatch,
    Watch,
    Watched,
)
from tests.client.scripted import Peer, ScriptedBroker, connected

NOT_FOUND = Problem(code="not_found", message="there is no such job")


Item = TypeVar("Item")


def entry(offset: int) -> LogEntry:
    return LogEntry(offset=offset, time_ms=1, attempt=1, type="log", message=f"line {offset}")


def push(peer: Peer, *events: Event) -> None:
    peer.send(Events(events=events))


async def watched(peer: Peer, *results: Watched | Problem) -> Watch:
    request = await peer.expect(Watch)
    peer.ok(request, *results)
    return request


async def test_the_first_event_says_how_the_job_stands(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("a")
        first = asyncio.ensure_future(anext(events))
        progress = Progress(percent=5)
        await watched(peer, Watched(state="STARTED", version=4, progress=progress))
        assert await first == Event(job="a", version=4, state="STARTED", progress=progress)
        push(peer, Event(job="a", version=5, state="COMPLETE"))
        assert (await anext(events)).state == "COMPLETE"
        assert await anext(events, None) is None
        assert (await peer.expect(Unwatch)).jobs == ("a",)


async def test_watching_ends_when_all_jobs_did(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        seen = asyncio.create_task(gather(client.watch("a", "b")))
        request = await peer.expect(Watch)
        assert sorted(request.jobs) == ["a", "b"]
        peer.ok(request, *[Watched(state="QUEUED", version=1)] * 2)
        push(peer, Event(job="a", version=2, state="FAILED"))
        push(peer, Event(job="b", version=2, removed=True))
        last = {event.job: event for event in await seen}
        assert last["a"].state == "FAILED"
        assert last["b"].removed


async def gather(items: AsyncGenerator[Item, None]) -> list[Item]:
    return [item async for item in items]


async def test_a_job_that_is_not_there(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        first = asyncio.ensure_future(anext(client.watch("a")))
        await watched(peer, NOT_FOUND)
        with pytest.raises(errors.NotFound):
            await first
        await peer.expect(Unwatch)


def test_merged_events_keep_the_newest() -> None:
    first = Event(
        job="a", version=1, state="STARTED", progress=Progress(percent=1), log=(entry(0),)
    )
    second = Event(job="a", version=2, progress=Progress(percent=2), log=(entry(1),))
    third = Event(job="a", version=3, removed=True)
    everything = Event(
        job="a",
        version=3,
        state="STARTED",
        progress=Progress(percent=2),
        log=(entry(0), entry(1)),
        removed=True,
    )
    assert watching.merged(watching.merged(first, second), third) == everything


async def test_old_news_counts_for_its_log_only(scripted: ScriptedBroker) -> None:
    """An event and the answer that says how the job stands may overtake each other."""
    async with connected(scripted) as (client, peer):
        events = client.watch("a")
        first = asyncio.ensure_future(anext(events))
        request = await peer.expect(Watch)
        push(peer, Event(job="a", version=3, state="STARTED", log=(entry(0),)))
        peer.ok(request, Watched(state="QUEUED", version=2, log_end=0))
        push(
            peer,
            Event(job="a", version=1, state="QUEUED"),
            Event(job="a", version=2, state="QUEUED", log=(entry(1),)),
            Event(job="a", version=4, state="COMPLETE"),
        )
        assert await first == Event(job="a", version=4, state="COMPLETE", log=(entry(0), entry(1)))
        assert await anext(events, None) is None


def test_merged_logs_are_bounded() -> None:
    event = Event(job="a", version=1, log=tuple(map(entry, range(900))))
    later = Event(job="a", version=2, log=tuple(map(entry, range(900, 1_800))))
    log = watching.merged(event, later).log
    assert [log[0].offset, log[-1].offset] == [800, 1_799]


async def test_a_slow_reader_gets_one_event_of_each_job(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("a", "b")
        first = asyncio.ensure_future(anext(events))
        await watched(peer, *[Watched(state="QUEUED", version=1)] * 2)
        first_job = (await first).job
        second_job = (await anext(events)).job
        for percent in range(5):
            progress = Progress(percent=percent)
            push(peer, Event(job=first_job, version=2 + percent, progress=progress))
        push(peer, Event(job=second_job, version=2, state="STARTED"))
        push(peer, Event(job="last", version=1))
        await peer.expect(Unwatch)  # of what nobody watches: all before it was read
        one, two = await anext(events), await anext(events)
        assert (one.job, one.progress) == (first_job, Progress(percent=4))
        assert (two.job, two.state) == (second_job, "STARTED")
        await events.aclose()


async def test_two_readers_of_one_job(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        one, two = client.watch("a"), client.watch("a")
        firsts = asyncio.gather(anext(one), anext(two))
        request = await peer.expect(Watch)
        peer.ok(request, *[Watched(state="QUEUED", version=1)] * len(request.jobs))
        await firsts
        await one.aclose()
        push(peer, Event(job="a", version=2, state="STARTED"))
        assert (await anext(two)).state == "STARTED"
        await two.aclose()
        assert (await peer.expect(Unwatch)).jobs == ("a",)


async def test_a_new_connection_watches_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("a")
        first = asyncio.ensure_future(anext(events))
        await watched(peer, Watched(state="QUEUED", version=1))
        await first
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        await watched(again, Watched(state="STARTED", version=2))
        assert (await anext(events)).state == "STARTED"
        await events.aclose()


async def test_a_job_that_went_meanwhile(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("a")
        first = asyncio.ensure_future(anext(events))
        await watched(peer, Watched(state="QUEUED", version=1))
        await first
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        await watched(again, NOT_FOUND)
        assert (await anext(events)).removed
        assert await anext(events, None) is None


async def test_watching_that_is_refused_later(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("a")
        first = asyncio.ensure_future(anext(events))
        await watched(peer, Watched(state="QUEUED", version=1))
        await first
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        again.refuse(await again.expect(Watch), "forbidden")
        with pytest.raises(errors.Forbidden):
            await anext(events)


async def test_a_reader_learns_of_the_end(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("a")
        first = asyncio.ensure_future(anext(events))
        await watched(peer, Watched(state="QUEUED", version=1))
        await first
    with pytest.raises(errors.ClientClosed):
        await anext(events)
    with pytest.raises(errors.ClientClosed):
        await anext(client.watch("a"))


# -- following a log ------------------------------------------------------------------------------


async def page(peer: Peer, offset: int, *offsets: int, end: int) -> None:
    """Answers a `logs` that has to begin at this offset."""
    request = await peer.expect(ReadLog)
    assert request.offset == offset
    peer.ok(request, LogPage(entries=tuple(map(entry, offsets)), first=0, end=end))


async def test_a_log_is_followed_without_gap_and_without_repetition(
    scripted: ScriptedBroker,
) -> None:
    async with connected(scripted) as (client, peer):
        following = asyncio.create_task(gather(client.job("a").logs(follow=True)))
        await watched(peer, Watched(state="STARTED", version=1, log_end=2))
        await page(peer, 0, 0, 1, end=2)
        push(peer, Event(job="a", version=2, log=(entry(1), entry(2))))
        push(peer, Event(job="a", version=5, log=(entry(5),)))
        await page(peer, 3, 3, 4, 5, end=6)
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        await watched(again, Watched(state="STARTED", version=6, log_end=8))
        await page(again, 6, 6, 7, end=8)
        push(again, Event(job="a", version=9, state="COMPLETE"))
        await page(again, 8, 8, end=9)
        assert [line.offset for line in await following] == list(range(9))
        again.ok(await again.expect(Unwatch), Done())


async def test_a_log_that_goes_with_its_job(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        following = asyncio.create_task(gather(client.job("a").logs(follow=True)))
        await watched(peer, Watched(state="STARTED", version=1))
        push(peer, Event(job="a", version=2, state="COMPLETE", log=(entry(0),), removed=True))
        request = await peer.expect(ReadLog)
        peer.ok(request, NOT_FOUND)
        assert [line.offset for line in await following] == [0]


async def test_a_log_is_read_page_by_page(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        reading = asyncio.create_task(gather(client.job("a").logs(offset=3)))
        await page(peer, 3, 5, 6, end=8)  # the broker has dropped what was before 5
        await page(peer, 7, 7, end=8)
        assert [line.offset for line in await reading] == [5, 6, 7]
