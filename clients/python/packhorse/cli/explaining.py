"""Commands that explain: `why` a job does not run, its `attempts`, `actions` done by hand."""

import click

from packhorse.cli import output
from packhorse.cli.moments import ago
from packhorse.cli.options import WholeNumber, client_options, json_option, with_client
from packhorse.client import Client
from packhorse_protocol.messages import Attempt


@click.command()
@click.argument("job_id", metavar="JOB")
@json_option
@client_options
def why(job_id: str, as_json: bool) -> None:
    """Say why a job does not run.

    \b
    packhorse why 9qtz4mka1d7rw2he
    packhorse why 9qtz4mka1d7rw2he --json
    """

    async def work(client: Client) -> None:
        found = await client.why(job_id)
        if as_json:
            output.write_json(found)
            return
        output.write_line(f"{job_id} is {found.state}")
        for cause in found.causes:
            output.write_line(f"  {cause.message}")

    with_client(work)


@click.command()
@click.argument("job_id", metavar="JOB")
@json_option
@client_options
def attempts(job_id: str, as_json: bool) -> None:
    """Show how each attempt of a job ended, the one that completed it among them.

    \b
    packhorse attempts 9qtz4mka1d7rw2he
    packhorse attempts 9qtz4mka1d7rw2he --json
    """

    async def work(client: Client) -> None:
        found = await client.attempts(job_id)
        if found.dropped:
            output.tell(f"{found.dropped} earlier attempts are no longer kept")
        rows: list[tuple[str, ...]] = [("ATTEMPT", "ENDED", "RUNNER", "STARTED", "TOOK", "ERROR")]
        for attempt in found.attempts:
            if as_json:
                output.write_json(attempt)
            rows.append(_attempt_row(attempt))
        if not as_json:
            output.write_table(rows)

    with_client(work)


@click.command()
@click.option(
    "--before",
    metavar="TIME",
    help="Those before then, local time without a zone; 2h: two hours ago.",
)
@click.option(
    "--limit",
    type=WholeNumber(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@json_option
@client_options
def actions(before: str | None, limit: int, as_json: bool) -> None:
    """Show what was done by hand, by whom and why, newest first.

    \b
    packhorse actions
    packhorse actions --before 24h --limit 500 --json
    """

    async def work(client: Client) -> None:
        earliest = await ago(client, before, "--before")
        rows: list[tuple[str, ...]] = [("WHEN", "ACTION", "BY", "TYPE", "JOB", "WHY")]
        async for action in client.actions(before=earliest, limit=limit):
            if as_json:
                output.write_json(action)
            when = output.time_text(action.at) or ""
            about = (action.type or "", action.job or "")
            rows.append((when, action.action, action.by, *about, action.why))
        if not as_json:
            output.write_table(rows)

    with_client(work)


def _attempt_row(attempt: Attempt) -> tuple[str, ...]:
    ended = f"{attempt.ended} ({attempt.expired})" if attempt.expired else attempt.ended
    error = attempt.error
    return (
        str(attempt.attempt),
        ended,
        attempt.runner,
        output.time_text(attempt.started_at) or "",
        output.duration_text(attempt.finished_at - attempt.started_at),
        f"{error.type}: {error.message}" if error is not None else "",
    )
