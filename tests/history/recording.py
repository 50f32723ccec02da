"""A client of the raw protocol that records what it asks, what it is answered and what it is sent.

It keeps its id and secret, comes back after every loss (at once with another address, if it has
several), and never repeats a request by itself: an answer that did not come is recorded as
`info`, and whoever asked decides.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from packhorse_protocol import (
    ClientConnection,
    FramingError,
    LocalProtocolError,
    MalformedMessage,
)
from packhorse_protocol.messages import (
    BrokerMessage,
    ClientBeat,
    Hello,
    Ok,
    Problem,
    Refused,
    Request,
    Role,
    Welcome,
)
from tests.history.history import Recorder

CHUNK_BYTES: Final = 64 * 1024

WELCOME_S: Final = 2.0
"""How long a broker may take to let a client in before another one is tried."""

UNKNOWN: Final = frozenset({"unavailable", "internal"})
"""Codes of refusals after which the request may have been done."""

GONE: Final = "client_gone"


class Answer(Struct, frozen=True):
    """Of one item. `result` where it was done; a `code` where it was refused; neither: unknown."""

    result: Any = None
    code: str = ""
    details: dict[str, str] | None = None

    @property
    def unknown(self) -> bool:
        return self.result is None and (not self.code or self.code in UNKNOWN)


class Item(Struct, frozen=True, kw_only=True):
    """What is recorded of an item of a request before it leaves."""

    fields: dict[str, object]
    told: Callable[[Any], dict[str, object]] = lambda _: {}
    """What is recorded of its result."""


class Pace(Struct, frozen=True, kw_only=True):
    """How a client behaves towards the broker."""

    timeout_ms: int = 2_000
    back_after_s: tuple[float, float] = (0.02, 0.3)
    """Bounds of the pause before it connects again."""


class RecordingClient:
    """`run` it as a task; `ask` waits until it is connected, `pushed` gets what is sent."""

    def __init__(
        self,
        recorder: Recorder,
        addresses: Sequence[str],
        *,
        secret: bytes,
        roles: Sequence[Role],
        chance: random.Random,
        pushed: Callable[[BrokerMessage], None],
        opened: Callable[[], Sequence[Request]] = tuple,
        pace: Pace | None = None,
    ) -> None:
        self.recorder = recorder
        self.resumed = asyncio.Event()
        """Set while it is connected."""
        self._addresses = list(addresses)
        self._secret = secret
        self._roles = tuple(roles)
        self._chance = chance
        self._pushed = pushed
        self._opened = opened
        self._pace = pace or Pace()
        self._at = chance.randrange(len(addresses))
        self._connection = ClientConnection()
        self._writer: asyncio.StreamWriter | None = None
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Ok | Refused]] = {}
        self._epoch = ""
        self._sent_s = 0.0
        self._heard_s = 0.0
        self._silence_s = 0.0

    # -- its life

    async def run(self) -> None:
        """Until cancelled: connects, reads, and connects again."""
        while True:
            address = self._addresses[self._at % len(self._addresses)]
            try:
                await self._live(address)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            finally:
                self._lost()
            self._at += 1
            await asyncio.sleep(self._chance.uniform(*self._pace.back_after_s))

    async def _live(self, address: str) -> None:
        parts = urlsplit(address)
        async with asyncio.timeout(WELCOME_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._writer = writer
        self._connection = ClientConnection()
        self._sent_s = self._heard_s = time.monotonic()
        beating: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(WELCOME_S):
                welcome = await self._greet(reader)
            if welcome is None:
                return
            beating = asyncio.create_task(self._beat(welcome.heartbeat_ms / 1000))
            await self._read(reader)
        finally:
            if beating is not None:
                beating.cancel()
            writer.transport.abort()

    async def _greet(self, reader: asyncio.StreamReader) -> Welcome | None:
        call = self.recorder.next_call()
        self.recorder.write("invoke", "hello", call=call, number=self._pace.timeout_ms)
        self._send(
            Hello(
                versions=(1,),
                client=self.recorder.who,
                secret=self._secret,
                roles=self._roles,
                timeout_ms=self._pace.timeout_ms,
            )
        )
        while data := await reader.read(CHUNK_BYTES):
            for place, item in enumerate(items := self._received(data)):
                if isinstance(item, Welcome):
                    self._welcomed(call, item)
                    for later in items[place + 1 :]:
                        self._take(later)
                    return item
                if isinstance(item, Refused):
                    self.recorder.write("fail", "hello", call=call, code=item.code)
                    return None
        self.recorder.write("info", "hello", call=call)
        return None

    def _welcomed(self, call: str, welcome: Welcome) -> None:
        self._epoch = welcome.store
        self._silence_s = welcome.timeout_ms / 1000
        self.recorder.write(
            "ok",
            "hello",
            call=call,
            flag=welcome.resumed,
            number=welcome.timeout_ms,
            epoch=welcome.store,
            text=welcome.broker,
            registered_at=welcome.registered_at,
        )
        for request in self._opened():
            self._send(request)
        self.resumed.set()

    def _disconnected(self) -> None:
        if self.resumed.is_set():
            self.resumed.clear()
            self.recorder.write("note", "disconnected")

    def _lost(self) -> None:
        self._disconnected()
        self._writer = None
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("no answer came"))

    async def _beat(self, heartbeat_s: float) -> None:
        """Says that it lives, and gives up a broker that does not."""
        while True:
            await asyncio.sleep(heartbeat_s / 2)
            now_s = time.monotonic()
            if now_s - self._heard_s > self._silence_s and self._writer is not None:
                self._writer.transport.abort()
                return
            if now_s - self._sent_s >= heartbeat_s / 2:
                with contextlib.suppress(OSError):
                    self._send(ClientBeat())

    # -- asking

    async def ask(
        self, op: str, request: Callable[..., Request], items: Sequence[Item], **fields: Any
    ) -> list[Answer]:
        """One request with so many items, each recorded by itself. Raises nothing."""
        await self.resumed.wait()
        calls = [self.recorder.next_call() for _ in items]
        for call, item in zip(calls, items, strict=True):
            self.recorder.write("invoke", op, call=call, **item.fields)
        try:
            answer = await self._answer(request(id=next(self._ids), **fields))
        except OSError:
            answer = None
        return [
            self._settle(op, call, item, answer, place)
            for place, (call, item) in enumerate(zip(calls, items, strict=True))
        ]

    async def _answer(self, request: Request) -> Ok | Refused:
        answer: asyncio.Future[Ok | Refused] = asyncio.get_running_loop().create_future()
        self._send(request)
        self._waiting[request.id] = answer
        return await answer

    def _settle(
        self, op: str, call: str, item: Item, answer: Ok | Refused | None, place: int
    ) -> Answer:
        result = answer.results[place] if isinstance(answer, Ok) else answer
        about = {"call": call, **{k: v for k, v in item.fields.items() if k in _REPEATED}}
        if result is None:
            self.recorder.write("info", op, **about)
            return Answer()
        if isinstance(result, Refused | Problem):
            kind = "info" if result.code in UNKNOWN else "fail"
            self.recorder.write(kind, op, **{**about, "code": result.code})  # type: ignore[arg-type]
            return Answer(code=result.code, details=dict(result.details or {}))
        if isinstance(answer, Ok) and answer.durability == "not_met":
            about["not_met"] = True
        self.recorder.write("ok", op, **{**about, "epoch": self._epoch, **item.told(result)})
        return Answer(result)

    def _send(self, message: Any) -> None:
        if self._writer is None or self._writer.transport.is_closing():
            # Known before the reader knows: whoever asks next waits for the next connection.
            self._disconnected()
            raise ConnectionResetError("not connected")
        self._sent_s = time.monotonic()
        try:
            data = self._connection.send(message)
        except LocalProtocolError as error:
            # After the broker's closing error nothing may be sent.
            self._disconnected()
            raise ConnectionResetError from error
        self._writer.write(data)

    # -- reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK_BYTES):
            for item in self._received(data):
                self._take(item)

    def _received(self, data: bytes) -> list[Any]:
        self._heard_s = time.monotonic()
        return list(self._connection.receive(data))

    def _take(self, item: Any) -> None:
        if isinstance(item, MalformedMessage | FramingError):
            self.recorder.write("note", "malformed", text=repr(item))
        elif isinstance(item, Ok | Refused) and item.id is not None:
            answer = self._waiting.pop(item.id, None)
            if answer is not None and not answer.done():
                answer.set_result(item)
        elif isinstance(item, Refused):
            self.recorder.write("note", "closed", code=item.code)
        else:
            self._pushed(item)


_REPEATED: Final = frozenset({"job", "name", "token", "group", "number", "text", "finished_at"})
"""Fields of an `invoke` that its answer says again, so that a line can be read by itself."""
