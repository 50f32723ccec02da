"""Types on a real broker: their settings, numbers and schemas."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from packhorse import Keep, NewJob, TypeView, errors
from packhorse.client import Client
from packhorse_broker.local import LocalBroker
from packhorse_protocol.messages import ListTypes, Retention, TypeList
from tests.client.conftest import MakeWorker
from tests.client.scripted import ScriptedBroker, connected


@pytest_asyncio.fixture
async def client(broker: LocalBroker) -> AsyncIterator[Client]:
    async with broker.connect() as client:
        yield client


async def view(client: Client, job_type: str) -> TypeView:
    [found] = [found async for found in client.types(job_type)]
    return found


async def test_types_as_they_stand(client: Client) -> None:
    await client.create("a", b"12345")
    await client.create("b", delay="1h")
    found = {item.type: item async for item in client.types()}
    assert set(found) == {"a", "b"}
    assert (found["a"].counts["QUEUED"], found["b"].counts["PENDING"]) == (1, 1)
    assert found["a"].jobs_bytes > 0
    assert (found["a"].runners, found["a"].paused, found["a"].draining) == (0, False, False)


async def test_more_types_than_a_page(client: Client) -> None:
    names = [f"t{n:03}" for n in range(130)]
    await client.create_many(NewJob(name) for name in names)
    assert [found.type async for found in client.types()] == names
    assert [found.type async for found in client.types(*names)] == names


async def test_types_named_are_asked_for_in_parts(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        types = client.types(*(f"t{n}" for n in range(101)))
        first = asyncio.ensure_future(anext(types))
        asked = await peer.expect(ListTypes)
        assert len(asked.types) == asked.limit == 100
        peer.ok(asked, TypeList(types=(TypeView(type="t0", counts={}),)))
        assert (await first).type == "t0"
        rest = asyncio.ensure_future(anext(types))
        peer.ok(await peer.expect(ListTypes), TypeList(types=()))
        with pytest.raises(StopAsyncIteration):
            await rest


async def test_a_paused_type_gives_out_nothing(client: Client, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> str:
        return "done"

    await client.pause("t", why="disk is full")
    found = await view(client, "t")
    assert (found.paused, found.paused_until, found.by, found.why) == (
        True,
        0,
        client.id,
        "disk is full",
    )
    async with worker:
        job = await client.create("t", handle=True)
        with pytest.raises(errors.OutcomeTimeout):
            await job.result(timeout="100ms")
        await client.resume("t", why="disk has room")
        assert await job.result() == "done"
    assert not (await view(client, "t")).paused


async def test_a_pause_may_end_by_itself(client: Client, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> str:
        return "done"

    until = datetime(2100, 1, 1, tzinfo=UTC)
    await client.pause("t", until=until)
    assert (await view(client, "t")).paused_until == until.timestamp() * 1_000
    await client.pause("t", until=(await client.info()).now_ms + 100)
    async with worker:
        assert await client.run("t") == "done"


async def test_a_pause_without_end_has_none(client: Client) -> None:
    await client.pause("t", until=datetime(2100, 1, 1, tzinfo=UTC))
    await client.pause("t")
    assert (await view(client, "t")).paused_until == 0
    await client.pause("t", until=datetime(2100, 1, 1, tzinfo=UTC))
    await client.resume("t")
    assert not (await view(client, "t")).paused


async def test_several_types_at_once(client: Client) -> None:
    await client.pause("a", "b")
    await client.drain_type("a", "b", why="w")
    found = [item async for item in client.types("a", "b")]
    assert [(item.paused, item.draining) for item in found] == [(True, True)] * 2
    await client.resume("a", "b")
    await client.undrain_type("a", "b")
    found = [item async for item in client.types("a", "b")]
    assert [(item.paused, item.draining) for item in found] == [(False, False)] * 2


async def test_limits_and_retention(client: Client) -> None:
    await client.set_limits("t", max_jobs=5)
    await client.set_limits("t", max_bytes=1_000, why="w")
    await client.set_retention("t", complete="1h")
    await client.set_retention("t", failed=Keep("2d", jobs=7))
    found = await view(client, "t")
    assert (found.max_jobs, found.max_bytes) == (5, 1_000)
    assert found.keep_complete == Retention(keep_ms=3_600_000)
    assert found.keep_failed == Retention(keep_ms=172_800_000, keep_jobs=7)
    with pytest.raises(errors.InvalidValue, match="max_jobs: -1 must be at least 0"):
        await client.set_limits("t", max_jobs=-1)
    with pytest.raises(errors.InvalidValue, match="keep: 'long' is no duration"):
        await client.set_retention("t", failed="long")


async def test_a_schema_is_published(client: Client) -> None:
    assert await client.schema("t") is None
    schema = {"type": "object", "properties": {"größe": {"type": "integer"}}}
    await client.publish_schema("t", schema)
    assert await client.schema("t") == schema
    assert (await view(client, "t")).has_schema
    await client.publish_schema("t", None)
    assert await client.schema("t") is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"a": {1, 2}}, "schema: can't be written as JSON"),
        ({"a": float("nan")}, "schema: can't be written as JSON"),
        ({"a": "x" * 70_000}, "schema: 70009 bytes, at most 65536 are kept"),
        ({"type": "nonsense"}, r"schema\['type'\]: no JSON Schema: 'nonsense' is not valid"),
        (
            {"properties": {"a": {"minimum": "1"}}},
            r"schema\['properties'\]\['a'\]\['minimum'\]: no",
        ),
    ],
)
async def test_a_schema_that_can_not_be(
    client: Client, schema: dict[str, object], said: str
) -> None:
    with pytest.raises(errors.InvalidValue, match=said):
        await client.publish_schema("t", schema)


async def test_what_happened_minute_by_minute(client: Client) -> None:
    for _ in range(3):
        await client.create("t")
    job = await client.create("t")
    await job.cancel()
    found = await client.minutes("t", since=0)
    assert sum(minute.created for minute in found) == 4
    assert sum(minute.cancelled for minute in found) == 1
    assert await client.minutes("other") == ()
