"""Job functions as a worker knows them: what they are called with, and where they run."""

import inspect
import json
import logging
import typing
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Literal, TypeAlias

from packhorse.context import CONTEXT_PARAMETER
from packhorse.errors import InvalidValue, PayloadError
from packhorse.middleware import Middleware
from packhorse.payload import NOTHING, Arguments, unpack_arguments, unpack_value
from packhorse.retries import RetryPolicy
from packhorse.typed import Model, Schema, is_model, model_of

Kind: TypeAlias = Literal["coroutine", "thread", "process"]
"""Where a function runs: on the event loop, in a thread, or in a process of its own."""

AnyType: TypeAlias = type[Any]

NAMED_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""Parameters that can be given by name."""

VARIADIC_KINDS: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Parameters that take what is left, if anything is."""

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

NO_RULES: Final = RetryPolicy({})

_log = logging.getLogger("packhorse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a worker treats the jobs of a type, besides running its function."""

    concurrency: int | None = None
    weight: int = 1
    retry: RetryPolicy = NO_RULES
    middleware: tuple[Middleware, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFunction:
    """A function and the type of the jobs that it runs.

    `signature` has the parameters that a payload fills; the context and what the worker provides
    are left out of it. `models` are those of them that are checked; `whole` names the one that
    takes the payload's map as it is, instead of one of its entries. `named`, `required` and
    `takes_one` are of the signature, to be asked quickly.
    """

    type: str
    function: Callable[..., Any]
    kind: Kind
    terms: Terms
    wants_context: bool
    signature: inspect.Signature
    provided: Mapping[str, AnyType]
    models: Mapping[str, Model]
    whole: str | None
    named: frozenset[str]
    required: frozenset[str]
    takes_one: bool

    def arguments(self, payload: bytes) -> Arguments:
        """What the payload says to call the function with; the rest is left out. A function that
        takes nothing but the context reads the payload there, whatever it is.

        Raises `PayloadError` if it can't be unpacked, the function takes no such arguments, or
        one of them does not fit its annotation.
        """
        if self.wants_context and not self.signature.parameters:
            return (), {}
        if self.whole is not None:
            value = unpack_value(payload)
            if value is NOTHING:
                if self._has_default(self.whole):
                    return (), {}
                value = {}
            return (), {self.whole: self._valid(self.whole, value)}
        positional, keywords = unpack_arguments(payload)
        checked = self.models or self.provided
        if not checked and self._surely_takes(positional, keywords):
            return positional, keywords
        if self.wants_context and CONTEXT_PARAMETER in keywords:
            raise self._unfit(f"the argument {CONTEXT_PARAMETER!r} is the worker's to give")
        try:
            bound = self.signature.bind(*positional, **keywords)
        except TypeError as error:
            raise self._unfit(f"{error}") from None
        if not checked:
            return positional, keywords
        found = dict(bound.arguments)
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                found.update(found.pop(name, {}))
        return (), {
            name: self._valid(name, value) if name in self.models else value
            for name, value in found.items()
        }

    def _surely_takes(self, positional: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        """Whether the signature need not be asked, which takes longer than all else here."""
        if positional:
            return self.takes_one
        return self.required <= keywords.keys() <= self.named

    def schema(self) -> bytes | None:
        """The JSON Schema of the payload, as JSON; None for a function without models."""
        if not self.models:
            return None
        found: Schema = {"$schema": SCHEMA_DIALECT}
        definitions: Schema = {}
        if self.whole is not None:
            schema, definitions = self.models[self.whole].schema()
            found |= schema
        else:
            found |= {"type": "object", "properties": {}, "required": []}
            open_ended = False
            for name, parameter in self.signature.parameters.items():
                if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                    open_ended = True
                    continue
                schema, more = self.models[name].schema() if name in self.models else ({}, {})
                found["properties"][name] = schema
                definitions |= more
                if not self._has_default(name):
                    found["required"].append(name)
            found["additionalProperties"] = open_ended
        if definitions:
            found["$defs"] = definitions
        return json.dumps(found, ensure_ascii=False, default=str).encode()

    def with_provided(self, types: AbstractSet[AnyType]) -> "JobFunction":
        """The same where the worker provides values of these types.

        Raises `InvalidValue` if that can't be with a function of its kind.
        """
        return _read(self.type, self.function, self.kind, self.terms, types)

    def _has_default(self, name: str) -> bool:
        return self.signature.parameters[name].default is not inspect.Parameter.empty

    def _valid(self, name: str, value: object) -> Any:
        try:
            return self.models[name].validate(value)
        except PayloadError as error:
            raise self._unfit(f"{name}: {error}") from None

    def _unfit(self, said: str) -> PayloadError:
        return PayloadError(f"{self.type}: payload does not fit the function: {said}")


def job_function(
    job_type: str,
    function: Callable[..., Any],
    terms: Terms,
    *,
    process: bool = False,
) -> JobFunction:
    """Reads what has to be known of a function. Raises `InvalidValue` for what is none."""
    concurrency = terms.concurrency
    if concurrency is not None and concurrency < 1:
        raise InvalidValue(f"{job_type}: concurrency {concurrency} must be at least 1")
    if not callable(function):
        raise InvalidValue(f"{job_type}: {function!r} is no function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidValue(f"{job_type}: a job function returns its result, it does not yield")
    kind: Kind = "process" if process else "thread"
    if inspect.iscoroutinefunction(function):
        if process:
            raise InvalidValue(f"{job_type}: a coroutine runs on the event loop, in no process")
        kind = "coroutine"
    return _read(job_type, function, kind, terms, frozenset())


def _read(
    job_type: str,
    function: Callable[..., Any],
    kind: Kind,
    terms: Terms,
    provided_types: AbstractSet[AnyType],
) -> JobFunction:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    wants_context = bool(parameters) and parameters[0].name == CONTEXT_PARAMETER
    if wants_context:
        del parameters[0]
    hints = {
        parameter.name: _annotation(function, parameter.name, parameter.annotation)
        for parameter in parameters
    }
    provided = {name: hint for name, hint in hints.items() if _is_among(hint, provided_types)}
    parameters = [parameter for parameter in parameters if parameter.name not in provided]
    models: dict[str, Model] = {}
    for parameter in parameters:
        model = model_of(hints[parameter.name], f"{job_type}: {parameter.name}")
        if model is not None and parameter.kind in NAMED_KINDS:
            models[parameter.name] = model
    if provided and kind == "process":
        raise InvalidValue(
            f"{job_type}: {next(iter(provided))}: nothing is provided to a function in a process"
        )
    if (provided or models) and any(
        parameter.kind not in (*NAMED_KINDS, inspect.Parameter.VAR_KEYWORD)
        for parameter in parameters
    ):
        raise InvalidValue(
            f"{job_type}: with provided or checked parameters, all must have names: no *args, no /"
        )
    alone = parameters[0].name if len(parameters) == 1 else None
    signature = signature.replace(parameters=parameters)
    return JobFunction(
        type=job_type,
        function=function,
        kind=kind,
        terms=terms,
        wants_context=wants_context,
        signature=signature,
        provided=provided,
        models=models,
        whole=alone if alone in models and is_model(hints[alone]) else None,
        named=frozenset(
            parameter.name for parameter in parameters if parameter.kind in NAMED_KINDS
        ),
        required=frozenset(
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty and parameter.kind not in VARIADIC_KINDS
        ),
        takes_one=_takes_one(signature),
    )


def _takes_one(signature: inspect.Signature) -> bool:
    """Whether it can be called with one argument without a name."""
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _is_among(hint: object, types: AbstractSet[AnyType]) -> bool:
    return isinstance(hint, type) and hint in types


def _annotation(function: Callable[..., Any], name: str, annotation: object) -> Any:
    """The annotation itself, where the source has it as text; text that can't be read stays."""
    if not isinstance(annotation, str):
        return annotation
    holder = SimpleNamespace(__annotations__={name: annotation})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)[name]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        # Imported for the type checker only, perhaps: then it says nothing at run time.
        _log.info("%s: %s can't be read, so it is not checked: %s", function, name, error)
        return annotation
