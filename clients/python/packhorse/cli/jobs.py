"""Commands about jobs that are there: `show`, `logs`, `remove`."""

from collections.abc import Sequence

import click

from packhorse.cli import output
from packhorse.cli.options import json_option, url_option, with_client
from packhorse.cli.status import NOT_FOUND
from packhorse.client import Client
from packhorse.errors import PackhorseError, SomeRefused


@click.command()
@click.argument("job_id", metavar="JOB")
@json_option
@url_option
def show(job_id: str, as_json: bool) -> None:
    """Show a job: state, progress, payload, result.

    \b
    packhorse show 9qtz4mka1d7rw2he
    packhorse show 9qtz4mka1d7rw2he --json
    """

    async def work(client: Client) -> None:
        view = await client.get(job_id)
        if as_json:
            output.write_json(output.job_object(view))
        else:
            output.write_pairs(output.job_pairs(view))

    with_client(work)


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option(
    "--offset",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Begin with this line, counted from 0 over the job's life.",
)
@json_option
@url_option
def logs(job_id: str, follow: bool, offset: int, as_json: bool) -> None:
    """Print a job's log and progress.

    \b
    packhorse logs 9qtz4mka1d7rw2he
    packhorse logs -f 9qtz4mka1d7rw2he
    """

    async def work(client: Client) -> None:
        async for entry in client.job(job_id).logs(offset=offset, follow=follow):
            if as_json:
                output.write_json(entry)
            else:
                click.echo(output.log_line(entry))

    with_client(work)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@json_option
@url_option
def remove(job_ids: Sequence[str], as_json: bool) -> int:
    """Remove jobs, whatever their state; their runners are told.

    Prints those that were removed. Exit status 3: some could not be.

    \b
    packhorse remove 9qtz4mka1d7rw2he
    packhorse remove 9qtz4mka1d7rw2he h2wx7c0p3m5t8v1z --json
    """

    async def work(client: Client) -> int:
        results: Sequence[object] = [None] * len(job_ids)
        try:
            await client.remove(*job_ids)
        except SomeRefused as refused:
            results = refused.results
        for job_id, result in zip(job_ids, results, strict=True):
            if isinstance(result, PackhorseError):
                click.echo(f"error: {result}", err=True)
            elif as_json:
                output.write_json({"id": job_id, "removed": True})
            else:
                click.echo(job_id)
        return NOT_FOUND if any(isinstance(result, PackhorseError) for result in results) else 0

    return with_client(work)
