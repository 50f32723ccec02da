"""The client against a real broker."""

import asyncio

import pytest

import packhorse
from packhorse import NewJob, errors
from packhorse_broker.local import LocalBroker
from tests.client.conftest import MakeWorker


async def test_a_job_is_created_and_read(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        job = await client.create(
            "thumb",
            {"url": "cat.png"},
            job_id="mine",
            key="tenant",
            headers={"trace": "1"},
            attempts=3,
            persistent=True,
        )
        view = await client.get("mine")
        assert (job.id, job.type) == ("mine", "thumb")
        assert (view.id, view.type, view.state) == ("mine", "thumb", "QUEUED")
        assert (view.key, view.headers, view.attempts) == ("tenant", {"trace": "1"}, 3)
        assert view.persistent
        assert view.created_by == client.id


async def test_creating_again_is_harmless(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        for _ in range(2):
            await client.create("t", {"n": 1}, job_id="mine")
        counts = await client.counts("t")
        assert counts.types["t"]["QUEUED"] == 1


async def test_other_content_is_a_conflict(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        await client.create("t", {"n": 1}, job_id="mine")
        with pytest.raises(errors.Conflict, match="job mine: ") as raised:
            await client.create("t", {"n": 2}, job_id="mine")
        assert not raised.value.retryable
        assert raised.value.subject == "mine"


async def test_many_are_created_at_once(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        await client.create("t", 1, job_id="taken")
        with pytest.raises(errors.SomeRefused) as raised:
            await client.create_many(
                [NewJob("t", 2), NewJob("t", 2, job_id="taken"), NewJob("t", object()), NewJob("t")]
            )
        kinds = [type(result) for result in raised.value.results]
        assert kinds == [packhorse.Job, errors.Conflict, errors.PayloadError, packhorse.Job]
        jobs = await client.create_many(NewJob("many", n) for n in range(250))
        assert len({job.id for job in jobs}) == 250
        counts = await client.counts()
        assert counts.types["many"]["QUEUED"] == 250
        assert counts.types["t"]["QUEUED"] == 3
        assert await client.create_many([]) == []


async def test_a_payload_goes_as_it_is(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        job = await client.create("t", payload=b"\xff\x00 raw")
        assert (await job.get()).payload == b"\xff\x00 raw"


async def test_a_payload_above_the_broker_s_limit(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        limit = client._session.limits.payload_bytes
        with pytest.raises(errors.TooLarge) as raised:
            await client.create("t", payload=b"x" * (limit + 1), job_id="big")
        assert raised.value.details == {"limit": str(limit)}
        with pytest.raises(errors.NotFound):
            await client.get("big")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"job_id": ""}, "job_id"),
        ({"job_id": "a\n"}, "job_id"),
        ({"key": "k" * 129}, "key"),
        ({"attempts": 0}, "attempts"),
        ({"headers": {"a": "b" * 2_000}}, "headers"),
    ],
)
async def test_a_value_that_can_not_be_is_named(
    broker: LocalBroker, options: dict[str, object], said: str
) -> None:
    async with broker.connect() as client:
        with pytest.raises(errors.InvalidValue, match=f"^{said}"):
            await client.create("t", **options)  # type: ignore[arg-type]


async def test_a_job_is_removed(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        await client.create("t", job_id="a")
        await client.remove("a")
        with pytest.raises(errors.NotFound, match="job a: "):
            await client.get("a")
        with pytest.raises(errors.NotFound):
            await client.remove("a")
        await client.create("t", job_id="b")
        with pytest.raises(errors.SomeRefused) as raised:
            await client.remove("a", "b")
        assert [type(result) for result in raised.value.results] == [
            errors.NotFound,
            type(raised.value.results[1]),
        ]
        assert len(raised.value.refusals) == 1
        await client.remove()


async def test_run_creates_and_waits(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("add")
    async def add(a: int, b: int = 1) -> int:
        return a + b

    async with worker, broker.connect() as client:
        assert await client.run("add", {"a": 1, "b": 2}) == 3
        assert await client.run("add", 5) == 6
        with pytest.raises(packhorse.JobFailed, match="PayloadError"):
            await client.run("add", {"c": 1})
        counts = await client.counts("add")
        assert counts.types["add"]["COMPLETE"] == 0


async def test_run_may_take_too_long(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        with pytest.raises(errors.OutcomeTimeout):
            await client.run("nobody", job_id="a", timeout="20ms")
        assert (await client.get("a")).state == "QUEUED"


async def test_outcomes_come_as_jobs_end(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("square")
    async def square(n: int) -> int:
        return n * n

    async with worker, broker.connect() as client:
        jobs = await client.create_many((NewJob("square", n) for n in range(20)), handle=True)
        results = {}
        async for outcome in client.outcomes():
            results[outcome.job] = outcome.result()
            if len(results) == len(jobs):
                break
        assert [results[job.id] for job in jobs] == [n * n for n in range(20)]


async def test_far_more_outcomes_than_are_sent_at_once(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    """Waited for one after the other, in an order that is not the one in which they come."""
    worker = make_worker(concurrency=100)

    @worker.job("square")
    async def square(n: int) -> int:
        return n * n

    async with worker, broker.connect() as client:
        jobs = await client.create_many((NewJob("square", n) for n in range(1_500)), handle=True)
        results = [await job.result() for job in reversed(jobs)]
        assert results == [n * n for n in reversed(range(1_500))]


async def test_what_was_not_handled_comes_again(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    @worker.job("square")
    async def square(n: int) -> int:
        return n * n

    async with worker:
        async with broker.connect(client_id="me") as client:
            secret = client.secret
            for job_id in ("kept", "handled"):
                job = await client.create("square", 3, job_id=job_id, handle=True)
                await job.outcome(handled=job_id == "handled")
        async with broker.connect(client_id="me", secret=secret, stay=False) as client:
            outcome = await anext(client.outcomes(auto=False))
            assert (outcome.job, outcome.result()) == ("kept", 9)
            await outcome.handled()
            with pytest.raises(errors.NotFound):
                await client.get("kept")


async def test_a_client_that_exists_needs_its_secret(broker: LocalBroker) -> None:
    async with broker.connect(client_id="me") as client:
        assert client.id == "me"
    with pytest.raises(errors.ClientExists):
        async with broker.connect(client_id="me"):
            pass
    with pytest.raises(errors.SecretWrong):
        async with broker.connect(client_id="me", secret=b"x" * 32):
            pass


async def test_a_client_that_came_back_elsewhere_ends_here(broker: LocalBroker) -> None:
    async with (
        broker.connect(client_id="me") as first,
        broker.connect(client_id="me", secret=first.secret, stay=False),
    ):
        with pytest.raises(errors.Superseded):
            await anext(first.outcomes())


async def test_roles_bound_what_a_client_may_do(broker: LocalBroker) -> None:
    async with broker.connect(roles=["read"]) as client:
        assert (await client.counts()).types == {}
        with pytest.raises(errors.Forbidden):
            await client.create("t")


async def test_watching_shows_a_job_s_life(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work(ctx: packhorse.Context) -> None:
        await ctx.progress(50, "half")
        await ctx.log("a line")

    async with broker.connect() as client:
        job = await client.create("t", persistent=True)
        events = client.watch(job.id)
        first = await anext(events)
        assert (first.state, first.progress) == ("QUEUED", None)
        async with worker:
            rest = [event async for event in events]
    assert rest[-1].state == "COMPLETE"
    assert [event.version for event in rest] == sorted(event.version for event in rest)
    assert any(event.progress == packhorse.Progress(percent=50, text="half") for event in rest)
    messages = [entry.message for event in rest for entry in event.log]
    assert messages == ["half", "a line"]


async def test_the_broker_introduces_itself(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        info = await client.info()
        assert info.library
        assert info.now_ms >= info.started_ms
        assert info.connections == 1


async def test_concurrent_use(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker(concurrency=20)

    @worker.job("square")
    async def square(n: int) -> int:
        return n * n

    async with worker, broker.connect() as client:
        results = await asyncio.gather(*(client.run("square", n) for n in range(200)))
        assert results == [n * n for n in range(200)]


async def test_a_client_is_of_no_use_before_it_is_opened(broker: LocalBroker) -> None:
    client = broker.connect()
    assert not client.connected
    with pytest.raises(errors.ClientClosed, match="has not been opened"):
        _ = client.id
    with pytest.raises(errors.ClientClosed):
        await client.create("t")
    with pytest.raises(errors.ClientClosed):
        await client.info()
    with pytest.raises(errors.ClientClosed):
        await anext(client.outcomes())


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://x"},
        {"timeout": "soon"},
        {"outage_timeout": -1},
        {"wait_for_broker": "x"},
    ],
)
def test_options_that_can_not_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidValue):
        packhorse.connect(**options)  # type: ignore[arg-type]
