"""A proxy between clients and a broker that notes every frame that passes, in order."""

import asyncio
from collections import Counter
from typing import Any, Final
from urllib.parse import urlsplit

import msgpack

from packhorse_protocol.framing import FrameReader, frame
from packhorse_protocol.limits import MAX_FRAME_BYTES
from tests.protocol.vectors import to_json

WAIT_S: Final = 30
CHUNK_BYTES: Final = 65_536


class Recorder:
    """`url` is where clients connect; `steps` is what passed, `begin` names the next connection."""

    def __init__(self, broker_url: str) -> None:
        self.steps: list[dict[str, Any]] = []
        self.url = ""
        self._broker = urlsplit(broker_url)
        self._names: list[str] = []
        self._connections: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"tcp://127.0.0.1:{port}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, client: str) -> None:
        """The next connection is this client's; each has a name of its own."""
        self._connections[client] += 1
        times = self._connections[client]
        self._names.append(client if times == 1 else f"{client}, {times}")

    def note(self, **step: Any) -> None:
        """Something that happens beside the frames."""
        self.steps.append(step)

    async def beaten(self, name: str) -> None:
        """Until a beat has passed each way on a connection."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(lambda: self._beats(name) == {"client", "broker"})

    def _beats(self, name: str) -> set[str]:
        beats = (step for step in self.steps if step.get("value") == {"t": "beat"})
        return {step["from"] for step in beats if step["on"] == name}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = self._names.pop(0)
        broker = await asyncio.open_connection(self._broker.hostname, self._broker.port)
        ways = (
            self._pass(reader, broker[1], name, "client"),
            self._pass(broker[0], writer, name, "broker"),
        )
        for way in ways:
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, name: str, sender: str
    ) -> None:
        frames = FrameReader(MAX_FRAME_BYTES)
        try:
            while data := await source.read(CHUNK_BYTES):
                frames.feed(data)
                while (body := frames.next_body()) is not None:
                    await self._frame(body, name, sender)
                    target.write(frame(body))
        except ConnectionError:
            pass
        self.note(on=name, ends=sender)
        target.close()

    async def _frame(self, body: bytes, name: str, sender: str) -> None:
        step = {"on": name, "from": sender, "value": to_json(msgpack.unpackb(body))}
        if sender == "client":
            step["frame"] = frame(body).hex()
        async with self._news:
            self.steps.append(step)
            self._news.notify_all()
