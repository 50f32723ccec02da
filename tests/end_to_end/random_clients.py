"""Clients that send valid messages at random, and complain of any answer that is not documented.

What they send follows from a seed. The messages come from the strategies of the protocol's tests,
so that every field has values up to its bounds; most names in them are then replaced by a few
that all clients share, and tokens by those that were received, so that they are about something.
"""

import random
from collections import Counter, deque
from collections.abc import Iterable
from itertools import count
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from packhorse_protocol.errors import CODE_SCOPES, Code
from packhorse_protocol.messages import (
    CLIENT_MESSAGES,
    Backoff,
    Bye,
    Claims,
    Created,
    Error,
    Hello,
    Ok,
    Problem,
    Refused,
    TypeSchema,
    Welcome,
)
from packhorse_protocol.records import replace
from tests.protocol.strategies import records
from tests.support.wire import Wire

NEW_JOBS: Final = 1_000
"""Ids that new jobs may get; some creates are repeated, or in conflict with an earlier one."""

TYPES: Final = ("red", "green", "blue")
GROUPS: Final = ("east", "west")
LABELS: Final = ("new", "old", "odd")

POOLS: Final = {
    **dict.fromkeys(("type", "types", "weights", "after"), TYPES),
    **dict.fromkeys(("group", "groups"), GROUPS),
    **dict.fromkeys(("label", "labels", "unique_key", "key"), LABELS),
}
"""Names that replace random ones, by the fields that hold them."""

SHARES: Final = {"create": 15, "take": 6, "complete": 6, "fail": 6} | dict.fromkeys(
    ("configure", "remove", "bye"), 1
)
"""How often a message comes, beside a share of 3: without some there is nothing to do, and after
others nothing is left to do."""

SPEAK_TO_NOBODY: Final = frozenset({"beat", "hello"})
"""Messages without an answer, or that open a connection."""

PATIENCE_MS: Final = 600_000
"""Nobody is removed for being silent while the next messages are made up."""

MOST_AT_ONCE: Final = 8
"""Requests that are sent before the first answer is read."""

MOST_JOBS: Final = 16
"""Jobs of which clients speak: few, so that several clients speak of the same one at once."""

MOST_CLAIMS: Final = 8
"""Claims of which clients speak: few, so that some of them are still held."""

MOSTLY_LEFT_OUT: Final = frozenset(
    {"paused", "draining", "paused_until", "max_jobs", "max_bytes"}
) | {
    *("durability", "unique", "group", "cursor", "since", "until", "keep_ms"),
    *("delay_ms", "delay_until"),
}
"""Optional fields without which most messages go: they would stop all work."""

SHORT_MS: Final = 500
"""Most durations are no longer: what they are about happens while the test runs."""

DOCUMENTED: Final = frozenset(Code) - {Code.INTERNAL, Code.UNAVAILABLE}
"""The store is there all the time."""

CLOSING: Final = frozenset(CODE_SCOPES["connection"])
"""Codes of errors that end a connection."""


def messages(number: int, most: int) -> list[Any]:
    """So many requests of all kinds, by the seed `number`."""
    found: list[Any] = []
    asking = [tag for tag in CLIENT_MESSAGES if tag not in SPEAK_TO_NOBODY]
    kinds = st.sampled_from([tag for tag in asking for _ in range(SHARES.get(tag, 3))])

    @seed(number)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kinds.flatmap(lambda tag: records(CLIENT_MESSAGES[tag])))
    def collect(message: Any) -> None:
        found.append(message)

    collect()
    return found


def hellos(number: int, most: int) -> list[Hello]:
    """So many hellos, by the seed `number`."""
    found: list[Hello] = []

    @seed(number)
    @settings(max_examples=most, database=None, deadline=None, phases=[Phase.generate])
    @given(records(Hello))
    def collect(hello: Hello) -> None:
        found.append(hello)

    collect()
    return found


class Shared:
    """What all clients know: the newest jobs and claims, and the tally of what was answered."""

    def __init__(self) -> None:
        self.jobs: deque[str] = deque(["none"], maxlen=MOST_JOBS)
        self.claims: deque[tuple[str, bytes]] = deque(maxlen=MOST_CLAIMS)
        self.tally: Counter[str] = Counter()


