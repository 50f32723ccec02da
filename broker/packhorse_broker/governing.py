"""Requests about types: what is set about them, how they stand, what was done by hand.

Each is a coroutine that returns its results.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from packhorse_broker import views
from packhorse_broker.clock import StoreClock
from packhorse_broker.config import Config
from packhorse_broker.jobs.model import ActionRecord
from packhorse_broker.sessions import Session
from packhorse_broker.store.minutes import EVENTS, Minutes
from packhorse_broker.store.takes import NOBODY, TakesBoard
from packhorse_broker.store.type_changes import TypeChanges
from packhorse_broker.store.type_reader import TypeOverview
from packhorse_broker.store.type_readers import ReadingTypes
from packhorse_broker.store.types import SettingsChange, StoredSchema
from packhorse_broker.type_news import TypeNews
from packhorse_protocol import NO_ROOM, Code
from packhorse_protocol.messages import (
    Action,
    ActionList,
    Configure,
    CountMinutes,
    Done,
    GetSchema,
    ListActions,
    ListTypes,
    Minute,
    MinuteList,
    Problem,
    Publish,
    Retention,
    SchemaView,
    TypeChange,
    TypeList,
    TypeSchema,
    TypeView,
)

ENTRY_BYTES: Final = 512
"""More than a type or an action takes in a frame beside its names and texts, and than the answer
takes beside them."""

SCHEMAS_PAGE: Final = 20
"""Schemas read at once: no more is read than can be answered."""

Item = TypeVar("Item", TypeChange, TypeSchema)
Shown = TypeVar("Shown")


class _Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a list of actions goes on: before this time, with so many of that very millisecond in
    each partition."""

    before: int | None
    left: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()


class Governing:
    """A method for each request. All raise StoreUnavailable."""

    def __init__(
        self,
        config: Config,
        changes: TypeChanges,
        reader: ReadingTypes,
        news: TypeNews,
        minutes: Minutes,
        takes: TakesBoard,
        clock: StoreClock,
        *,
        say_changed: Callable[[Sequence[str]], None],
    ) -> None:
        self._config = config
        self._changes = changes
        self._reader = reader
        self._news = news
        self._minutes = minutes
        self._takes = takes
        self._clock = clock
        self._say_changed = say_changed
        """Tells the other brokers of types whose settings were changed."""

    def requests(self) -> dict[type, Callable[[Session, Any], Awaitable[Sequence[object]]]]:
        """What answers each request."""
        return {
            Configure: self.configure,
            Publish: self.publish,
            ListTypes: self.types,
            GetSchema: self.schema,
            CountMinutes: self.minutes,
            ListActions: self.actions,
        }

    # -- changing

    async def configure(self, session: Session, request: Configure) -> list[object]:
        """All items in one transaction: answered when no broker can act on the old settings."""
        answers = _checked(request.types, _wrong_change)
        wanted = {
            change.type: _settings_change(change)
            for change, answer in zip(request.types, answers, strict=True)
            if not isinstance(answer, Problem)
        }
        if wanted:
            await self._changes.change(
                wanted, by=session.client, why=request.why, now_ms=self._clock.now_ms()
            )
            await self._changed(list(wanted))
        return list(answers)

    async def publish(self, session: Session, request: Publish) -> list[object]:
        answers = _checked(request.schemas, _wrong_schema)
        wanted = {
            item.type: item.schema
            for item, answer in zip(request.schemas, answers, strict=True)
            if not isinstance(answer, Problem)
        }
        if wanted:
            await self._changes.publish(wanted, by=session.client, now_ms=self._clock.now_ms())
            await self._changed(list(wanted))
        return list(answers)

    async def _changed(self, types: Sequence[str]) -> None:
        self._say_changed(types)
        await self._news.follow()

    # -- looking

    async def types(self, session: Session, request: ListTypes) -> list[object]:
        most = request.limit
        if request.types:
            names: Sequence[str] = request.types[: most + 1]
        else:
            names = await self._reader.names(request.after or "", most + 1)
        takes = await self._takes.takes()
        now_ms = self._clock.now_ms()
        found = [
            _type_view(overview, takes.get(overview.type, NOBODY)[0], now_ms)
            for overview in await self._reader.overviews(names[:most])
        ]
        fit = self._that_fit(found, lambda view: (view.type, view.by, view.why))
        return [TypeList(types=fit, more=len(fit) < len(names))]

    async def schema(self, session: Session, request: GetSchema) -> list[object]:
        room = self._config.max_frame_bytes
        answers: list[object] = []
        while len(answers) < len(request.types):
            page = request.types[len(answers) : len(answers) + SCHEMAS_PAGE]
            for stored in await self._reader.schemas(page):
                room -= ENTRY_BYTES + (len(stored.schema) if stored is not None else 0)
                answers.append(_schema_view(stored) if room > 0 else NO_ROOM)
            if room <= 0:
                break
        return answers + [NO_ROOM] * (len(request.types) - len(answers))

    async def minutes(self, session: Session, request: CountMinutes) -> list[object]:
        found = await self._minutes.day(request.type, request.since)
        return [
            MinuteList(
                minutes=tuple(
                    Minute(at=minute.at, **{event: getattr(minute, event) for event in EVENTS})
                    for minute in found
                )
            )
        ]

    async def actions(self, session: Session, request: ListActions) -> list[object]:
        place = _place(request)
        found = await self._reader.actions(place.before, request.limit, left=place.left)
        fit = self._that_fit(
            map(_action_view, found),
            lambda action: (action.by, action.why, action.job, action.type),
        )
        if len(fit) == len(found) < request.limit:
            return [ActionList(actions=fit)]
        last = fit[-1].at
        left = self._reader.left(action for action in found[len(fit) :] if action.at == last)
        return [ActionList(actions=fit, cursor=msgspec.msgpack.encode(_Place(last, left)))]

    def _that_fit(
        self, found: Iterable[Shown], texts: Callable[[Shown], Iterable[str | None]]
    ) -> tuple[Shown, ...]:
        """As many as a frame holds, the first of them in any case."""
        room = self._config.max_frame_bytes - ENTRY_BYTES
        fit: list[Shown] = []
        for one in found:
            room -= ENTRY_BYTES + sum(len(text.encode()) for text in texts(one) if text)
            if room < 0 and fit:
                break
            fit.append(one)
        return tuple(fit)


