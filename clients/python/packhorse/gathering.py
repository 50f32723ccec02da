"""Several things asked for at once: each succeeds or fails by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from packhorse.errors import PackhorseError, SomeRefused

Answer = TypeVar("Answer")
Told = TypeVar("Told")


async def each(asked: Sequence[Awaitable[Answer]], told: Callable[[Answer], Told]) -> list[Told]:
    """What is told of each answer, in order. A single one raises its own error, several
    `SomeRefused`."""
    if len(asked) == 1:
        return [told(await asked[0])]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return all_or_raise(
        [answer if isinstance(answer, BaseException) else told(answer) for answer in answers]
    )


def all_or_raise(results: Sequence[Any]) -> list[Any]:
    """The results, if none of them is an error. Raises `SomeRefused` with all of them."""
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, PackhorseError):
            raise result
    if any(isinstance(result, PackhorseError) for result in results):
        raise SomeRefused(results)
    return list(results)
