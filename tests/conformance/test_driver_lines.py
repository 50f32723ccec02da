"""What is wrong with a driver's line is told by what DRIVER.md says of it."""

import pytest

from packhorse_conformance.driver_lines import read_line
from packhorse_conformance.verdict import Failed

ERROR_LINE = "`error`, a map with the texts `code` and `message` and the boolean `retryable`"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"hello\n", "one JSON object"),
        (b"\xff\xfe\n", "one JSON object"),
        (b"[1]\n", "one JSON object"),
        (b"[" * 100_000, "one JSON object"),
        (b'{"ok": {}}\n', "`id`, the number of an instruction"),
        (b'{"id": "1", "ok": {}}\n', "`id`, the number of an instruction"),
        (b'{"id": true, "ok": {}}\n', "`id`, the number of an instruction"),
        (b'{"id": 1}\n', "either `ok` or `error`"),
        (b'{"id": 1, "ok": {}, "error": {}}\n', "either `ok` or `error`"),
        (b'{"id": 1, "ok": true}\n', "`ok`, which is a map"),
        (b'{"id": 1, "error": "no"}\n', ERROR_LINE),
        (b'{"id": 1, "error": {"code": "closed"}}\n', ERROR_LINE),
        (b'{"id": 1, "error": {"code": "c", "message": "m", "retryable": 0}}\n', ERROR_LINE),
        (b'{"event": "slept"}\n', "an event that DRIVER.md knows"),
        (b'{"event": ["news"]}\n', "an event that DRIVER.md knows"),
    ],
)
def test_a_wrong_line_is_told(text: bytes, said: str) -> None:
    with pytest.raises(Failed) as failed:
        read_line(text, 4)
    assert f"line 4 of the driver: {said}" in str(failed.value)


@pytest.mark.parametrize(
    "text",
    [
        b'{"id": 1, "ok": {}}',
        b'{"id": 2, "error": {"code": "c", "message": "", "retryable": false}}',
        b'{"event": "news", "job": "a"}',
    ],
)
def test_a_right_line_is_taken(text: bytes) -> None:
    assert isinstance(read_line(text, 1), dict)
