"""The driver of this library: does what the conformance kit and the interop test tell it.

    python -m packhorse.driver

Instructions come on standard input, answers and events leave on standard output, a JSON object a
line; `DRIVER.md` of `packhorse_conformance` says which.
"""

import asyncio
import base64
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeAlias

import msgspec

import packhorse
from packhorse import (
    Backoff,
    Client,
    Context,
    Fail,
    NewJob,
    Outcome,
    PackhorseError,
    RawResult,
    Unique,
    Worker,
)
from packhorse_protocol.messages import Backoff as BackoffMessage

Line: TypeAlias = dict[str, Any]
JobFunction: TypeAlias = Callable[[Context], Awaitable[RawResult]]

LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest instruction: a large payload in base64."""


class Unsupported(Exception):
    """An instruction, or a part of one, that this library leaves out."""


def say(line: Line) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


# -- what goes in and out --------------------------------------------------------------------


def new_job(said: Line) -> NewJob:
    """A NewJob of the protocol as the library says it."""
    timeouts = said.get("timeouts") or {}
    return NewJob(
        said["type"],
        payload=base64.b64decode(said.get("payload", "")),
        job_id=said.get("id"),
        key=said.get("key"),
        headers=said.get("headers"),
        labels=said.get("labels", ()),
        unique=_unique(said.get("unique")),
        delay=_duration(said.get("delay_ms")),
        delay_until=said.get("delay_until"),
        priority=said.get("priority", 0),
        attempts=said.get("attempts", 1),
        backoff=_backoff(said.get("backoff")),
        lost_limit=said.get("lost_limit"),
        idle_timeout=_duration(timeouts.get("idle_ms")),
        run_timeout=_duration(timeouts.get("run_ms")),
        total_timeout=_duration(timeouts.get("total_ms")),
        persistent=said.get("persistent", False),
        keep=_duration(said.get("keep_ms")),
        durability=said.get("durability"),
    )


def _unique(said: Line | None) -> Unique | None:
    if said is None:
        return None
    return Unique(
        said["key"],
        scope=said.get("scope"),
        window=_duration(said.get("window_ms")),
        on_duplicate=said.get("on_duplicate", "reject"),
    )


def _backoff(said: Line | None) -> Backoff | None:
    return None if said is None else Backoff(msgspec.convert(said, BackoffMessage))


def _duration(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)


def shown(record: object) -> Line:
    """A record of the protocol in JSON, binary in base64."""
    fields: Line = msgspec.to_builtins(record)
    return without_none(fields)


def shown_outcome(outcome: Outcome) -> Line:
    error = outcome.error
    return without_none(
        {
            "job": outcome.job,
            "type": outcome.type,
            "state": outcome.state,
            "reason": outcome.reason,
            "expired": outcome.expired,
            "error": None if error is None else shown(error),
            "result": base64.b64encode(outcome.data).decode() if outcome.ok else None,
            "key": outcome.key,
            "attempt": outcome.attempt,
            "group": outcome.group,
            "created_at": outcome.created_at,
            "started_at": outcome.started_at,
            "finished_at": outcome.finished_at,
        }
    )


def without_none(fields: Line) -> Line:
    return {key: value for key, value in fields.items() if value is not None}


def shown_error(error: BaseException) -> Line:
    """With the broker's code where it said one."""
    code, retryable = "invalid", False
    match error:
        case packhorse.Refused():
            code, retryable = error.code, error.retryable
        case packhorse.ConnectionLost():
            code, retryable = "disconnected", True
        case packhorse.ClientClosed():
            code = "closed"
        case Unsupported():
            code = "unsupported"
    return {"code": code, "message": str(error), "retryable": retryable}


# -- job functions ---------------------------------------------------------------------------


async def echo(ctx: Context) -> RawResult:
    return RawResult(ctx.payload)


async def reverse(ctx: Context) -> RawResult:
    return RawResult(ctx.payload[::-1])


async def report(ctx: Context) -> RawResult:
    await ctx.progress(0, "begin")
    await ctx.log("first")
    await ctx.progress(50, "half")
    await ctx.log("second \u2713")
    await ctx.progress(100, "end")
    return RawResult(ctx.payload)


async def fail(ctx: Context) -> RawResult:
    raise Fail(ctx.payload.decode(), error_type="DriverError")


async def fail_for_good(ctx: Context) -> RawResult:
    raise Fail(ctx.payload.decode(), error_type="DriverError", retry=False)


async def hold(ctx: Context) -> RawResult:
    await asyncio.Event().wait()
    return RawResult(b"")


BEHAVIOURS: Final[Mapping[str, JobFunction]] = {
    function.__name__: function for function in (echo, reverse, report, fail, fail_for_good, hold)
}


@asynccontextmanager
async def telling(ctx: Context) -> AsyncIterator[None]:
    """Middleware that tells when a job's function begins and ends."""
    say({"event": "running", "job": ctx.job, "type": ctx.type, "attempt": ctx.attempt})
    how = "complete"
    try:
        yield
    except asyncio.CancelledError:
        how = "revoked" if ctx.revoked.is_set() else "cancelled"
        raise
    except Exception:
        how = "failed"
        raise
    finally:
        say({"event": "ended", "job": ctx.job, "how": how})


# -- instructions ----------------------------------------------------------------------------


