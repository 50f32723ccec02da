"""What burdens a broker, in a process of its own.

python -m benchmarks.load crowd --url URL           clients that only live
python -m benchmarks.load producers --url URL       clients that create without end

Prints a line of JSON when it has begun, ends when standard input does (producers with a bound: by
themselves), then prints what it saw.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from typing import Final

import click
import uvloop
from msgpack import packb

from benchmarks.wire import Wire
from packhorse_protocol.messages import Create, NewJob, Ok, Problem, Refused

ANSWER_S: Final = 30
"""Longer than any answer may take: what has none by then is counted as unanswered."""

AGAIN_S: Final = (0.5, 1.5)
"""Bounds of the random pause after a hello that was refused, as a client makes it."""


async def _input_ended() -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        pass


def _say(**found: object) -> None:
    print(json.dumps(found), flush=True)


async def crowd(url: str, connections: int, timeout_ms: int) -> None:
    """Connects all at once, each again and again until it is let in; then they only live."""
    refused: Counter[str] = Counter()

    async def come_in() -> Wire:
        while True:
            try:
                return await Wire.open(url, timeout_ms=timeout_ms)
            except OSError as error:
                refused[str(error)] += 1
                await asyncio.sleep(random.uniform(*AGAIN_S))

    started = time.perf_counter()
    wires = await asyncio.gather(*(come_in() for _ in range(connections)))
    _say(seconds=time.perf_counter() - started, refused=refused)
    await _input_ended()
    _say(lost=sum(wire.closed.is_set() for wire in wires))
    for wire in wires:
        wire.close()


class Producers:
    """Connections that create as fast as they are let, each with some requests unanswered."""

    def __init__(self, job_type: str, batch: int, payload_bytes: int, most: int) -> None:
        payload = packb({"data": bytes(payload_bytes)})
        self._jobs = tuple(NewJob(type=job_type, payload=payload) for _ in range(batch))
        self._most = most
        """Jobs, after which they end; 0: never."""
        self._begun = 0
        self._stopping = False
        self.answers: Counter[str] = Counter()
        """Of jobs, by what was said of them."""
        self.longest_s = 0.0
        self.unanswered = 0

    def stop(self) -> None:
        self._stopping = True

    async def run(self, wire: Wire, in_flight: int) -> None:
        places = asyncio.Semaphore(in_flight)
        waiting = 0

        def begin() -> None:
            nonlocal waiting
            waiting += 1
            self._begun += len(self._jobs)
            begun = time.perf_counter()

            def answered(answer: Ok | Refused) -> None:
                nonlocal waiting
                waiting -= 1
                self.longest_s = max(self.longest_s, time.perf_counter() - begun)
                self._count(answer)
                places.release()

            wire.begin(answered, Create, jobs=self._jobs)

        while not (self._stopping or wire.closed.is_set() or self._begun >= self._most > 0):
            try:
                async with asyncio.timeout(ANSWER_S):
                    await places.acquire()
                    await wire.room()
            except TimeoutError:
                break
            begin()
        give_up = time.perf_counter() + ANSWER_S
        while waiting and not wire.closed.is_set() and time.perf_counter() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.unanswered += waiting
        wire.close()

    def _count(self, answer: Ok | Refused) -> None:
        if isinstance(answer, Refused):
            self.answers[answer.code] += len(self._jobs)
            return
        for result in answer.results:
            self.answers[result.code if isinstance(result, Problem) else "created"] += 1


async def produce(
    url: str,
    connections: int,
    in_flight: int,
    job_type: str,
    batch: int,
    payload_bytes: int,
    most: int,
) -> None:
    producers = Producers(job_type, batch, payload_bytes, most)
    wires = [await Wire.open(url) for _ in range(connections)]
    _say(connections=connections)
    started = time.perf_counter()
    ending = asyncio.create_task(_input_ended())
    ending.add_done_callback(lambda _: producers.stop())
    await asyncio.gather(*(producers.run(wire, in_flight) for wire in wires))
    ending.cancel()
    _say(
        seconds=time.perf_counter() - started,
        answers=producers.answers,
        longest_s=producers.longest_s,
        unanswered=producers.unanswered,
    )


@click.group()
def main() -> None:
    """Burden a broker."""


@main.command("crowd")
@click.option("--url", required=True)
@click.option("--connections", default=2_500)
@click.option("--timeout-ms", default=10_000)
def _crowd(url: str, connections: int, timeout_ms: int) -> None:
    """Clients that only live."""
    uvloop.run(crowd(url, connections, timeout_ms))


@main.command("producers")
@click.option("--url", required=True)
@click.option("--connections", default=8)
@click.option("--in-flight", default=100, help="Requests of each that are unanswered.")
@click.option("--type", "job_type", default="bulk", help="Of the jobs.")
@click.option("--batch", default=100, help="Jobs in each request.")
@click.option("--bytes", "payload_bytes", default=92, help="Data in the payload of each job.")
@click.option("--jobs", "most", default=0, help="Ends after so many; 0: with standard input.")
def _producers(
    url: str,
    connections: int,
    in_flight: int,
    job_type: str,
    batch: int,
    payload_bytes: int,
    most: int,
) -> None:
    """Clients that create without end."""
    uvloop.run(produce(url, connections, in_flight, job_type, batch, payload_bytes, most))


if __name__ == "__main__":
    main()
