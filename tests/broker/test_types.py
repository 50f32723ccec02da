"""What is set about types: pauses, draining, limits, schemas; and how they stand."""

import asyncio
from typing import Any, Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Bye,
    ClaimJobs,
    Configure,
    Create,
    Created,
    Done,
    GetSchema,
    ListActions,
    ListTypes,
    NewJob,
    Problem,
    Publish,
    Retention,
    SchemaView,
    TypeChange,
    TypeSchema,
    TypeView,
)
from tests.support.brokers import Brokers, at_rest, until
from tests.support.requests import complete, count, create, get, names, take
from tests.support.wire import Wire

HOUR_MS: Final = 3_600_000

SMALL_FRAMES: Final[dict[str, Any]] = {
    "max_frame_bytes": 600_000,
    "max_payload_bytes": 1_000,
    "max_result_bytes": 1_000,
}
"""A frame holds nine of the largest schemas, or some hundred types with long reasons."""


@pytest.fixture
async def wire(brokers: Brokers, broker: Broker) -> Wire:
    return await brokers.connect(broker, "ann")


async def configure(wire: Wire, why: str = "", **changes: Any) -> None:
    assert await wire.ask(Configure, types=(TypeChange(type="t", **changes),), why=why) == (Done(),)


async def view(wire: Wire, job_type: str = "t") -> TypeView:
    [listed] = await wire.ask(ListTypes, types=(job_type,))
    [found] = listed.types
    assert isinstance(found, TypeView)
    return found


async def drawn_from(broker: Broker) -> None:
    """Until all draws that were begun are answered, and what they brought is on its way."""
    await asyncio.sleep(0)
    await broker.parts.operations.applied([])
    await at_rest(broker)


# -- pauses


async def test_a_paused_type_gives_out_no_jobs(broker: Broker, wire: Wire) -> None:
    await configure(wire, "tired", paused=True)
    await create(wire, "a", "b")
    await take(wire, 5)
    [refused] = await wire.ask(ClaimJobs, jobs=("a",))
    assert isinstance(refused, Problem)
    assert refused.code == Code.WRONG_STATE
    assert refused.details is not None
    assert refused.details["paused"] == "true"
    await drawn_from(broker)
    assert await count(wire, "QUEUED") == 2
    paused = await view(wire)
    assert (paused.paused, paused.by, paused.why) == (True, "ann", "tired")
    await configure(wire, paused=False)
    assert names(await wire.claims(2)) == ["a", "b"]
    assert not (await view(wire)).paused


async def test_jobs_that_run_are_ended_all_the_same(wire: Wire) -> None:
    await take(wire, 1)
    await create(wire, "a", handle=True)
    [claim] = await wire.claims(1)
    await configure(wire, paused=True)
    await complete(wire, claim)
    [outcome] = await wire.outcomes(1)
    assert outcome.state == "COMPLETE"


async def test_other_types_go_on(wire: Wire) -> None:
    await configure(wire, paused=True)
    await take(wire, 2, "t", "u")
    await create(wire, "a")
    await create(wire, "b", type="u")
    assert names(await wire.claims(1)) == ["b"]


async def test_a_pause_ends_by_itself(broker: Broker, wire: Wire) -> None:
    until_ms = broker._clock.now_ms() + 60
    await configure(wire, paused=True, paused_until=until_ms)
    await take(wire, 1)
    await create(wire, "a")
    assert (await view(wire)).paused_until == until_ms
    [claim] = await wire.claims(1)
    assert (await get(wire, claim.job)).started_at >= until_ms
    over = await view(wire)
    assert (over.paused, over.paused_until) == (False, 0)


async def test_a_pause_that_is_made_longer_or_for_good(broker: Broker, wire: Wire) -> None:
    now_ms = broker._clock.now_ms()
    await configure(wire, paused=True, paused_until=now_ms + HOUR_MS)
    await configure(wire, paused=True, paused_until=now_ms + 2 * HOUR_MS)
    assert (await view(wire)).paused_until == now_ms + 2 * HOUR_MS
    await configure(wire, paused=True)
    assert (await view(wire)).paused_until == 0
    assert (await view(wire)).paused


