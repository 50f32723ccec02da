"""How a running job learns that it is to stop."""

import asyncio
import threading


class Cancelled(asyncio.CancelledError):
    """The job is to stop: somebody cancelled it, or its claim is over.

    Raised by `check_cancelled`, and in the midst of a job function that runs in a process. It is
    an `asyncio.CancelledError`, so that one `except` serves all kinds of functions; like that one
    it is no `Exception`, and is best left to pass after cleaning up.
    """


class Halt:
    """Whether one run is to stop, for those who wait in the event loop and those in threads.

    `cancelled` is set as soon as the run is to stop, whatever the cause; `revoked` when its claim
    is over. The events of the loop are made when somebody asks for them, as most runs never do;
    those of threads at once, for runs made with `threads`: there they are asked for by threads.
    """

    __slots__ = ("_events", "_is_cancelled", "_is_revoked", "_thread_events", "why")

    def __init__(self, *, threads: bool) -> None:
        self.why = ""
        """What was said when somebody cancelled the job."""
        self._is_cancelled = False
        self._is_revoked = False
        self._events: tuple[asyncio.Event, asyncio.Event] | None = None
        self._thread_events = (threading.Event(), threading.Event()) if threads else None

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    @property
    def cancelled(self) -> asyncio.Event:
        return self._in_loop()[0]

    @property
    def revoked(self) -> asyncio.Event:
        return self._in_loop()[1]

    @property
    def in_threads(self) -> tuple[threading.Event, threading.Event]:
        """`cancelled` and `revoked` again, for a run that was made with `threads`."""
        assert self._thread_events is not None
        return self._thread_events

    def cancel(self, why: str) -> None:
        """The job is to be cancelled."""
        self.why = why
        self._is_cancelled = True
        self._tell()

    def revoke(self) -> None:
        """The claim is over: whatever comes of the run, nobody is told."""
        self._is_cancelled = self._is_revoked = True
        self._tell()

    def error(self) -> Cancelled:
        """What a function that asks is told."""
        if self._is_revoked:
            return Cancelled("the claim is over")
        return Cancelled(
            f"the job was cancelled: {self.why}" if self.why else "the job was cancelled"
        )

    def _in_loop(self) -> tuple[asyncio.Event, asyncio.Event]:
        if self._events is None:
            self._events = (asyncio.Event(), asyncio.Event())
            self._tell()
        return self._events

    def _tell(self) -> None:
        for events in (self._events, self._thread_events):
            if events is not None:
                cancelled, revoked = events
                if self._is_revoked:
                    revoked.set()
                if self._is_cancelled:
                    cancelled.set()
