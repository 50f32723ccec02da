"""What a scenario for brokers is given: the broker under test, and names of its own there.

    producer, runner = await site.client(), await site.client()
    job = await site.job(producer, attempts=3)
    await runner.ask("take", types={site.type(): 1}, credit=1)
    [claim] = await runner.claims(1)

What was made is removed in the end.
"""

import asyncio
import contextlib
import secrets
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from packhorse_conformance.address import Address, UnixAddress
from packhorse_conformance.commands import Commands, run
from packhorse_conformance.trace import Trace
from packhorse_conformance.values import Message
from packhorse_conformance.verdict import Failed, Skipped, expect
from packhorse_conformance.wire import Push, Wire

CLEANING_S: Final = 5

UNSET: Final[Message] = {
    "paused": False,
    "draining": False,
    "max_jobs": 0,
    "max_bytes": 0,
    "keep_complete": {},
    "keep_failed": {},
}
"""A type as if nothing had been set."""

NO_COMMANDS: Final = Commands()

SHORT_MS: Final = 15_000
"""The longest timeout of a client that a scenario waits for."""


class Site:
    """`client` for a connection, `type` and `name` for names that nobody else has."""

    def __init__(self, address: Address, trace: Trace, commands: Commands) -> None:
        self.trace = trace
        self.address = address
        self._commands = commands
        self._prefix = f"conformance-{secrets.token_hex(6)}"
        self._wires: list[Wire] = []
        self._jobs: list[str] = []
        self._configured: list[str] = []

    async def interruption(self) -> Exception:
        """A broker gives no reason to go on no more but by what it says."""
        never: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        return await never

    # -- connecting

    async def dial(self) -> Wire:
        """A connection on which nothing was said."""
        self.trace.awaited = f"that the broker accepts a connection at {self.address}"
        if isinstance(self.address, UnixAddress):
            reader, writer = await asyncio.open_unix_connection(self.address.path)
        else:
            at = self.address
            reader, writer = await asyncio.open_connection(at.host, at.port, ssl=at.tls)
        wire = Wire(reader, writer, self.trace, len(self._wires) + 1)
        self._wires.append(wire)
        return wire

    async def client(self, **hello: object) -> Wire:
        """A client that was welcomed."""
        wire = await self.dial()
        await wire.greet(**hello)
        return wire

    async def resume(self, wire: Wire, **hello: object) -> Wire:
        """The same client on another connection."""
        return await self.client(client=wire.client, secret=wire.secret, **hello)

    async def client_when_free(self, name: str, secret: bytes) -> Wire:
        """A client whose id another one has left: a broker may say for how long it is not free."""
        while True:
            wire = await self.dial()
            wire.send({"t": "hello", "versions": [1], "client": name, "secret": secret})
            answer = await wire.find(lambda message: bool(message), "`welcome`, or `client_exists`")
            if answer.get("code") != "client_exists":
                wire.received.append(answer)
                await wire.welcomed()
                return wire
            await asyncio.sleep(answer["retry_after_ms"] / 1_000)

    async def short_lived(self, **hello: object) -> Wire:
        """A client with the shortest timeout that the broker grants."""
        wire = await self.client(timeout_ms=1, **hello)
        timeout_ms = wire.welcome["timeout_ms"]
        if timeout_ms > SHORT_MS:
            raise Skipped(f"the broker's shortest timeout, {timeout_ms} ms, is too long to wait")
        return wire

    async def drain(self) -> None:
        """Has the broker go away, which the protocol has no request for."""
        self.trace.awaited = "the end of the command that has the broker go away"
        await run(self._commands.drain, "--drain-command")

    @asynccontextmanager
    async def without_store(self) -> AsyncIterator[None]:
        """The broker's store is away, and there again afterwards, however that ends."""
        self.trace.awaited = "the end of the command that stops the store"
        await run(self._commands.store_stop, "--store-stop-command")
        try:
            yield
        finally:
            await run(self._commands.store_start, "--store-start-command")

    # -- names

    def name(self, plain: str) -> str:
        """A name of this scenario."""
        return f"{self._prefix}-{plain}"

    def type(self, plain: str = "work") -> str:
        """A type of this scenario."""
        return self.name(plain)

    def id(self, plain: str) -> str:
        """An id for a job whose place in the queue counts: all of these are in one partition."""
        return f"{self.name(plain)}~{self._prefix}"

    def unique_id(self, plain: str, key: str) -> str:
        """An id for a job of the type `work` with a unique key: in the key's own partition."""
        tag = zlib.crc32(self.type().encode() + b"\0" + key.encode())
        return f"{self.name(plain)}~{tag:08x}"

    # -- jobs

    def new(self, plain_type: str = "work", **fields: object) -> Message:
        """A NewJob."""
        return {"type": self.type(plain_type), **fields}

    async def create(self, wire: Wire, *jobs: Message, **fields: object) -> list[Message]:
        """Creates jobs, which may fail one by one, and remembers those that there are."""
        entries = await wire.ask("create", jobs=list(jobs), **fields)
        self._jobs += [entry["job"] for entry in entries if "job" in entry]
        return entries

    def remember(self, job: str) -> None:
        """That this job, which a scenario creates by itself, is to be removed."""
        self._jobs.append(job)

    async def job(
        self, wire: Wire, plain_type: str = "work", *, handle: bool | None = None, **fields: Any
    ) -> str:
        """Creates one job; its id."""
        [entry] = await self.create(wire, self.new(plain_type, **fields), handle=handle)
        expect("problem" not in entry, "the job to be created", entry)
        return str(entry["job"])

    async def claimed(self, wire: Wire, plain_type: str = "work", **fields: Any) -> Push:
        """Creates a job and claims it by its id; the claim."""
        job = await self.job(wire, plain_type, **fields)
        claim: Push = await wire.one("claim", jobs=[job])
        return claim

    async def configure(self, wire: Wire, plain_type: str = "work", **change: object) -> None:
        """Changes a type, which is undone in the end."""
        self._configured.append(self.type(plain_type))
        await wire.one("configure", types=[{"type": self.type(plain_type), **change}])

    # -- the end

    async def close(self) -> None:
        """Removes what was made, as far as the broker lets it be done."""
        with contextlib.suppress(OSError, Failed, TimeoutError):
            async with asyncio.timeout(CLEANING_S):
                await self._clean()
        for wire in self._wires:
            wire.abort()

    async def _clean(self) -> None:
        for wire in self._wires:
            if wire.welcome and not wire.at_end:
                wire.begin("bye")
        sweeper = await self.client()
        for job in dict.fromkeys(self._jobs):
            sweeper.begin("remove", jobs=[job])
        for job_type in dict.fromkeys(self._configured):
            sweeper.begin("configure", types=[{"type": job_type, **UNSET}])
        await sweeper.answer(sweeper.begin("bye"))


@asynccontextmanager
async def sited(address: Address, commands: Commands = NO_COMMANDS) -> AsyncIterator[Site]:
    """A site of its own for a scenario."""
    site = Site(address, Trace(), commands)
    try:
        yield site
    finally:
        await site.close()


def ref(claim: Push, **fields: Any) -> Message:
    """A claim as its holder names it."""
    return {"job": claim["job"], "token": claim["token"], **fields}
