"""Models as payloads and results: msgspec structs, pydantic models, dataclasses.

Neither library is imported by itself: whoever annotates with its models has imported it. A plain
dataclass is checked by msgspec, or by pydantic where that alone is installed.
"""

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias, get_args
from uuid import UUID

from packhorse.errors import InvalidValue, PayloadError

Library: TypeAlias = Literal["msgspec", "pydantic"]
Schema: TypeAlias = dict[str, Any]

BYTES: Final = (bytes, bytearray)
"""msgpack has bytes of its own: they are not written as text."""

MAX_DEPTH: Final = 16
"""Levels of brackets in an annotation that are searched for models: `list[dict[str, Order]]`
has two."""


@dataclass(frozen=True)
class Model:
    """An annotation whose values are checked, and the library that does it."""

    annotation: Any
    library: Library

    def validate(self, value: object) -> Any:
        """The value as the annotation says. Raises `PayloadError` with what does not fit."""
        if self.library == "msgspec":
            import msgspec

            try:
                return msgspec.convert(value, self.annotation)
            except msgspec.ValidationError as error:
                raise PayloadError(str(error)) from None
        import pydantic

        try:
            return self._adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise PayloadError("; ".join(_complaints(error.errors()))) from None

    def schema(self) -> tuple[Schema, Schema]:
        """The JSON Schema, and the definitions that it refers to as `#/$defs/…`.

        Raises `InvalidValue` for types of which JSON Schema knows nothing.
        """
        if self.library == "msgspec":
            import msgspec

            try:
                (schema,), definitions = msgspec.json.schema_components(
                    (self.annotation,), ref_template="#/$defs/{name}"
                )
            except TypeError as error:
                raise InvalidValue(str(error)) from None
            return schema, definitions
        import pydantic

        try:
            schema = self._adapter.json_schema()
        except pydantic.PydanticUserError as error:
            raise InvalidValue(str(error)) from None
        return schema, schema.pop("$defs", {})

    @cached_property
    def _adapter(self) -> Any:
        import pydantic

        return pydantic.TypeAdapter(self.annotation)


def is_model(annotation: object) -> bool:
    """Whether it is the class of a model: of what a payload's map may hold as a whole."""
    return isinstance(annotation, type) and (
        _is_struct(annotation) or _is_pydantic(annotation) or dataclasses.is_dataclass(annotation)
    )


def model_of(annotation: object, name: str) -> Model | None:
    """How to check values of an annotation with models in it; None: there are none.

    Raises `InvalidValue` if none of the libraries that could check it is installed.
    """
    found = [part for part in _parts(annotation) if is_model(part)]
    if not found:
        return None
    if any(_is_pydantic(part) for part in found):
        return Model(annotation, "pydantic")
    if find_spec("msgspec") is not None:
        import_module("msgspec")
        return Model(annotation, "msgspec")
    if find_spec("pydantic") is not None:
        return Model(annotation, "pydantic")
    raise InvalidValue(
        f"{name}: a dataclass is checked by msgspec or pydantic: install one of them"
    )


def plain(value: object) -> Any:
    """A model as what msgpack knows; models in it may be left as they are.

    Raises `TypeError` for what is no model.
    """
    cls = type(value)
    if _is_struct(cls):
        return _loaded("msgspec").to_builtins(value, builtin_types=BYTES, enc_hook=plain)
    if hasattr(cls, "model_dump") and _is_pydantic(cls):
        return _plain_within(cls.model_dump(value, by_alias=True))
    if dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        return {field.name: _plain_within(getattr(value, field.name)) for field in fields}
    raise TypeError(f"can not serialize {cls.__name__!r} object")


def _plain_within(value: object) -> Any:
    """What models hold besides models. Outside of them, where nothing says what it was, these
    are refused."""
    match value:
        case dict():
            return {_plain_within(key): _plain_within(entry) for key, entry in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain_within(entry) for entry in value]
        case datetime() | date() | time():
            return value.isoformat()
        case UUID() | Decimal():
            return str(value)
        case Enum():
            return value.value
    return value


def _parts(annotation: object, depth: int = 0) -> Iterator[object]:
    """The annotation and what stands in its brackets."""
    yield annotation
    if depth < MAX_DEPTH:
        for argument in get_args(annotation):
            yield from _parts(argument, depth + 1)


def _loaded(library: Library) -> ModuleType | Any:
    return sys.modules.get(library)


def _is_struct(annotation: object) -> bool:
    msgspec = _loaded("msgspec")
    return (
        msgspec is not None
        and isinstance(annotation, type)
        and issubclass(annotation, msgspec.Struct)
    )


def _is_pydantic(annotation: object) -> bool:
    """A pydantic model, or a dataclass of pydantic's making."""
    pydantic = _loaded("pydantic")
    if pydantic is None or not isinstance(annotation, type):
        return False
    return issubclass(annotation, pydantic.BaseModel) or "__pydantic_validator__" in vars(
        annotation
    )


def _complaints(errors: Any) -> Iterator[str]:
    for error in errors:
        where = ".".join(map(str, error["loc"]))
        yield f"{error['msg']} - at `{where}`" if where else error["msg"]
