"""The options of `packhorse create` that say on what terms a job runs and is kept."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast, get_args

import click

from packhorse.cli.moments import is_duration, moment
from packhorse.cli.options import WholeNumber
from packhorse.newjob import JobOptions
from packhorse.terms import OnDuplicate, Scope, Unique
from packhorse_protocol.parts import Durability

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

TIMES: Final = {
    "delay": "Wait so long before it is queued (90s, 1h30m).",
    "idle-timeout": "Longest wait in the queue.",
    "run-timeout": "Longest attempt.",
    "total-timeout": "Longest life, from when it could first run.",
    "keep": "Keep it so long when it has ended, if nobody handles it.",
}
"""Options that take a duration."""


def terms_options(command: Decorated) -> Decorated:
    """These options; their values make `job_options`."""
    options = [
        click.option(
            "--attempts",
            type=WholeNumber(1, 1_000),
            default=1,
            show_default=True,
            metavar="N",
            help="Tries in all.",
        ),
        click.option(
            "--backoff",
            metavar="FORM",
            help="Wait between tries: fixed:30s, linear:10s..5m, exponential:1s..10m:full, "
            "list:1s,10s,1m.",
        ),
        click.option(
            "--lost-limit",
            type=WholeNumber(min=0),
            metavar="N",
            help="FAILED after so many lost runners; 0: no limit.",
        ),
        click.option(
            "--priority",
            type=WholeNumber(-1_000, 1_000),
            default=0,
            metavar="N",
            help="Higher is served first.",
        ),
        click.option(
            "--at",
            metavar="TIME",
            help="Queue it then: 2026-12-01T08:00, local time without a zone; 2h: as --delay.",
        ),
        *(click.option(f"--{name}", metavar="TIME", help=said) for name, said in TIMES.items()),
        click.option("--label", "labels", metavar="LABEL", multiple=True, help="May be repeated."),
        click.option("--unique", metavar="KEY", help="One job of the type has this key at a time."),
        click.option(
            "--unique-scope",
            type=click.Choice([scope.replace("_", "-") for scope in get_args(Scope)]),
            help="How long the key is held.",
        ),
        click.option("--unique-window", metavar="TIME", help="Hold the key for so long."),
        click.option(
            "--on-duplicate",
            type=click.Choice(get_args(OnDuplicate)),
            help="What to do if the key is held.",
        ),
        click.option(
            "--durability",
            type=click.Choice(get_args(Durability)),
            help="What each change of it has before it is answered.",
        ),
        click.option(
            "--persistent", is_flag=True, help="Keep the job when all handlers have handled it."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def job_options(
    *,
    at: str | None,
    labels: Sequence[str],
    unique: str | None,
    unique_scope: str | None,
    unique_window: str | None,
    on_duplicate: OnDuplicate | None,
    **others: Any,
) -> JobOptions:
    """What `client.create` takes."""
    options = cast("JobOptions", {**others, "labels": labels})
    if at is not None:
        if options["delay"] is not None:
            raise click.UsageError("--at or --delay, not both")
        if is_duration(at):
            options["delay"] = at
        else:
            options["delay_until"] = moment(at, "--at")
    if unique is not None:
        scope: Any = None if unique_scope is None else unique_scope.replace("-", "_")
        options["unique"] = Unique(
            unique, scope=scope, window=unique_window, on_duplicate=on_duplicate or "reject"
        )
    elif unique_scope or unique_window or on_duplicate:
        raise click.UsageError("--unique-scope, --unique-window and --on-duplicate need --unique")
    return options
