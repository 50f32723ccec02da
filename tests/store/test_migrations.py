"""From one schema version to the next: pages, the lease, and who may be at work meanwhile.

The steps here are the test's own: values of jobs are numbers, which grow by a letter a version.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgpack
import pytest

from packhorse_broker.store import migrations, registry, schema
from packhorse_broker.store.errors import SchemaRefused, StoreUnavailable
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.migrations import (
    Migration,
    MigrationHeld,
    OlderBrokersRun,
    Phase,
    Progress,
    Step,
)
from packhorse_broker.store.packing import Argument
from packhorse_broker.store.schema import open_schema
from packhorse_broker.store.transaction import Lane
from tests.support.clients import Registries
from tests.support.inspection import Raw
from tests.support.opening import Opener

NOW = 1_000
VALUES = 600
LEASE_MS = 200

Make: TypeAlias = Callable[..., Migration]
Become: TypeAlias = Callable[[int], None]
Forms: TypeAlias = Callable[[], Awaitable[set[bytes]]]


def told_nobody(progress: Progress) -> None:
    """For runs of which nothing is to be heard."""


def append(letter: bytes) -> migrations.Change:
    def change(key: bytes, value: bytes) -> Sequence[Argument]:
        return [("SET", key, value + letter)] if letter not in value else ()

    return change


def step(version: int, letter: str) -> Step:
    """In the older form a value lacks the letter; it gets a small one, then a capital one."""
    return Step(
        version=version,
        about=f"add {letter}",
        prefix=lambda keys: keys.record(""),
        expand=append(letter.encode()),
        contract=append(letter.upper().encode()),
    )


STEPS = (step(2, "b"), step(3, "c"))


@pytest.fixture
def make(opener: Opener, client_keys: ClientKeys, keys: PartitionKeys) -> Make:
    """Processes that migrate."""

    def migration(holder: str = "one", lease_ms: int = LEASE_MS) -> Migration:
        return Migration(
            opener.lane(),
            client_keys,
            [(opener.lane(), keys)],
            STEPS,
            holder=holder,
            lease_ms=lease_ms,
        )

    return migration


@pytest.fixture
async def release(
    monkeypatch: pytest.MonkeyPatch, opener: Opener, client_keys: ClientKeys
) -> Become:
    """Makes this a release with another schema version; the store is one of version 1."""
    await open_schema(opener.lane(), client_keys, NOW)

    def become(version: int) -> None:
        monkeypatch.setattr(schema, "SCHEMA_VERSION", version)
        monkeypatch.setattr(registry, "SCHEMA_VERSION", version)

    return become


@pytest.fixture
async def values(raw: Raw, keys: PartitionKeys) -> Forms:
    """The forms in which values are."""
    for number in range(VALUES):
        await raw("SET", keys.record(f"job-{number}"), f"{number}-a")

    async def forms() -> set[bytes]:
        found = await raw("MGET", *sorted(await raw.keys(keys.record(""))))
        assert len(found) == VALUES
        return {value.split(b"-")[1] for value in found}

    return forms


async def test_nothing_is_to_be_done_for_a_store_of_this_version(
    make: Make, release: Become
) -> None:
    identity, progress = await make().look()
    assert (identity.schema, progress) == (1, None)
    assert await make().run(told_nobody) == identity


async def test_a_store_that_was_never_used_is_refused(make: Make) -> None:
    with pytest.raises(SchemaRefused, match="has not been used"):
        await make().look()


async def test_all_steps_are_applied_in_turn(
    make: Make,
    release: Become,
    values: Forms,
    raw: Raw,
    client_keys: ClientKeys,
) -> None:
    release(3)
    heard: list[Progress] = []
    identity = await make().run(heard.append)
    assert identity.schema == 3
    assert await values() == {b"abcBC"}
    assert await raw("EXISTS", client_keys.migration) == 0
    phases = [(progress.phase, progress.version) for progress in heard]
    assert list(dict.fromkeys(phases)) == [
        (Phase.EXPAND, 2),
        (Phase.EXPAND, 3),
        (Phase.OPEN, 2),
        (Phase.CONTRACT, 2),
        (Phase.CONTRACT, 3),
    ]
    assert heard[-1].changed == 2 * VALUES


async def store_ms(raw: Raw) -> int:
    seconds, _ = await raw("TIME")
    return int(seconds) * 1_000


async def test_it_waits_until_older_brokers_are_gone(
    make: Make,
    release: Become,
    values: Forms,
    raw: Raw,
    registries: Registries,
    opener: Opener,
    client_keys: ClientKeys,
) -> None:
    old = registries.make()
    await old.announce_broker("old", await store_ms(raw))
    release(2)
    with pytest.raises(SchemaRefused, match="run `packhorse migrate` first"):
        await open_schema(opener.lane(), client_keys, NOW)
    with pytest.raises(OlderBrokersRun, match="run: old"):
        await make().run(told_nobody)
    assert await values() == {b"ab"}
    # From now on brokers of this release may start, and the older ones go on.
    assert (await open_schema(opener.lane(), client_keys, NOW)).schema == 1
    await registries.make().announce_broker("new", await store_ms(raw))
    assert await make("two").older_brokers(2) == ["old"]
    await old.withdraw_broker("old")
    assert (await make("two").run(told_nobody)).schema == 2
    assert await values() == {b"abB"}


async def test_a_broker_that_says_nothing_of_its_schema_is_of_the_first_version(
    make: Make, release: Become, raw: Raw, client_keys: ClientKeys
) -> None:
    await raw("ZADD", client_keys.brokers, await store_ms(raw) + 60_000, "silent")
    assert await make().older_brokers(1) == []
    assert await make().older_brokers(2) == ["silent"]


async def test_one_that_starts_as_the_door_closes_is_waited_for(
    make: Make,
    release: Become,
    values: Forms,
    raw: Raw,
    registries: Registries,
    opener: Opener,
    client_keys: ClientKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = registries.make()
    looks = 0

    async def seen_late(*_: object) -> list[str]:
        nonlocal looks
        looks += 1
        return ["late"] if looks == 2 else []

    release(2)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "older_brokers", seen_late)
        with pytest.raises(OlderBrokersRun, match="late"):
            await make().run(told_nobody)
    assert await values() == {b"ab"}
    # No other one starts, and what is left is done when that one is gone.
    release(1)
    with pytest.raises(SchemaRefused, match="schema version 2"):
        await open_schema(opener.lane(), client_keys, NOW)
    release(2)
    await make().run(told_nobody)
    assert await values() == {b"abB"}
    await old.close()


class Killed(BaseException):
    """Ends a process in a test: nothing that it would still have done is done."""


async def test_another_goes_on_where_one_was_killed(
    make: Make, release: Become, values: Forms, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(2)
    pages: list[Progress] = []

    def killed(progress: Progress) -> None:
        pages.append(progress)
        if len(pages) == 2:
            raise Killed

    async def nothing(_: Migration) -> None:
        """It gives no lease back."""

    with monkeypatch.context() as patched:
        patched.setattr(Migration, "_give_back", nothing)
        with pytest.raises(Killed):
            await make("one").run(killed)
    assert await values() == {b"a", b"ab"}
    heard: list[Progress] = []
    await make("two").run(heard.append)
    assert await values() == {b"abB"}
    assert heard[0].seen > pages[-1].seen
    assert heard[0].holder == "two"


async def test_one_that_renews_its_lease_is_left_alone(
    make: Make, release: Become, values: Forms
) -> None:
    release(2)
    taken = await make("one", 5 * LEASE_MS)._take()
    assert taken is not None
    waiting = asyncio.create_task(make("two").run(told_nobody))
    await make("one", 60_000)._keep(taken)
    with pytest.raises(MigrationHeld, match="one is migrating the store to schema version 2"):
        await waiting
    assert await values() == {b"a"}


async def test_one_whose_lease_was_taken_over_stops(
    make: Make, release: Become, values: Forms
) -> None:
    release(2)
    first = make("one")
    taken = await first._take()
    assert taken is not None
    await make("two").run(told_nobody)
    with pytest.raises(MigrationHeld, match="taken the migration over"):
        await first._finish(taken, told_nobody)
    await first._give_back()
    assert await values() == {b"abB"}


async def test_in_another_process_of_the_store_a_pass_begins_anew(
    make: Make, release: Become, values: Forms, raw: Raw, client_keys: ClientKeys
) -> None:
    release(2)
    left = Progress(target=2, version=2, cursor=1 << 40, run_id="another")
    fields = [getattr(left, name) for name in Progress.__dataclass_fields__]
    await raw("SET", client_keys.migration, msgpack.packb(fields))
    await make().run(told_nobody)
    assert await values() == {b"abB"}


async def test_values_that_change_meanwhile_are_changed_all_the_same(
    make: Make, release: Become, values: Forms, raw: Raw, keys: PartitionKeys
) -> None:
    """Whoever writes between the look and the commit wins, and the new value is looked at."""
    hot = keys.record("job-7")
    writes = iter(range(20))

    async def busy(lane: Lane, watched: Sequence[bytes]) -> list[bytes | None]:
        found = await watch(lane, watched)
        if hot in watched and next(writes, None) is not None:
            await raw("SET", hot, "7-a")
        return found

    watch = Lane.watch
    release(2)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Lane, "watch", busy)
        await make().run(told_nobody)
    assert next(writes, None) is None
    assert await values() == {b"abB"}


async def test_a_value_that_never_rests_is_said(
    make: Make, release: Become, raw: Raw, keys: PartitionKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await raw("SET", keys.record("job"), "a")

    async def never(lane: Lane, commands: Sequence[Argument]) -> list[object] | None:
        return None if commands[0][1] == keys.record("job") else await commit(lane, commands)

    commit = Lane.commit
    monkeypatch.setattr(Lane, "commit", never)
    monkeypatch.setattr(migrations, "TRIES_OF_ONE", 3)
    release(2)
    with pytest.raises(StoreUnavailable, match="changes all the time"):
        await make().run(told_nobody)


async def test_a_newer_migration_is_left_to_its_release(
    make: Make, release: Become, values: Forms
) -> None:
    release(3)
    first = make("one")
    assert await first._take() is not None
    await first._give_back()
    release(2)
    with pytest.raises(SchemaRefused, match="on its way to schema version 3"):
        await make("two").run(told_nobody)
    assert await values() == {b"a"}


async def test_an_older_migration_is_overtaken_before_its_door_is_closed(
    make: Make, release: Become, values: Forms
) -> None:
    release(2)
    first = make("one")
    assert await first._take() is not None
    await first._give_back()
    release(3)
    assert (await make("two").run(told_nobody)).schema == 3
    assert await values() == {b"abcBC"}


@pytest.mark.parametrize("data", [b"", b"\xc1", msgpack.packb([1]), msgpack.packb("x")])
async def test_a_record_that_is_none_is_refused(
    make: Make, release: Become, raw: Raw, client_keys: ClientKeys, data: bytes
) -> None:
    await raw("SET", client_keys.migration, data)
    with pytest.raises(SchemaRefused, match="can't be read"):
        await make().look()


def test_steps_lead_to_this_release() -> None:
    versions = [step.version for step in migrations.STEPS]
    assert versions == list(range(2, schema.SCHEMA_VERSION + 1))
