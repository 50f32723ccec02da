"""Commands about outcomes: `wait` for jobs, `handle` them, take a group's `outcomes`."""

import asyncio
from collections.abc import Sequence

import click

from packhorse.cli import output
from packhorse.cli.options import (
    WholeNumber,
    check_timeout,
    client_options,
    json_option,
    with_client,
)
from packhorse.cli.status import FAILED, TIMED_OUT, status_of
from packhorse.client import Client
from packhorse.durations import seconds
from packhorse.errors import Refused
from packhorse.job import Job
from packhorse.outcome import Outcome, failure


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--any", "any_one", is_flag=True, help="Only until the first of them has ended.")
@click.option("--timeout", metavar="TIME", help="At most so long, as in 30s or 5m.")
@click.option("--handle", "handling", is_flag=True, help="What is shown is handled.")
@click.option("--raw", is_flag=True, help="Of one job: its result alone, as bytes.")
@json_option
@client_options
def wait(
    job_ids: Sequence[str],
    any_one: bool,
    timeout: str | None,
    handling: bool,
    raw: bool,
    as_json: bool,
) -> int:
    """Wait for jobs to end, and show how they did.

    It only looks: a job that is kept stays, and its handlers get the outcome. With --handle
    what is shown is handled as well, so that a job goes which nobody else handles, unless it is
    persistent. Bytes in a result are shown as {"base64": "..."}; with --raw the result of a job
    is all that is written: bytes and text as they are, anything else as JSON. Exit status 1: one
    of them failed, 3: one is not there, 124: not all, or none, have ended in time; they go on.

    \b
    packhorse wait 9qtz4mka1d7rw2he --timeout 5m
    packhorse wait 9qtz4mka1d7rw2he --raw > cat.png
    packhorse wait 9qtz4mka1d7rw2he h2wx7c0p3m5t8v1z --any --json
    """
    check_timeout(timeout)
    if raw:
        if len(job_ids) > 1 or as_json:
            raise click.UsageError("--raw is for one job, and without --json")
        output.check_raw()

    async def work(client: Client) -> int:
        jobs = [client.job(job_id) for job_id in dict.fromkeys(job_ids)]
        waiting = [
            asyncio.create_task(_ended(job, handling=handling, as_json=as_json, raw=raw))
            for job in jobs
        ]
        try:
            done, late = await asyncio.wait(
                waiting,
                timeout=None if timeout is None else seconds(timeout, "--timeout"),
                return_when=asyncio.FIRST_COMPLETED if any_one else asyncio.ALL_COMPLETED,
            )
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
        status = max((task.result() for task in done), default=0)
        if late and not (any_one and done):
            open_jobs = [job.id for job, task in zip(jobs, waiting, strict=True) if task in late]
            output.tell(f"error: not ended within {timeout}: {', '.join(open_jobs)}")
            status = TIMED_OUT
        return status

    return with_client(work)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--group", required=True, metavar="NAME", help="The group that is to handle them.")
@client_options
def handle(job_ids: Sequence[str], group: str) -> int:
    """Make a group a handler of jobs: their outcomes are kept until a member handles them.

    \b
    packhorse handle 9qtz4mka1d7rw2he --group mailers
    packhorse handle 9qtz4mka1d7rw2he h2wx7c0p3m5t8v1z --group mailers
    """

    async def work(client: Client) -> int:
        results = await asyncio.gather(
            *(client.job(job_id).handle(group=group) for job_id in job_ids),
            return_exceptions=True,
        )
        return max(map(_refused, results))

    return with_client(work)


@click.command()
@click.option("--group", required=True, metavar="NAME", help="The group to be a member of.")
@click.option("--limit", type=WholeNumber(min=1), metavar="N", help="Only so many, then end.")
@click.option("--timeout", metavar="TIME", help="End when none has come for so long.")
@json_option
@client_options
def outcomes(group: str, limit: int | None, timeout: str | None, as_json: bool) -> int:
    """Take the outcomes that a group is to handle, each as it comes; shown is handled.

    Exit status 124: none has come within the --timeout, or fewer than the --limit. A job that
    FAILED has an outcome like any other, and changes nothing about it.

    \b
    packhorse outcomes --group mailers
    packhorse outcomes --group mailers --timeout 5s --json
    """
    check_timeout(timeout)

    async def work(client: Client) -> int:
        taken = 0
        coming = client.outcomes(group=group, auto=False)
        while limit is None or taken < limit:
            try:
                async with asyncio.timeout(None if timeout is None else seconds(timeout, "")):
                    outcome = await anext(coming)
            except TimeoutError:
                break
            _write(outcome, as_json=as_json)
            await outcome.handled()
            taken += 1
        await coming.aclose()
        if taken >= (limit or 1):
            return 0
        so_many = f"only {taken} outcomes" if taken else "no outcome"
        output.tell(f"error: {so_many} of group {group} came within {timeout}")
        return TIMED_OUT

    return with_client(work)


async def _ended(job: Job, *, handling: bool, as_json: bool, raw: bool) -> int:
    """Shows how a job ended, once it has; the exit status that follows from it."""
    # A handler is there until the job has ended, so it can't go unseen. Who leaves without having
    # handled the outcome leaves the job as if it had never been its handler.
    try:
        outcome = await job.outcome(handled=False)
    except Refused as error:
        return _refused(error)
    if raw:
        output.write_raw(outcome)
    else:
        _write(outcome, as_json=as_json)
    if handling:
        await outcome.handled()
    return 0 if outcome.ok else FAILED


def _refused(result: BaseException | None) -> int:
    """Says what the broker refused; the exit status. Raises every other error."""
    if result is None:
        return 0
    if not isinstance(result, Refused):
        raise result
    output.tell(f"error: {result}")
    return status_of(result)


def _write(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        output.write_json(output.outcome_object(outcome))
        return
    said = output.result_text(outcome) if outcome.ok else f"error: {failure(outcome).said()}"
    reason = outcome.reason if outcome.reason != "FAILED" else None
    parts = (outcome.job, outcome.state, reason, said)
    output.write_line("  ".join(part for part in parts if part))
