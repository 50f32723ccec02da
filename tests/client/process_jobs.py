"""Job functions that run in processes: they have to stand in a module."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packhorse import Fail, Forbidden
from packhorse.cancelling import Cancelled
from packhorse.workshop import ProcessContext

FOREVER_S = 60
"""Far above what a test takes."""


@dataclass
class Square:
    side: int


def pid() -> int:
    return os.getpid()


def area(square: Square) -> int:
    return square.side**2


def wrong() -> None:
    raise ValueError("no such scene")


def gone() -> None:
    raise Fail("gone for good", retry=False)


def leaves() -> None:
    os._exit(3)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def unpackable() -> object:
    return object()


def reports(ctx: ProcessContext) -> str:
    ctx.log("one")
    ctx.progress(50, "half")
    ctx.log("two")
    return f"{ctx.job} {ctx.attempt}/{ctx.attempts}"


def payload(ctx: ProcessContext) -> bytes:
    return ctx.payload


def too_far(ctx: ProcessContext) -> None:
    ctx.progress(101)


def extends(ctx: ProcessContext) -> list[bool]:
    before = ctx.remaining
    after = ctx.extend("1h")
    return [
        before is not None and 0 < before <= 60,
        after is not None and 3_000 < after <= 3_600,
        after is not None and ctx.remaining is not None and ctx.remaining > 3_000,
    ]


def asks(ctx: ProcessContext) -> str:
    try:
        ctx.extend("1h")
    except Forbidden as error:
        return f"{error}"
    return "no error"


def endless(ctx: ProcessContext) -> None:
    ctx.log("begun")
    deadline = time.monotonic() + FOREVER_S
    while time.monotonic() < deadline:
        pass


def tidy(ctx: ProcessContext, left: str) -> None:
    try:
        endless(ctx)
    finally:
        Path(left).write_text("tidied")


def stubborn(ctx: ProcessContext) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    endless(ctx)


def finishes(ctx: ProcessContext) -> str:
    with suppress(Cancelled):
        endless(ctx)
    with suppress(Cancelled):
        ctx.check_cancelled()
        return "not told"
    return "done all the same"


def signalled_by_others(ctx: ProcessContext) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    ctx.check_cancelled()
    return "still here"
