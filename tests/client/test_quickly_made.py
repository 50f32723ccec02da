"""Those with few and with many fields are made like any frozen dataclass."""

from dataclasses import FrozenInstanceError, dataclass, fields

import pytest

from packhorse.quickly_made import MANY_FIELDS, quickly_made


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    a: int
    b: str = "b"


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    a: int
    b: str = "b"
    c: int = 3
    d: int = 4
    e: int = 5
    f: int = 6
    g: int = 7
    h: int = 8


class Sub(Many):
    """With a `__dict__`, which its base has not."""


def test_both_ways_of_making_one_are_tested() -> None:
    assert len(fields(Few)) < MANY_FIELDS <= len(fields(Many))


@pytest.mark.parametrize("cls", [Few, Many, Sub])
def test_it_has_its_fields_and_is_frozen(cls: type[Few] | type[Many]) -> None:
    made = cls(a=1)
    assert type(made) is cls
    assert (made.a, made.b) == (1, "b")
    assert made == cls(a=1, b="b") != cls(a=2)
    assert hash(made) == hash(cls(a=1))
    with pytest.raises(FrozenInstanceError):
        made.a = 2  # type: ignore[misc]


@pytest.mark.parametrize("cls", [Few, Many, Sub])
def test_one_without_a_required_field_is_refused(cls: type[Few] | type[Many]) -> None:
    with pytest.raises(TypeError, match="missing 1 required"):
        cls()  # type: ignore[call-arg]


def test_a_subclass_has_what_it_adds() -> None:
    made = Sub(a=1, h=9)
    object.__setattr__(made, "more", 1)
    assert (made.h, vars(made)) == (9, {"more": 1})


def test_fields_may_be_given_by_position() -> None:
    @quickly_made
    @dataclass(frozen=True, slots=True)
    class Placed:
        a: int
        b: int = 2

    assert Placed(1) == Placed(1, 2) == Placed(a=1, b=2)
