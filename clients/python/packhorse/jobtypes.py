"""What a client does about types: looks at them, pauses, drains and limits them, their schemas.

Settings hold at all brokers, and until they are changed again.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from packhorse.durations import Duration
from packhorse.errors import InvalidValue
from packhorse.gathering import each
from packhorse.kinds_by_hand import Changed
from packhorse.kinds_to_read import MinutesWanted, TypesWanted
from packhorse.moments import Moment, epoch_ms
from packhorse.schemas import check_schema
from packhorse.session import OnSession
from packhorse.terms import Keep
from packhorse_protocol.limits import MAX_SCHEMA_BYTES
from packhorse_protocol.messages import (
    Counts,
    Done,
    Minute,
    Retention,
    TypeChange,
    TypeSchema,
    TypeView,
)

PAGE_TYPES: Final = 100
"""Types asked for at once."""


class JobTypes(OnSession):
    """Types as they stand, their settings and their numbers."""

    async def types(self, *job_types: str) -> AsyncGenerator[TypeView, None]:
        """The types named, or all in the order of their names, as they stand."""
        if job_types:
            for start in range(0, len(job_types), PAGE_TYPES):
                asked = TypesWanted(job_types[start : start + PAGE_TYPES], None, PAGE_TYPES)
                for found in (await self._session.requests.types.submit(asked)).types:
                    yield found
            return
        after: str | None = None
        while True:
            asked = TypesWanted((), after, PAGE_TYPES)
            answer = await self._session.requests.types.submit(asked)
            for found in answer.types:
                yield found
                after = found.type
            if not answer.more or not answer.types:
                return

    async def counts(self, *job_types: str) -> Counts:
        """Exact numbers of jobs by type and state, of the types named or of all."""
        return await self._session.requests.counts.submit(job_types)

    async def minutes(self, job_type: str, *, since: Moment | None = None) -> tuple[Minute, ...]:
        """What happened to a type's jobs, minute by minute, oldest first; of the last day."""
        asked = MinutesWanted(job_type, 0 if since is None else epoch_ms(since, "since"))
        return (await self._session.requests.minutes.submit(asked)).minutes

    async def pause(self, *job_types: str, until: Moment | None = None, why: str = "") -> None:
        """From now on these types give out no jobs; they still take new ones.

        They resume at `until`, or by `resume`. Raises `SomeRefused` where several were named.
        """
        until_ms = 0 if until is None else epoch_ms(until, "until")
        await self._configure(
            [TypeChange(type=name, paused=True, paused_until=until_ms) for name in job_types], why
        )

    async def resume(self, *job_types: str, why: str = "") -> None:
        """These types give out jobs again."""
        await self._configure([TypeChange(type=name, paused=False) for name in job_types], why)

    async def drain_type(self, *job_types: str, why: str = "") -> None:
        """From now on these types take no new jobs: a create raises `TypeDraining`."""
        await self._configure([TypeChange(type=name, draining=True) for name in job_types], why)

    async def undrain_type(self, *job_types: str, why: str = "") -> None:
        """These types take new jobs again."""
        await self._configure([TypeChange(type=name, draining=False) for name in job_types], why)

    async def set_limits(
        self,
        job_type: str,
        *,
        max_jobs: int | None = None,
        max_bytes: int | None = None,
        why: str = "",
    ) -> None:
        """Bounds how many jobs the type may have, and the bytes of their payloads and results.

        Above it a create raises `QuotaExceeded`. None leaves a limit as it is, 0 lifts it.
        """
        for name, limit in (("max_jobs", max_jobs), ("max_bytes", max_bytes)):
            if limit is not None and limit < 0:
                raise InvalidValue(f"{name}: {limit} must be at least 0")
        change = TypeChange(type=job_type, max_jobs=max_jobs, max_bytes=max_bytes)
        await self._configure([change], why)

    async def set_retention(
        self,
        job_type: str,
        *,
        complete: Keep | Duration | None = None,
        failed: Keep | Duration | None = None,
        why: str = "",
    ) -> None:
        """How long COMPLETE and FAILED jobs that nobody handles are kept, and how many.

        A duration, or `Keep("7d", jobs=10_000)`, which replaces time and number together. None
        leaves both as they are.
        """
        change = TypeChange(
            type=job_type, keep_complete=_retention(complete), keep_failed=_retention(failed)
        )
        await self._configure([change], why)

    async def publish_schema(self, job_type: str, schema: Mapping[str, Any] | None) -> None:
        """Stores the JSON Schema of the type's arguments, for creators to check by; None: none.

        Needs the role `run`. Raises `InvalidValue` for one that is too large, no JSON, or no JSON
        Schema (which is looked at where jsonschema is installed: `packhorse[cli]`).
        """
        try:
            data = b"" if schema is None else json.dumps(schema, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"schema: can't be written as JSON: {error}") from error
        if len(data) > MAX_SCHEMA_BYTES:
            raise InvalidValue(f"schema: {len(data)} bytes, at most {MAX_SCHEMA_BYTES} are kept")
        if schema is not None:
            check_schema(schema)
        await self._session.requests.publish.submit(TypeSchema(type=job_type, schema=data))

    async def schema(self, job_type: str) -> dict[str, Any] | None:
        """The JSON Schema of the type's arguments; None if nobody has published one."""
        found = await self._session.requests.schema.submit(job_type)
        if not found.schema:
            return None
        schema: dict[str, Any] = json.loads(found.schema)
        return schema

    async def _configure(self, changes: list[TypeChange], why: str) -> None:
        lane = self._session.requests.configure
        await each([lane.submit(Changed(change, why)) for change in changes], _nothing)


def _nothing(_: Done) -> None:
    """There is nothing to tell: it is so."""


def _retention(keep: Keep | Duration | None) -> Retention | None:
    if keep is None:
        return None
    return (keep if isinstance(keep, Keep) else Keep(keep)).message()
