"""A runner process: reads files and computes their SHA-256.

python -m examples.checksum.runner --url tcp://127.0.0.1:7225 --dir FOLDER --name runner-1
"""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Final, TypedDict

import click

from packhorse import Fail, ThreadContext, Worker

CHUNK_BYTES: Final = 1024 * 1024
"""Read at once; progress is reported after each."""

TIMEOUT: Final = "1s"
"""A runner that is killed is given up this soon; a network would want more patience."""


class Checksum(TypedDict):
    """A job's result."""

    digest: str
    size_bytes: int
    runner: str


@click.command()
@click.option("--url", required=True, help="The broker's address.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True)
@click.option("--name", required=True, help="This runner's client id.")
@click.option("--concurrency", default=4, help="Files read at once.")
def main(url: str, folder: Path, name: str, concurrency: int) -> None:
    """Run `checksum` jobs until SIGTERM."""
    worker = Worker(url, client_id=name, concurrency=concurrency, timeout=TIMEOUT)

    @worker.job("checksum")
    def checksum(ctx: ThreadContext, name_of_file: bytes) -> Checksum:
        digest = hashlib.sha256()
        done = 0
        try:
            with (folder / os.fsdecode(name_of_file)).open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
                    done += len(chunk)
                    ctx.progress(min(100, 100 * done // size) if size else 100)
        except OSError as error:
            raise Fail(f"can't be read: {error.strerror}", retry=False) from error
        return Checksum(digest=digest.hexdigest(), size_bytes=done, runner=name)

    asyncio.run(worker.run())


if __name__ == "__main__":
    main()
