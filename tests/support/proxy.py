"""A proxy between the broker and its store that sees each EXEC and can fail around it.

    async with FaultProxy(store_url) as proxy:
        proxy.fail(Fault.SWALLOW_ANSWER)     # at the next EXEC
        ... a transaction through proxy.url ...
        await proxy.met()                    # the EXEC came by, and the fault happened

It understands requests and replies just enough to tell where one ends and the next begins.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

import hiredis

Command: TypeAlias = list[bytes]

CHUNK_BYTES: Final = 64 * 1024


class Fault(Enum):
    """What happens at an EXEC."""

    CUT_BEFORE = auto()
    """It never reaches the store; both connections are cut."""
    SWALLOW_ANSWER = auto()
    """The store has answered it; the answer goes nowhere and both connections are cut."""
    CUT_IN_ANSWER = auto()
    """Half of its answer arrives, then both connections are cut."""
    HOLD = auto()
    """Our connection is cut while it is still on its way: `deliver` lets it arrive."""
    SILENCE = auto()
    """It is kept back as by HOLD, but our connection stays open and hears nothing."""
    PAUSE = auto()
    """It waits for `resume`, then all goes on as if nothing had been."""


Hook: TypeAlias = Callable[[list[Command]], Awaitable[Fault | None]]
"""Sees the commands of a transaction before its EXEC is forwarded, and may choose a fault."""


class FaultProxy:
    """Connections to it go on to the store. `commands` counts what was asked, by name."""

    def __init__(self, store_url: str) -> None:
        self.commands: Counter[bytes] = Counter()
        self.transactions: list[list[Command]] = []
        """Of each EXEC that came by, what was between MULTI and it."""
        self.before_exec: Hook | None = None
        self.refusing = False
        """While set, new connections are closed at once."""
        self.refusals = 0
        """How many were, or found no store."""
        self._store = Path(store_url.removeprefix("unix://"))
        self._faults: deque[Fault] = deque()
        self._met: asyncio.Queue[Fault] = asyncio.Queue()
        self._refused: asyncio.Queue[None] = asyncio.Queue()
        self._resumed = asyncio.Event()
        self._arrived: asyncio.Queue[None] = asyncio.Queue()
        self._cut_at: list[bytes] = []
        self._pause_at: list[bytes] = []
        self._held: deque[_Passage] = deque()
        self._passages: dict[_Passage, asyncio.Task[None]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="ph-proxy-")
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._folder.name}/proxy.sock"

    async def __aenter__(self) -> "FaultProxy":
        path = self.url.removeprefix("unix://")
        self._server = await asyncio.start_unix_server(self._accept, path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._resumed.set()
        self.cut()
        await asyncio.gather(*self._passages.values(), return_exceptions=True)
        await self._server.wait_closed()
        self._folder.cleanup()

    # -- what a test does with it

    def fail(self, *faults: Fault) -> None:
        """What happens at the next EXECs, one each."""
        self._faults.extend(faults)

    async def met(self) -> Fault:
        """Waits until a fault has happened that was not waited for yet."""
        return await self._met.get()

    def resume(self) -> None:
        """Lets everything go on that PAUSE keeps back."""
        self._resumed.set()

    async def deliver(self) -> bytes | None:
        """Forwards the oldest EXEC that was held: the store's answer, None if it hung up."""
        passage = self._held.popleft()
        return await passage.deliver()

    async def refused(self) -> None:
        """Waits until a connection was refused that was not waited for yet."""
        await self._refused.get()

    async def arrived(self) -> None:
        """Waits until a connection was made that was not waited for yet."""
        await self._arrived.get()

    def cut(self) -> None:
        """Cuts every connection that there is."""
        for passage in self._passages:
            passage.close()

    def cut_at(self, *names: bytes) -> None:
        """Each of these commands, the next time, is not forwarded: its connection is cut."""
        self._cut_at += names

    def pause_at(self, *names: bytes) -> None:
        """Each of these commands, the next time, waits for `resume`; `met` tells of PAUSE."""
        self._pause_at += names

    # -- its inside

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            store = await asyncio.open_unix_connection(str(self._store))
        except OSError:
            writer.close()
            self.refusals += 1
            self._refused.put_nowait(None)
            return
        self._arrived.put_nowait(None)
        passage = _Passage(self, (reader, writer), store)
        task = asyncio.current_task()
        assert task is not None
        self._passages[passage] = task
        try:
            await passage.run()
        finally:
            passage.close()
            del self._passages[passage]

    async def at_exec(self, passage: "_Passage", transaction: list[Command]) -> Fault | None:
        """Which fault happens to this EXEC; PAUSE is over when it returns."""
        self.transactions.append(transaction)
        fault = self._faults.popleft() if self._faults else None
        if fault is None and self.before_exec is not None:
            fault = await self.before_exec(transaction)
        if fault in (Fault.HOLD, Fault.SILENCE):
            self._held.append(passage)
        if fault is Fault.PAUSE:
            await self._pause()
        return fault

    async def at_command(self, name: bytes) -> bool:
        """Whether the connection is to be cut here; a pause is over when it returns."""
        self.commands[name] += 1
        if name in self._pause_at:
            self._pause_at.remove(name)
            await self._pause()
        if name in self._cut_at:
            self._cut_at.remove(name)
            return True
        return False

    async def _pause(self) -> None:
        self._resumed.clear()
        self.happened(Fault.PAUSE)
        await self._resumed.wait()

    def happened(self, fault: Fault) -> None:
        self._met.put_nowait(fault)


Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Passage:
    """One connection through the proxy."""

    def __init__(self, proxy: FaultProxy, client: Stream, store: Stream) -> None:
        self._proxy = proxy
        self._client_reader, self._client = client
        self._store_reader, self._store = store
        self._unanswered = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._caught: asyncio.Future[bytes | None] | None = None
        """Gets the next reply in the client's stead, None if the store hangs up."""
        self._exec = b""
        """An EXEC that is held."""
        self._hung_up = False

    async def run(self) -> None:
        replies = asyncio.create_task(self._pass_replies())
        try:
            with contextlib.suppress(ConnectionError):
                await self._pass_requests()
            if self._exec:
                await replies
        finally:
            replies.cancel()
            await asyncio.gather(replies, return_exceptions=True)

    def close(self) -> None:
        self._client.close()
        self._store.close()

    async def deliver(self) -> bytes | None:
        if self._hung_up:
            return None
        self._caught = asyncio.get_running_loop().create_future()
        self._store.write(self._exec)
        answer = await self._caught
        self.close()
        return answer

    async def _pass_requests(self) -> None:
        values = _Values()
        transaction: list[Command] = []
        while data := await self._client_reader.read(CHUNK_BYTES):
            for raw in values.feed(data):
                command = _parsed(raw)
                name = command[0].upper()
                if await self._proxy.at_command(name):
                    self.close()
                    return
                if name == b"EXEC":
                    if not await self._pass_exec(raw, transaction):
                        return
                    transaction = []
                    continue
                if name == b"MULTI":
                    transaction = []
                else:
                    transaction.append(command)
                self._forward(raw)

    def _forward(self, raw: bytes) -> None:
        self._unanswered += 1
        self._idle.clear()
        self._store.write(raw)

    async def _pass_exec(self, raw: bytes, transaction: list[Command]) -> bool:
        """Whether the connection goes on."""
        proxy = self._proxy
        await self._idle.wait()
        if self._hung_up:
            return False
        fault = await proxy.at_exec(self, transaction)
        if fault is None or fault is Fault.PAUSE:
            self._forward(raw)
            return True
        if fault in (Fault.HOLD, Fault.SILENCE):
            self._exec = raw
            if fault is Fault.HOLD:
                self._client.close()
        elif fault is not Fault.CUT_BEFORE:
            self._caught = asyncio.get_running_loop().create_future()
            self._store.write(raw)
            answer = await self._caught
            if fault is Fault.CUT_IN_ANSWER and answer is not None:
                self._client.write(answer[: len(answer) // 2])
                await self._client.drain()
            self.close()
        else:
            self.close()
        proxy.happened(fault)
        return False

    async def _pass_replies(self) -> None:
        values = _Values()
        with contextlib.suppress(ConnectionError):
            while data := await self._store_reader.read(CHUNK_BYTES):
                for raw in values.feed(data):
                    if self._caught is not None:
                        self._caught.set_result(raw)
                        self._caught = None
                        continue
                    self._client.write(raw)
                    self._unanswered -= 1
                    if self._unanswered <= 0:
                        self._idle.set()
        self._hung_up = True
        self._idle.set()
        if self._caught is not None:
            self._caught.set_result(None)
        if not self._exec:
            self._client.close()


def written(transaction: list[Command]) -> list[bytes]:
    """The string keys that a transaction sets."""
    return [key for command in transaction if command[0] == b"MSET" for key in command[1::2]]


class _Values:
    """Cuts a stream of RESP into its values."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        found: list[bytes] = []
        start = 0
        while (end := _end(self._buffer, start)) is not None:
            found.append(bytes(self._buffer[start:end]))
            start = end
        del self._buffer[:start]
        return found


def _end(buffer: bytearray, start: int) -> int | None:
    """Where the value at `start` ends, None if it is not complete."""
    line = buffer.find(b"\r\n", start)
    if line < 0:
        return None
    end = line + 2
    kind = buffer[start : start + 1]
    if kind[0] in b"+-:":
        return end
    count = int(buffer[start + 1 : line])
    if kind == b"$":
        end += count + 2 if count >= 0 else 0
        return end if end <= len(buffer) else None
    assert kind == b"*", f"no RESP 2: {bytes(buffer[start:end])!r}"
    for _ in range(count):
        inner = _end(buffer, end)
        if inner is None:
            return None
        end = inner
    return end


def _parsed(raw: bytes) -> Command:
    reader = hiredis.Reader()
    reader.feed(raw)
    command: Command = reader.gets()
    return command
