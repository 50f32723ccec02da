from datetime import timedelta

import pytest

from packhorse.durations import Duration, milliseconds, seconds
from packhorse.errors import InvalidValue


@pytest.mark.parametrize(
    ("duration", "expected_ms"),
    [
        ("250ms", 250),
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1.5s", 1_500),
        ("2d", 172_800_000),
        (0, 0),
        (1.5, 1_500),
        (timedelta(minutes=1), 60_000),
    ],
)
def test_a_duration_in_milliseconds(duration: Duration, expected_ms: int) -> None:
    assert milliseconds(duration) == expected_ms
    assert seconds(duration) == expected_ms / 1_000


@pytest.mark.parametrize("duration", ["", "soon", "30", "30 parsecs", "-1s", "1s!", -1, "4000d"])
def test_what_is_no_duration_is_named(duration: Duration) -> None:
    with pytest.raises(InvalidValue, match=r"^timeout: "):
        milliseconds(duration, "timeout")
