"""How long a job waits between two attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from packhorse_broker.jobs.backoff import MAX_WAIT_MS, wait_ms
from packhorse_broker.jobs.terms import Backoff, Growth, Jitter
from packhorse_protocol import limits

DOUBLING = Backoff(Growth.EXPONENTIAL, delay_ms=100)
FIXED = Backoff(Growth.FIXED, delay_ms=1_000)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (None, [0, 0, 0]),
        (Backoff(Growth.FIXED), [0, 0, 0]),
        (FIXED, [1_000, 1_000, 1_000]),
        (Backoff(Growth.LINEAR, delay_ms=100), [100, 200, 300, 400]),
        (DOUBLING, [100, 200, 400, 800, 1_600]),
        (replace(DOUBLING, factor_percent=150), [100, 150, 225, 338]),
        (replace(DOUBLING, factor_percent=115), [100, 115, 132]),
        (replace(DOUBLING, factor_percent=100), [100, 100, 100]),
        (replace(DOUBLING, max_ms=350), [100, 200, 350, 350]),
        (Backoff(Growth.LIST, delays_ms=(5, 50, 500)), [5, 50, 500, 500, 500]),
        (Backoff(Growth.LIST, delays_ms=(5, 50, 500), max_ms=60), [5, 50, 60, 60]),
        (Backoff(Growth.LIST, delay_ms=7), [0, 0, 0]),
    ],
)
def test_waits_grow_with_the_attempts_that_were_spent(
    backoff: Backoff | None, waits: list[int]
) -> None:
    assert [wait_ms(backoff, spent, 0.5) for spent in range(1, len(waits) + 1)] == waits


@pytest.mark.parametrize(
    ("jitter", "percent", "low", "middle", "high"),
    [
        (Jitter.NONE, 90, 1_000, 1_000, 1_000),
        (Jitter.FULL, 90, 0, 500, 1_000),
        (Jitter.EQUAL, 90, 500, 750, 1_000),
        (Jitter.SHARE, 20, 800, 1_000, 1_200),
        (Jitter.SHARE, 100, 0, 1_000, 2_000),
        (Jitter.SHARE, 0, 1_000, 1_000, 1_000),
    ],
)
def test_jitter_spreads_the_wait(
    jitter: Jitter, percent: int, low: int, middle: int, high: int
) -> None:
    backoff = replace(FIXED, jitter=jitter, jitter_percent=percent)
    assert [wait_ms(backoff, 1, chance) for chance in (0.0, 0.5, 1.0)] == [low, middle, high]


def test_maximum_holds_before_jitter() -> None:
    backoff = replace(FIXED, max_ms=100, jitter=Jitter.SHARE, jitter_percent=50)
    assert (wait_ms(backoff, 1, 0.0), wait_ms(backoff, 1, 1.0)) == (50, 150)


def test_no_wait_is_longer_than_any_duration_of_the_wire() -> None:
    assert MAX_WAIT_MS == limits.MAX_DURATION_MS
    for spent in (60, 1_000, 10**9):
        assert wait_ms(DOUBLING, spent, 0.0) == MAX_WAIT_MS
        assert wait_ms(replace(DOUBLING, max_ms=5_000), spent, 0.0) == 5_000
        assert wait_ms(replace(DOUBLING, delay_ms=0), spent, 0.0) == 0


@given(
    st.builds(
        Backoff,
        growth=st.sampled_from(Growth),
        delay_ms=st.integers(0, MAX_WAIT_MS),
        factor_percent=st.integers(100, 10_000),
        delays_ms=st.lists(st.integers(0, MAX_WAIT_MS), max_size=5).map(tuple),
        max_ms=st.integers(0, MAX_WAIT_MS),
        jitter=st.sampled_from(Jitter),
        jitter_percent=st.integers(0, 100),
    ),
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
)
def test_every_wait_is_a_whole_number_within_its_bounds(
    backoff: Backoff, spent: int, chance: float
) -> None:
    wait = wait_ms(backoff, spent, chance)
    assert isinstance(wait, int)
    longest = backoff.max_ms or MAX_WAIT_MS
    assert 0 <= wait <= longest * (2 if backoff.jitter is Jitter.SHARE else 1)
    assert wait <= 2 * wait_ms(replace(backoff, jitter=Jitter.NONE), spent, chance) + 1
