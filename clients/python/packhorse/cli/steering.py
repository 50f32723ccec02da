"""`cancel`, `retry`, `run-now`, `rm`: jobs by id, or all that match."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import click

from packhorse.cli import output
from packhorse.cli.choosing import Chosen, which_options
from packhorse.cli.options import WholeNumber, client_options, json_option, why_option, with_client
from packhorse.cli.status import status_of
from packhorse.client import Client
from packhorse.errors import PackhorseError, SomeRefused
from packhorse.filters import REASONS, RETRIED_REASONS, Matched, Which
from packhorse_protocol.messages import Reason

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

ById: TypeAlias = Callable[[Client], Awaitable[Sequence[object] | None]]
Matching: TypeAlias = Callable[[Client, str | None, Which, bool], Awaitable[Matched]]
"""Client, type, what else the jobs have in common, whether it is a dry run."""

REMOVED: Final = "REMOVED"
"""Stands for the state of a job that is no more."""


def steering_options(command: Decorated) -> Decorated:
    """What all of these commands take: ids, or what jobs have in common."""
    options = (
        click.argument("job_ids", metavar="[JOB]...", nargs=-1),
        which_options,
        click.option("--all", "everything", is_flag=True, help="All that can be."),
        click.option("--dry-run", is_flag=True, help="Only say how many match."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        why_option,
        json_option,
        client_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--grace", metavar="TIME", help="How long a runner may take to end it.")
@steering_options
def cancel(grace: str | None, why: str, **common: Any) -> int:
    """Cancel jobs; running ones have a grace time.

    \b
    packhorse cancel 9qtz4mka1d7rw2he --why "wrong input"
    packhorse cancel --type thumb --label nightly --dry-run
    """
    return _steer(
        "cancel",
        lambda client: client.cancel(*common["job_ids"], grace=grace, why=why),
        lambda client, job_type, which, dry_run: client.cancel_matching(
            job_type, grace=grace, why=why, dry_run=dry_run, everything=True, **which
        ),
        **common,
    )


@click.command()
@click.option(
    "--attempts",
    type=WholeNumber(1, 1_000),
    default=1,
    show_default=True,
    metavar="N",
    help="So many more.",
)
@click.option(
    "--reason",
    "reasons",
    type=click.Choice(REASONS, case_sensitive=False),
    multiple=True,
    help="Of all that match, only those FAILED for it; can be repeated. Else all but CANCELLED.",
)
@steering_options
def retry(attempts: int, reasons: tuple[Reason, ...], why: str, **common: Any) -> int:
    """Queue FAILED jobs again.

    \b
    packhorse retry 9qtz4mka1d7rw2he
    packhorse retry --type thumb --since 1h --why "disk is back" --yes
    """
    return _steer(
        "retry",
        lambda client: client.retry(*common["job_ids"], attempts=attempts, why=why),
        lambda client, job_type, which, dry_run: client.retry_matching(
            job_type,
            attempts=attempts,
            reasons=reasons or RETRIED_REASONS,
            why=why,
            dry_run=dry_run,
            everything=True,
            **which,
        ),
        **common,
    )


@click.command("run-now")
@steering_options
def run_now(why: str, **common: Any) -> int:
    """Queue PENDING jobs at once.

    \b
    packhorse run-now 9qtz4mka1d7rw2he
    packhorse run-now --type report --yes
    """
    return _steer(
        "run now",
        lambda client: client.run_now(*common["job_ids"], why=why),
        lambda client, job_type, which, dry_run: client.run_now_matching(
            job_type, why=why, dry_run=dry_run, everything=True, **which
        ),
        **common,
    )


@click.command("rm")
@steering_options
def remove(why: str, **common: Any) -> int:
    """Remove jobs, whatever their state; their runners are told.

    With ids, --state is a condition: others stay.

    \b
    packhorse rm 9qtz4mka1d7rw2he h2wx7c0p3m5t8v1z
    packhorse rm --type thumb --state failed --until 30d --yes
    """
    states = common["states"]
    return _steer(
        "remove",
        lambda client: client.remove(*common["job_ids"], states=states, why=why),
        lambda client, job_type, which, dry_run: client.remove_matching(
            job_type, why=why, dry_run=dry_run, everything=True, **which
        ),
        ids_with_states=True,
        **common,
    )


def _steer(
    verb: str,
    by_id: ById,
    matching: Matching,
    *,
    job_ids: Sequence[str],
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    ids_with_states: bool = False,
    **chosen: Any,
) -> int:
    picked = Chosen(**chosen)
    conditions = {**chosen, "states": ()} if ids_with_states else chosen
    if job_ids and (Chosen(**conditions).anything or everything or dry_run):
        raise click.UsageError("name jobs, or say what they have in common, not both")
    if not job_ids and not picked.anything and not everything:
        raise click.UsageError("name jobs, or say what they have in common, or --all")

    async def work_by_id(client: Client) -> int:
        try:
            results = await by_id(client) or [REMOVED] * len(job_ids)
        except SomeRefused as refused:
            results = [REMOVED if result is None else result for result in refused.results]
        return write_results(job_ids, results, as_json=as_json)

    async def work_matching(client: Client) -> int:
        which = await picked.which(client)
        if not dry_run and not yes:
            found = (await matching(client, picked.job_type, which, True)).found
            confirm(f"{verb} {found} jobs")
        matched = await matching(client, picked.job_type, which, dry_run)
        write_matched(matched, verb, dry_run=dry_run, as_json=as_json)
        return 0

    return with_client(work_by_id if job_ids else work_matching)


def write_results(job_ids: Sequence[str], results: Sequence[object], *, as_json: bool) -> int:
    """What became of each job; the exit status is that of the first error."""
    status = 0
    for job_id, result in zip(job_ids, results, strict=True):
        if isinstance(result, PackhorseError):
            output.tell(f"error: {result}")
            status = status or status_of(result)
        elif as_json:
            output.write_json({"id": job_id, "state": result})
        else:
            output.write_line(f"{job_id}  {result}")
    return status


def write_matched(matched: Matched, verb: str, *, dry_run: bool, as_json: bool) -> None:
    """How many there were, and how many were changed."""
    if as_json:
        output.write_json(matched)
    elif dry_run:
        output.write_line(f"would {verb} {matched.found} jobs")
    else:
        held = f" ({matched.duplicates} unchanged: another job has the unique key)"
        said = f"{verb}: {matched.changed} of {matched.found} jobs"
        output.write_line(said + held if matched.duplicates else said)


def confirm(question: str) -> None:
    """Asks on a terminal; elsewhere nobody is asked, so --yes has to be said."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question}: say --yes")
    click.confirm(f"{question}?", abort=True, err=True)
