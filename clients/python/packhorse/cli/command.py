"""The entry point: the group of commands, and what each kind of failure looks like.

Data goes to stdout, everything else to stderr. A failure is one or two lines and an exit status.
"""

import os
import sys
from collections.abc import Sequence

import click

from packhorse import errors
from packhorse.cli import (
    broker,
    create,
    explaining,
    handling,
    jobs,
    jobtypes,
    listing,
    output,
    schema,
    steering,
    work,
)
from packhorse.cli.group import CommandGroup
from packhorse.cli.options import client_options
from packhorse.cli.status import FAILED, INTERRUPTED, USAGE, status_of
from packhorse.version import version


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        output.write_line(f"packhorse {version()}")
        context.exit()


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
@client_options
def packhorse() -> None:
    """Create jobs, look at them and steer them, and run the broker.

    \b
    packhorse create thumb url=cat.png sizes:='[64, 256]' --wait
    packhorse logs -f 9qtz4mka1d7rw2he
    """


for command in (
    create.create,
    *(jobs.show, jobs.logs, jobs.watch, listing.list_jobs),
    *(explaining.why, explaining.attempts, explaining.actions),
    *(handling.wait, handling.handle, handling.outcomes),
    *(steering.cancel, steering.retry, steering.run_now, steering.remove),
    *(jobtypes.types, jobtypes.minutes, broker.counts),
    *(jobtypes.pause, jobtypes.resume, jobtypes.drain, jobtypes.undrain),
    *(jobtypes.limit, jobtypes.retention, jobtypes.purge, schema.schema),
    *(work.work, broker.info),
):
    packhorse.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    try:
        status = packhorse.main(
            args=None if arguments is None else list(arguments),
            prog_name="packhorse",
            standalone_mode=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            output.tell(line)
        return USAGE
    except click.UsageError as error:
        return _fail(_one_line(error), USAGE)
    except click.ClickException as error:
        return _fail(_one_line(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; what is still buffered has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except errors.PackhorseError as error:
        _fail(str(error), status_of(error))
        if isinstance(error, errors.BrokerUnavailable):
            output.tell("start one with `packhorse serve`, or name another with --url")
        return status_of(error)
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    output.tell(f"error: {message}")
    return status


def _one_line(error: click.ClickException) -> str:
    return " ".join(error.format_message().split())
