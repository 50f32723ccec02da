"""What a scenario for clients is given: the driver of the library, and a broker to be played.

    peer = await stage.connect()
    answer = stage.driver.do("get", jobs=["a"])
    get = await peer.expect("get")
    peer.ok(get, view("a"))
    assert await answer.ok()

What brokers say of jobs, `claim`, `outcome` and the like, stands below.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from packhorse_conformance.channel import Ended
from packhorse_conformance.driver import Answer, Driver, base64_of
from packhorse_conformance.peer import Peer
from packhorse_conformance.scripted_broker import ScriptedBroker
from packhorse_conformance.trace import Trace
from packhorse_conformance.values import Message
from packhorse_conformance.verdict import Failed, expect

TOKEN: Final = bytes(range(16))
EXIT_S: Final = 10
"""Seconds in which a driver has to end when its input has ended."""


class Stage:
    """`connect` or `run` first; then say what the broker says, and what the driver is to do."""

    def __init__(self, driver: Driver, broker: ScriptedBroker, trace: Trace) -> None:
        self.driver = driver
        self.broker = broker
        self.trace = trace

    async def interruption(self) -> Exception:
        """Waits until the driver gives a reason to go on no more."""
        return await self.driver.interruption()

    async def connect(
        self,
        *,
        ca_file: str | None = None,
        limits: Mapping[str, int] | None = None,
        **welcome: Any,
    ) -> Peer:
        """A client that is connected."""
        answer = self.driver.do("connect", url=self.broker.url, ca_file=ca_file)
        peer = await self.broker.accept()
        peer.welcome(await peer.expect("hello"), limits=limits, **welcome)
        await answer.ok()
        return peer

    async def run(self, how: Mapping[str, str], *, credit: int = 4, **welcome: Any) -> Peer:
        """A runner that is connected and has said what it takes: type to behaviour.

        A library may use another connection for it than that of its client.
        """
        peer = await self.connect(**welcome)
        answer = self.driver.do("run", types=dict.fromkeys(how, credit), credit=credit, how=how)
        runner, take = await self.takes(peer, **welcome)
        runner.done(take)
        await answer.ok()
        return runner

    async def takes(self, peer: Peer, **welcome: Any) -> tuple[Peer, Message]:
        """The connection on which the runner says what it takes, and what it says."""
        takes = asyncio.create_task(peer.expect("take"))
        connects = asyncio.create_task(self.broker.accept())
        try:
            await asyncio.wait([takes, connects], return_when=asyncio.FIRST_COMPLETED)
            if takes.done():
                return peer, takes.result()
            runner = connects.result()
        finally:
            takes.cancel()
            connects.cancel()
            await asyncio.wait([takes, connects])
        runner.welcome(await runner.expect("hello"), **{"client": "runner-1", **welcome})
        return runner, await runner.expect("take")

    async def comes_back(self, *, resumed: bool = True, **welcome: Any) -> tuple[Peer, Message]:
        """The next connection, which is welcomed, and its hello."""
        peer = await self.broker.accept("that the client connects again (section 8)")
        hello = await peer.expect("hello")
        peer.welcome(hello, resumed=resumed, **welcome)
        return peer, hello

    async def resumed(self, peer: Peer, *again: Message, resumed: bool = True) -> Peer:
        """The connection is lost; on the next one the broker says `again` behind its welcome.

        Checks that the client comes as itself.
        """
        peer.abort()
        back, hello = await self.comes_back(resumed=resumed)
        same = (hello.get("client"), hello.get("secret")) == (peer.client, peer.secret)
        expect(same, "`client` and `secret` of the first `welcome` (section 7)", hello)
        if again:
            back.send(*again)
        return back

    async def connects_before(self, answer: Answer) -> Peer | None:
        """The next connection; None if the answer to an instruction came before it."""
        connects = asyncio.create_task(self.broker.accept("a connection, or an answer"))
        came = asyncio.create_task(answer.came())
        try:
            await asyncio.wait([connects, came], return_when=asyncio.FIRST_COMPLETED)
            return connects.result() if connects.done() else None
        finally:
            connects.cancel()
            came.cancel()

    async def request_or_answer(self, peer: Peer, tag: str, answer: Answer) -> Message | None:
        """The request, where the library sends it; None if it answers its instruction instead."""
        came = asyncio.create_task(answer.came())
        sends = asyncio.create_task(peer.expect(tag))
        try:
            await asyncio.wait([sends, came], return_when=asyncio.FIRST_COMPLETED)
            return sends.result() if sends.done() else None
        finally:
            for task in (came, sends):
                task.cancel()
            await asyncio.wait([came, sends])

    async def survives(self, peer: Peer) -> Peer:
        """Whatever came, the client goes on: with this connection, or with another one, which is
        returned."""
        answer = self.driver.do("get", jobs=["fence"])
        try:
            get = await self.request_or_answer(peer, "get", answer)
        except Ended:
            get = None
        if get is None:
            peer, _ = await self.comes_back()
            get = await self.request_or_answer(peer, "get", answer)
        if get is None:
            await answer.error("disconnected")
            await self.still_answers(peer)
            return peer
        peer.ok(get, view("fence"))
        await answer.ok()
        return peer

    async def still_answers(self, peer: Peer) -> None:
        """A fence: the client goes on with this connection, and all before has been read."""
        answer = self.driver.do("get", jobs=["fence"])
        get = await peer.expect("get")
        peer.ok(get, view("fence"))
        found = (await answer.ok())["jobs"]
        expect([job.get("id") for job in found] == ["fence"], "the job `fence`", found)

    async def finish(self) -> None:
        """The driver's input ends: it has to leave in good order."""
        seeing_off = asyncio.create_task(self.broker.see_off())
        try:
            self.driver.end_input()
            async with asyncio.timeout(EXIT_S):
                status = await self.driver.exit_status()
        except TimeoutError:
            raise Failed(
                "the driver to exit after the end of its input", f"nothing within {EXIT_S} s"
            ) from None
        finally:
            seeing_off.cancel()
            with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
                await seeing_off
        if self.driver.failure is not None:
            raise self.driver.failure
        expect(status == 0, "the driver to exit with 0 after the end of its input", status)


