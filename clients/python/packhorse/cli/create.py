"""`packhorse create`: one job from the command line, and how it goes on."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click

from packhorse.cli import arguments, output
from packhorse.cli.jobterms import job_options, terms_options
from packhorse.cli.options import check_timeout, client_options, json_option, with_client
from packhorse.cli.schema import check_arguments
from packhorse.client import Client
from packhorse.errors import PackhorseError
from packhorse.job import Job
from packhorse.newjob import NewJob
from packhorse.outcome import Outcome
from packhorse_protocol.messages import Progress

LINE_EVERY_S: Final = 1.0
"""Where a line can't change, progress is one line at most this often."""


@click.command(no_args_is_help=False)
@click.argument("job_type", metavar="TYPE")
@click.argument("pairs", metavar="[KEY=TEXT | KEY:=JSON]...", nargs=-1)
@click.option("--payload", "path", metavar="FILE", help="Send these bytes as they are; - is stdin.")
@click.option("--id", "job_id", metavar="ID", help="An id of your own: repeating is harmless then.")
@click.option("--key", metavar="KEY", help="What the job is about: a tenant, a document.")
@click.option("--header", "headers", metavar="NAME=VALUE", multiple=True, help="May be repeated.")
@terms_options
@click.option("--group", metavar="GROUP", help="This group of handlers gets the outcome.")
@click.option("--wait", is_flag=True, help="Wait for the outcome and print the result.")
@click.option("--raw", is_flag=True, help="With --wait: the result alone, as bytes.")
@click.option("--timeout", metavar="TIME", help="With --wait: at most so long (90s, 1h30m).")
@click.option("--no-check", is_flag=True, help="Do not check the arguments by the type's schema.")
@json_option
@client_options
def create(
    job_type: str,
    pairs: Sequence[str],
    path: str | None,
    job_id: str | None,
    key: str | None,
    headers: Sequence[str],
    group: str | None,
    wait: bool,
    raw: bool,
    timeout: str | None,
    no_check: bool,
    as_json: bool,
    **terms: Any,
) -> int:
    """Create a job; prints its id, or with --wait its result.

    KEY=TEXT is a text argument, KEY:=JSON any other. A result is printed as JSON, bytes in it as
    {"base64": "..."}; with --raw bytes and text are written as they are. Exit status with --wait:
    1 the job failed, 124 it has not ended within the --timeout.

    \b
    packhorse create thumb url=cat.png sizes:='[64, 256]'
    packhorse create mail to=ann --delay 10m --attempts 3 --backoff fixed:30s
    packhorse create thumb url=cat.png --wait --timeout 1m
    """
    values = arguments.job_arguments(pairs)
    if path is not None and pairs:
        raise click.UsageError("a job has arguments or a --payload, not both")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    if raw:
        if not wait or as_json:
            raise click.UsageError("--raw needs --wait, and no --json")
        output.check_raw()
    check_timeout(timeout)
    options = job_options(**terms)
    if terms["on_duplicate"] == "join" and not wait and group is None:
        # Who joins is a handler for as long as it is there, which this command is not.
        raise click.UsageError("--on-duplicate join needs --wait or --group")
    options["payload"] = arguments.payload(path)
    options["job_id"] = job_id
    options["key"] = key
    options["headers"] = arguments.headers(headers)
    NewJob(job_type, values, **options).message()  # what can't be is said before connecting

    async def work(client: Client) -> int:
        if path is None and not no_check:
            await check_arguments(client, job_type, values)
        job = await client.create(job_type, values, handle=wait, group=group, **options)
        if job.duplicate is not None:
            output.tell(f"job {job.id} has the unique key: {job.duplicate}")
        if wait:
            return await _follow(job, timeout, as_json=as_json, raw=raw)
        if as_json:
            told = {} if job.duplicate is None else {"duplicate": job.duplicate}
            output.write_json({"id": job.id, "type": job_type, **told})
        else:
            output.write_line(job.id)
        return 0

    return with_client(work)


async def _follow(job: Job, most: str | None, *, as_json: bool, raw: bool) -> int:
    showing = asyncio.create_task(_show_progress(job))
    try:
        outcome = await job.outcome(timeout=most, handled=False)
    except (asyncio.CancelledError, TimeoutError):
        output.tell(f"job {job.id} goes on: packhorse logs -f {job.id}")
        raise
    finally:
        showing.cancel()
        await asyncio.wait([showing])
    _write(outcome, as_json=as_json, raw=raw)
    await outcome.handled()
    return 0 if outcome.ok else 1


def _write(outcome: Outcome, *, as_json: bool, raw: bool) -> None:
    if as_json:
        output.write_json(output.outcome_object(outcome))
    elif raw or not outcome.ok:
        output.write_raw(outcome)
    else:
        output.write_line(output.result_text(outcome))


async def _show_progress(job: Job) -> None:
    """One line that changes on a terminal, else a line now and then."""
    rewriting = output.rewrites_lines()
    last_s = -LINE_EVERY_S
    try:
        with suppress(PackhorseError):  # it may have ended before anybody could watch
            async for progress in job.progress():
                now_s = time.monotonic()
                if rewriting:
                    output.tell_over(_line(job, progress))
                elif now_s >= last_s + LINE_EVERY_S:
                    output.tell(_line(job, progress))
                    last_s = now_s
    finally:
        if rewriting:
            output.tell_over("")


def _line(job: Job, progress: Progress) -> str:
    return f"{job.id} {job.type}  {progress.percent}%  {progress.text}".rstrip()[
        : output.LINE_CHARS
    ]
