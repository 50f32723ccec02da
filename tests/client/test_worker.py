"""Workers against a real broker."""

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

import packhorse
from packhorse import Context, Fail, NewJob, ThreadContext, Worker, errors
from packhorse_broker.local import LocalBroker
from tests.client.conftest import MakeWorker
from tests.client.gate import Gate


async def test_coroutines_and_plain_functions_run(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    main = threading.get_ident()

    @worker.job("coroutine")
    async def coroutine(ctx: Context, name: str) -> dict[str, object]:
        return {"hello": name, "here": threading.get_ident() == main, "attempt": ctx.attempt}

    @worker.job("function")
    def function(ctx: ThreadContext, name: str) -> dict[str, object]:
        return {"hello": name, "here": threading.get_ident() == main, "attempt": ctx.attempt}

    async with worker, broker.connect() as client:
        assert await client.run("coroutine", {"name": "a"}) == {
            "hello": "a",
            "here": True,
            "attempt": 1,
        }
        assert await client.run("function", {"name": "b"}) == {
            "hello": "b",
            "here": False,
            "attempt": 1,
        }


async def test_a_decorated_function_is_still_itself(make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    def double(n: int) -> int:
        return 2 * n

    assert double(3) == 6


async def test_a_function_knows_what_it_runs(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    seen: list[Context] = []

    @worker.job("t")
    async def work(ctx: Context) -> None:
        seen.append(ctx)

    async with worker, broker.connect() as client:
        await client.run("t", job_id="a", key="k", headers={"h": "v"}, attempts=4, payload=b"")
    [ctx] = seen
    assert (ctx.job, ctx.type, ctx.key, ctx.headers) == ("a", "t", "k", {"h": "v"})
    assert (ctx.attempt, ctx.attempts, ctx.fence, ctx.payload) == (1, 4, 1, b"")
    assert int.from_bytes(ctx.token[:8], "big") == ctx.fence
    assert ctx.client is not None


async def test_bytes_that_are_no_msgpack_are_for_functions_of_the_context_alone(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    worker.provide(list, lambda: ["provided"])

    @worker.job("coroutine")
    async def coroutine(ctx: Context) -> list[object]:
        return [ctx.payload, ctx.headers["content-type"]]

    @worker.job("thread")
    def thread(ctx: ThreadContext) -> list[object]:
        return [ctx.payload, ctx.headers["content-type"]]

    @worker.job("provided")
    async def provided(ctx: Context, extra: list) -> list[object]:  # type: ignore[type-arg]
        return [ctx.payload, ctx.headers["content-type"], *extra]

    @worker.job("arguments")
    async def arguments(ctx: Context, url: str = "") -> None: ...

    sent: dict[str, Any] = {"payload": b'{"url": 1}', "headers": {"content-type": "json"}}
    async with worker, broker.connect() as client:
        for job_type in ("coroutine", "thread"):
            assert await client.run(job_type, **sent) == [b'{"url": 1}', "json"]
        assert await client.run("provided", **sent) == [b'{"url": 1}', "json", "provided"]
        with pytest.raises(packhorse.JobFailed, match="can't be unpacked with msgpack"):
            await client.run("arguments", **sent)


async def test_an_exception_fails_the_attempt(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    attempts: list[int] = []

    @worker.job("t")
    def work(ctx: ThreadContext) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return "at last"

    async with worker, broker.connect() as client:
        assert await client.run("t", attempts=3) == "at last"
        assert attempts == [1, 2, 3]
        with pytest.raises(packhorse.JobFailed) as raised:
            await client.run("t", attempts=2)
    outcome = raised.value.outcome
    assert (outcome.reason, outcome.attempt) == ("FAILED", 2)
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "not yet")
    assert 'raise ValueError("not yet")' in outcome.error.traceback


@pytest.mark.parametrize("kind", ["coroutine", "function"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Fail("closed for good", retry=False), "closed for good"),
        (SystemExit("leave"), "leave"),
        (asyncio.CancelledError("by itself"), "by itself"),
        (StopIteration(), "StopIteration"),
        (KeyboardInterrupt("stop"), "stop"),
    ],
)
async def test_whatever_a_function_raises_fails_its_job_only(
    broker: LocalBroker, make_worker: MakeWorker, kind: str, error: BaseException, said: str
) -> None:
    if kind == "coroutine" and isinstance(error, KeyboardInterrupt):
        return  # on the main thread that is a Ctrl-C
    worker = make_worker()

    @worker.job("coroutine")
    async def coroutine() -> None:
        raise error

    @worker.job("function")
    def function() -> None:
        raise error

    @worker.job("fine")
    async def fine() -> str:
        return "fine"

    async with worker, broker.connect() as client:
        with pytest.raises(packhorse.JobFailed, match=said) as raised:
            await client.run(kind)
        assert raised.value.outcome.attempt == 1
        assert await client.run("fine") == "fine"


async def test_failing_for_good_tries_no_more(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> None:
        raise Fail("no such customer", retry=False, error_type="NoCustomer")

    async with worker, broker.connect() as client:
        with pytest.raises(packhorse.JobFailed, match="NoCustomer: no such customer") as raised:
            await client.run("t", attempts=5)
    assert raised.value.outcome.attempt == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\xc1", "PayloadError: payload: can't be unpacked"),
        (b"\x05", "PayloadError: t: payload does not fit the function: too many positional"),
    ],
)
async def test_a_payload_that_can_not_be_used_is_not_tried_again(
    broker: LocalBroker, make_worker: MakeWorker, payload: bytes, said: str
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> None: ...

    async with worker, broker.connect() as client:
        with pytest.raises(packhorse.JobFailed, match=said) as raised:
            await client.run("t", payload=payload, attempts=5)
    assert raised.value.outcome.attempt == 1


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (object(), "PayloadError: result: can't be packed"),
        (b"x" * 64 * 1024 * 1024, "PayloadError: result: 67108869 bytes; this broker takes"),
    ],
)
async def test_a_result_that_can_not_be_sent_fails_the_job(
    broker: LocalBroker, make_worker: MakeWorker, result: object, said: str
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> object:
        return result

    async with worker, broker.connect() as client:
        with pytest.raises(packhorse.JobFailed, match=said):
            await client.run("t", attempts=5)


async def test_no_more_run_at_once_than_wanted(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(concurrency=5)
    many, few = Gate(), Gate()

    @worker.job("many")
    async def work() -> None:
        await many.enter()

    @worker.job("few", concurrency=2)
    async def rare() -> None:
        await few.enter()

    async with worker, broker.connect() as client:
        jobs = await client.create_many([NewJob("few")] * 6, handle=True)
        await few.has(2)
        jobs += await client.create_many([NewJob("many")] * 6, handle=True)
        await many.has(3)
        many.open()
        few.open()
        for job in jobs:
            await job.result()
    assert few.most == 2
    assert many.most == 3


async def test_threads_run_at_once_too(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker(concurrency=4)
    together = threading.Barrier(4)

    @worker.job("t")
    def work() -> int:
        return together.wait(timeout=20)

    async with worker, broker.connect() as client:
        results = await asyncio.gather(*(client.run("t") for _ in range(4)))
    assert sorted(results) == [0, 1, 2, 3]


async def test_jobs_can_create_jobs(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("outer")
    async def outer(ctx: Context, n: int) -> int:
        result: int = await ctx.client.run("inner", n)
        return result + 1

    @worker.job("inner")
    async def inner(n: int) -> int:
        return n * 10

    async with worker:
        assert await worker.client.run("outer", 4) == 41


async def test_exactly_this_job(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker(concurrency=1)
    gate = Gate()
    ran: list[str] = []

    @worker.job("t")
    async def work(ctx: Context) -> None:
        ran.append(ctx.job)
        await gate.enter()

    async with broker.connect() as client:
        await client.create_many(NewJob("t", job_id=job_id) for job_id in ("a", "b", "c"))
        async with worker:
            await gate.has(1)
            [first] = ran
            other = next(job_id for job_id in ("a", "b", "c") if job_id != first)
            await worker.claim(other)
            await gate.has(2)
            assert ran == [first, other]
            await worker.claim(other)  # as after an answer that was lost
            with pytest.raises(errors.NotFound):
                await worker.claim("nowhere")
            await client.create("other", job_id="d")
            with pytest.raises(errors.InvalidValue, match="no function for type 'other'"):
                await worker.claim("d")
            gate.open()


async def test_a_revoked_coroutine_is_cancelled(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    gate = Gate()
    cancelled: list[bool] = []

    @worker.job("t")
    async def work(ctx: Context) -> None:
        try:
            await gate.enter()
        except asyncio.CancelledError:
            cancelled.append(ctx.revoked.is_set())
            raise

    async with worker, broker.connect() as client:
        job = await client.create("t")
        await gate.has(1)
        await job.remove()
    assert cancelled == [True]


async def test_a_revoked_thread_is_told(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[list[type]] = loop.create_future()

    @worker.job("t")
    def work(ctx: ThreadContext) -> None:
        loop.call_soon_threadsafe(running.set)
        assert ctx.revoked.wait(20)
        raised = []
        for report in (partial(ctx.progress, 1), partial(ctx.log, "x")):
            try:
                report()
            except errors.PackhorseError as error:
                raised.append(type(error))
        loop.call_soon_threadsafe(ended.set_result, raised)

    async with worker, broker.connect() as client:
        job = await client.create("t")
        await running.wait()
        await job.remove()
        assert await ended == [errors.StaleClaim, errors.StaleClaim]


# -- what can't be --------------------------------------------------------------------------------


async def test_a_worker_without_functions(make_worker: MakeWorker) -> None:
    with pytest.raises(errors.InvalidValue, match="no job function"):
        await make_worker().__aenter__()


async def test_two_functions_for_one_type(make_worker: MakeWorker) -> None:
    worker = make_worker()
    worker.job("t")(lambda: None)
    with pytest.raises(errors.InvalidValue, match="a function for that type already"):
        worker.job("t")(lambda: None)


async def test_a_worker_runs_once(make_worker: MakeWorker) -> None:
    worker = make_worker()
    worker.job("t")(lambda: None)
    async with worker:
        pass
    with pytest.raises(errors.ClientClosed, match="runs once"):
        await worker.__aenter__()
    with pytest.raises(errors.ClientClosed):
        _ = worker.client


async def test_a_worker_that_does_not_run_claims_nothing(make_worker: MakeWorker) -> None:
    with pytest.raises(errors.ClientClosed):
        await make_worker().claim("a")


@pytest.mark.parametrize("concurrency", [0, 100_001])
def test_a_concurrency_that_can_not_be(concurrency: int) -> None:
    with pytest.raises(errors.InvalidValue, match="1 to 100000"):
        Worker(concurrency=concurrency)


@pytest.mark.parametrize("weight", [0, 1_001])
def test_a_weight_that_can_not_be(weight: int) -> None:
    with pytest.raises(errors.InvalidValue, match=f"t: weight {weight} must be 1 to 1000"):
        Worker().job("t", weight=weight)


async def test_no_broker_in_the_time_given() -> None:
    worker = Worker("tcp://127.0.0.1:1", wait_for_broker="0s")
    worker.job("t")(lambda: None)
    with pytest.raises(errors.BrokerUnavailable, match=r"127\.0\.0\.1:1: connection refused"):
        await worker.run()
