from datetime import UTC, datetime, timedelta, timezone

import pytest

from packhorse import InvalidValue, Moment
from packhorse.moments import epoch_ms


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (0, 0),
        (1_700_000_000_123, 1_700_000_000_123),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2023, 11, 14, 22, 13, 20, 123_999, tzinfo=UTC), 1_700_000_000_123),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
    ],
)
def test_milliseconds_since_the_epoch(moment: Moment, expected: int) -> None:
    assert epoch_ms(moment) == expected


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 1, 1), "when: 2026-01-01 00:00:00 has no time zone"),  # noqa: DTZ001
        (datetime(1969, 1, 1, tzinfo=UTC), "when: .* lies before 1970"),
        (-1, "when: -1 lies before 1970"),
        (True, "when: True is no point in time"),
        ("2026-01-01", "when: '2026-01-01' is neither a datetime nor milliseconds"),
        (1.5, "when: 1.5 is neither"),
    ],
)
def test_what_is_no_point_in_time(moment: Moment, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        epoch_ms(moment, "when")
