"""Job functions as a worker knows them: what they are called with, and where they run."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from packhorse.errors import InvalidValue, PayloadError
from packhorse.payload import Arguments, unpack_arguments

CONTEXT_PARAMETER: Final = "ctx"
"""A function whose first parameter has this name is given the context as its first argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFunction:
    """A function and the type of the jobs that it runs."""

    type: str
    function: Callable[..., Any]
    concurrency: int | None
    is_coroutine: bool
    wants_context: bool
    signature: inspect.Signature

    def arguments(self, payload: bytes) -> Arguments:
        """What the payload says to call the function with, the context left out.

        Raises `PayloadError` if it can't be unpacked or the function takes no such arguments.
        """
        positional, keywords = unpack_arguments(payload)
        context = (None,) if self.wants_context else ()
        try:
            self.signature.bind(*context, *positional, **keywords)
        except TypeError as error:
            raise PayloadError(f"{self.type}: payload does not fit the function: {error}") from None
        return positional, keywords


def job_function(
    job_type: str, function: Callable[..., Any], concurrency: int | None
) -> JobFunction:
    """Reads what has to be known of a function. Raises `InvalidValue` for what is none."""
    if concurrency is not None and concurrency < 1:
        raise InvalidValue(f"{job_type}: concurrency {concurrency} must be at least 1")
    if not callable(function):
        raise InvalidValue(f"{job_type}: {function!r} is no function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidValue(f"{job_type}: a job function returns its result, it does not yield")
    signature = inspect.signature(function)
    return JobFunction(
        type=job_type,
        function=function,
        concurrency=concurrency,
        is_coroutine=inspect.iscoroutinefunction(function),
        wants_context=_first_name(signature.parameters) == CONTEXT_PARAMETER,
        signature=signature,
    )


def _first_name(parameters: Mapping[str, inspect.Parameter]) -> str | None:
    return next(iter(parameters), None)
