"""Points in time on the command line: `2026-12-01T08:00`, or a duration from now.

Without a time zone a time is the local one of whoever types it.
"""

from datetime import datetime

import click

from packhorse.client import Client
from packhorse.durations import milliseconds
from packhorse.errors import InvalidValue
from packhorse.moments import epoch_ms


def moment(text: str, option: str) -> int:
    """ISO 8601 -> milliseconds; local time where it names no time zone."""
    try:
        found = datetime.fromisoformat(text)
        return epoch_ms(found if found.tzinfo is not None else found.astimezone(), option)
    except (ValueError, OSError, OverflowError) as error:
        if isinstance(error, InvalidValue):
            raise click.UsageError(str(error)) from error
        raise click.UsageError(
            f"{option}: {text!r} is no time: write 2026-12-01T08:00, or with a zone 08:00Z"
        ) from error


def is_duration(text: str) -> bool:
    """Whether it says how long, and not when."""
    try:
        milliseconds(text)
    except InvalidValue:
        return False
    return True


async def ago(client: Client, text: str | None, option: str) -> int | None:
    """A time, or a duration before the broker's now: `90s`, `2h`."""
    if text is None:
        return None
    if not is_duration(text):
        return moment(text, option)
    return max(0, (await client.info()).now_ms - milliseconds(text))
