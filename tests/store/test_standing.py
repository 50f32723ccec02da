"""How single jobs stand."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from packhorse_broker.jobs.commands import Fail
from packhorse_broker.jobs.model import AttemptRecord, End, Expired, Job
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import encode_attempt
from packhorse_broker.store.standing import Standing
from packhorse_broker.store.types import PLAIN, SettingsChange, TypeSettings, encode_settings
from tests.store.shelf import Shelf, job
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.partitioned import PartitionedStores


@pytest.fixture
def shelf(raw: Raw, keys: PartitionKeys) -> Shelf:
    return Shelf(raw, keys)


@pytest.fixture
def standing(opener: Opener, keys: PartitionKeys) -> Standing:
    return Standing([ReadLane(opener.lane(), keys)])


async def test_attempts_are_the_newest_ones(
    standing: Standing, raw: Raw, keys: PartitionKeys
) -> None:
    records = [
        AttemptRecord(n, "ann", 10 * n, 10 * n + 5, End.TIMED_OUT, Expired.RUN, None, 99)
        for n in range(1, 4)
    ]
    await raw("RPUSH", keys.attempts("a"), *map(encode_attempt, records))
    await raw("RPUSH", keys.attempts("b"), b"rubbish", encode_attempt(records[0]))
    with capture_logs() as logs:
        assert await standing.attempts(["a", "none", "b"], 50) == [records, [], records[:1]]
    assert [log["event"] for log in logs] == ["store.corrupt_attempt"]
    assert await standing.attempts(["a"], 1) == [records[-1:]]
    assert await standing.attempts([], 50) == []


async def test_how_many_stand_before_a_job(standing: Standing, shelf: Shelf) -> None:
    jobs = [job("a", at=3), job("b", at=1), job("c", at=9, priority=1), job("d", job_type="u")]
    await shelf.put(*jobs)
    assert await standing.ahead(jobs) == [2, 1, 0, 0]
    assert await standing.ahead([replace(jobs[0], order=7)]) == [None]
    assert await standing.ahead([]) == []


async def test_settings_as_they_are_stored(
    standing: Standing, raw: Raw, keys: PartitionKeys
) -> None:
    paused = TypeSettings(paused=True, by="ann", why="tired")
    await raw("SET", keys.settings("t"), encode_settings(paused))
    await raw("SET", keys.settings("u"), b"rubbish")
    with capture_logs() as logs:
        found = await standing.settings(["t", "u", "v"])
    assert found == {"t": paused, "u": PLAIN, "v": PLAIN}
    assert [log["event"] for log in logs] == ["store.corrupt_settings"]
    assert await standing.settings([]) == {}


# -- over several partitions


async def test_attempts_and_settings_are_found_where_they_are(stores: PartitionedStores) -> None:
    store = stores.open(3)
    names = [job_id for one in range(3) for job_id in store.names(one, 2)]
    for job_id in names:
        asked = claim(f"runner-of-{job_id}")
        await store.caller.applied(*create(job_id, attempts=2))
        await store.caller.applied(job_id, asked)
        await store.caller.applied(job_id, Fail(asked.client, first_token(asked), b"no"))
    found = await store.partitions.standing.attempts([*names[::-1], "none"], 5)
    runners = [[record.runner for record in records] for records in found]
    assert runners == [*([f"runner-of-{job_id}"] for job_id in names[::-1]), []]
    pause = SettingsChange(paused=True)
    await store.partitions.type_changes.change({"mail": pause}, by="ann", why="", now_ms=7)
    settings = await store.partitions.standing.settings(["mail", "post"])
    assert settings["mail"].paused
    assert settings["post"] == PLAIN


async def test_how_many_stand_before_a_job_is_told_by_its_own_partition(
    stores: PartitionedStores,
) -> None:
    """Those of a higher priority are counted; of its own there are as many in each partition."""
    store = stores.open(3)
    names = [f"job-{n}" for n in range(60)]
    for n, job_id in enumerate(names):
        await store.caller.applied(*create(job_id, terms=Terms(priority=n % 3 - 1)))
    found = await store.partitions.reader.records(names)
    queued = [one for one in found if isinstance(one, Job)]
    ahead = await store.partitions.standing.ahead(queued[::-1])
    homes = store.partitions.homes
    for one, told in zip(queued[::-1], ahead, strict=True):
        higher = sum(other.priority > one.priority for other in queued)
        before = sum(
            other.priority == one.priority
            and other.order < one.order
            and homes.of(other.id) == homes.of(one.id)
            for other in queued
        )
        assert told == higher + 3 * before
    await store.caller.applied("job-5", claim())
    assert await store.partitions.standing.ahead([queued[5], queued[2]]) == [None, 0]
    assert await store.partitions.standing.ahead([]) == []
