"""Times that do not count towards a job's timeouts: nobody could do anything for it then."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import Struct

NEVER_MS: Final = 2**63 - 1


class Outage(NamedTuple):
    """In ms since the epoch, by the store's clock."""

    since_ms: int
    until_ms: int


class KnownOutages(Struct, frozen=True):
    """What a broker knows of outages, so that it can be told later which there were."""

    ended: tuple[Outage, ...] = ()
    """Apart from each other, and in their order."""
    sound_ms: int = 0
    """When the store took a change last."""
    doubt_ms: int = NEVER_MS
    """From then on it is not known whether it still does."""

    def at(self, now_ms: int) -> tuple[Outage, ...]:
        """All that there were; where there is doubt, all since the last change is one."""
        if now_ms < self.doubt_ms or now_ms <= self.sound_ms:
            return self.ended
        return (*self.ended, Outage(self.sound_ms, now_ms))


NO_OUTAGES: Final = KnownOutages()


def put_off(end_ms: int, begun_ms: int, outages: Iterable[Outage]) -> int:
    """When a timeout that has begun is over, if what the outages took of it does not count."""
    for outage in outages:
        since_ms = max(outage.since_ms, begun_ms)
        if since_ms < end_ms and since_ms < outage.until_ms:
            end_ms += outage.until_ms - since_ms
    return end_ms


def united(outages: Iterable[Outage]) -> tuple[Outage, ...]:
    """The same times, apart from each other and in their order."""
    found: list[Outage] = []
    for outage in sorted(outages):
        if found and outage.since_ms <= found[-1].until_ms:
            last = found.pop()
            outage = Outage(last.since_ms, max(last.until_ms, outage.until_ms))
        found.append(outage)
    return tuple(found)
