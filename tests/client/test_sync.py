"""The synchronous facade: as generated, and against a real broker."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

import packhorse
import packhorse.sync
from packhorse import Matched, NewJob, Progress, ThreadContext, Worker, errors
from packhorse_broker.local import LocalBroker

ROOT = Path(__file__).parent.parent.parent

WithClient: TypeAlias = Callable[[Callable[[packhorse.sync.Client], Any]], Awaitable[Any]]


def test_it_is_as_its_generator_writes_it() -> None:
    generator = ROOT / "clients" / "python" / "generate_sync.py"
    done = subprocess.run(
        [sys.executable, str(generator), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["Client", "Job", "Outcome"])
def test_it_has_all_that_the_asynchronous_one_has(name: str) -> None:
    def public(cls: type) -> set[str]:
        return {word for word in dir(cls) if not word.startswith("_")}

    asynchronous, synchronous = getattr(packhorse, name), getattr(packhorse.sync, name)
    assert public(asynchronous) - {"acknowledge"} <= public(synchronous)


@pytest_asyncio.fixture
async def with_client(store_url: str, prefix: str) -> AsyncIterator[WithClient]:
    """Runs a function in a thread, with a synchronous client of a broker that has a worker."""
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        url = broker.addresses[0]
        worker = Worker(url)

        @worker.job("square")
        def square(ctx: ThreadContext, n: int) -> int:
            ctx.progress(50, "half")
            ctx.log(f"squaring {n}")
            return n * n

        def call(work: Callable[[packhorse.sync.Client], Any]) -> Any:
            with packhorse.sync.connect(url) as client:
                return work(client)

        async with worker:
            yield lambda work: asyncio.to_thread(call, work)


async def test_create_and_wait(with_client: WithClient) -> None:
    def work(client: packhorse.sync.Client) -> None:
        assert client.connected
        assert len(client.id) > 1
        assert len(client.secret) == 32
        assert client.run("square", 5) == 25
        job = client.create("square", {"n": 6}, job_id="a", handle=True)
        assert (job.id, job.type, repr(job)) == ("a", "square", "<Job a square>")
        outcome = job.outcome(handled=False)
        assert (outcome.ok, outcome.state, outcome.result(), outcome.job) == (
            True,
            "COMPLETE",
            36,
            "a",
        )
        outcome.handled()
        with pytest.raises(errors.NotFound):
            job.get()
        with pytest.raises(packhorse.JobFailed):
            client.run("square", {"m": 1})

    await with_client(work)


async def test_look_on(with_client: WithClient) -> None:
    def work(client: packhorse.sync.Client) -> None:
        job = client.create("square", 3, persistent=True, job_id="a")
        job.handle()
        assert job.result() == 9
        assert [entry.message for entry in job.logs() if entry.type == "log"] == ["squaring 3"]
        assert list(job.progress()) == [Progress(percent=50, text="half")]
        assert [event.state for event in client.watch("a")] == ["COMPLETE"]
        assert client.get("a").state == "COMPLETE"
        assert client.job("a").get().id == "a"
        assert client.counts("square").types["square"]["COMPLETE"] == 1
        assert client.info().connections == 2
        client.remove("a")
        with pytest.raises(errors.NotFound):
            client.job("a").remove()

    await with_client(work)


async def test_many(with_client: WithClient) -> None:
    def work(client: packhorse.sync.Client) -> None:
        jobs = client.create_many([NewJob("square", n) for n in range(5)], handle=True)
        results = {}
        for outcome in client.outcomes():
            results[outcome.job] = outcome.result()
            if len(results) == 5:
                break
        assert [results[job.id] for job in jobs] == [0, 1, 4, 9, 16]
        with pytest.raises(errors.SomeRefused) as raised:
            client.create_many([NewJob("square", 1), NewJob("square", object())])
        first, second = raised.value.results
        assert isinstance(first, packhorse.sync.Job)
        assert isinstance(second, errors.PayloadError)

    await with_client(work)


async def test_steer(with_client: WithClient) -> None:
    def work(client: packhorse.sync.Client) -> None:
        later = client.create("later", 1, delay="1h", labels=["x"], unique="k")
        assert later.duplicate is None
        assert [job.id for job in client.list("later", states="PENDING", label="x")] == [later.id]
        assert client.page("later", unique_key="k").cursor is None
        assert [cause.code for cause in later.why().causes] == ["delayed"]
        assert later.run_now(why="now") == "QUEUED"
        assert client.cancel(later.id, why="enough") == ["FAILED"]
        assert later.retry() == "QUEUED"
        assert next(later.events()).state == "QUEUED"
        assert client.cancel_matching("later") == Matched(found=1, changed=1)
        assert later.attempts().attempts == ()
        assert [action.action for action in client.actions(limit=1)] == ["cancel"]
        client.pause("later", why="w")
        client.publish_schema("later", {"type": "object"})
        [found] = client.types("later")
        assert (found.paused, found.has_schema) == (True, True)
        assert client.schema("later") == {"type": "object"}
        assert client.minutes("later")
        assert client.purge("later") == Matched(found=1, changed=1)

    await with_client(work)


async def test_wait_for_some(with_client: WithClient) -> None:
    def work(client: packhorse.sync.Client) -> None:
        jobs = client.create_many([NewJob("square", n) for n in range(3)], handle=True)
        assert [outcome.result() for outcome in client.wait(jobs)] == [0, 1, 4]
        grouped = client.create("square", 3, group="mailers")
        for outcome in client.outcomes(group="mailers"):
            assert (outcome.job, outcome.group, outcome.result()) == (grouped.id, "mailers", 9)
            outcome.handled()
            break
        never = client.create("nobody", handle=True)
        with pytest.raises(errors.OutcomeTimeout):
            client.wait([never.id], "any", timeout="10ms")

    await with_client(work)


def test_no_broker() -> None:
    with pytest.raises(errors.BrokerUnavailable):
        packhorse.sync.connect("tcp://127.0.0.1:1").__enter__()


def test_outside_of_with() -> None:
    client = packhorse.sync.connect("tcp://127.0.0.1:1")
    with pytest.raises(errors.ClientClosed, match="inside `with`"):
        client.create("t")
