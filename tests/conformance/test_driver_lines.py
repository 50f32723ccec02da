"""What is wrong with a driver's line is told by what DRIVER.md says of it."""

import pytest

from packhorse_conformance.driver_lines import Line, check_ok, read_line
from packhorse_conformance.verdict import Failed

ERROR_LINE = "`error` as a map with `code` (a text), `message` (a text), `retryable` (a boolean)"


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
        (b'{"id": 1, "ok": true}\n', "`ok` as a map"),
        (b'{"id": 1, "error": "no"}\n', ERROR_LINE),
        (b'{"id": 1, "error": {"code": "closed"}}\n', ERROR_LINE),
        (b'{"id": 1, "error": {"code": "c", "message": "m", "retryable": 0}}\n', ERROR_LINE),
        (b'{"event": "slept"}\n', "an event that DRIVER.md knows"),
        (b'{"event": ["news"]}\n', "an event that DRIVER.md knows"),
        (b'{"event": "news", "news": "a"}\n', "the event `news` as a map with `news` (a map)"),
        (b'{"event": "closed"}\n', "the event `closed` as a map with `code` (a text)"),
        (b'{"event": "ended", "job": "a", "how": "well"}\n', "`how` as one of cancelled, complete"),
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
        b'{"event": "news", "news": {}, "more": 1}',
        b'{"event": "connected"}',
    ],
)
def test_a_right_line_is_taken(text: bytes) -> None:
    assert isinstance(read_line(text, 1), dict)


@pytest.mark.parametrize(
    ("instruction", "ok", "said"),
    [
        ("connect", {"client": "a"}, "`ok` as a map with `client` (a text), `secret` (a text)"),
        ("create", {}, "`ok` as a map with `jobs` (a list)"),
        ("create", {"jobs": ["a"]}, "`jobs[0]` as a map"),
        ("get", {"jobs": [{}, {"problem": "x"}]}, "`jobs[1]`.`problem` as a map with `code`"),
        ("logs", {"entries": {}}, "`ok` as a map with `entries` (a list)"),
        ("cancel", {"state": 3}, "`ok` as a map with `state` (a text)"),
    ],
)
def test_an_ok_without_what_it_is_to_tell_is_told(instruction: str, ok: Line, said: str) -> None:
    with pytest.raises(Failed) as failed:
        check_ok({"id": 1, "ok": ok}, 7, instruction)
    assert f"line 7 of the driver, which answers `{instruction}`: {said}" in str(failed.value)
