"""What runs around job functions."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from packhorse.context import Context

Middleware: TypeAlias = Callable[[Context], AbstractAsyncContextManager[object]]
"""Called with a job's context; what it returns is entered before the function and left after it.

    @worker.middleware
    @asynccontextmanager
    async def timed(ctx: Context) -> AsyncIterator[None]:
        began = time.monotonic()          # before
        try:
            yield
        except LookupError as error:      # after an error; raise another one to replace it
            raise Fail("gone", retry=False) from error
        finally:                          # after, in any case
            seconds.observe(time.monotonic() - began)

It runs in the event loop, in the job's own task, whatever kind of function the job has. An error
before the function fails the attempt. An error that it keeps to itself completes the job, with
no result.
"""
