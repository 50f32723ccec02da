"""The benchmark's runner process: a worker that does nothing, and says when it has done enough.

python -m benchmarks.runner --url URL     reads a number of jobs a line, prints `done` after each
"""

import asyncio
import sys

import click
import uvloop

from packhorse import Context, Worker

CONCURRENCY = 500


@click.command()
@click.option("--url", required=True)
def main(url: str) -> None:
    """Run `noop` jobs, and `chatter`, until standard input ends."""
    uvloop.run(_run(url))


async def _run(url: str) -> None:
    worker = Worker(url, concurrency=CONCURRENCY)
    arrived = asyncio.Event()
    left = 0

    @worker.job("noop")
    async def noop(data: bytes) -> None:  # noqa: ARG001 - the payload of every job
        nonlocal left
        left -= 1
        if left == 0:
            arrived.set()

    @worker.job("chatter")
    async def chatter(ctx: Context, lines: int) -> None:
        for number in range(lines):
            await ctx.log(f"line {number:06d} of a job that says what it does")

    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with worker:
        print("ready", flush=True)
        while line := await lines.readline():
            left = int(line)
            arrived.clear()
            print("counting", flush=True)
            await arrived.wait()
            print("done", flush=True)


if __name__ == "__main__":
    main()
