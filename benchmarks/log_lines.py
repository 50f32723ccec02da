"""How many lines of log one runner gets to the store, from several jobs at once."""

import asyncio
from typing import Final

from benchmarks.metering import Cost, Meter, Row
from benchmarks.processes import Broker, Runner
from packhorse import connect

JOBS: Final = 10


async def rows(broker: Broker, lines: int, rounds: int) -> list[Row]:
    """`lines` of a round; the client sends in one frame what is said in one turn of its loop."""
    costs: list[Cost] = []
    each = max(1, lines // JOBS)
    runner = await Runner.start(broker.url)
    async with connect(broker.url) as client:
        for round_ in range(rounds + 1):
            meter = Meter(broker, runner.pid)
            await asyncio.gather(*(client.run("chatter", {"lines": each}) for _ in range(JOBS)))
            if round_:
                costs.append(meter.cost(each * JOBS))
    await runner.stop()
    return [Row.of("log lines of one runner", costs, "lines")]
