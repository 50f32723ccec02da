"""What went wrong in a job function, as the broker is told."""

import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from packhorse.durations import milliseconds
from packhorse.errors import Fail, InvalidValue, PackhorseError
from packhorse.reports import CUT, cut
from packhorse.retries import RetryPolicy
from packhorse_protocol.limits import MAX_TEXT_CHARS, MAX_TRACEBACK_CHARS
from packhorse_protocol.messages import Claim, Error, Failure

CANCELLED: Final = "Cancelled"
"""The error's type where a job ended because it was cancelled."""

NO_POLICY: Final = RetryPolicy({})

_PACKAGE: Final = "packhorse"
"""What this package raises can be imported from it."""

_HERE: Final = str(Path(__file__).parent)


def raised(claim: Claim, error: BaseException, policy: RetryPolicy = NO_POLICY) -> Failure:
    """What the function raised; `Fail` without a traceback, as it was meant."""
    if isinstance(error, Fail):
        return _on_purpose(claim, error)
    verdict = policy.verdict(error)
    return Failure(
        job=claim.job,
        token=claim.token,
        error=_error(_type_name(type(error)), str(error), _traceback(error)),
        retry=verdict.retry,
        retry_in_ms=verdict.in_ms,
    )


def unfit(claim: Claim, error: PackhorseError) -> Failure:
    """A payload or a result that can't be: it would be the same at each attempt, so no retry."""
    told = _error(type(error).__name__, str(error), "")
    return Failure(job=claim.job, token=claim.token, error=told, retry=False)


def cancelled(claim: Claim, error: BaseException) -> Failure:
    """The function ended because the job was cancelled; the broker then ends it as CANCELLED."""
    told = _error(CANCELLED, str(error) or "the job was cancelled", "")
    return Failure(job=claim.job, token=claim.token, error=told, retry=False)


def _on_purpose(claim: Claim, error: Fail) -> Failure:
    told = _error(error.error_type, error.message, "")
    retry_in_ms = None
    if error.retry_in is not None:
        try:
            retry_in_ms = milliseconds(error.retry_in, "Fail: retry_in")
        except InvalidValue as mistake:
            told = _error(_type_name(InvalidValue), str(mistake), _traceback(error))
    return Failure(
        job=claim.job,
        token=claim.token,
        error=told,
        retry=error.retry,
        retry_in_ms=retry_in_ms,
    )


def _error(name: str, message: str, trace: str) -> Error:
    return Error(
        type=cut(name, max_chars=MAX_TEXT_CHARS),
        message=cut(message, max_chars=MAX_TEXT_CHARS),
        traceback=trace,
    )


def _type_name(cls: type[BaseException]) -> str:
    """By which it is imported; of our own the public one, wherever it is defined."""
    module = cls.__module__
    if module == "builtins":
        return cls.__qualname__
    if module.startswith(f"{_PACKAGE}."):
        module = _PACKAGE
    return f"{module}.{cls.__qualname__}"


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
