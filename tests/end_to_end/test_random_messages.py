"""Random valid messages from several connections: only what is documented comes back.

The seed names a run. For a longer one: `SEED=7 MESSAGES=20000 pytest tests/end_to_end -k random`.
"""

import asyncio
import os
import random
import sys
from collections import Counter
from typing import Final

import pytest

from tests.end_to_end.random_clients import RandomClient, Shared, hellos, messages
from tests.support.daemon import Daemon, Daemons
from tests.support.daemon import packhorse as command
from tests.support.store_server import StoreServer

SEEDS: Final = (int(os.environ["SEED"]),) if "SEED" in os.environ else (1, 2)
MESSAGES: Final = int(os.environ.get("MESSAGES", "1000"))

CLIENTS: Final = 5
ROUND: Final = 500
"""Messages of all clients between two looks at what is left: they are made before they are sent."""

QUICK: Final = ("--sweep-ms", "100", "--last-response-flush-ms", "100")
PLAIN_STORE: Final = ("--durability-wait-ms", "20")
"""It has no replicas: jobs that ask for some keep the others waiting for this long."""


async def look(daemon: Daemon, store_url: str) -> None:
    """Nothing went wrong at the broker, and its indexes follow from its records."""
    complain(daemon)
    checked = await command("fsck", "--store", store_url)
    assert (checked.status, checked.err) == (0, []), checked.out


def complain(daemon: Daemon) -> None:
    """Shows what the broker has logged of its own mistakes."""
    wrong = [line for line in daemon.log if line["level"] in ("error", "critical")]
    wrong += [line for line in daemon.log if "exception" in line]
    assert (wrong, daemon.said) == ([], [])


@pytest.mark.timeout(60 + MESSAGES // 5)
@pytest.mark.parametrize("seed", SEEDS)
async def test_only_documented_answers_leave(
    daemons: Daemons, store_server: StoreServer, seed: int
) -> None:
    await store_server.start()
    daemon = await daemons.start("--store", store_server.url, *QUICK, *PLAIN_STORE)
    chance = random.Random(seed)
    shared = Shared()
    clients = [
        RandomClient(daemon.url, f"client-{number}", random.Random(chance.random()), shared)
        for number in range(CLIENTS)
    ]
    for _ in range(0, MESSAGES, ROUND):
        said = messages(chance.getrandbits(32), ROUND)
        greetings = hellos(chance.getrandbits(32), CLIENTS)
        chance.shuffle(said)
        try:
            async with asyncio.TaskGroup() as together:
                for number, client in enumerate(clients):
                    together.create_task(client.greet(greetings[number % len(greetings)]))
                    together.create_task(client.say(said[number::CLIENTS]))
        finally:
            complain(daemon)
        await look(daemon, store_server.url)
    for client in clients:
        await client.leave()
    await look(daemon, store_server.url)
    daemon.terminate()
    assert await daemon.wait() == 0
    assert daemon.count("broker.drain_timeout") == 0
    sys.stdout.write(f"seed {seed}: {told(shared.tally)}\n")
    assert_much_was_done(shared.tally)


def told(tally: Counter[str]) -> str:
    return ", ".join(f"{what}: {times}" for what, times in tally.most_common())


def assert_much_was_done(tally: Counter[str]) -> None:
    """Jobs were created, ran and ended, and were looked at: it was not all refused."""
    for what in ("Create", "Claims", "Complete", "Fail", "Handle", "Retry", "ListJobs", "ReadLog"):
        assert tally[what], (what, told(tally))
