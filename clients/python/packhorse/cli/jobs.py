"""Commands about jobs that are there: `show`, `logs`, `watch`."""

from collections.abc import Sequence

import click

from packhorse.cli import output
from packhorse.cli.options import WholeNumber, client_options, json_option, with_client
from packhorse.client import Client


@click.command()
@click.argument("job_id", metavar="JOB")
@json_option
@client_options
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
    type=WholeNumber(min=0),
    default=0,
    metavar="N",
    help="Begin with this line, counted from 0 over the job's life.",
)
@json_option
@client_options
def logs(job_id: str, follow: bool, offset: int, as_json: bool) -> None:
    """Print a job's log and progress.

    \b
    packhorse logs 9qtz4mka1d7rw2he
    packhorse logs -f 9qtz4mka1d7rw2he
    """

    async def work(client: Client) -> None:
        expected = offset
        async for entry in client.job(job_id).logs(offset=offset, follow=follow):
            if entry.offset > expected:
                output.tell(f"{entry.offset - expected} lines are no longer kept")
            expected = entry.offset + 1
            if as_json:
                output.write_json(entry)
            else:
                output.write_line(output.log_line(entry))

    with_client(work)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@json_option
@client_options
def watch(job_ids: Sequence[str], as_json: bool) -> None:
    """Print what becomes of jobs, until all have ended or are removed.

    First how each stands, then its changes of state and its progress. `gone`: it ended, and is
    kept for nobody. `removed`: it is no more, and nobody saw how it ended.

    \b
    packhorse watch 9qtz4mka1d7rw2he
    packhorse watch 9qtz4mka1d7rw2he h2wx7c0p3m5t8v1z --json
    """

    async def work(client: Client) -> None:
        lines = output.EventLines()
        async for event in client.watch(*job_ids):
            if as_json:
                output.write_json(event)
            elif (line := lines.line(event)) is not None:
                output.write_line(line)

    with_client(work)