class RandomClient:
    """One client; `say` sends messages, `leave` ends it."""

    def __init__(self, url: str, name: str, chance: random.Random, shared: Shared) -> None:
        self._url = url
        self._name = name
        self._chance = chance
        self._shared = shared
        self._ids = count(1)
        self._wire: Wire | None = None
        self._secret: bytes | None = None

    async def say(self, said: Iterable[Any]) -> None:
        """Sends these messages and checks what comes back."""
        batch: list[Any] = []
        for message in said:
            batch.append(replace(self._grounded(message), id=next(self._ids)))
            if len(batch) >= self._chance.randint(1, MOST_AT_ONCE) or isinstance(message, Bye):
                await self._send(batch)
                batch = []
        await self._send(batch)

    async def greet(self, hello: Hello) -> None:
        """Another connection, with any hello: it is welcomed or told why not."""
        if self._chance.random() < 0.7:
            hello = replace(hello, versions=(1,))
        if self._secret is not None and self._chance.random() < 0.3:
            hello = replace(hello, client=self._name)
        wire = await Wire.dial(self._url)
        wire.send(hello)
        answer = await wire.push(object)
        if isinstance(answer, Welcome):
            self._shared.tally["welcomed"] += 1
        else:
            assert isinstance(answer, Refused)
            self._check_refused(answer, closing=True)
        await wire.abort()

    async def leave(self) -> None:
        """Says goodbye and closes."""
        await self._send([Bye(id=next(self._ids))])

    # -- one connection after another

    async def _connected(self) -> Wire:
        if self._wire is None:
            self._wire = await self._open()
        elif self._chance.random() < 0.02:
            former, self._wire = self._wire, await self._open()
            self._check_refused(await former.closing_error(), closing=True)
            await former.close()
        elif self._chance.random() < 0.02:
            await self._wire.abort()
            self._wire = await self._open()
        return self._wire

    async def _open(self) -> Wire:
        while True:
            wire = await Wire.dial(self._url)
            wire.send(
                Hello(versions=(1,), client=self._name, secret=self._secret, timeout_ms=PATIENCE_MS)
            )
            answer = await wire.push(object)
            if isinstance(answer, Welcome):
                wire.accept(answer)
                self._secret = answer.secret
                return wire
            # The last of its jobs is being taken from the client that said goodbye.
            assert isinstance(answer, Refused)
            assert answer.retryable, answer
            self._check_refused(answer, closing=True)
            await wire.close()

    async def _send(self, batch: list[Any]) -> None:
        if not batch:
            return
        wire = await self._connected()
        for message in batch:
            wire.send(message)
        for message in batch:
            try:
                answer = await wire.answer(message.id)
            except AssertionError as error:
                raise AssertionError(f"no answer to {message}") from error
            self._check_answer(message, answer)
        for pushed in wire.kept(object):
            self._shared.tally[type(pushed).__name__] += 1
            if isinstance(pushed, Refused):
                self._check_refused(pushed, closing=False)
            elif isinstance(pushed, Claims):
                self._shared.claims.extend((claim.job, claim.token) for claim in pushed.claims)
        if isinstance(batch[-1], Bye):
            await wire.ended()
            await wire.close()
            self._wire = self._secret = None

    # -- what is documented

    def _check_answer(self, message: Any, answer: Ok | Refused) -> None:
        kind = type(message).__name__
        if isinstance(answer, Refused):
            self._check_refused(answer, closing=False)
            self._shared.tally[f"{kind} {answer.code}"] += 1
            return
        for result in answer.results:
            if isinstance(result, Problem):
                assert result.code in DOCUMENTED, (message, result)
                self._shared.tally[f"{kind} {result.code}"] += 1
            else:
                self._shared.tally[kind] += 1
                if isinstance(result, Created):
                    self._shared.jobs.append(result.job)

    def _check_refused(self, refused: Refused, *, closing: bool) -> None:
        assert refused.code in (CLOSING if closing else DOCUMENTED), refused
        assert refused.closing is closing, refused

    # -- names that mean something

    def _grounded(self, value: Any) -> Any:
        changes: dict[str, Any] = {}
        for field in fields(value):
            found = getattr(value, field.name)
            if field.name in MOSTLY_LEFT_OUT and field.default is not NODEFAULT:
                if self._chance.random() < 0.85:
                    changes[field.name] = field.default
            elif isinstance(found, Struct):
                changes[field.name] = self._grounded(found)
            elif isinstance(found, tuple) and found and isinstance(found[0], Struct):
                changes[field.name] = tuple(map(self._grounded, found))
            elif self._chance.random() < 0.85:
                changes[field.name] = self._changed(value, field.name, found)
        if hasattr(value, "token") and self._shared.claims and self._chance.random() < 0.9:
            changes["job"], changes["token"] = self._chance.choice(self._shared.claims)
        return replace(value, **changes)

    def _changed(self, record: Any, name: str, found: Any) -> Any:
        chance = self._chance
        if name == "id" and (found is None or isinstance(found, str)):
            return f"job-{chance.randrange(NEW_JOBS)}"
        if name == "schema" and isinstance(record, TypeSchema):
            return chance.choice([b"", b"{}", b'{"type": "string"}', found])
        if name == "credit":
            return chance.randint(1, 20)
        if name.endswith("_ms") and isinstance(found, int) and not isinstance(found, bool):
            return chance.randint(0, SHORT_MS) or found
        if name == "persistent":
            return True
        pool = tuple(self._shared.jobs) if name in ("job", "jobs") else POOLS.get(name)
        if pool is None or (name == "type" and isinstance(record, Backoff | Error)):
            return found
        match found:
            case str():
                return chance.choice(pool)
            case tuple():
                return tuple(dict.fromkeys(chance.choice(pool) for _ in found))
            case dict():
                return {name: chance.randint(1, 9) for name in chance.sample(pool, 2)}
            case _:
                return found