# -- what is refused


def _checked(
    items: Sequence[Item], wrong_with: Callable[[Item], str | None]
) -> list[Problem | Done]:
    """An answer to each: what is wrong with it, or that it is done."""
    seen: set[str] = set()
    answers: list[Problem | Done] = []
    for item in items:
        wrong = "the type is named before in this request" if item.type in seen else None
        wrong = wrong or wrong_with(item)
        seen.add(item.type)
        answers.append(views.problem(Code.MALFORMED, wrong) if wrong else Done())
    return answers


def _wrong_change(change: TypeChange) -> str | None:
    if change.paused_until is not None and not change.paused:
        return "paused_until says when a pause ends: it needs paused"
    return None


def _wrong_schema(item: TypeSchema) -> str | None:
    if not item.schema:
        return None
    try:
        schema = msgspec.json.decode(item.schema)
    except (ValueError, RecursionError) as error:
        return f"the schema is no JSON: {error}"
    return None if isinstance(schema, dict | bool) else "a JSON Schema is an object, true or false"


def _place(request: ListActions) -> _Place:
    """Raises RequestRefused."""
    if request.cursor is None:
        return _Place(request.before)
    try:
        return msgspec.msgpack.decode(request.cursor, type=_Place)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = "cursor: the cursor is none of this list: begin without one"
        raise views.RequestRefused(Code.MALFORMED, message, path="cursor") from None


# -- how it looks on the wire


def _settings_change(change: TypeChange) -> SettingsChange:
    return SettingsChange(
        paused=change.paused,
        paused_until=change.paused_until,
        draining=change.draining,
        keep_complete=_kept(change.keep_complete),
        keep_failed=_kept(change.keep_failed),
        max_jobs=change.max_jobs,
        max_bytes=change.max_bytes,
    )


def _kept(retention: Retention | None) -> tuple[int | None, int | None] | None:
    return None if retention is None else (retention.keep_ms, retention.keep_jobs)


def _type_view(overview: TypeOverview, runners: int, now_ms: int) -> TypeView:
    settings = overview.settings
    paused = not settings.gives_out(now_ms)
    return TypeView(
        type=overview.type,
        counts={views.state_name(state): number for state, number in overview.counts.items()},
        latency_ms=max(0, now_ms - overview.head_ms) if overview.head_ms else 0,
        jobs_bytes=overview.jobs_bytes,
        runners=runners,
        paused=paused,
        paused_until=settings.paused_until if paused else 0,
        draining=settings.draining,
        keep_complete=_retention(settings.keep_complete_ms, settings.keep_complete_jobs),
        keep_failed=_retention(settings.keep_failed_ms, settings.keep_failed_jobs),
        max_jobs=settings.max_jobs,
        max_bytes=settings.max_bytes,
        has_schema=settings.has_schema,
        changed_at=settings.changed_at,
        by=settings.by,
        why=settings.why,
    )


def _retention(keep_ms: int | None, keep_jobs: int | None) -> Retention | None:
    if keep_ms is None and keep_jobs is None:
        return None
    return Retention(keep_ms=keep_ms, keep_jobs=keep_jobs)


def _schema_view(stored: StoredSchema | None) -> SchemaView:
    if stored is None:
        return SchemaView()
    return SchemaView(schema=stored.schema, by=stored.by, at=stored.at)


def _action_view(action: ActionRecord) -> Action:
    return Action(
        at=action.at,
        action=action.action,
        by=action.by,
        why=action.why,
        job=action.job,
        type=action.type,
    )
