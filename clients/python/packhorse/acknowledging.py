"""Outcomes that the broker is being told are handled, each at most once at a time."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from packhorse.outcome import Acknowledge
from packhorse.requests import quietly
from packhorse_protocol.messages import Done

Key = TypeVar("Key")


class Acknowledgements(Generic[Key]):
    """Those under way, by what names an outcome; `later` makes an outcome's own."""

    def __init__(self) -> None:
        self._under_way: dict[Key, asyncio.Future[Done]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._under_way

    def later(self, key: Key, send: "Callable[[], asyncio.Future[Done]]") -> Acknowledge:
        """Sends once, however often it is called; again only if that failed."""
        answer: asyncio.Future[Done] | None = None

        def acknowledge() -> asyncio.Future[Done]:
            nonlocal answer
            if answer is None or (answer.done() and _failed(answer)):
                answer = send()
                quietly(answer)
                self._under_way[key] = answer
                answer.add_done_callback(lambda _: self._under_way.pop(key, None))
            return answer

        return acknowledge

    async def settled(self, within_s: float) -> None:
        """Returns when each so far is answered, or after that many seconds."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=within_s)


def _failed(answer: "asyncio.Future[Done]") -> bool:
    return answer.cancelled() or answer.exception() is not None
