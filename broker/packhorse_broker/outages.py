"""Times in which the store took no changes, or no broker was there to ask for any.

    outages.begin(await registry.last_run(), now_ms)     at the start
    outages.failed()                                     the store could not be reached
    outages.sound(now_ms)                                it took a change that was asked for then

They do not count towards the timeouts of jobs, and a client that was not heard in one is not
given up. All times are by the store's clock: one that is set forward is an outage, too.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from packhorse_broker.jobs.outages import NO_OUTAGES, KnownOutages, Outage, united
from packhorse_broker.store.registry import MAX_OUTAGES, LastRun

GAP_SWEEPS: Final = 2
"""Changes that the store takes are further apart than so many sweeps: it, or this process, stood
still. It matters to jobs, and to clients for whose timeout it was long."""

LEAST_GAP_MS: Final = 250
"""A busy machine makes as much by itself."""

LONG_SWEEPS: Final = 5
"""After a longer gap no client is given up that was silent in it."""


@dataclass(frozen=True, slots=True)
class _Gap:
    since_ms: int
    until_ms: int
    deaf: bool
    """Whether nobody can have been heard in it, however short it was."""


class Outages:
    """Those that this broker knows of: `known` is for jobs, `spares` for clients."""

    def __init__(self, *, sweep_ms: int) -> None:
        self._gap_ms = max(GAP_SWEEPS * sweep_ms, LEAST_GAP_MS)
        self._long_ms = LONG_SWEEPS * sweep_ms
        self._gaps: deque[_Gap] = deque(maxlen=MAX_OUTAGES)
        self._ended: tuple[Outage, ...] = ()
        self._sound_ms = 0
        self._deaf = False
        self.known: KnownOutages = NO_OUTAGES

    def begin(self, last_run: LastRun, now_ms: int) -> None:
        """This broker starts: it has heard nobody, and perhaps no other has."""
        self._gaps.clear()
        self._ended = last_run.outages
        away_ms = now_ms - last_run.until_ms
        was_away = last_run.until_ms and away_ms > self._gap_ms
        self._sound_ms = last_run.until_ms if was_away else now_ms
        self.failed()

    def failed(self) -> None:
        """What passes until it is `sound` again is an outage."""
        self._deaf = True
        self._look_anew()

    def sound(self, now_ms: int) -> None:
        """A change that was asked for at `now_ms` was taken."""
        if self._in_doubt(now_ms):
            self._gaps.append(_Gap(self._sound_ms, now_ms, self._deaf))
            self._ended += self.under_way(now_ms)
        self._sound_ms = max(now_ms, self._sound_ms)
        self._deaf = False
        self._look_anew()

    def under_way(self, now_ms: int) -> tuple[Outage, ...]:
        """The outage that ends now, if the store takes a change."""
        going_on = self._in_doubt(now_ms) and now_ms > self._sound_ms
        return (Outage(self._sound_ms, now_ms),) if going_on else ()

    def spares(self, timeout_ms: int, patience_ms: int, now_ms: int) -> bool:
        """Whether a client's silence proves nothing, `patience_ms` after the outage in which it
        could not be heard."""
        return any(
            gap.until_ms + patience_ms > now_ms
            and (gap.deaf or _length_ms(gap) > min(self._long_ms, timeout_ms / 2))
            for gap in self._gaps
        )

    def _in_doubt(self, now_ms: int) -> bool:
        return self._deaf or now_ms - self._sound_ms > self._gap_ms

    def _look_anew(self) -> None:
        self._ended = united(self._ended)[-MAX_OUTAGES:]
        doubt_ms = self._sound_ms if self._deaf else self._sound_ms + self._gap_ms + 1
        self.known = KnownOutages(self._ended, self._sound_ms, doubt_ms)


def _length_ms(gap: _Gap) -> int:
    return gap.until_ms - gap.since_ms
