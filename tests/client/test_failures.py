from json import JSONDecodeError

from packhorse import Fail, PayloadError, ProcessDied
from packhorse.failures import raised, unfit
from packhorse_protocol.limits import MAX_TEXT_CHARS, MAX_TRACEBACK_CHARS
from packhorse_protocol.messages import Claim

CLAIM = Claim(job="a", token=b"t" * 16, fence=1, type="t", attempt=1)


def caught(error: Exception) -> Exception:
    try:
        raise error
    except Exception as found:  # noqa: BLE001 - whatever was given
        return found


def test_an_exception_is_told_with_its_traceback() -> None:
    failure = raised(CLAIM, caught(ValueError("no such file")))
    assert (failure.job, failure.token, failure.retry) == ("a", b"t" * 16, True)
    assert (failure.error.type, failure.error.message) == ("ValueError", "no such file")
    assert "in caught" in failure.error.traceback


def test_an_exception_of_a_module_has_the_name_that_it_is_imported_by() -> None:
    failure = raised(CLAIM, PayloadError("x"))
    assert failure.error.type == "packhorse.PayloadError"
    assert failure.retry
    assert raised(CLAIM, ProcessDied("x")).error.type == "packhorse.ProcessDied"
    assert raised(CLAIM, JSONDecodeError("x", "", 0)).error.type == "json.decoder.JSONDecodeError"


def test_failing_on_purpose_has_no_traceback() -> None:
    failure = raised(CLAIM, caught(Fail("not today", retry=False, error_type="Closed")))
    assert failure.error.type == "Closed"
    assert failure.error.message == "not today"
    assert failure.error.traceback == ""
    assert not failure.retry


def test_what_can_not_be_is_not_tried_again() -> None:
    failure = unfit(CLAIM, PayloadError("payload: no"))
    assert failure.error.type == "PayloadError"
    assert not failure.retry


def test_long_texts_are_cut() -> None:
    failure = raised(CLAIM, caught(ValueError("x" * 200_000)))
    assert len(failure.error.message) == MAX_TEXT_CHARS
    assert failure.error.message.endswith("…")
    assert len(failure.error.traceback) == MAX_TRACEBACK_CHARS
    assert failure.error.traceback.startswith("…")
