"""Parameters that a worker provides: made by a factory, given by their annotation."""

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from packhorse.context import CONTEXT_PARAMETER, Context
from packhorse.errors import InvalidValue

Lifetime: TypeAlias = Literal["worker", "job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How the parameters annotated with one type come by their value."""

    make: Callable[..., Any]
    per: Lifetime
    wants_context: bool


class Providers:
    """`add` them, `open` with the worker, then `value` for each parameter of each job."""

    def __init__(self) -> None:
        self._providers: dict[type, Provider] = {}
        self._made: dict[type, Any] = {}

    @property
    def types(self) -> frozenset[type]:
        return frozenset(self._providers)

    def add(self, kind: type, make: Callable[..., Any], per: Lifetime) -> None:
        """Raises `InvalidValue` for a type that is provided already, or what can't be called."""
        if kind in self._providers:
            raise InvalidValue(f"provide: {kind.__name__} is provided already")
        if not callable(make):
            raise InvalidValue(f"provide: {make!r} can't be called")
        if per not in ("worker", "job"):
            raise InvalidValue(f"provide: per={per!r} must be 'worker' or 'job'")
        wants_context = CONTEXT_PARAMETER in _parameters(make)
        if wants_context and per == "worker":
            raise InvalidValue(f"provide: {kind.__name__} is made once, so there is no ctx for it")
        self._providers[kind] = Provider(make=make, per=per, wants_context=wants_context)

    async def open(self, lifetime: AsyncExitStack) -> None:
        """Makes what lives as long as the worker; closing `lifetime` ends it again."""
        for kind, provider in self._providers.items():
            if provider.per == "worker":
                self._made[kind] = await _enter(lifetime, provider.make())

    async def value(self, kind: type, ctx: Context, lifetime: AsyncExitStack) -> Any:
        """What a job's parameter of this type is; `lifetime` ends with the job."""
        if kind in self._made:
            return self._made[kind]
        provider = self._providers[kind]
        made = provider.make(ctx) if provider.wants_context else provider.make()
        return await _enter(lifetime, made)


async def _enter(lifetime: AsyncExitStack, made: Any) -> Any:
    """What a factory meant: what its context manager yields, its coroutine returns, or itself."""
    if isinstance(made, AbstractAsyncContextManager):
        return await lifetime.enter_async_context(made)
    if isinstance(made, AbstractContextManager):
        return lifetime.enter_context(made)
    if inspect.isawaitable(made):
        return await made
    return made


def _parameters(make: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(make).parameters)
    except ValueError:  # some of C have none
        return ()