class Driver:
    """One client, and at most one worker, which has a connection of its own."""

    def __init__(self) -> None:
        self._url = ""
        self._tls: ssl.SSLContext | None = None
        self._client: Client | None = None
        self._worker: Worker | None = None
        self._loops: list[asyncio.Task[None]] = []
        """What goes on when its instruction is answered."""
        self._instructions: dict[str, Callable[[Line], Awaitable[Line]]] = {
            "connect": self.connect,
            "create": self.create,
            "run": self.run,
            "handle_outcomes": self.handle_outcomes,
            "wait": self.wait,
            "get": self.get,
            "logs": self.logs,
            "cancel": self.cancel,
            "watch": self.watch,
            "drain": self.drain,
            "close": self.close,
        }

    async def obey(self, line: Line) -> None:
        """Does what is said and answers it."""
        try:
            instruction = self._instructions.get(line["do"])
            if instruction is None:
                raise Unsupported(f"no instruction {line['do']!r} is known here")
            say({"id": line["id"], "ok": await instruction(line)})
        except (PackhorseError, Unsupported, KeyError, OSError, ValueError, TypeError) as error:
            say({"id": line["id"], "error": shown_error(error)})

    @property
    def client(self) -> Client:
        if self._client is None:
            raise packhorse.ClientClosed("connect first")
        return self._client

    async def connect(self, line: Line) -> Line:
        self._url = line["url"]
        if "ca_file" in line:
            self._tls = ssl.create_default_context(cafile=line["ca_file"])
        secret = line.get("secret")
        client = packhorse.connect(
            self._url,
            client_id=line.get("client"),
            secret=None if secret is None else base64.b64decode(secret),
            timeout=timedelta(milliseconds=line.get("timeout_ms", 30_000)),
            wait_for_broker=timedelta(milliseconds=line.get("connect_timeout_ms", 0)),
            stay=False,
            tls=self._tls,
        )
        self._client = await client.__aenter__()
        return {"client": client.id, "secret": base64.b64encode(client.secret).decode()}

    async def create(self, line: Line) -> Line:
        jobs = [new_job(said) for said in line["jobs"]]
        handle, group = line.get("handle", False), line.get("group")
        try:
            created: list[Any] = list(
                await self.client.create_many(jobs, handle=handle, group=group)
            )
        except packhorse.SomeRefused as error:
            created = error.results
        return {"jobs": [self._created(job) for job in created]}

    def _created(self, job: packhorse.Job | BaseException) -> Line:
        if isinstance(job, packhorse.Job):
            return without_none({"job": job.id, "duplicate": job.duplicate})
        if isinstance(job, PackhorseError):
            return {"problem": shown_error(job)}
        raise job

    async def run(self, line: Line) -> Line:
        worker = Worker(self._url, tls=self._tls, concurrency=line["credit"])
        worker.middleware(telling)
        for job_type, behaviour in line["how"].items():
            function = BEHAVIOURS.get(behaviour)
            if function is None:
                raise Unsupported(f"no behaviour {behaviour!r} is known here")
            worker.job(job_type, concurrency=line["types"][job_type])(function)
        self._worker = await worker.__aenter__()
        return {}

    async def drain(self, line: Line) -> Line:
        await self._end_worker()
        return {}

    async def handle_outcomes(self, line: Line) -> Line:
        for group in (None, *line.get("groups", ())):
            self._begin(self._tell_outcomes(group))
        return {}

    async def _tell_outcomes(self, group: str | None) -> None:
        async for outcome in self.client.outcomes(group=group):
            say({"event": "outcome", "outcome": shown_outcome(outcome)})

    async def wait(self, line: Line) -> Line:
        return shown_outcome(await self.client.job(line["job"]).outcome())

    async def get(self, line: Line) -> Line:
        found = await asyncio.gather(*map(self._view, line["jobs"]))
        return {"jobs": found}

    async def _view(self, job: str) -> Line:
        try:
            return shown(await self.client.get(job))
        except packhorse.Refused as error:
            return {"problem": shown_error(error)}

    async def logs(self, line: Line) -> Line:
        entries = self.client.job(line["job"]).logs()
        return {"entries": [shown(entry) async for entry in entries]}

    async def cancel(self, line: Line) -> Line:
        job = self.client.job(line["job"])
        grace = _duration(line.get("grace_ms"))
        return {"state": await job.cancel(grace=grace, why=line.get("why", ""))}

    async def watch(self, line: Line) -> Line:
        events = self.client.watch(*line["jobs"])
        first = await anext(events)
        say({"event": "news", "news": shown(first)})
        self._begin(self._tell_news(events))
        return {}

    async def _tell_news(self, events: AsyncIterator[packhorse.Event]) -> None:
        async for event in events:
            say({"event": "news", "news": shown(event)})

    async def close(self, line: Line) -> Line:
        await self.end()
        return {}

    async def end(self) -> None:
        """Leaves in good order; what runs is given back."""
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            await asyncio.wait(self._loops)
        if self._worker is not None:
            self._worker.stop()
            self._worker.stop()
        await self._end_worker()
        if self._client is not None:
            await self._client.__aexit__(None, None, None)

    async def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.__aexit__(None, None, None)

    def _begin(self, telling: Coroutine[Any, Any, None]) -> None:
        self._loops.append(asyncio.create_task(_until_closed(telling)))


async def _until_closed(telling: Coroutine[Any, Any, None]) -> None:
    """A client that ends for good ends what was read from it."""
    try:
        await telling
    except packhorse.Refused as error:
        say({"event": "closed", "code": error.code})
    except packhorse.ClientClosed:
        say({"event": "closed", "code": "closed"})


async def main() -> None:
    driver = Driver()
    instructions: set[asyncio.Task[None]] = set()
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        task = asyncio.create_task(driver.obey(json.loads(line)))
        instructions.add(task)
        task.add_done_callback(instructions.discard)
    await driver.end()
    for task in list(instructions):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(main())
