"""Requests to end: the first drains, a second one waits for nobody."""

import asyncio
import signal
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class EndRequests:
    """`first` and `second` are set by signals, or by whoever else has to say it."""

    def __init__(self, *, signals_repeat: bool = True) -> None:
        """`signals_repeat`: whether a further signal is the second request."""
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self._signals_repeat = signals_repeat

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT are requests; SIGHUP would end the process, and is not one."""
        loop = asyncio.get_running_loop()
        for number in END_SIGNALS:
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, _ignore_hangup)

    def _end(self, number: int) -> None:
        _log.info("signal.received", signal=signal.Signals(number).name)
        if self.first.is_set() and self._signals_repeat:
            self.second.set()
        self.first.set()


def _ignore_hangup() -> None:
    _log.info("signal.received", signal="SIGHUP", note="there is nothing to reload")
