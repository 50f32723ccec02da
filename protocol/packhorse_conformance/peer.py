"""The broker's end of a connection: a scenario says its every word.

    hello = await peer.expect("hello")
    peer.welcome(hello)
    create = await peer.expect("create")
    peer.ok(create, {"job": "a", "state": "QUEUED"})

What a library may say at any time, `take` or `log`, is answered beside.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from packhorse_conformance.channel import Channel, Ended
from packhorse_conformance.values import Message
from packhorse_conformance.verdict import Failed, expect
from packhorse_protocol import codec
from packhorse_protocol.connection import BATCH_FIELD
from packhorse_protocol.errors import RETRYABLE
from packhorse_protocol.messages import CLIENT_MESSAGES

SECRET: Final = bytes(range(32))

LIMITS: Final[Mapping[str, int]] = {
    "frame_bytes": 1024 * 1024,
    "payload_bytes": 256 * 1024,
    "result_bytes": 256 * 1024,
    "log_message_bytes": 4 * 1024,
    "batch": 1_000,
    "in_flight": 100,
}

LONG_MS: Final = 60_000
"""A heartbeat interval that no scenario lives to see."""

DONE_REQUESTS: Final = frozenset(
    {"take", "join", "unwatch", "progress", "log", "handled", "publish", "bye"}
)
"""Requests that a library may send at any time and that a plain answer satisfies."""

ENDING: Final[Mapping[str, Message]] = {
    "complete": {"state": "COMPLETE"},
    "fail": {"state": "FAILED"},
    "release": {"state": "QUEUED"},
}
"""What ends an attempt, and how a broker answers it."""

ENDED_REQUESTS: Final = frozenset({"complete", "fail", "release", "handle"})
"""Requests whose entries are a state; answered so only when the client is on its way out."""


class Peer(Channel):
    """One connection of the client under test."""

    outgoing = "broker -> client"
    incoming = "client -> broker"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heard: list[Message] = []
        """All that came but beats, in order, whether it was waited for or not."""
        self.client = ""
        self.secret = b""
        self.unanswered: dict[int, Message] = {}
        self.most_unanswered = 0
        self._greeted = False
        self._opened = False

    # -- what the client says

    async def expect(self, tag: str, what: str | None = None) -> Message:
        """The next message with this tag; what a library may say at any time is answered."""
        while True:
            self._be_courteous(tag)
            if any(message["t"] == tag for message in self.received):
                return await self.push(tag, what)
            self.trace.awaited = what or f"`{tag}`"
            if self.at_end:
                raise Ended(what or f"`{tag}`", f"the connection's end; before it {self.kept()}")
            await self.read()

    async def expect_all(self, tag: str, count: int) -> list[Message]:
        """Requests with this tag until they have so many items together: a library may put
        them into one frame or into many."""
        found: list[Message] = []
        while (items := sum(len(items_of(request)) for request in found)) < count:
            found.append(await self.expect(tag, f"`{tag}` with {count - items} more items"))
        expect(items == count, f"`{tag}` with {count} items in all", items)
        return found

    async def attempt_end(self, job: str, *tags: str) -> Message:
        """The item with which the client ends this job's attempt; it is answered."""
        tags = tags or ("complete", "fail", "release")
        what = f"{' or '.join(f'`{tag}`' for tag in tags)} of the job `{job}`"
        while True:
            self._be_courteous("")
            for request in [message for message in self.received if message["t"] in ENDING]:
                self.received.remove(request)
                self.ok(request, *(ENDING[request["t"]] for _ in items_of(request)))
                for item in items_of(request):
                    if item["job"] == job and request["t"] in tags:
                        return dict(item)
            self.trace.awaited = what
            if self.at_end:
                raise Ended(what, f"the connection's end; before it {self.kept()}")
            await self.read()

    async def see_off(self) -> None:
        """Answers whatever comes, until the client has left."""
        with contextlib.suppress(Failed):
            if not self._opened and not self.at_end:
                self.welcome(await self.push("hello"))
            while True:
                for message in list(self.unanswered.values()):
                    self._see_off(message)
                if self.at_end:
                    break
                await self.read()
        await self.close()

    def _see_off(self, message: Message) -> None:
        if message["t"] in DONE_REQUESTS:
            self.done(message)
        elif message["t"] in ENDED_REQUESTS:
            self.ok(message, *({"state": "QUEUED"} for _ in items_of(message)))
        else:
            self.refuse(message, "not_found")

    def _be_courteous(self, wanted: str) -> None:
        for message in list(self.received):
            if message["t"] in DONE_REQUESTS - {wanted}:
                self.received.remove(message)
                self.done(message)

    # -- what the broker says

    def welcome(
        self,
        hello: Message,
        *behind: Mapping[str, object],
        limits: Mapping[str, int] | None = None,
        **fields: Any,
    ) -> None:
        """Accepts the client; what is `behind` leaves in the same segment."""
        first, *others = self.welcome_of(hello, limits=limits, **fields), *behind
        data = self.frame(first)
        self.send_bytes(data + b"".join(self.frame(message) for message in others))

    def welcome_of(
        self, hello: Message, *, limits: Mapping[str, int] | None = None, **fields: object
    ) -> Message:
        """A welcome for this hello, and `fields` of it that are to be otherwise."""
        return {
            "t": "welcome",
            "version": 1,
            "client": hello.get("client") or "client-1",
            "secret": hello.get("secret") or SECRET,
            "resumed": False,
            "roles": ["create", "run", "handle", "read", "admin"],
            "heartbeat_ms": LONG_MS,
            "timeout_ms": 3 * LONG_MS,
            "limits": {**LIMITS, **(limits or {})},
            "features": [],
            "broker": "scripted",
            "store": "store-1",
            "now_ms": 1_790_000_000_000,
            "registered_at": 1_790_000_000_000,
            **fields,
        }

    def ok(self, request: Message, *results: Mapping[str, object]) -> None:
        """Answers a request with an entry for each item."""
        self.send(ok(request, *results))

    def done(self, request: Message) -> None:
        """Answers a request that has nothing to tell."""
        self.send(done(request))

    def refuse(self, request: Message | None, code: str, **fields: object) -> None:
        """Refuses a request as a whole or, where there is none, says that of the connection."""
        self.send(refused(request, code, **fields))

    def close_with(self, code: str, **fields: object) -> None:
        """The closing error."""
        self.send(refused(None, code, closing=True, **fields))

    # -- taking note

    def _check(self, body: bytes) -> None:
        codec.decode_client_message(body)

    def _accept(self, message: Message) -> bool:
        self.heard.append(message)
        first, self._greeted = not self._greeted, True
        expect(
            (message["t"] == "hello") is first,
            "`hello` as the first message, and only there (section 6)",
            f"`{message['t']}`",
        )
        expect(
            message["t"] == "hello" or self._opened,
            "that the client waits for the `welcome` (section 6)",
            f"`{message['t']}` before it",
        )
        request_id = message.get("id")
        if isinstance(request_id, int):
            if request_id in self.unanswered:
                raise Failed("an `id` that no unanswered request has (section 5, 4)", request_id)
            self.unanswered[request_id] = message
            self.most_unanswered = max(self.most_unanswered, len(self.unanswered))
        return True

    def _sending(self, message: Mapping[str, Any]) -> None:
        if message.get("t") in ("ok", "error"):
            self.unanswered.pop(message.get("id", 0), None)
        elif message.get("t") == "welcome":
            self._opened = True
            self.client, self.secret = message["client"], message["secret"]
            self.frame_bytes = message["limits"]["frame_bytes"]


def ok(request: Message, *results: Mapping[str, object]) -> Message:
    """The answer to a request, with an entry for each item."""
    return {"t": "ok", "id": request["id"], "results": list(results)}


def done(request: Message) -> Message:
    """The answer to a request that has nothing to tell."""
    return ok(request, *({} for _ in items_of(request)))


def refused(request: Message | None, code: str, **fields: object) -> Message:
    """The refusal of a whole request, or of a connection."""
    identified = {} if request is None else {"id": request["id"]}
    return {"t": "error", **_refusal(code, fields), **identified}


def problem(code: str, **fields: object) -> Message:
    """The entry of an item that is refused."""
    return {"problem": _refusal(code, fields)}


def items_of(request: Message) -> list[Any]:
    """The items of a batch; of another request one."""
    field = BATCH_FIELD.get(CLIENT_MESSAGES[request["t"]])
    return [None] if field is None else list(request[field])


def _refusal(code: str, fields: Mapping[str, object]) -> Message:
    retryable = {"retryable": True} if code in set(RETRYABLE) else {}
    return {"code": code, "message": f"it is {code}", **retryable, **fields}
