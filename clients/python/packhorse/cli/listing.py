"""`packhorse list`: jobs that match, as a table or as objects."""

from typing import Any, Final

import click

from packhorse.cli import output
from packhorse.cli.choosing import Chosen, which_options
from packhorse.cli.options import json_option, url_option, with_client
from packhorse.client import Client
from packhorse_protocol.messages import JobSummary

HEADER: Final = ("JOB", "TYPE", "STATE", "ATTEMPT", "WHEN", "LABELS")

CHUNK_ROWS: Final = 500
"""Rows whose columns are aligned with each other: a longer list is printed as it comes."""


@click.command("list")
@which_options
@click.option("--newest-first", is_flag=True, help="The latest time first.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@json_option
@url_option
def list_jobs(
    newest_first: bool, limit: int, everything: bool, as_json: bool, **chosen: Any
) -> None:
    """List the jobs that match all that is given.

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
        rows: list[tuple[str, ...]] = [HEADER]
        shown = 0
        async for job in found:
            if shown + 1 == most:
                click.echo(f"there are more than {limit}: --limit N or --all", err=True)
                break
            shown += 1
            if as_json:
                output.write_json(job)
                continue
            rows.append(_row(job, now_ms))
            if len(rows) > CHUNK_ROWS:
                output.write_table(rows)
                rows = []
        if rows and not as_json:
            output.write_table(rows)

    with_client(work)


def _row(job: JobSummary, now_ms: int) -> tuple[str, ...]:
    state = f"{job.state} ({job.reason})" if job.reason else job.state
    return (
        job.id,
        job.type,
        state,
        f"{job.current_attempt}/{job.attempts}",
        output.relative(_when(job), now_ms),
        " ".join(job.labels),
    )


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
