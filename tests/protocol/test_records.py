"""Records are frozen, compared by their values, and said by name."""

import pytest

from packhorse_protocol.records import record, replace


@record
class Place:
    """Where it is."""

    x: int
    name: str = ""

    def moved(self) -> "Place":
        return replace(self, x=self.x + 1)


def test_a_record_has_its_fields_and_is_frozen() -> None:
    made = Place(x=1)
    assert (made.x, made.name) == (1, "")
    assert made == Place(x=1, name="") != Place(x=2)
    assert hash(made) == hash(Place(x=1))
    assert repr(made) == "Place(x=1, name='')"
    with pytest.raises(AttributeError, match="immutable"):
        made.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        made.y = 2  # type: ignore[attr-defined]


def test_fields_are_given_by_name_and_the_required_ones_always() -> None:
    with pytest.raises(TypeError, match="Missing required argument"):
        Place()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Place(1)  # type: ignore[call-arg]


def test_what_the_class_says_stays() -> None:
    assert (Place.__doc__, Place.__module__, Place.__qualname__) == (
        "Where it is.",
        __name__,
        "Place",
    )
    assert Place(x=1, name="a").moved() == Place(x=2, name="a")
