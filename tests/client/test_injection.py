"""Parameters that the worker provides."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgpack
import pytest

from packhorse import Context, InvalidValue, Worker
from tests.client import process_jobs
from tests.client.scripted import ScriptedBroker
from tests.client.serving import claim, failure, result, serving


class Store:
    """What jobs work with."""

    def __init__(self, name: str) -> None:
        self.name = name


class Session:
    def __init__(self, job: str) -> None:
        self.job = job


def with_context(ctx: Context) -> Store:
    return Store(ctx.job)


async def test_what_lives_as_long_as_the_worker(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    steps: list[str] = []

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        steps.append("opened")
        yield Store("shelf")
        steps.append("closed")

    worker.provide(Store, open_store)

    @worker.job("coroutine")
    async def coroutine(ctx: Context, store: Store, n: int) -> str:
        steps.append(ctx.job)
        return f"{store.name} {n}"

    @worker.job("function")
    def function(n: int, store: "Store") -> str:
        return f"{store.name} {n}"

    async with serving(scripted, worker) as peer:
        assert steps == ["opened"]
        for job, kind, payload in [
            ("a", "coroutine", 5),
            ("b", "coroutine", {"n": 5}),
            ("c", "function", 5),
            ("d", "function", {"n": 5}),
        ]:
            packed = await result(peer, claim(job, payload, job_type=kind))
            assert msgpack.unpackb(packed) == "shelf 5"
    assert steps == ["opened", "a", "b", "closed"]


async def test_what_lives_as_long_as_a_job(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    steps: list[str] = []

    @contextmanager
    def begin(ctx: Context) -> Iterator[Session]:
        try:
            yield Session(ctx.job)
            steps.append(f"committed {ctx.job}")
        except LookupError:
            steps.append(f"rolled back {ctx.job}")
            raise

    async def store() -> Store:
        return Store("made")

    worker.provide(Session, begin, per="job")
    worker.provide(Store, store, per="job")
    worker.provide(int, lambda: 7)
    worker.provide(dict, dict)  # whose signature is not known

    @worker.job("t")
    async def work(
        session: Session,
        store: Store,
        number: int,
        fail: bool,
        more: dict,  # type: ignore[type-arg]
    ) -> list[Any]:
        if fail:
            raise LookupError("nothing there")
        return [session.job, store.name, number, more]

    async with serving(scripted, worker) as peer:
        assert msgpack.unpackb(await result(peer, claim("a", False))) == ["a", "made", 7, {}]
        assert (await failure(peer, claim("b", True))).error.type == "LookupError"
        told = await failure(peer, claim("c", {"fail": True, "number": 8}))
    assert steps == ["committed a", "rolled back b"]
    assert (told.error.type, told.retry) == ("PayloadError", False)


async def test_a_factory_that_fails_fails_the_job(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)

    def broken() -> Store:
        raise OSError("no shelf")

    worker.provide(Store, broken, per="job")

    @worker.job("t")
    async def work(store: Store) -> None: ...

    async with serving(scripted, worker) as peer:
        assert (await failure(peer, claim("a"))).error.message == "no shelf"


@pytest.mark.parametrize(
    ("options", "make", "said"),
    [
        ({}, 5, "5 can't be called"),
        ({"per": "day"}, Store, "per='day' must be"),
        ({}, with_context, "Store is made once, so there is no ctx for it"),
    ],
)
def test_what_can_not_be_provided(options: Any, make: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        Worker().provide(Store, make, **options)


def test_a_type_is_provided_once() -> None:
    worker = Worker()
    worker.provide(Store, lambda: Store("x"))
    with pytest.raises(InvalidValue, match="Store is provided already"):
        worker.provide(Store, lambda: Store("y"))


async def test_functions_in_processes_are_provided_with_nothing(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    worker.provide(process_jobs.Square, lambda: process_jobs.Square(3))
    worker.job("t", process=True)(process_jobs.area)
    with pytest.raises(InvalidValue, match="t: square: nothing is provided to a function in a pro"):
        await worker.__aenter__()
    assert scripted.dialled == 0
