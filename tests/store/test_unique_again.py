"""Creates that find their unique key held: all or nothing, again, and for how long it is held."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Create, Handle, OnDuplicate, Remove
from packhorse_broker.jobs.handlers import MAX_HANDLERS
from packhorse_broker.jobs.model import Applied, Job, Refusal, RefusalCode
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.types import TypeSettings, encode_settings
from packhorse_broker.store.work import Result
from tests.support.commands import claim, create
from tests.support.inspection import Raw, contents
from tests.support.opening import Caller, Opener

FINISHED: Final = Terms(unique=Unique("k", Scope.UNTIL_FINISHED))
WINDOW: Final = Terms(unique=Unique("k", Scope.WINDOW, 60_000))
SECOND: Final = Create(
    "b",
    "mail",
    b"new",
    "maker",
    fingerprint=b"second",
    terms=FINISHED,
    on_duplicate=OnDuplicate.REPLACE,
)


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    return opener.committer()


def code(result: Result) -> RefusalCode | None:
    return result.code if isinstance(result, Refusal) else None


def made(result: Result) -> Job:
    assert isinstance(result, Applied), result
    return result.job


async def filled(caller: Caller, free: int) -> None:
    """Job `a`, with room for so many handlers more."""
    await caller.applied(*create("a", body=bytes(100), terms=FINISHED))
    handlers = range(MAX_HANDLERS - free)
    await caller.submit(*(("a", Handle(f"client-{number}")) for number in handlers))


# -- all or nothing


@pytest.mark.parametrize("how", [OnDuplicate.JOIN, OnDuplicate.REPLACE])
async def test_job_with_no_room_for_another_handler_says_so(
    caller: Caller, raw: Raw, keys: PartitionKeys, how: OnDuplicate
) -> None:
    await filled(caller, 0)
    before = (await contents(raw, keys))["a"]
    asked = create("b", body=b"new", handler="maker", terms=FINISHED, on_duplicate=how)
    assert code(await caller.ask(*asked)) is RefusalCode.TOO_MANY
    assert (await contents(raw, keys))["a"] == before


async def test_client_and_group_join_both_or_neither(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    await filled(caller, 1)
    before = (await contents(raw, keys))["a"]
    both = create("b", group="shop", terms=FINISHED, on_duplicate=OnDuplicate.JOIN)
    assert code(await caller.ask(*both)) is RefusalCode.TOO_MANY
    assert (await contents(raw, keys))["a"] == before
    alone = create("b", terms=FINISHED, on_duplicate=OnDuplicate.JOIN)
    assert "maker" in made(await caller.ask(*alone)).handlers


async def test_refused_replacement_takes_up_nothing_of_the_budget(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    await filled(caller, 0)
    await raw("SET", keys.settings("mail"), encode_settings(TypeSettings(max_bytes=1_000)))
    refused, other = await caller.submit(
        create("b", body=bytes(800), handler="m", terms=FINISHED, on_duplicate=OnDuplicate.REPLACE),
        create("c", body=bytes(800)),
    )
    assert (code(refused), code(other)) == (RefusalCode.TOO_MANY, None)


# -- for how long the key is held


async def test_replacement_keeps_the_window_of_the_first(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    key = keys.unique("mail", "k")
    await caller.applied(*create("a", terms=WINDOW))
    await raw("PEXPIRE", key, 30_000)
    longer = Terms(unique=Unique("k", Scope.WINDOW, 90_000))
    for terms in (WINDOW, longer, FINISHED, WINDOW):
        asked = create("b", body=b"new", terms=terms, on_duplicate=OnDuplicate.REPLACE)
        job = made(await caller.ask(*asked))
        assert (job.id, job.body, job.terms) == ("a", b"new", WINDOW)
        assert 0 < await raw("PTTL", key) <= 30_000


async def test_replacement_by_one_with_a_window_gives_the_job_none(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    asked = create("b", body=b"new", terms=WINDOW, on_duplicate=OnDuplicate.REPLACE)
    assert made(await caller.ask(*asked)).terms == FINISHED
    await caller.applied("a", Remove())
    assert made(await caller.ask(*create("b", terms=WINDOW))).id == "b"


# -- the same create again, its answer lost


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("settings", [TypeSettings(), TypeSettings(draining=True, max_bytes=1)])
async def test_create_that_replaced_is_answered_the_same_again(
    caller: Caller, raw: Raw, keys: PartitionKeys, claimed: bool, settings: TypeSettings
) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    assert made(await caller.ask("b", SECOND)).id == "a"
    if claimed:
        await caller.applied("a", claim())
    await raw("SET", keys.settings("mail"), encode_settings(settings))
    before = (await contents(raw, keys))["a"]
    again = await caller.applied("b", SECOND)
    assert (again.job.id, again.changed) == ("a", False)
    assert (await contents(raw, keys))["a"] == before
    handled = await caller.applied("b", replace(SECOND, handler="bob"))
    assert (handled.job.id, handled.job.handlers) == ("a", ("bob",))


async def test_create_that_was_replaced_is_answered_the_same_again(
    caller: Caller, opener: Opener
) -> None:
    first = Create("a", "mail", b"body", "maker", fingerprint=b"first", terms=FINISHED)
    await caller.applied("a", first)
    await caller.applied("b", SECOND)
    again = await caller.applied("a", first)
    assert (again.job.body, again.changed) == (b"new", False)
    other = replace(first, fingerprint=b"second")
    assert code(await opener.committer().ask("a", other)) is RefusalCode.CONFLICT


@pytest.mark.parametrize("changes", [{"id": "c"}, {"fingerprint": b"third"}])
async def test_other_create_is_no_repetition(caller: Caller, changes: dict[str, Any]) -> None:
    await caller.applied(*create("a", terms=FINISHED))
    await caller.applied("b", SECOND)
    other = replace(SECOND, **changes)
    assert (await caller.applied(other.id, other)).changed
    await caller.applied("a", claim())
    third = replace(other, id="d")
    assert code(await caller.ask("d", third)) is RefusalCode.DUPLICATE
