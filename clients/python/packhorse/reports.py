"""What one running job says to the broker: progress, log, and that it needs more time."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from packhorse.deadlines import Deadline
from packhorse.errors import InvalidValue, NotFound, StaleClaim
from packhorse.requests import Requests
from packhorse_protocol.limits import MAX_TEXT_CHARS, MAX_TRACEBACK_CHARS
from packhorse_protocol.messages import (
    Claim,
    Done,
    Extension,
    Limits,
    LogReport,
    ProgressReport,
)

MAX_UNSENT_LINES: Final = 256
"""Log lines of one job without an answer, above which `log` waits: a job that writes faster than
the broker takes is slowed down, instead of filling memory."""

CUT: Final = "…"
"""Stands at the end of a text that was longer than the broker takes."""

_log = logging.getLogger("packhorse")


class Reporter:
    """Used in the event loop's thread. `stale` is called when the broker says the claim is over.

    Lines and progress are kept in the order in which the job said them: they are requests of two
    kinds, so one kind at a time is on its way. Progress that has not left yet is replaced by
    newer progress, which stands where the newer one was said.
    """

    def __init__(
        self,
        claim: Claim,
        requests: Requests,
        limits: Limits,
        deadline: Deadline,
        stale: Callable[[], None],
    ) -> None:
        self._job = claim.job
        self._token = claim.token
        self._requests = requests
        self._max_line_bytes = limits.log_message_bytes
        self._deadline = deadline
        self._stale = stale
        # What was said and has not left: lines, then progress, then the lines after it.
        self._lines: list[LogReport] = []
        self._progress: ProgressReport | None = None
        self._lines_after: list[LogReport] = []
        self._lines_sent = 0
        self._progress_sent = False
        self._waiting: list[asyncio.Future[None]] = []
        self._stopped = False

    def stop(self) -> None:
        """The claim is over: nothing more is sent, and nobody waits for answers."""
        self._stopped = True
        self._lines, self._progress, self._lines_after = [], None, []
        self._wake()

    def progress(self, percent: int, text: str) -> None:
        """Reports, or replaces what was to be reported and has not left.

        Raises `InvalidValue` if `percent` is not 0 to 100.
        """
        check_percent(percent)
        self._lines += self._lines_after
        self._lines_after = []
        self._progress = ProgressReport(
            job=self._job,
            token=self._token,
            percent=int(percent),
            text=cut(text, max_chars=MAX_TEXT_CHARS),
        )
        self._send()

    async def log(self, message: str) -> None:
        """Adds a line; waits while `MAX_UNSENT_LINES` are without an answer."""
        while self._unanswered_lines >= MAX_UNSENT_LINES and not self._stopped:
            await self._next_answer()
        line = cut(message, max_chars=MAX_TRACEBACK_CHARS, max_bytes=self._max_line_bytes)
        report = LogReport(job=self._job, token=self._token, messages=(line,))
        (self._lines if self._progress is None else self._lines_after).append(report)
        self._send()

    async def extend(self, run_ms: int) -> float | None:
        """Moves the run timeout. Returns the seconds that remain then, None: without limit.

        Raises `StaleClaim` if the claim is over, `InvalidValue` for no time at all.
        """
        if run_ms < 1:
            raise InvalidValue("extend: the attempt has to be given at least 1 ms")
        extension = Extension(job=self._job, token=self._token, run_ms=run_ms)
        try:
            extended = await self._requests.extend.submit(extension)
        except (StaleClaim, NotFound):
            self._claim_over()
            raise
        self._deadline.move(extended.remaining_ms)
        return self._deadline.remaining_s

    async def flushed(self) -> None:
        """Returns when all reports so far are answered: what ends the claim comes after them."""
        while self._waits_for_answers and not self._stopped:
            await self._next_answer()

    @property
    def _waits_for_answers(self) -> bool:
        return self._unanswered_lines > 0 or self._progress is not None or self._progress_sent

    @property
    def _unanswered_lines(self) -> int:
        return len(self._lines) + len(self._lines_after) + self._lines_sent

    async def _next_answer(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def _send(self) -> None:
        """Whatever may leave now: nothing overtakes what the job said before."""
        if self._stopped:
            return
        if self._lines and not self._progress_sent:
            lines, self._lines = self._lines, []
            self._lines_sent += len(lines)
            for line in lines:
                self._requests.log.submit(line).add_done_callback(self._line_answered)
        if self._progress is not None and not self._lines_sent and not self._progress_sent:
            report, self._progress = self._progress, None
            self._lines, self._lines_after = self._lines_after, []
            self._progress_sent = True
            sent = self._requests.progress.submit(report)
            sent.add_done_callback(self._progress_answered)

    def _progress_answered(self, answer: "asyncio.Future[Done]") -> None:
        self._progress_sent = False
        self._judge(answer)

    def _line_answered(self, answer: "asyncio.Future[Done]") -> None:
        self._lines_sent -= 1
        self._judge(answer)

    def _judge(self, answer: "asyncio.Future[Done]") -> None:
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, StaleClaim | NotFound):
            self._claim_over()
        elif error is not None:
            _log.warning("a report on job %s was lost: %s", self._job, error)
        self._send()
        self._wake()

    def _claim_over(self) -> None:
        self.stop()
        self._stale()


def check_percent(percent: int) -> None:
    """Raises `InvalidValue` for what is no share of a hundred."""
    if not 0 <= percent <= 100:
        raise InvalidValue(f"progress: {percent} must be between 0 and 100")


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
