"""Group commit: one failure costs one request, and what other brokers are told."""

from collections.abc import Sequence

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Remove
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreInconsistent
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.records import CorruptRecord, encode_job
from packhorse_broker.store.subscription import Subscription
from packhorse_broker.store.work import Failed, Result, Submission
from tests.support.commands import claim, create, stored
from tests.support.inspection import Raw, contents
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy
from tests.support.telling import told

# -- one failure costs one request


async def test_corrupt_record_fails_its_own_commands_alone(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await raw("SET", keys.record("bad"), "no record")
    bad, good, again = await caller.submit(("bad", claim()), create("good"), ("bad", Remove()))
    for result in (bad, again):
        assert isinstance(result, Failed)
        assert isinstance(result.error, CorruptRecord)
    assert told([good]) == ["QUEUED"]
    assert await raw("GET", keys.record("bad")) == b"no record"


async def test_record_that_can_not_be_decided_on_fails_its_own_commands_alone(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await raw("SET", keys.record("odd"), encode_job(replace(stored("odd"), fence=2**64 - 1)))
    odd, good = await caller.submit(("odd", claim()), create("good"))
    assert isinstance(odd, Failed)
    assert isinstance(odd.error, OverflowError)
    assert told([good]) == ["QUEUED"]


async def test_callback_that_raises_harms_nobody(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()

    def done(_: list[Result], __: bool) -> None:
        raise RuntimeError("the caller is broken")

    caller.committer.submit(Submission([create("a")], done))
    assert told(await caller.submit(create("b"))) == ["QUEUED"]
    assert set(await contents(raw, keys)) == {"a", "b"}


async def test_listener_that_raises_harms_nobody(opener: Opener) -> None:
    caller = opener.committer()

    class Broken(list[Change]):
        def extend(self, _: object) -> None:
            raise RuntimeError("the listener is broken")

    opener.committed = Broken()
    deaf = opener.committer()
    assert told(await deaf.submit(create("a"))) == ["QUEUED"]
    assert told(await deaf.submit(create("b"))) == ["QUEUED"]
    assert told(await caller.submit(create("b"))) == ["conflict"]


async def test_notice_that_can_not_be_made_fails_its_batch_alone(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    def publish(changes: Sequence[Change]) -> bytes | None:
        if any(change.job.id == "bad" for change in changes):
            raise RuntimeError("no notice")
        return None

    caller = opener.committer(publish=publish)
    bad = await caller.ask(*create("bad"))
    assert isinstance(bad, Failed)
    assert isinstance(bad.error, RuntimeError)
    assert told(await caller.submit(create("good"))) == ["QUEUED"]
    assert set(await contents(raw, keys)) == {"good"}


async def test_key_of_a_wrong_kind_is_told_and_the_next_batch_goes_on(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await raw("SET", keys.queue("bad"), "no sorted set")
    failed = await caller.ask(*create("a", "bad"))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, StoreInconsistent)
    assert told(await caller.submit(create("b"))) == ["QUEUED"]


# -- notices


async def test_notice_is_sent_with_the_transaction_and_with_none_that_failed(
    opener: Opener, proxy: FaultProxy, keys: PartitionKeys
) -> None:
    made: list[bytes] = []

    def publish(changes: Sequence[Change]) -> bytes | None:
        if changes[0].job.id == "quiet":
            return None
        made.append(f"{changes[0].job.id} {len(made)}".encode())
        return made[-1]

    caller = opener.committer(proxy.url, publish=publish)
    async with Subscription(opener.address(), keys.events) as messages:
        await caller.submit(create("a"))
        await caller.submit(create("quiet"))
        proxy.fail(Fault.CUT_BEFORE)
        await caller.submit(create("b"))
        await caller.submit(create("c"))
        assert [await anext(messages) for _ in range(3)] == [b"a 0", b"b 2", b"c 3"]
    assert made == [b"a 0", b"b 1", b"b 2", b"c 3"]
