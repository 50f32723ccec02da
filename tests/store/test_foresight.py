"""A lone transaction: what is read ahead for it, and jobs that it takes for new ones."""

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Complete, Extend, Release
from packhorse_broker.jobs.model import State
from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.types import TypeSettings, encode_settings
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Contents, Raw
from tests.support.opening import TIMEOUT_MS, Caller, Opener
from tests.support.proxy import Fault, FaultProxy
from tests.support.telling import told


async def states(raw: Raw, keys: PartitionKeys) -> dict[str, State]:
    """All jobs in the store, after a check that records and indexes agree."""
    found = await Contents.read(raw, keys)
    found.check(keys)
    return {job_id: job.state for job_id, job in found.jobs.items()}


async def prepared(opener: Opener, url: str | None = None, timeout_ms: int = TIMEOUT_MS) -> Caller:
    """One whose next transaction finds the settings of its type read ahead."""
    caller = opener.committer(url, timeout_ms=timeout_ms)
    await caller.submit(create("earlier"))
    return caller


async def test_a_lone_create_is_one_exchange(opener: Opener, proxy: FaultProxy) -> None:
    caller = await prepared(opener, proxy.url)
    before = proxy.commands.copy()
    assert told(await caller.submit(create("a"))) == ["QUEUED"]
    asked = proxy.commands - before
    # One for the job, one that has EXEC fail where it is not permitted.
    assert (asked[b"GETEX"], asked[b"MULTI"]) == (2, 1)
    # One for the job, one ahead.
    assert (asked[b"WATCH"], asked[b"MGET"]) == (2, 1)


async def test_what_a_lone_claim_started_is_ended_without_a_look(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = await prepared(opener, proxy.url)
    claimed = claim()
    await caller.submit(("earlier", claimed))
    before = proxy.commands.copy()
    ending = Complete("ann", first_token(claimed), b"")
    assert told(await caller.submit(("earlier", ending))) == ["gone"]
    asked = proxy.commands - before
    assert (asked[b"MULTI"], asked[b"WATCH"], asked[b"MGET"]) == (1, 1, 1)
    assert await states(raw, keys) == {}


async def test_what_was_read_ahead_and_has_changed_is_read_again(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = await prepared(opener)
    claimed = claim()
    await caller.submit(("earlier", claimed))
    await raw("DEL", keys.record("earlier"))
    await raw("DEL", keys.claims("ann"), keys.started("mail"))
    ending = Complete("ann", first_token(claimed), b"")
    assert told(await caller.submit(("earlier", ending))) == ["not_found"]
    await raw("SET", keys.settings("mail"), encode_settings(TypeSettings(draining=True)))
    assert told(await caller.submit(create("a"))) == ["type_draining"]


async def test_a_job_that_is_there_is_not_taken_for_new(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = await prepared(opener)
    other = opener.committer()
    kept = replace(create("a")[1], fingerprint=b"one")
    await other.submit(("a", kept))
    stored_before = await raw("GET", keys.record("a"))
    again, changed = ("a", kept), ("a", replace(kept, fingerprint=b"two"))
    assert told(await caller.submit(again)) == ["QUEUED"]
    assert told(await caller.submit(changed)) == ["conflict"]
    assert await raw("GET", keys.record("a")) == stored_before
    assert await raw("PTTL", keys.record("a")) == -1
    assert caller.committer.conflicts == 0


async def test_a_store_that_does_not_permit_the_look_loses_no_job(
    opener: Opener, own_store: EmbeddedStore, own_raw: Raw, keys: PartitionKeys
) -> None:
    await own_raw("ACL", "SETUSER", "default", "-getex")
    caller = await prepared(opener, own_store.url)
    kept = replace(create("a")[1], fingerprint=b"one")
    assert told(await caller.submit(("a", kept))) == ["QUEUED"]
    await caller.submit(create("b"))
    before = await own_raw("GET", keys.record("a"))
    assert told(await caller.submit(("a", replace(kept, fingerprint=b"two")))) == ["conflict"]
    assert await own_raw("GET", keys.record("a")) == before
    assert set(await states(own_raw, keys)) == {"a", "b", "earlier"}


async def test_a_refused_create_is_looked_up_before_it_is_said(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """A repeated create of a job that is there is no new job to a type that takes none."""
    caller = opener.committer()
    kept = replace(create("a")[1], fingerprint=b"one")
    await caller.submit(("a", kept))
    await raw("SET", keys.settings("mail"), encode_settings(TypeSettings(draining=True)))
    assert told(await caller.submit(create("b"))) == ["type_draining"]
    assert told(await caller.submit(("a", kept), create("c"))) == ["QUEUED", "type_draining"]


@pytest.mark.parametrize("fault", [*Fault])
async def test_a_job_taken_for_new_comes_once_whatever_fails(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys, fault: Fault
) -> None:
    # What is kept back in silence is waited for so long.
    timeout_ms = 2_000 if fault is Fault.SILENCE else TIMEOUT_MS
    caller = await prepared(opener, proxy.url, timeout_ms)
    proxy.fail(fault)
    created = caller.submit(create("a"))
    await proxy.met()
    if fault is Fault.PAUSE:
        proxy.resume()
    assert told(await created) == ["QUEUED"]
    if fault is Fault.HOLD:
        assert await proxy.deliver() is None
    assert await states(raw, keys) == {"a": State.QUEUED, "earlier": State.QUEUED}
    assert await raw("ZCARD", keys.queue("mail")) == 2


# -- what changes nothing is not proven by EXEC


async def test_what_was_read_ahead_refuses_nothing(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """Another broker has given the claim back, and claimed the job, in the meantime."""
    caller, other = await prepared(opener), opener.committer()
    claimed, again = claim(), claim("bob")
    await caller.submit(("earlier", claimed))
    await other.submit(("earlier", Release("ann", first_token(claimed))), ("earlier", again))
    held = (await Contents.read(raw, keys)).jobs["earlier"].token
    assert held is not None
    extension = Extend("ann", first_token(claimed), 1_000)
    assert told(await caller.submit(("earlier", extension))) == ["stale_claim"]
    await caller.submit(create("b"))
    assert told(await other.submit(("earlier", Release("bob", held)))) == ["QUEUED"]
    drawn, _ = await caller.draw("mail", [claim()])
    assert [applied.job.id for applied in drawn] == ["earlier"]


async def test_settings_that_were_read_ahead_refuse_nothing(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await raw("SET", keys.settings("mail"), encode_settings(TypeSettings(draining=True)))
    await caller.submit(create("other", "post"))
    assert told(await caller.submit(create("a"))) == ["type_draining"]
    await caller.submit(create("b", "post"), create("c"))
    await raw("DEL", keys.settings("mail"))
    assert told(await caller.submit(create("d"))) == ["QUEUED"]
