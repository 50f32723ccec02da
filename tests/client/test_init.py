import packhorse
from packhorse import errors


def test_all_public_names_are_there() -> None:
    for name in packhorse.__all__:
        assert getattr(packhorse, name) is not None


def test_public_names_are_sorted_and_named_once() -> None:
    assert packhorse.__all__ == sorted(set(packhorse.__all__))


def test_every_error_can_be_named() -> None:
    raised = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.PackhorseError)
    }
    assert raised <= set(packhorse.__all__)
