"""A producer or worker process of a peer with a Python client.

python -m benchmarks.peers.child PEER producer|worker SITE_JSON

A producer reads an order a line from standard input, as JSON, and answers each with a line. Only
the standard library is needed here; uvloop is used where the interpreter has it.
"""

import asyncio
import concurrent.futures
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from importlib import import_module
from typing import Any, Final

from benchmarks.peers.marks import marker, now_ns, payload
from benchmarks.peers.peer import Site

LATE_NS: Final = 2_000_000
"""A job that is sent so much after its time counts from its time."""
ANSWER_S: Final = 20
"""Longer than any call may take."""
CALLERS: Final = 32
"""Threads of a client without coroutines, for calls that overlap."""

Order = dict[str, Any]
Send = Callable[[str], Awaitable[None]]


def say(**said: object) -> None:
    print(json.dumps(said), flush=True)


def orders() -> Iterator[Order]:
    for line in sys.stdin:
        yield json.loads(line)


def abilities(producer: object) -> list[str]:
    return [name for name in ("put", "put_many", "call") if hasattr(producer, name)]


def stamp(due_ns: int) -> int:
    """When a job counts as sent."""
    sent_ns = now_ns()
    return due_ns if sent_ns - due_ns > LATE_NS else sent_ns


def parts(jobs: int, batch: int) -> Iterator[list[str]]:
    for at in range(0, jobs, batch):
        yield [payload() for _ in range(min(batch, jobs - at))]


def moments(begun_ns: int, order: Order) -> Iterator[int]:
    """When the jobs are due that come at a steady rate."""
    gap_ns = 1e9 / order["per_s"]
    for number in range(int(order["per_s"] * order["seconds"])):
        yield begun_ns + int(number * gap_ns)


class Blocking:
    """Follows orders with a client whose calls block."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def run(self) -> None:
        say(can=abilities(self._producer))
        for order in orders():
            begun_ns = now_ns()
            took_ms = self._follow(order, begun_ns)
            say(begun_ns=begun_ns, ended_ns=now_ns(), took_ms=took_ms)

    def _follow(self, order: Order, begun_ns: int) -> list[float]:
        match order["do"]:
            case "put":
                for _ in range(order["jobs"]):
                    self._producer.put(payload())
            case "bulk":
                for part in parts(order["jobs"], order["batch"]):
                    self._producer.put_many(part)
            case "rate":
                for due_ns in self._due(begun_ns, order):
                    self._producer.put(payload(stamp(due_ns)))
            case "call":
                with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
                    calls = [
                        pool.submit(self._call, due_ns) for due_ns in self._due(begun_ns, order)
                    ]
                    return [made.result(timeout=ANSWER_S) for made in calls]
        return []

    @staticmethod
    def _due(begun_ns: int, order: Order) -> Iterator[int]:
        """Each moment when it has come."""
        for due_ns in moments(begun_ns, order):
            time.sleep(max(0, due_ns - now_ns()) / 1e9)
            yield due_ns

    def _call(self, due_ns: int) -> float:
        sent_ns = stamp(due_ns)
        self._producer.call(payload(sent_ns))
        return (now_ns() - sent_ns) / 1e6


class Overlapping:
    """Follows orders with a client of coroutines, which can have single calls in flight."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    async def run(self) -> None:
        if hasattr(self._producer, "start"):
            await self._producer.start()
        say(can=[*abilities(self._producer), "conc"])
        for order in orders():
            begun_ns = now_ns()
            took_ms = await self._follow(order, begun_ns)
            say(begun_ns=begun_ns, ended_ns=now_ns(), took_ms=took_ms)

    async def _follow(self, order: Order, begun_ns: int) -> list[float]:
        match order["do"]:
            case "put":
                await self._one_by_one(range(order["jobs"]))
            case "conc":
                left = iter(range(order["jobs"]))
                await asyncio.gather(*(self._one_by_one(left) for _ in range(order["in_flight"])))
            case "bulk":
                for part in parts(order["jobs"], order["batch"]):
                    await self._producer.put_many(part)
            case "rate":
                return await self._at_rate(begun_ns, order, self._producer.put)
            case "call":
                return await self._at_rate(begun_ns, order, self._producer.call)
        return []

    async def _one_by_one(self, numbers: Iterable[int]) -> None:
        for _ in numbers:
            await self._producer.put(payload())

    async def _at_rate(self, begun_ns: int, order: Order, send: Send) -> list[float]:
        sent = []
        for due_ns in moments(begun_ns, order):
            if (early_ns := due_ns - now_ns()) > 0:
                await asyncio.sleep(early_ns / 1e9)
            sent.append(asyncio.create_task(self._timed(due_ns, send)))
        async with asyncio.timeout(ANSWER_S):
            return await asyncio.gather(*sent)

    @staticmethod
    async def _timed(due_ns: int, send: Send) -> float:
        sent_ns = stamp(due_ns)
        await send(payload(sent_ns))
        return (now_ns() - sent_ns) / 1e6


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """On uvloop, if it is there."""
    try:
        loop_factory = import_module("uvloop").new_event_loop
    except ImportError:
        loop_factory = None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(coroutine)


def main() -> None:
    """Be one of the two."""
    _, name, role, fields = sys.argv
    peer = import_module(f"benchmarks.peers.{name}")
    site = Site(**json.loads(fields))
    if role == "producer":
        if inspect.iscoroutinefunction(peer.Producer.put):
            run(Overlapping(peer.Producer(site)).run())
        else:
            Blocking(peer.Producer(site)).run()
    elif inspect.iscoroutinefunction(peer.worker):
        run(peer.worker(site, marker(site.marks)))
    else:
        peer.worker(site, marker(site.marks))


if __name__ == "__main__":
    main()
