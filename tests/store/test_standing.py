"""How single jobs stand."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from packhorse_broker.jobs.model import AttemptRecord, End, Expired
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import encode_attempt
from packhorse_broker.store.standing import Standing
from packhorse_broker.store.types import PLAIN, TypeSettings, encode_settings
from tests.store.shelf import Shelf, job
from tests.support.inspection import Raw
from tests.support.opening import Opener


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
