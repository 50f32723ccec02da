"""Exit statuses; those above 100 are what shells and `timeout` use themselves."""

from typing import Final

from packhorse import errors

FAILED: Final = 1
"""The job failed, or no broker could be reached."""

USAGE: Final = 2
"""An argument that can't be."""

NOT_FOUND: Final = 3

REFUSED: Final = 4
"""The broker said no."""

TIMED_OUT: Final = 124
INTERRUPTED: Final = 130


def status_of(error: errors.PackhorseError) -> int:
    """What a command ends with that met this error."""
    match error:
        case errors.InvalidValue():
            return USAGE
        case errors.NotFound():
            return NOT_FOUND
        case errors.Refused():
            return REFUSED
        case errors.OutcomeTimeout():
            return TIMED_OUT
        case errors.SomeRefused():
            return status_of(error.refusals[0])
        case _:
            return FAILED
