"""What the demo shows while it runs: a progress bar on a terminal, plain lines elsewhere."""

import sys
from typing import Final, Protocol, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

PLAIN_STEP_PERCENT: Final = 10


class Display(Protocol):
    """`with` it; `done` for each finished job, `say` for what happens in between."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def done(self, size_bytes: int) -> None: ...
    def say(self, text: str) -> None: ...


def display(jobs: int) -> Display:
    """For standard error: what people read, apart from the summary."""
    return Bar(jobs) if sys.stderr.isatty() else Lines(jobs)


class Bar:
    """A bar over the files, with the bytes read so far."""

    def __init__(self, jobs: int) -> None:
        self._read_bytes = 0
        self._progress = Progress(
            TextColumn("checksum"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files"),
            TextColumn("{task.fields[read]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._jobs = self._progress.add_task("jobs", total=jobs, read="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def done(self, size_bytes: int) -> None:
        self._read_bytes += size_bytes
        self._progress.update(self._jobs, advance=1, read=decimal(self._read_bytes))

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)


class Lines:
    """A line for every tenth of the jobs."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._done = 0
        self._told_percent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def done(self, size_bytes: int) -> None:  # noqa: ARG002 - lines tell the files only
        self._done += 1
        percent = 100 * self._done // self._jobs
        if percent >= self._told_percent + PLAIN_STEP_PERCENT:
            self._told_percent = percent - percent % PLAIN_STEP_PERCENT
            self.say(f"{self._done} of {self._jobs} files ({percent} %)")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
