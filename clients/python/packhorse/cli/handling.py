"""Commands about outcomes: `wait` for jobs, `handle` them, take a group's `outcomes`."""

import asyncio
from collections.abc import Sequence

import click

from packhorse.cli import output
from packhorse.cli.options import json_option, url_option, with_client
from packhorse.client import Client
from packhorse.durations import seconds
from packhorse.errors import InvalidValue
from packhorse.outcome import Outcome, failure


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--any", "any_one", is_flag=True, help="Only until the first of them has ended.")
@click.option("--timeout", metavar="TIME", help="At most so long, as in 30s or 5m.")
@json_option
@url_option
def wait(job_ids: Sequence[str], any_one: bool, timeout: str | None, as_json: bool) -> int:
    """Wait for jobs to end, and show how they did.

    Exit status 1: one of them failed. 124: they have not ended in time; they go on.

    \b
    packhorse wait 9qtz4mka1d7rw2he --timeout 5m
    packhorse wait 9qtz4mka1d7rw2he h2wx7c0p3m5t8v1z --any --json
    """
    _check_timeout(timeout)

    async def work(client: Client) -> int:
        found = await client.wait(
            job_ids, "any" if any_one else "all", timeout=timeout, handled=False
        )
        for outcome in found:
            _write(outcome, as_json=as_json)
            await outcome.handled()
        return 0 if all(outcome.ok for outcome in found) else 1

    return with_client(work)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--group", required=True, metavar="NAME", help="The group that is to handle them.")
@url_option
def handle(job_ids: Sequence[str], group: str) -> None:
    """Make a group a handler of jobs: their outcomes are kept until a member handles them.

    \b
    packhorse handle 9qtz4mka1d7rw2he --group mailers
    """

    async def work(client: Client) -> None:
        for job_id in job_ids:
            await client.job(job_id).handle(group=group)

    with_client(work)


@click.command()
@click.option("--group", required=True, metavar="NAME", help="The group to be a member of.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only so many, then end.")
@click.option("--timeout", metavar="TIME", help="End when none has come for so long.")
@json_option
@url_option
def outcomes(group: str, limit: int | None, timeout: str | None, as_json: bool) -> None:
    """Take the outcomes that a group is to handle, each as it comes; shown is handled.

    \b
    packhorse outcomes --group mailers
    packhorse outcomes --group mailers --timeout 5s --json
    """
    _check_timeout(timeout)

    async def work(client: Client) -> None:
        left = limit
        coming = client.outcomes(group=group, auto=False)
        while left is None or left > 0:
            try:
                async with asyncio.timeout(None if timeout is None else seconds(timeout, "")):
                    outcome = await anext(coming)
            except TimeoutError:
                break
            _write(outcome, as_json=as_json)
            await outcome.handled()
            left = None if left is None else left - 1
        await coming.aclose()

    with_client(work)


def _check_timeout(timeout: str | None) -> None:
    if timeout is None:
        return
    try:
        seconds(timeout, "--timeout")
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error


def _write(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        output.write_json(output.outcome_object(outcome))
        return
    said = output.result_text(outcome) if outcome.ok else f"error: {failure(outcome).said()}"
    reason = outcome.reason if outcome.reason != "FAILED" else None
    click.echo("  ".join(part for part in (outcome.job, outcome.state, reason, said) if part))
