"""Plays a recorded session's client to a broker of today: it sends what it sent, and compares.

A frame is sent when all that had come before it has come again. Pushes may be cut otherwise than
they were: what is in them is compared, in order, for each kind and connection; events of a job are
merged, as a broker merges them.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.protocol.comparing import Comparison, Different, Schema
from tests.protocol.vectors import from_json
from tests.support.raw_frames import RawFrames, framed

WAIT_S: Final = 30
ITEMS: Final = {
    "claims": ("claims", "Claim"),
    "outcomes": ("outcomes", "Outcome"),
    "revoke": ("claims", "Revocation"),
    "cancelling": ("claims", "Cancellation"),
    "events": ("events", "Event"),
}
"""Push -> its key, and what is in it."""
NOT_AT_ONCE: Final = "minutes"
"""What a broker writes about once a second, so that it is asked for again until it is there."""


class Seat:
    """One connection of the client, and what came on it that is not compared yet."""

    def __init__(self, raw: RawFrames) -> None:
        self.raw = raw
        self.ended = False
        self.answers: dict[int, dict[str, Any]] = {}
        self.pushed: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self.news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (message := await self.raw.value()) is not None:
            async with self.news:
                self._take(message)
                self.news.notify_all()
        async with self.news:
            self.ended = True
            self.news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        tag = message["t"]
        if "id" in message:
            self.answers[message["id"]] = message
        elif tag in ITEMS:
            self.pushed[tag] += message[ITEMS[tag][0]]
        else:
            self.pushed[tag].append(message)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S), self.news:
                await self.news.wait_for(lambda: condition() or self.ended)
        except TimeoutError:
            raise Different(f"{what} never came") from None
        if not condition():
            raise Different(f"the broker closed before {what}: {dict(self.pushed)}")

    async def close(self) -> None:
        self.ended = True
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self.raw.close()


class Player:
    """Plays one session. Raises `Different` at the first answer that is not what it was."""

    def __init__(
        self,
        session: dict[str, Any],
        schema: Schema,
        url: str,
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self._steps: list[dict[str, Any]] = session["steps"]
        self._schema = schema
        self._url = url
        self._drain = drain
        self._comparison = Comparison(schema)
        self._seats: dict[str, Seat] = {}
        self._asked: dict[tuple[str, int], dict[str, Any]] = {}
        self._next_id = 1_000_000

    async def play(self) -> None:
        try:
            for number, step in enumerate(self._steps):
                try:
                    await self._play(step)
                except Different as error:
                    raise Different(f"step {number}, {step.get('on', '')}: {error}") from None
        finally:
            for seat in self._seats.values():
                await seat.close()

    async def _play(self, step: dict[str, Any]) -> None:
        if "do" in step:
            await self._drain()
        elif "ends" in step:
            await self._end(step["on"], step["ends"])
        elif step["from"] == "client":
            await self._send(step)
        else:
            await self._expect(self._seats[step["on"]], step["on"], from_json(step["value"]))

    async def _end(self, name: str, side: str) -> None:
        seat = self._seats[name]
        if side == "client":
            await seat.close()
        elif not seat.ended:
            await seat.until(lambda: seat.ended, "its end")

    async def _send(self, step: dict[str, Any]) -> None:
        name, value = step["on"], _plain(from_json(step["value"]))
        if value["t"] == "hello":
            self._seats[name] = Seat(await RawFrames.open(self._url))
        elif "id" in value:
            self._asked[name, value["id"]] = value
        translated = self._comparison.translated(value)
        same = translated == value
        self._seats[name].raw.send(bytes.fromhex(step["frame"]) if same else framed(translated))

    # -- what comes

    async def _expect(self, seat: Seat, name: str, was: dict[str, Any]) -> None:
        was = _plain(was)
        tag = was["t"]
        if tag in ITEMS:
            for item in was[ITEMS[tag][0]]:
                await self._expect_item(seat, tag, item)
        elif tag == "ok":
            await self._expect_ok(seat, name, was)
        elif "id" in was:
            found = await self._answer(seat, was["id"])
            self._same_tag(was, found)
            self._comparison.check("Refused", was, found, tag)
        else:
            await seat.until(lambda: seat.pushed[tag], tag)
            record = self._schema["broker_messages"][tag]["record"]
            self._comparison.check(record, was, seat.pushed[tag].popleft(), tag)

    async def _expect_item(self, seat: Seat, tag: str, was: dict[str, Any]) -> None:
        pushed, record = seat.pushed[tag], ITEMS[tag][1]
        if tag != "events":
            await seat.until(lambda: pushed, tag)
            self._comparison.check(record, was, pushed.popleft(), tag)
            return
        await seat.until(lambda: any(_reaches(event, was) for event in pushed), f"event {was}")
        found = pushed.popleft()
        while not _reaches(found, was):
            found = _merged(found, pushed.popleft())
        self._comparison.check(record, was, found, tag)

    async def _answer(self, seat: Seat, request_id: int) -> dict[str, Any]:
        await seat.until(lambda: request_id in seat.answers, f"the answer to {request_id}")
        return seat.answers.pop(request_id)

    @staticmethod
    def _same_tag(was: dict[str, Any], found: dict[str, Any]) -> None:
        if found["t"] != was["t"]:
            raise Different(f"was {was}, is {found}")

    async def _expect_ok(self, seat: Seat, name: str, was: dict[str, Any]) -> None:
        request = self._asked[name, was["id"]]
        found = await self._answer(seat, was["id"])
        deadline_s = self._now_s() + WAIT_S * (request["t"] == NOT_AT_ONCE)
        while True:
            try:
                self._entries(request, was, found)
            except Different:
                if self._now_s() >= deadline_s:
                    raise
                self._next_id += 1
                seat.raw.send(framed({**request, "id": self._next_id}))
                found = await self._answer(seat, self._next_id)
            else:
                return

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    def _entries(self, request: dict[str, Any], was: dict[str, Any], found: dict[str, Any]) -> None:
        self._same_tag(was, found)
        if was.get("durability") != found.get("durability"):
            raise Different(f"durability was {was.get('durability')}: {found}")
        if len(was["results"]) != len(found["results"]):
            raise Different(f"had {len(was['results'])} results: {found}")
        record = self._schema["client_messages"][request["t"]]["results"]
        for before, now in zip(was["results"], found["results"], strict=True):
            path = request["t"]
            if "problem" in before or "problem" in now:
                if ("problem" in before) is not ("problem" in now):
                    raise Different(f"{path}: was {before}, is {now}")
                self._comparison.check("Problem", before["problem"], now["problem"], path)
            else:
                merged = _one_minute if record == "MinuteList" else dict
                self._comparison.check(record, merged(before), merged(now), path)


def _plain(value: Any) -> Any:
    """With lists, as msgpack has them."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _reaches(event: dict[str, Any], was: dict[str, Any]) -> bool:
    """Whether it tells of what this event told of, or of more."""
    is_late = event["version"] >= was["version"] or event.get("removed", False)
    return bool(event["job"] == was["job"] and is_late)


def _merged(event: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    return {**event, **later, "log": event.get("log", []) + later.get("log", [])}


def _one_minute(entry: dict[str, Any]) -> dict[str, Any]:
    """All minutes as one: where one ends depends on when it is played."""
    total: dict[str, Any] = {"at": 1}
    for minute in entry["minutes"]:
        for name, number in minute.items():
            if name != "at":
                total[name] = total.get(name, 0) + number
    return {**entry, "minutes": [total]}
