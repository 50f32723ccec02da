"""Commands about types: `types`, `pause`, `drain`, `limit`, `retention`, `purge`, `minutes`."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import click

from packhorse.cli import output
from packhorse.cli.choosing import STATE_NAME
from packhorse.cli.moments import ago, is_duration, moment
from packhorse.cli.options import WholeNumber, client_options, json_option, why_option, with_client
from packhorse.cli.steering import confirm, write_matched
from packhorse.client import Client
from packhorse.durations import Duration, milliseconds
from packhorse.filters import STATES
from packhorse.terms import Keep
from packhorse_protocol.messages import Action, Minute, Retention, State, TypeView

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

ALWAYS_SHOWN: Final = ("created", "started", "completed", "failed")
SOMETIMES_SHOWN: Final = ("retried", "lost", "timed_out", "cancelled", "released", "removed")
"""What happens in a minute: columns of `minutes`, some only where it happened at all."""


def settings_options(command: Decorated) -> Decorated:
    """What commands take that change types."""
    options = (
        click.argument("job_types", metavar="TYPE...", nargs=-1, required=True),
        why_option,
        client_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


BROKERS_OWN: Final = "default"
"""Said instead of a time or number: what the broker does with types of which nothing is set."""


class _KeptJobs(WholeNumber):
    """A number of jobs, or `default`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == BROKERS_OWN else super().convert(value, param, ctx)


KEPT_JOBS: Final = _KeptJobs(min=0)


@click.command()
@click.argument("job_types", metavar="[TYPE]...", nargs=-1)
@json_option
@client_options
def types(job_types: Sequence[str], as_json: bool) -> None:
    """Show types: jobs by state, waiting time, settings.

    SET BY is who changed the settings last, and why; of a type that is named and paused, who
    paused it is told as well. `actions` has all changes, `schema get` the schema of a type.

    \b
    packhorse types
    packhorse types thumb --json
    """

    async def work(client: Client) -> None:
        shown = [found async for found in client.types(*job_types)]
        paused = {found.type for found in shown if found.paused} if job_types else set()
        pauses = await _pauses(client, paused)
        if as_json:
            for found in shown:
                pause = {"pause": pauses[found.type]} if found.type in pauses else {}
                output.write_json({**output.as_json(found), **pause})
            return
        header = ("TYPE", *STATES, "WAIT", "RUNNERS", "SETTINGS", "SET BY")
        rows = [header, *map(_type_row, shown)]
        output.write_table(rows, left=(0, len(header) - 2, len(header) - 1))
        for found in shown:
            if found.type in pauses and pauses[found.type].at != found.changed_at:
                output.write_line(_pause_text(pauses[found.type]))

    with_client(work)


@click.command()
@click.option(
    "--until",
    metavar="TIME",
    help="Resume by itself then: 2026-12-01T08:00, local time without a zone; 2h: as --for.",
)
@click.option("--for", "length", metavar="TIME", help="Resume by itself after so long.")
@settings_options
def pause(job_types: Sequence[str], until: str | None, length: str | None, why: str) -> None:
    """Give out no jobs of these types until they are resumed.

    \b
    packhorse pause thumb --why "disk is full"
    packhorse pause thumb mail --for 30m
    """
    if until is not None and length is not None:
        raise click.UsageError("--until or --for, not both")
    if until is not None and is_duration(until):
        until, length = None, until
    until_ms = None if until is None else moment(until, "--until")
    length_ms = None if length is None else milliseconds(length, "--for")

    async def work(client: Client) -> None:
        end_ms = until_ms
        if length_ms is not None:
            end_ms = (await client.info()).now_ms + length_ms
        await client.pause(*job_types, until=end_ms, why=why)

    with_client(work)


@click.command()
@settings_options
def resume(job_types: Sequence[str], why: str) -> None:
    """Give out jobs of these types again.

    \b
    packhorse resume thumb
    packhorse resume thumb mail --why "disk has room"
    """
    _with_client(lambda client: client.resume(*job_types, why=why))


