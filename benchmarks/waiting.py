"""Whether jobs that wait cost the others anything: lifecycles with few and with many of them.

Two brokers, each with its own store, one with few and one with many jobs that wait, are measured
in turn. The jobs that wait are of the type that is created and run meanwhile, before them in its
queue; it is paused between the rounds.
"""

import asyncio
from typing import Final

from benchmarks.lifecycle import batches
from benchmarks.metering import Cost, Meter, Row, ratio
from benchmarks.processes import Broker, Load, Runner, memory
from benchmarks.store_probe import StoreProbe
from packhorse import Client, connect

TYPE: Final = "noop"
FIRST_PART: Final = 20
"""Memory is looked at when so many parts of the jobs are there, and again when all are: what the
filling itself takes is not counted."""
LOOK_S: Final = 0.1
CONNECTIONS, UNANSWERED, BATCH = 2, 4, 500
"""Of what fills."""


async def rows(
    few_broker: Broker, few: int, many_broker: Broker, many: int, jobs: int, rounds: int
) -> list[Row]:
    """`jobs`: lifecycles of a round."""
    brokers = (few_broker, many_broker)
    for broker in brokers:
        async with connect(broker.url) as client:
            await client.pause(TYPE)
    await fill(few_broker, few)
    first = await fill(many_broker, many // FIRST_PART)
    before_bytes = memory(many_broker.pid).now_bytes
    rest = await fill(many_broker, many - first)
    each_bytes = (memory(many_broker.pid).now_bytes - before_bytes) / rest
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for round_ in range(rounds + 1):
        for broker, found in zip(brokers, costs, strict=True):
            cost = await measure(broker, jobs)
            if round_:
                found.append(cost)
    per_s = [[cost.per_s for cost in found] for found in costs]
    return [
        Row.of(f"lifecycles, {few:,} jobs waiting", costs[0], "jobs"),
        Row.of(f"lifecycles, {many:,} jobs waiting", costs[1], "jobs"),
        Row(name=f"{many:,} over {few:,} waiting", figure=ratio(per_s[1], per_s[0])),
        Row(name="broker's memory for each job that waits", figure=f"{each_bytes:,.1f} bytes"),
    ]


async def fill(broker: Broker, jobs: int) -> int:
    """At least so many, a few requests more; how many. The store has settled then."""
    load = await Load.start(
        *("producers", "--url", broker.url, "--type", TYPE, "--jobs", jobs),
        *("--connections", CONNECTIONS, "--in-flight", UNANSWERED),
        *("--batch", min(BATCH, jobs // CONNECTIONS or 1)),
    )
    await load.said()
    answers: dict[str, int] = (await load.said())["answers"]
    await load.ended()
    store = await StoreProbe.open(broker.store_url, broker.store_pid)
    while await store.rewriting():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(LOOK_S)
    store.close()
    if set(answers) != {"created"}:
        raise RuntimeError(f"of {jobs} jobs became {answers}")
    return answers["created"]


async def measure(broker: Broker, jobs: int) -> Cost:
    """As many are created as end; until both are done. A runner with many jobs before it is faster
    than who creates, and is to do no more than that."""
    runner = await Runner.start(broker.url)
    async with connect(broker.url) as client:
        await runner.expect(jobs)
        meter = Meter(broker, runner.pid)
        await client.resume(TYPE)
        await asyncio.gather(batches(client, jobs), _ended(client, runner))
        cost = meter.cost(jobs)
    await runner.stop()
    return cost


async def _ended(client: Client, runner: Runner) -> None:
    """The runner has done what was expected; a few more jobs are on their way to it."""
    await runner.done()
    await client.pause(TYPE)
