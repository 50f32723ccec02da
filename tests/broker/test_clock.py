"""What a broker makes of the answers of the store's clock."""

import pytest

from packhorse_broker.clock import StoreClock, monotonic_ms


def ahead_ms(clock: StoreClock) -> float:
    """By how much the clock is ahead of this machine's monotonic one, to the millisecond."""
    return clock.now_ms() - monotonic_ms()


def told(clock: StoreClock, offset_ms: float, took_ms: float, *, asked_ms: float) -> float:
    """The store answered at once or at the very end of so many milliseconds."""
    return clock.set(asked_ms + took_ms + offset_ms, asked_ms, asked_ms + took_ms)


def test_the_first_answer_counts_however_slow() -> None:
    clock = StoreClock()
    told(clock, 5_000_000, 400, asked_ms=monotonic_ms())
    assert ahead_ms(clock) == pytest.approx(5_000_000, abs=2)


def test_it_is_never_ahead_of_the_store() -> None:
    """The store stood still, and read its clock before or after that."""
    early, late, asked_ms = StoreClock(), StoreClock(), monotonic_ms()
    early.set(asked_ms + 1_000, asked_ms, asked_ms + 400)
    late.set(asked_ms + 400 + 1_000, asked_ms, asked_ms + 400)
    assert ahead_ms(early) == pytest.approx(600, abs=2)
    assert ahead_ms(late) == pytest.approx(1_000, abs=2)


def test_a_slow_answer_does_not_spoil_a_quick_one() -> None:
    clock, now_ms = StoreClock(), monotonic_ms()
    told(clock, 1_000, 2, asked_ms=now_ms)
    assert told(clock, 1_000, 200, asked_ms=now_ms + 10) == 0
    assert ahead_ms(clock) == pytest.approx(1_000, abs=2)


def test_a_quick_answer_mends_a_slow_one() -> None:
    clock, now_ms = StoreClock(), monotonic_ms()
    told(clock, 1_000, 200, asked_ms=now_ms)
    assert told(clock, 1_000, 2, asked_ms=now_ms + 10) == 0
    assert ahead_ms(clock) == pytest.approx(1_000, abs=2)


def test_an_old_answer_is_worth_less_than_a_new_one_of_the_same_speed() -> None:
    clock, now_ms = StoreClock(), monotonic_ms()
    told(clock, 1_000, 2, asked_ms=now_ms)
    told(clock, 1_001, 3, asked_ms=now_ms + 60_000)
    assert ahead_ms(clock) == pytest.approx(1_001, abs=2)


@pytest.mark.parametrize("took_ms", [2, 400])
def test_a_clock_that_was_set_is_noticed_by_any_answer(took_ms: int) -> None:
    clock, now_ms = StoreClock(), monotonic_ms()
    told(clock, 1_000, 2, asked_ms=now_ms)
    drift_ms = told(clock, 61_000, took_ms, asked_ms=now_ms + 10)
    assert drift_ms == pytest.approx(60_000, abs=300)
    assert ahead_ms(clock) == pytest.approx(61_000, abs=2)


def test_it_never_goes_back() -> None:
    clock, now_ms = StoreClock(), monotonic_ms()
    told(clock, 100_000, 2, asked_ms=now_ms)
    before = clock.now_ms()
    told(clock, 0, 2, asked_ms=now_ms + 10)
    assert clock.now_ms() == before
