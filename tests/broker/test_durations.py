import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhorse_broker.durations import format_ms, parse_ms


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        (0, 0),
        (1500, 1_500),
        ("1500", 1_500),
        ("250ms", 250),
        ("30s", 30_000),
        (" 30s ", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("90m", 5_400_000),
    ],
)
def test_durations_are_read(value: int | str, expected_ms: int) -> None:
    assert parse_ms(value) == expected_ms


@pytest.mark.parametrize(
    "value",
    [-1, True, "", " ", "s", "1.5s", "-1s", "30 s", "30S", "1m1h", "1s1s", "1x", "٣s", "9" * 1000],
)
def test_other_things_are_refused(value: int | str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_ms(value)


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_written_reads_back(duration_ms: int) -> None:
    assert parse_ms(format_ms(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("duration_ms", "text"), [(0, "0ms"), (5_400_000, "1h30m"), (1_500, "1s500ms"), (250, "250ms")]
)
def test_durations_are_written_short(duration_ms: int, text: str) -> None:
    assert format_ms(duration_ms) == text