@click.command()
@settings_options
def drain(job_types: Sequence[str], why: str) -> None:
    """Take no new jobs of these types.

    \b
    packhorse drain thumb --why "replaced by thumb2"
    packhorse drain thumb mail
    """
    _with_client(lambda client: client.drain_type(*job_types, why=why))


@click.command()
@settings_options
def undrain(job_types: Sequence[str], why: str) -> None:
    """Take new jobs of these types again.

    \b
    packhorse undrain thumb
    packhorse undrain thumb mail --why "not yet"
    """
    _with_client(lambda client: client.undrain_type(*job_types, why=why))


@click.command()
@click.argument("job_type", metavar="TYPE")
@click.option("--jobs", type=WholeNumber(min=0), metavar="N", help="Most jobs; 0: no limit.")
@click.option(
    "--bytes",
    "size_bytes",
    type=WholeNumber(min=0),
    metavar="N",
    help="Most bytes of payloads and results; 0: no limit.",
)
@why_option
@client_options
def limit(job_type: str, jobs: int | None, size_bytes: int | None, why: str) -> None:
    """Bound how many jobs, or bytes, a type may have.

    \b
    packhorse limit thumb --jobs 100000
    packhorse limit thumb --jobs 0 --bytes 1000000000
    """
    if jobs is None and size_bytes is None:
        raise click.UsageError("say --jobs or --bytes")
    _with_client(
        lambda client: client.set_limits(job_type, max_jobs=jobs, max_bytes=size_bytes, why=why)
    )


@click.command()
@click.argument("job_type", metavar="TYPE")
@click.option("--complete", metavar="TIME", help="Keep COMPLETE jobs so long, or `default`.")
@click.option("--complete-jobs", type=KEPT_JOBS, metavar="N", help="At most so many, or `default`.")
@click.option("--failed", metavar="TIME", help="Keep FAILED jobs so long, or `default`.")
@click.option("--failed-jobs", type=KEPT_JOBS, metavar="N", help="At most so many, or `default`.")
@why_option
@client_options
def retention(
    job_type: str,
    complete: str | None,
    complete_jobs: int | str | None,
    failed: str | None,
    failed_jobs: int | str | None,
    why: str,
) -> None:
    """Set how long ended jobs that nobody handles are kept.

    What is not named stays as it is. 0s: not at all; default: as long as the broker keeps those of
    types without a setting, and of a number that there is none.

    \b
    packhorse retention thumb --complete 1h --failed 30d
    packhorse retention thumb --failed 30d --failed-jobs 10000
    packhorse retention thumb --complete default
    """
    asked = {"complete": (complete, complete_jobs), "failed": (failed, failed_jobs)}
    if all(each == (None, None) for each in asked.values()):
        raise click.UsageError("say --complete or --failed")
    for name, (time, _) in asked.items():
        if time is not None and time != BROKERS_OWN:
            milliseconds(time, f"--{name}")

    async def work(client: Client) -> None:
        [now] = [found async for found in client.types(job_type)]
        kept = {"complete": now.keep_complete, "failed": now.keep_failed}
        new = {
            name: _keep(time, jobs, kept[name] or Retention())
            for name, (time, jobs) in asked.items()
            if (time, jobs) != (None, None)
        }
        await client.set_retention(job_type, why=why, **new)

    with_client(work)


