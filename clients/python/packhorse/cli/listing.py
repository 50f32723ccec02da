"""`packhorse list`: jobs that match, as a table or as objects."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from packhorse.cli import output
from packhorse.cli.choosing import Chosen, which_options
from packhorse.cli.options import WholeNumber, client_options, json_option, with_client
from packhorse.client import Client
from packhorse_protocol.messages import JobSummary

ALWAYS_SHOWN: Final = ("JOB", "TYPE", "STATE", "ATTEMPT", "WHEN")

CHUNK_JOBS: Final = 500
"""Jobs whose columns are aligned with each other: a longer list is printed as it comes."""

SOMETIMES_SHOWN: Final[Mapping[str, Callable[[JobSummary], object]]] = {
    "PRIO": lambda job: job.priority,
    "UNIQUE": lambda job: job.unique_key,
    "LABELS": lambda job: job.labels,
}
"""Columns that are there where some job has something to stand in them: lines stay short."""

BELOW: Final = ("UNIQUE", "LABELS")
"""Of these, what stands in lines of its own on a terminal that is too narrow for all columns."""


@click.command("list")
@which_options
@click.option("--newest-first", is_flag=True, help="The latest time first.")
@click.option(
    "--limit",
    type=WholeNumber(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@json_option
@client_options
def list_jobs(
    newest_first: bool, limit: int, everything: bool, as_json: bool, **chosen: Any
) -> None:
    """List the jobs that match all that is given.

    There is no cursor: where there are more than the --limit, say --all, or bound them by --since
    and --until.

    \b
    packhorse list --type thumb --state failed --since 1h
    packhorse list --label nightly --all --json
    """

    async def work(client: Client) -> None:
        picked = Chosen(**chosen)
        most = None if everything else limit + 1
        now_ms = (await client.info()).now_ms
        found = client.list(
            picked.job_type,
            newest_first=newest_first,
            limit=most,
            **await picked.which(client),
        )
        table = _Table(now_ms)
        shown = 0
        async for job in found:
            if shown + 1 == most:
                output.tell(f"there are more than {limit}: --limit N or --all")
                break
            shown += 1
            if as_json:
                output.write_json(job)
            else:
                table.add(job)
        if not as_json:
            table.end()

    with_client(work)


class _Table:
    """Prints jobs in chunks. A header stands above the first one, and where columns change."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._jobs: list[JobSummary] = []
        self._header: list[str] = []

    def add(self, job: JobSummary) -> None:
        self._jobs.append(job)
        if len(self._jobs) >= CHUNK_JOBS:
            self._write()

    def end(self) -> None:
        if self._jobs or not self._header:
            self._write()

    def _write(self) -> None:
        jobs, self._jobs = self._jobs, []
        rows = [_cells(job, self._now_ms) for job in jobs]
        shown = [name for name, held in SOMETIMES_SHOWN.items() if any(map(held, jobs))]
        header = [*ALWAYS_SHOWN, *shown]
        lines = _lines(header, rows)
        if not output.fits(lines):
            header = [name for name in header if name not in BELOW]
            above = zip(_lines(header, rows), [{}, *rows], strict=True)
            lines = [line for first, row in above for line in (first, *_below(row))]
        if header == self._header:
            del lines[0]
        self._header = header
        output.write_lines(lines)


def _lines(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    return output.aligned([header, *([row[name] for name in header] for row in rows)])


def _below(row: Mapping[str, str]) -> list[str]:
    """What has no column, in a line of its own for each."""
    return [f"    {name.lower()}  {row[name]}" for name in BELOW if row.get(name)]


def _cells(job: JobSummary, now_ms: int) -> dict[str, str]:
    """What stands in each column."""
    return {
        "JOB": job.id,
        "TYPE": job.type,
        "STATE": f"{job.state} ({job.reason})" if job.reason else job.state,
        "ATTEMPT": f"{job.current_attempt}/{job.attempts}",
        "WHEN": output.relative(_when(job), now_ms),
        "PRIO": str(job.priority or ""),
        "UNIQUE": job.unique_key or "",
        "LABELS": " ".join(job.labels),
    }


def _when(job: JobSummary) -> int:
    """The time that belongs to the job's state."""
    match job.state:
        case "PENDING":
            return job.delayed_until
        case "QUEUED":
            return job.queued_at
        case "STARTED":
            return job.started_at
        case _:
            return job.finished_at