async def test_a_pause_outlives_the_broker(brokers: Brokers, broker: Broker, wire: Wire) -> None:
    await configure(wire, paused=True)
    await create(wire, "a")
    await brokers.stop(broker)
    second = await brokers.start()
    other = await brokers.connect(second)
    await take(other, 1)
    await drawn_from(second)
    assert await count(other, "QUEUED") == 1
    await configure(other, paused=False)
    assert names(await other.claims(1)) == ["a"]


async def test_a_claim_after_the_pause_can_not_happen(broker: Broker, wire: Wire) -> None:
    """Whatever was under way when it was asked for, it is over when it is answered."""
    await take(wire, 1_000)
    creating = [
        wire.begin(Create, jobs=tuple(NewJob(type="t") for _ in range(50))) for _ in range(10)
    ]
    pausing = wire.begin(Configure, types=(TypeChange(type="t", paused=True),))
    await wire.answer(pausing)
    started = await count(wire, "STARTED")
    for request in creating:
        await wire.answer(request)
    await drawn_from(broker)
    assert await count(wire, "STARTED") == started


# -- draining and limits


async def test_a_draining_type_takes_no_new_jobs(wire: Wire) -> None:
    await create(wire, "a")
    await configure(wire, draining=True)
    again, new, other = await wire.ask(
        Create,
        jobs=(NewJob(type="t", id="a"), NewJob(type="t", id="b"), NewJob(type="u", id="c")),
    )
    assert isinstance(again, Created)
    assert again.existed
    assert (new.code, new.retryable) == (Code.TYPE_DRAINING, False)
    assert isinstance(other, Created)
    await take(wire, 1)
    assert names(await wire.claims(1)) == ["a"]
    await configure(wire, draining=False)
    await create(wire, "b")


async def test_a_type_has_so_many_jobs_at_most(wire: Wire) -> None:
    await configure(wire, max_jobs=2)
    results = await wire.ask(Create, jobs=tuple(NewJob(type="t", id=job) for job in "abc"))
    assert [getattr(result, "code", None) for result in results] == [None, None, Code.QUOTA]
    assert results[2].retryable
    assert (await view(wire)).max_jobs == 2
    # What ends makes room.
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await complete(wire, claim)
    await create(wire, "c")
    await configure(wire, max_jobs=0)
    await create(wire, "d", "e")


async def test_a_type_has_so_many_bytes_at_most(wire: Wire) -> None:
    await configure(wire, max_bytes=1_000)
    await create(wire, "a", payload=bytes(900))
    [refused] = await wire.ask(Create, jobs=(NewJob(type="t", payload=bytes(900)),))
    assert refused.code == Code.QUOTA
    held = (await view(wire)).jobs_bytes
    assert 900 <= held <= 1_000
    # Ending a job always works, however large its result.
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await complete(wire, claim, result=bytes(5_000))


# -- who may, and what is no good


@pytest.mark.parametrize(
    ("request_type", "fields", "role"),
    [
        (Configure, {"types": (TypeChange(type="t"),)}, "admin"),
        (Publish, {"schemas": (TypeSchema(type="t", schema=b"{}"),)}, "run"),
        (ListTypes, {}, "read"),
        (ListActions, {}, "read"),
    ],
)
async def test_roles(
    brokers: Brokers, broker: Broker, request_type: Any, fields: dict[str, Any], role: Any
) -> None:
    roles = {"create", "run", "handle", "read", "admin"} - {role}
    without = await brokers.connect(broker, roles=tuple(sorted(roles)))
    refused = await without.refusal(request_type, **fields)
    assert (refused.code, role in refused.message) == (Code.FORBIDDEN, True)
    only = await brokers.connect(broker, roles=(role,))
    await only.ask(request_type, **fields)