@click.command()
@click.argument("job_type", metavar="TYPE")
@click.option(
    "--state",
    "states",
    type=STATE_NAME,
    metavar="STATE",
    multiple=True,
    default=("COMPLETE", "FAILED"),
    show_default=True,
    help="In this state. May be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@why_option
@json_option
@client_options
def purge(
    job_type: str, states: Sequence[State], dry_run: bool, yes: bool, why: str, as_json: bool
) -> None:
    """Remove the ended jobs of a type, or those in other states.

    \b
    packhorse purge thumb --yes
    packhorse purge thumb --state queued --state pending --dry-run
    """

    async def work(client: Client) -> None:
        if not dry_run and not yes:
            found = (await client.purge(job_type, states=states, dry_run=True)).found
            confirm(f"remove {found} jobs")
        matched = await client.purge(job_type, states=states, why=why, dry_run=dry_run)
        write_matched(matched, "remove", dry_run=dry_run, as_json=as_json)

    with_client(work)


@click.command()
@click.argument("job_type", metavar="TYPE")
@click.option(
    "--since",
    metavar="TIME",
    default="1h",
    show_default=True,
    help="From then on, local time without a zone; 2h: two hours ago.",
)
@json_option
@client_options
def minutes(job_type: str, since: str, as_json: bool) -> None:
    """Show what happened to a type's jobs, minute by minute.

    \b
    packhorse minutes thumb
    packhorse minutes thumb --since 24h --json
    """

    async def work(client: Client) -> None:
        found = await client.minutes(job_type, since=await ago(client, since, "--since"))
        if as_json:
            for minute in found:
                output.write_json(minute)
        else:
            output.write_rows(_minute_rows(found))

    with_client(work)


def _with_client(change: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    with_client(change)


def _keep(time: str | None, jobs: int | str | None, now: Retention) -> Keep:
    """What was asked for, beside what is set; the broker replaces both as one."""
    kept: Duration | None = time
    if time is None:
        kept = None if now.keep_ms is None else timedelta(milliseconds=now.keep_ms)
    number = now.keep_jobs if jobs is None else jobs
    return Keep(
        None if kept == BROKERS_OWN else kept,
        jobs=None if isinstance(number, str) else number,
    )


async def _pauses(client: Client, job_types: set[str]) -> dict[str, Action]:
    """The newest pause of each of these types, as far back as actions are kept."""
    found: dict[str, Action] = {}
    if job_types:
        async for action in client.actions():
            # The reason of a change begins with what was changed, the pause first of all.
            if action.type in job_types - set(found) and action.why.startswith("paused"):
                found[action.type] = action
                if len(found) == len(job_types):
                    break
    return found


def _pause_text(pause: Action) -> str:
    return f"{pause.type} {pause.why} (by {pause.by}, {output.time_text(pause.at)})"


def _minute_rows(found: Sequence[Minute]) -> list[tuple[str, ...]]:
    happened = [name for name in SOMETIMES_SHOWN if any(getattr(each, name) for each in found)]
    names = (*ALWAYS_SHOWN, *happened)
    header = ("MINUTE", *(name.replace("_", " ").upper() for name in names))
    rows = (
        (output.minute_text(minute.at), *(str(getattr(minute, name)) for name in names))
        for minute in found
    )
    return [header, *rows]


def _type_row(found: TypeView) -> tuple[str, ...]:
    settings = {
        "paused": found.paused,
        f"until {output.minute_text(found.paused_until)}": found.paused and found.paused_until,
        "draining": found.draining,
        f"at most {found.max_jobs} jobs": found.max_jobs,
        f"at most {found.max_bytes} bytes": found.max_bytes,
        f"COMPLETE {_kept_text(found.keep_complete)}": found.keep_complete,
        f"FAILED {_kept_text(found.keep_failed)}": found.keep_failed,
    }
    shown = [text for text, is_set in settings.items() if is_set]
    by = _set_by(found) if shown else ""
    if found.has_schema:
        shown.append("has a schema")
    return (
        found.type,
        *(str(found.counts.get(state, 0)) for state in STATES),
        output.duration_text(found.latency_ms),
        str(found.runners),
        ", ".join(shown),
        by,
    )


def _kept_text(retention: Retention | None) -> str:
    if retention is None:
        return ""
    if 0 in (retention.keep_ms, retention.keep_jobs):
        return "not kept"
    text = "kept as by default"
    if retention.keep_ms is not None:
        text = f"kept {output.duration_text(retention.keep_ms)}"
    if retention.keep_jobs is not None:
        text += f" (at most {retention.keep_jobs})"
    return text


def _set_by(found: TypeView) -> str:
    by = found.by or ""
    return f"{by}: {found.why}" if found.why else by
