"""Progress and log of one running job, on their way to the broker."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from packhorse.errors import InvalidValue, NotFound, StaleClaim
from packhorse.requests import Requests
from packhorse_protocol.limits import MAX_TEXT_CHARS, MAX_TRACEBACK_CHARS
from packhorse_protocol.messages import Claim, Done, Limits, LogReport, ProgressReport

MAX_UNSENT_LINES: Final = 256
"""Log lines of one job without an answer, above which `log` waits: a job that writes faster than
the broker takes is slowed down, instead of filling memory."""

CUT: Final = "…"
"""Stands at the end of a text that was longer than the broker takes."""

_log = logging.getLogger("packhorse")


class Reporter:
    """Used in the event loop's thread. `stale` is called when the broker says the claim is over."""

    def __init__(
        self, claim: Claim, requests: Requests, limits: Limits, stale: Callable[[], None]
    ) -> None:
        self._job = claim.job
        self._token = claim.token
        self._requests = requests
        self._max_line_bytes = limits.log_message_bytes
        self._stale = stale
        self._next_progress: ProgressReport | None = None
        self._progress: asyncio.Future[Done] | None = None
        self._lines: deque[asyncio.Future[Done]] = deque()

    def progress(self, percent: int, text: str) -> None:
        """Reports, or replaces what was to be reported while an earlier report is on its way."""
        if not 0 <= percent <= 100:
            raise InvalidValue(f"progress: {percent} must be between 0 and 100")
        self._next_progress = ProgressReport(
            job=self._job,
            token=self._token,
            percent=int(percent),
            text=cut(text, max_chars=MAX_TEXT_CHARS),
        )
        if self._progress is None:
            self._send_progress()

    async def log(self, message: str) -> None:
        """Adds a line; waits while `MAX_UNSENT_LINES` are on their way."""
        while len(self._lines) >= MAX_UNSENT_LINES:
            await asyncio.wait([self._lines[0]])
        line = cut(message, max_chars=MAX_TRACEBACK_CHARS, max_bytes=self._max_line_bytes)
        report = LogReport(job=self._job, token=self._token, messages=(line,))
        sent = self._requests.log.submit(report)
        self._lines.append(sent)
        sent.add_done_callback(self._line_answered)

    async def flushed(self) -> None:
        """Returns when all reports so far are answered: what ends the claim comes after them."""
        while self._lines or self._progress is not None:
            waiting = [*self._lines, *([self._progress] if self._progress is not None else [])]
            await asyncio.wait(waiting)

    def _send_progress(self) -> None:
        report, self._next_progress = self._next_progress, None
        if report is not None:
            self._progress = self._requests.progress.submit(report)
            self._progress.add_done_callback(self._progress_answered)

    def _progress_answered(self, answer: "asyncio.Future[Done]") -> None:
        self._progress = None
        self._judge(answer)
        self._send_progress()

    def _line_answered(self, answer: "asyncio.Future[Done]") -> None:
        self._lines.remove(answer)
        self._judge(answer)

    def _judge(self, answer: "asyncio.Future[Done]") -> None:
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, StaleClaim | NotFound):
            self._next_progress = None
            self._stale()
        elif error is not None:
            _log.warning("a report on job %s was lost: %s", self._job, error)


def cut(text: str, *, max_chars: int, max_bytes: int | None = None) -> str:
    """The text, shortened to what the broker takes, with a mark where it was."""
    if len(text) > max_chars:
        text = text[: max_chars - 1] + CUT
    if max_bytes is not None and 4 * len(text) > max_bytes:
        encoded = text.encode("utf-8", "surrogatepass")
        if len(encoded) > max_bytes:
            room = max(0, max_bytes - len(CUT.encode()))
            text = encoded[:room].decode("utf-8", "ignore") + CUT
    return text
