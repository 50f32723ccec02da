"""For tests of embedded stores: asking one, waiting for its end, and a broker that is killed."""

import os
import select
import subprocess
import sys
from pathlib import Path

import redis

from packhorse_broker.store.embedded import EmbeddedStore


def ask(store: EmbeddedStore, *command: str) -> object:
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        answer: object = client.execute_command(*command)
        return answer


def socket_of(store: EmbeddedStore) -> Path:
    return Path(store.url.removeprefix("unix://"))


def wait_for_end(pid: int) -> None:
    """Returns when the process, a child of ours or not, has ended."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], 60)[0]
    finally:
        os.close(watched)


KILLED_BROKER = """
import asyncio, sys
from pathlib import Path
from packhorse_broker.store.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(Path(sys.argv[1]))
    await store.start()
    print("started", store.pid, file=sys.stderr, flush=True)
    await store.wait_exit()

asyncio.run(main())
"""


def start_broker(path: Path) -> tuple[subprocess.Popen[str], int]:
    """A process of its own that holds a store, and the pid of that."""
    broker = subprocess.Popen(
        [sys.executable, "-c", KILLED_BROKER, str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert broker.stderr is not None
    for line in broker.stderr:
        if line.startswith("started"):
            return broker, int(line.split()[1])
    raise AssertionError("the broker did not start its store")


def kill(broker: subprocess.Popen[str]) -> None:
    broker.kill()
    broker.communicate()
