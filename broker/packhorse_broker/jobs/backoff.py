"""How long a job waits between two attempts: pure arithmetic."""

from typing import Final

from packhorse_broker.jobs.terms import Backoff, Growth, Jitter

MAX_WAIT_MS: Final = 10 * 366 * 24 * 3_600_000
"""Longest wait before jitter, in ms: ten years, as for every duration that a client may name."""


def wait_ms(backoff: Backoff | None, spent: int, chance: float) -> int:
    """The wait after attempt number `spent` (from 1), in ms; 0: none.

    `chance` is drawn at random from 0 to below 1, for jitter.
    """
    if backoff is None:
        return 0
    wait = min(_grown(backoff, spent), backoff.max_ms or MAX_WAIT_MS, MAX_WAIT_MS)
    return round(_spread(backoff, wait, chance))


def _grown(backoff: Backoff, spent: int) -> float:
    if backoff.growth is Growth.FIXED:
        return backoff.delay_ms
    if backoff.growth is Growth.LINEAR:
        return backoff.delay_ms * spent
    if backoff.growth is Growth.LIST:
        delays = backoff.delays_ms
        return delays[min(spent, len(delays)) - 1] if delays else 0
    try:
        return backoff.delay_ms * (backoff.factor_percent / 100) ** (spent - 1)
    except OverflowError:
        return MAX_WAIT_MS if backoff.delay_ms else 0


def _spread(backoff: Backoff, wait: float, chance: float) -> float:
    if backoff.jitter is Jitter.FULL:
        return chance * wait
    if backoff.jitter is Jitter.EQUAL:
        return wait / 2 + chance * wait / 2
    if backoff.jitter is Jitter.SHARE:
        return wait * (1 + backoff.jitter_percent / 100 * (2 * chance - 1))
    return wait
