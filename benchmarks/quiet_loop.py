"""An event loop that does the same each time, however fast the store and the machine are.

While it is held its clock stands still, so that no timer is due, and it hears of the store only
when everything else is at rest and the store has answered all that it was asked: what is done in
which order, and what goes into which transaction, follows from the program alone. Clients have to
be in this process, on Unix sockets: what is written to these can be read at once.
"""

import asyncio
import fcntl
import selectors
import socket
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from benchmarks.store_meter import ANSWER_S, StoreMeter

Ready: TypeAlias = list[tuple[selectors.SelectorKey, int]]

HELD_S: Final = 60
"""So long the clock may stand still: what waits for time goes on then, instead of for ever."""

_NOW: Final = 0.0


class QuietLoop(asyncio.SelectorEventLoop):
    """Like any other loop, but within `held`."""

    def __init__(self) -> None:
        self._turns = _Turns()
        self._stands_at: float | None = None
        super().__init__(self._turns)

    def time(self) -> float:
        now_s = super().time()
        stands_at = self._stands_at
        return now_s if stands_at is None or now_s > stands_at + HELD_S else stands_at

    @contextmanager
    def held(self, store: StoreMeter) -> Iterator[None]:
        self._stands_at = self.time()
        self._turns.store = store
        try:
            yield
        finally:
            self._turns.store = self._stands_at = None

    async def rest(self) -> None:
        """Until nothing happens any more unless time passes. Only within `held`."""
        self._turns.resting = self.create_future()
        await self._turns.resting

    @property
    def exchanges(self) -> int:
        """How often all had to wait for the store, so far."""
        return self._turns.exchanges


class _Turns(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.store: StoreMeter | None = None
        self.resting: asyncio.Future[None] | None = None
        self.exchanges = 0

    def select(self, timeout: float | None = None) -> Ready:
        if self.store is None:
            return super().select(timeout)
        to_store = self._to_store(self.store)
        ready = self._ready()
        inside = [one for one in ready if one[0].fd not in to_store]
        if inside or timeout == _NOW:
            return inside
        _until_answered(self.store, to_store)
        answered = self._ready()
        if answered:
            self.exchanges += 1
        elif self.resting is not None:
            resting, self.resting = self.resting, None
            resting.set_result(None)
        else:
            return super().select(timeout)
        return answered

    def _ready(self) -> Ready:
        return sorted(super().select(_NOW), key=lambda one: one[0].fd)

    def _to_store(self, store: StoreMeter) -> set[int]:
        return {key.fd for key in self.get_map().values() if _peer(key.fd) == store.path}


def _peer(fd: int) -> str:
    with socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM) as found:
        try:
            return str(found.getpeername())
        except OSError:
            return ""


def _until_answered(store: StoreMeter, fds: set[int]) -> None:
    """Until the store has read all that was written to it, and answered it."""
    give_up_s = time.monotonic() + ANSWER_S
    while True:
        is_read = not any(map(_unread_bytes, fds))
        store.ping()
        if is_read:
            return
        if time.monotonic() > give_up_s:
            raise TimeoutError("the store does not read what it is asked")


def _unread_bytes(fd: int) -> int:
    """What the other end has still to read, and what the kernel needs for it."""
    found: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    return found