async def test_a_pause_without_an_end_has_none(wire: Wire) -> None:
    """And each item is refused by itself."""
    wrong, right, twice = await wire.ask(
        Configure,
        types=(
            TypeChange(type="t", paused_until=5),
            TypeChange(type="u", paused=True),
            TypeChange(type="u", paused=False),
        ),
    )
    assert (wrong.code, right, twice.code) == (Code.MALFORMED, Done(), Code.MALFORMED)
    assert "paused_until" in wrong.message
    assert (await view(wire, "u")).paused


async def test_too_many_at_once(brokers: Brokers) -> None:
    broker = await brokers.start(max_batch=2)
    wire = await brokers.connect(broker)
    three = [f"t{number}" for number in range(3)]
    for request, fields in (
        (Configure, {"types": tuple(TypeChange(type=name) for name in three)}),
        (Publish, {"schemas": tuple(TypeSchema(type=name, schema=b"") for name in three)}),
        (GetSchema, {"types": tuple(three)}),
    ):
        refused = await wire.refusal(request, **fields)
        assert refused.code == Code.TOO_MANY


# -- schemas


async def test_a_published_schema_can_be_read(wire: Wire) -> None:
    await wire.ask(Publish, schemas=(TypeSchema(type="t", schema=b'{"type": "array"}'),))
    found, none = await wire.ask(GetSchema, types=("t", "u"))
    assert (found.schema, found.by) == (b'{"type": "array"}', "ann")
    assert found.at > 0
    assert none == SchemaView()
    assert (await view(wire)).has_schema
    await wire.ask(Publish, schemas=(TypeSchema(type="t", schema=b""),))
    assert not (await view(wire)).has_schema


@pytest.mark.parametrize("schema", [b"{", b"[]", b"7", b"\xff", b"[" * 60_000])
async def test_what_is_no_schema_is_refused(wire: Wire, schema: bytes) -> None:
    [refused, good] = await wire.ask(
        Publish,
        schemas=(TypeSchema(type="t", schema=schema), TypeSchema(type="u", schema=b"true")),
    )
    assert (refused.code, good) == (Code.MALFORMED, Done())
    assert await wire.ask(GetSchema, types=("t",)) == (SchemaView(),)


async def test_schemas_that_do_not_fit_into_one_answer(brokers: Brokers) -> None:
    broker = await brokers.start(**SMALL_FRAMES)
    wire = await brokers.connect(broker)
    schema = b'{"title": "' + b"x" * 60_000 + b'"}'
    types = [f"t{number}" for number in range(12)]
    for name in types:
        await wire.ask(Publish, schemas=(TypeSchema(type=name, schema=schema),))
    wanted, rounds = types, 0
    while wanted:
        found = await wire.ask(GetSchema, types=tuple(wanted))
        assert found[0].schema == schema
        wanted = [
            name for name, one in zip(wanted, found, strict=True) if not isinstance(one, SchemaView)
        ]
        rounds += 1
    assert rounds == 2


# -- how types stand


async def test_a_type_as_it_stands(broker: Broker, wire: Wire) -> None:
    await create(wire, "a", "b", payload=bytes(100))
    await create(wire, "later", delay_ms=HOUR_MS)
    await take(wire, 1)
    await wire.claims(1)
    found = await view(wire)
    assert found.counts == {"PENDING": 1, "QUEUED": 1, "STARTED": 1, "COMPLETE": 0, "FAILED": 0}
    assert found.runners == 1
    assert found.jobs_bytes >= 200
    assert found.keep_complete is None
    waited_ms = broker._clock.now_ms() - (await get(wire, "b")).queued_at
    assert 0 <= found.latency_ms <= waited_ms


async def test_settings_are_shown_as_they_were_set(wire: Wire) -> None:
    await configure(
        wire,
        "spring",
        keep_complete=Retention(keep_ms=5, keep_jobs=6),
        keep_failed=Retention(keep_jobs=7),
        max_jobs=8,
        max_bytes=9,
        draining=True,
    )
    found = await view(wire)
    assert found.keep_complete == Retention(keep_ms=5, keep_jobs=6)
    assert found.keep_failed == Retention(keep_jobs=7)
    assert (found.max_jobs, found.max_bytes, found.draining) == (8, 9, True)
    assert (found.by, found.why) == ("ann", "spring")
    assert found.changed_at > 0


