"""Annotations as shapes: those that the wire has, and those that it has not."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest

from packhorse_protocol.fields import Bounds, Name
from packhorse_protocol.records import record
from packhorse_protocol.shapes import Choice, Field, Mapped, Scalar, describe, fields_of


@record
class Good:
    name: Name
    kind: Literal["a", "b"] | None = None
    flag: bool = False
    sizes: Mapping[Literal["x"], Annotated[int, Bounds(low=1, high=2)]] | None = None


def test_the_fields_of_a_record() -> None:
    name, kind, flag, sizes = fields_of(Good)
    bounds = Bounds(low=1, high=128, printable=True)
    assert name.shape == Scalar(type=str, bounds=bounds)
    assert name.required
    assert not name.nullable
    choice = Choice(values=("a", "b"))
    assert kind == Field(name="kind", shape=choice, required=False, nullable=True, default=None)
    assert flag.shape == Scalar(type=bool)
    value = Scalar(type=int, bounds=Bounds(low=1, high=2))
    assert sizes.shape == Mapped(key=Choice(values=("x",)), value=value)


def test_what_is_allowed_in_words() -> None:
    name, kind, flag, sizes = (describe(field.shape) for field in fields_of(Good))
    assert name == "text of 1 to 128 characters, without control characters and not all blank"
    assert kind == "one of a, b"
    assert flag == "a boolean"
    assert sizes == "a map"


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int,
        float,
        object,
        Annotated[float, Bounds(low=0, high=1)],
        tuple[int, ...],
        list[int],
        str | int,
        Name | int | None,
        Mapping[int, Name],
        Mapping[bytes, Name],
        Annotated[Mapping[tuple[str, ...], Name], Bounds(low=0, high=1)],
        Mapping[Annotated[tuple[Name, ...], Bounds(low=0, high=1)], Name],
    ],
    ids=str,
)
def test_an_annotation_without_a_shape(annotation: object) -> None:
    bad: type = record(type("Bad", (), {"__annotations__": {"field": annotation}}))
    with pytest.raises(TypeError, match="shape"):
        fields_of(bad)


def test_a_class_that_is_no_record() -> None:
    with pytest.raises(TypeError, match="no record"):
        fields_of(int)
