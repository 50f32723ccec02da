"""Points in time as people write them -> milliseconds since the epoch."""

from datetime import datetime, timedelta
from typing import Final, TypeAlias

from packhorse.errors import InvalidValue

Moment: TypeAlias = datetime | int
"""A `datetime` that knows its time zone, or milliseconds since the epoch."""

_MS: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def epoch_ms(moment: Moment, name: str = "moment") -> int:
    """Whole milliseconds since the epoch; `name` is for the error.

    Raises `InvalidValue` for a `datetime` without time zone, what lies before the epoch, and
    what is no point in time.
    """
    match moment:
        case datetime() if moment.tzinfo is None:
            raise InvalidValue(f"{name}: {moment} has no time zone: say for instance tzinfo=UTC")
        case datetime():
            found = (moment - _EPOCH) // _MS
        case bool():
            raise InvalidValue(f"{name}: {moment} is no point in time")
        case int():
            found = moment
        case _:
            raise InvalidValue(f"{name}: {moment!r} is neither a datetime nor milliseconds")
    if found < 0:
        raise InvalidValue(f"{name}: {moment} lies before 1970")
    return found
