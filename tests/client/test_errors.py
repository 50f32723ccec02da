import pytest

import packhorse
from packhorse import errors
from packhorse_protocol.errors import Code

NEVER_RAISED = {
    # Between a client and its connection; the program sees ConnectionLost, or nothing.
    Code.FRAME_TOO_LARGE,
    Code.FRAME_MALFORMED,
    Code.HELLO_REQUIRED,
    Code.HANDSHAKE_TIMEOUT,
    Code.SILENT,
    Code.SLOW_READER,
}


@pytest.mark.parametrize("code", sorted(set(Code) - NEVER_RAISED))
def test_each_code_has_its_class(code: Code) -> None:
    refused = errors.REFUSALS[code]("no")
    assert refused.code == code
    assert getattr(packhorse, type(refused).__name__) is type(refused)


def test_all_errors_are_in_the_documented_tree() -> None:
    documented = errors.__doc__ or ""
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, Exception):
            assert name in documented
            assert issubclass(found, errors.PackhorseError)


def test_a_refusal_says_of_which_job() -> None:
    refused = errors.NotFound("there is no such job", subject="a1")
    assert str(refused) == "job a1: there is no such job [not_found]"


def test_an_unknown_code_is_kept() -> None:
    refused = errors.Refused("later", code="from_the_future")
    assert str(refused) == "later [from_the_future]"


def test_a_batch_says_how_many_were_refused() -> None:
    refused = errors.SomeRefused([1, errors.NotFound("gone"), 3])
    assert str(refused) == "1 of 3 items were refused; the first: gone [not_found]"
    assert [type(error) for error in refused.refusals] == [errors.NotFound]


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(errors.InvalidValue("x"), ValueError), (errors.OutcomeTimeout("x"), TimeoutError)],
)
def test_what_python_has_a_word_for_is_that_too(error: Exception, builtin: type) -> None:
    assert isinstance(error, builtin)
