"""The client's end of a connection to the broker under test.

    wire = await site.client()
    [created] = await wire.ask("create", jobs=[{"type": site.type("work")}])
    [claim] = await wire.claims(1)

While a scenario waits, `beat` is sent as section 8 says, unless the wire is `mute`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from typing import Any

from packhorse_conformance.channel import Channel
from packhorse_conformance.peer import items_of
from packhorse_conformance.values import Message
from packhorse_conformance.verdict import Failed, expect
from packhorse_protocol import codec
from packhorse_protocol.errors import RETRYABLE, Code
from packhorse_protocol.messages import CLIENT_MESSAGES, RESULTS

Push = dict[str, Any]


class Wire(Channel):
    """One connection. `welcome` is what the broker said of it."""

    outgoing = "client -> broker"
    incoming = "broker -> client"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.welcome: Message = {}
        self.mute = False
        self._ids = count(1)
        self._pending: dict[int, Message] = {}

    @property
    def client(self) -> str:
        """The client's id."""
        return str(self.welcome["client"])

    @property
    def secret(self) -> bytes:
        return bytes(self.welcome["secret"])

    @property
    def limits(self) -> dict[str, int]:
        limits: dict[str, int] = self.welcome["limits"]
        return limits

    # -- registering

    async def greet(self, **hello: object) -> Message:
        """Says hello and is welcomed."""
        self.send({"t": "hello", "versions": [1], **hello})
        return await self.welcomed()

    async def welcomed(self) -> Message:
        self.welcome = await self.find(
            lambda message: message["t"] in ("welcome", "error"), "`welcome`"
        )
        expect(self.welcome["t"] == "welcome", "`welcome`", self.welcome)
        self.frame_bytes = self.limits["frame_bytes"]
        return self.welcome

    # -- asking

    def begin(self, tag: str, **fields: object) -> int:
        """Sends a request; what is None is left out. `answer` waits for what comes of it."""
        request_id = next(self._ids)
        self.send(self.request(tag, request_id, **fields))
        return request_id

    def request(self, tag: str, request_id: int, **fields: object) -> Message:
        given = {key: value for key, value in fields.items() if value is not None}
        return {"t": tag, "id": request_id, **given}

    def expects(self, request: Message) -> None:
        """What was sent as bytes is to be answered like this request."""
        self._sending(request)

    async def answer(self, request_id: int) -> Message:
        """The `ok` or `error` of a request."""
        return await self.find(
            lambda message: message.get("id") == request_id, f"the answer to request {request_id}"
        )

    async def ask(self, tag: str, **fields: object) -> list[Any]:
        """The results of a request that has to be answered `ok`."""
        answer = await self.answer(self.begin(tag, **fields))
        expect(answer["t"] == "ok", f"`ok` for `{tag}`", answer)
        results: list[Any] = answer["results"]
        return results

    async def one(self, tag: str, **fields: object) -> Any:
        """The only result of a request, which may not be a problem."""
        results = await self.ask(tag, **fields)
        expect(len(results) == 1 and "problem" not in results[0], f"`{tag}` to be done", results)
        return results[0]

    async def problem(self, code: str, tag: str, **fields: object) -> Any:
        """The only result of a request, which has to be a problem with this code."""
        results = await self.ask(tag, **fields)
        found = [result.get("problem") for result in results]
        expect(
            len(found) == 1 and found[0] and found[0]["code"] == code,
            f"the problem `{code}` for `{tag}`",
            results,
        )
        _check_retryable(found[0])
        return found[0]

    async def refused(self, code: str, tag: str, **fields: object) -> Message:
        """The `error` of a request, which has to have this code; the connection goes on."""
        return await self.refusal(code, self.begin(tag, **fields))

    async def refusal(self, code: str, request_id: int) -> Message:
        """The same for a request that was begun."""
        answer = await self.answer(request_id)
        expect(answer["t"] == "error" and answer["code"] == code, f"the error `{code}`", answer)
        expect(not answer.get("closing", False), "that the connection goes on", answer)
        _check_retryable(answer)
        return answer

    async def fence(self) -> None:
        """Proof that the broker goes on, and that what it answered before has been read."""
        await self.problem("not_found", "get", jobs=["no-such-job-as-a-fence"])

    async def keeps_saying_until(self, waiting: Coroutine[Any, Any, object]) -> None:
        """Beats as section 8 says while another connection waits for something."""
        other = asyncio.create_task(waiting)
        while not other.done():
            await asyncio.wait([other], timeout=self.welcome["heartbeat_ms"] / 1_000)
            self.send({"t": "beat"})
        await other

    # -- what comes by itself

    async def claims(self, most: int) -> list[Push]:
        """So many claims and no more, in however many pushes."""
        return await self._items("claims", most)

    async def outcomes(self, most: int) -> list[Push]:
        """So many outcomes and no more, in however many pushes."""
        return await self._items("outcomes", most)

    async def events(self, job: str, until: Callable[[Push], bool]) -> list[Push]:
        """Events of a job up to the first one that `until` accepts; others are dropped."""
        found: list[Push] = []
        while not (found and until(found[-1])):
            push = await self.push("events", f"`events` of {job}")
            found += [event for event in push["events"] if event["job"] == job]
        return found

    async def revocation(self, job: str, reason: str) -> Push:
        """That this job's claim is over, for this reason."""
        [revoked] = await self._items_of_push("revoke", "claims")
        right = revoked["job"] == job and revoked["reason"] == reason
        expect(right, f"`revoke` of {job} with `{reason}`", revoked)
        return revoked

    async def cancellation(self, job: str) -> Push:
        """That this job is to be cancelled."""
        [cancelled] = await self._items_of_push("cancelling", "claims")
        expect(cancelled["job"] == job, f"`cancelling` of {job}", cancelled)
        return cancelled

    def nothing_more(self, tag: str) -> None:
        """That nothing of a kind has come which nobody took."""
        left = [message for message in self.received if message["t"] == tag]
        expect(not left, f"no further `{tag}`", left)

    async def closing_error(self, code: str) -> Message:
        """The `error` with which the broker closes, the last thing that it sends."""
        rest = await self.end(f"the closing error `{code}` and the connection's end")
        expect(rest and rest[-1]["t"] == "error", f"the closing error `{code}`", rest[-1:])
        error = rest[-1]
        expect(error["code"] == code and error.get("closing"), f"`{code}`, closing", error)
        _check_retryable(error)
        return error

    async def read(self) -> None:
        if self.mute or not self.welcome:
            await super().read()
            return
        while True:
            reading = asyncio.create_task(super().read())
            try:
                done, _ = await asyncio.wait(
                    [reading], timeout=self.welcome["heartbeat_ms"] / 1_000
                )
            except asyncio.CancelledError:
                reading.cancel()
                raise
            if done:
                reading.result()
                return
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.result()
                return
            self.send({"t": "beat"})

    # -- taking note

    async def _items(self, tag: str, most: int) -> list[Push]:
        found: list[Push] = []
        while len(found) < most:
            push = await self.push(tag, f"`{tag}` with {most - len(found)} more")
            found += push[tag]
        expect(len(found) == most, f"{most} {tag} in all", found)
        return found

    async def _items_of_push(self, tag: str, key: str) -> list[Push]:
        items: list[Push] = (await self.push(tag))[key]
        expect(len(items) == 1, f"`{tag}` of one claim", items)
        return items

    def _check(self, body: bytes) -> None:
        codec.decode_broker_message(body, self._result_of)

    def _result_of(self, request_id: int) -> type | None:
        request = self._pending.get(request_id)
        return None if request is None else RESULTS.get(CLIENT_MESSAGES.get(request["t"], object))

    def _accept(self, message: Message) -> bool:
        if "id" not in message or message["t"] not in ("ok", "error"):
            return True
        request = self._pending.pop(message["id"], None)
        if request is None:
            raise Failed("one answer to each request (section 5, 4)", message)
        if message["t"] == "ok":
            entries, items = len(message["results"]), len(items_of(request))
            expect(entries == items, f"{items} entries in `results` (section 5, 7)", entries)
        return True

    def _sending(self, message: Mapping[str, Any]) -> None:
        request_id = message.get("id")
        if isinstance(request_id, int):
            self._pending[request_id] = dict(message)


def _check_retryable(refusal: Message) -> None:
    """A code that is known is as retryable as the tables of section 17 say."""
    retryable = refusal.get("retryable", False)
    right = refusal["code"] not in set(Code) or retryable == (refusal["code"] in set(RETRYABLE))
    expect(right, f"`{refusal['code']}` as retryable as section 17 says", refusal)
