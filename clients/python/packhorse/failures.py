"""What went wrong in a job function, as the broker is told."""

import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from packhorse.errors import Fail, PackhorseError
from packhorse.reports import CUT, cut
from packhorse_protocol.limits import MAX_TEXT_CHARS, MAX_TRACEBACK_CHARS
from packhorse_protocol.messages import Claim, Error, Failure

_HERE: Final = str(Path(__file__).parent)


def raised(claim: Claim, error: BaseException) -> Failure:
    """What the function raised; `Fail` without a traceback, as it was meant."""
    if isinstance(error, Fail):
        told = _error(error.error_type, error.message, "")
        return Failure(job=claim.job, token=claim.token, error=told, retry=error.retry)
    told = _error(_type_name(type(error)), str(error), _traceback(error))
    return Failure(job=claim.job, token=claim.token, error=told)


def unfit(claim: Claim, error: PackhorseError) -> Failure:
    """A payload or a result that can't be: it would be the same at each attempt, so no retry."""
    told = _error(type(error).__name__, str(error), "")
    return Failure(job=claim.job, token=claim.token, error=told, retry=False)


def _error(name: str, message: str, trace: str) -> Error:
    return Error(
        type=cut(name, max_chars=MAX_TEXT_CHARS),
        message=cut(message, max_chars=MAX_TEXT_CHARS),
        traceback=trace,
    )


def _type_name(cls: type[BaseException]) -> str:
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def _traceback(error: BaseException) -> str:
    """As Python prints it, from the job function inwards; of a long one the end is kept."""
    lines = traceback.format_exception(type(error), error, _own_part(error.__traceback__))
    text = "".join(lines)
    if len(text) <= MAX_TRACEBACK_CHARS:
        return text
    return CUT + text[-(MAX_TRACEBACK_CHARS - 1) :]


def _own_part(found: TracebackType | None) -> TracebackType | None:
    """Without the frames of this package that called the function."""
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_HERE):
        found = found.tb_next
    return found
