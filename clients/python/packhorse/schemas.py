"""Whether a JSON Schema is one, by the rules of its own dialect."""

from collections.abc import Mapping
from typing import Any

from packhorse.errors import InvalidValue


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises `InvalidValue` for what is no JSON Schema, and says where.

    Needs jsonschema, which comes with `packhorse[cli]`: without it nothing is checked.
    """
    try:
        import jsonschema
    except ImportError:
        return
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
    except jsonschema.exceptions.SchemaError as error:
        where = "".join(f"[{step!r}]" for step in error.absolute_path)
        raise InvalidValue(f"schema{where}: no JSON Schema: {error.message}") from error