@asynccontextmanager
async def staged(command: Sequence[str]) -> AsyncIterator[Stage]:
    """A stage with a driver of its own, which has to leave in good order in the end."""
    trace = Trace()
    broker = ScriptedBroker(trace)
    await broker.listen()
    try:
        driver = await Driver.start(command, trace)
        try:
            stage = Stage(driver, broker, trace)
            yield stage
            await stage.finish()
        finally:
            await driver.kill()
    finally:
        await broker.close()


# -- what brokers say ------------------------------------------------------------------------


def claim(job: str, **fields: object) -> Message:
    """A claim of a job, with a token that follows from its id."""
    return {
        "job": job,
        "token": token(job),
        "fence": 1,
        "type": "work",
        "attempt": 1,
        **fields,
    }


def token(job: str) -> bytes:
    """The token of a job's claim."""
    return job.encode().ljust(len(TOKEN), b".")[: len(TOKEN)]


def claims(*of: Message) -> Message:
    return {"t": "claims", "claims": list(of)}


def outcome(job: str, **fields: object) -> Message:
    """The outcome of a job that completed."""
    return {
        "job": job,
        "type": "work",
        "state": "COMPLETE",
        "version": 4,
        "result": b"result of " + job.encode(),
        "attempt": 1,
        "created_at": 1_790_000_000_001,
        "started_at": 1_790_000_000_002,
        "finished_at": 1_790_000_000_003,
        **fields,
    }


def outcomes(*of: Message) -> Message:
    return {"t": "outcomes", "outcomes": list(of)}


def view(job: str, **fields: object) -> Message:
    """A job as `get` shows it."""
    return {"id": job, "type": "work", "state": "QUEUED", "version": 1, **fields}


def created(job: Message, **fields: object) -> Message:
    """The entry for a job of a `create`."""
    return {"job": job.get("id") or "made-by-the-broker", "state": "QUEUED", **fields}


def revoke(job: str, reason: str) -> Message:
    revoked = {"job": job, "token": token(job), "reason": reason}
    return {"t": "revoke", "claims": [revoked]}


def cancelling(job: str, grace_ms: int = 30_000, why: str = "") -> Message:
    cancelled = {"job": job, "token": token(job), "grace_ms": grace_ms, "why": why}
    return {"t": "cancelling", "claims": [cancelled]}


def news(job: str, version: int, **fields: object) -> Message:
    return {"t": "events", "events": [{"job": job, "version": version, **fields}]}


def in_base64(data: bytes) -> str:
    """As a driver says binary."""
    return base64_of(data)