async def test_types_come_in_pages(wire: Wire) -> None:
    for name in ("c", "a", "b"):
        await create(wire, f"job-{name}", type=name)
    [page] = await wire.ask(ListTypes, limit=2)
    assert [found.type for found in page.types] == ["a", "b"]
    assert page.more
    [page] = await wire.ask(ListTypes, limit=2, after="b")
    assert [found.type for found in page.types] == ["c"]
    assert not page.more
    [page] = await wire.ask(ListTypes, types=("c", "none", "a"), limit=2)
    assert [found.type for found in page.types] == ["c", "none"]
    assert page.more


async def test_types_that_do_not_fit_into_one_answer(brokers: Brokers) -> None:
    broker = await brokers.start(**SMALL_FRAMES)
    wire = await brokers.connect(broker)
    wanted = [f"t{number:03}" for number in range(300)]
    drained = tuple(TypeChange(type=name, draining=True) for name in wanted)
    await wire.ask(Configure, types=drained, why="語" * 1_000)
    after, found, pages = None, [], 0
    more = True
    while more:
        [page] = await wire.ask(ListTypes, after=after, limit=1_000)
        found += [one.type for one in page.types]
        after, more, pages = found[-1], page.more, pages + 1
    assert found == wanted
    assert pages > 1


# -- several brokers


@pytest.fixture
async def two(brokers: Brokers) -> list[Broker]:
    """Two brokers that hear each other and do not sweep."""
    two = [await brokers.start() for _ in range(2)]
    for broker in [*two, *two]:
        await broker.parts.sweeper.sweep()
    return two


async def test_a_pause_holds_for_all_brokers(brokers: Brokers, two: list[Broker]) -> None:
    near, far = [await brokers.connect(broker) for broker in two]
    await take(far, 5)
    await configure(near, paused=True)
    await create(near, "a")
    await create(far, "b")
    for broker in two:
        await drawn_from(broker)
    assert await count(near, "QUEUED") == 2
    await configure(near, paused=False)
    assert names(await far.claims(2)) == ["a", "b"]


async def test_a_pause_here_ends_the_claims_there(brokers: Brokers, two: list[Broker]) -> None:
    """When it is answered, no other broker gives out a job any more."""
    near, far = [await brokers.connect(broker) for broker in two]
    await take(far, 1_000)
    creating = [
        far.begin(Create, jobs=tuple(NewJob(type="t") for _ in range(50))) for _ in range(10)
    ]
    await configure(near, paused=True)
    started = await count(near, "STARTED")
    for request in creating:
        await far.answer(request)
    await drawn_from(two[1])
    assert await count(near, "STARTED") == started
    await configure(near, paused=False)
    await far.claims(500)


async def test_settings_are_told_to_other_brokers(brokers: Brokers, two: list[Broker]) -> None:
    near = await brokers.connect(two[0])
    await configure(near, keep_failed=Retention(keep_ms=5))
    await until(lambda: two[1].parts.book["t"].keep_failed_ms == 5)


async def test_settings_that_nobody_told_of_are_found(brokers: Brokers) -> None:
    first, second = brokers.make(), brokers.make(deaf=True)
    await first.start()
    await second.start()
    near = await brokers.connect(first)
    await configure(near, max_jobs=3)
    await second.parts.sweeper.sweep()
    assert second.parts.book["t"].max_jobs == 3


async def test_runners_of_all_brokers_are_counted(brokers: Brokers, two: list[Broker]) -> None:
    near, far = [await brokers.connect(broker) for broker in two]
    await take(near, 1)
    await take(far, 1)
    assert (await view(near)).runners == 1
    await two[1].parts.sweeper.sweep()
    assert (await view(near)).runners == 2
    await far.ask(Bye)
    await two[1].parts.sweeper.sweep()
    assert (await view(near)).runners == 1
