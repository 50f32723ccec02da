"""`packhorse.jobtypes` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterator, Mapping
from typing import Any

from packhorse import client as asynchronous
from packhorse.durations import Duration
from packhorse.loopthread import LoopThread
from packhorse.moments import Moment
from packhorse.terms import Keep
from packhorse_protocol.messages import (
    Counts,
    Minute,
    TypeView,
)


class JobTypes:
    """Types as they stand, their settings and their numbers."""

    _loop: LoopThread
    _wrapped: asynchronous.Client

    def types(self, *job_types: str) -> Iterator[TypeView]:
        """The types named, or all in the order of their names, as they stand."""
        return self._loop.iterate(self._wrapped.types(*job_types))

    def counts(self, *job_types: str) -> Counts:
        """Exact numbers of jobs by type and state, of the types named or of all."""
        return self._loop.run(self._wrapped.counts(*job_types))

    def minutes(self, job_type: str, *, since: Moment | None = None) -> tuple[Minute, ...]:
        """What happened to a type's jobs, minute by minute, oldest first; of the last day."""
        return self._loop.run(self._wrapped.minutes(job_type, since=since))

    def pause(self, *job_types: str, until: Moment | None = None, why: str = "") -> None:
        """From now on these types give out no jobs; they still take new ones.

        They resume at `until`, or by `resume`. Raises `SomeRefused` where several were named.
        """
        self._loop.run(self._wrapped.pause(*job_types, until=until, why=why))

    def resume(self, *job_types: str, why: str = "") -> None:
        """These types give out jobs again."""
        self._loop.run(self._wrapped.resume(*job_types, why=why))

    def drain_type(self, *job_types: str, why: str = "") -> None:
        """From now on these types take no new jobs: a create raises `TypeDraining`."""
        self._loop.run(self._wrapped.drain_type(*job_types, why=why))

    def undrain_type(self, *job_types: str, why: str = "") -> None:
        """These types take new jobs again."""
        self._loop.run(self._wrapped.undrain_type(*job_types, why=why))

    def set_limits(
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
        self._loop.run(
            self._wrapped.set_limits(job_type, max_jobs=max_jobs, max_bytes=max_bytes, why=why)
        )

    def set_retention(
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
        self._loop.run(
            self._wrapped.set_retention(job_type, complete=complete, failed=failed, why=why)
        )

    def publish_schema(self, job_type: str, schema: Mapping[str, Any] | None) -> None:
        """Stores the JSON Schema of the type's arguments, for creators to check by; None: none.

        Needs the role `run`. Raises `InvalidValue` for one that is too large, no JSON, or no JSON
        Schema (which is looked at where jsonschema is installed: `packhorse[cli]`).
        """
        self._loop.run(self._wrapped.publish_schema(job_type, schema))

    def schema(self, job_type: str) -> dict[str, Any] | None:
        """The JSON Schema of the type's arguments; None if nobody has published one."""
        return self._loop.run(self._wrapped.schema(job_type))
