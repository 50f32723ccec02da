"""Names of keys: whatever ids and types hold, no two things share one."""

from itertools import combinations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhorse_broker.store.keys import (
    ORDER_BYTES,
    ClientKeys,
    PartitionKeys,
    job_of_member,
    queue_member,
)

HOSTILE: Final = (
    "",
    "a",
    "a:b",
    ":",
    "t",
    "types",
    "events",
    "j:a",
    "q:mail",
    "{x}",
    "}{",
    "{0}",
    "ph:{0}:j:a",
    "client:a",
    "a*?[",
    "a\0b",
    "a b\n",
    "ä",
    "a\u0308",
    "行",
    "🐴",
)

names: Final = st.sampled_from(HOSTILE) | st.text(max_size=10)
keys: Final = PartitionKeys("ph", 0)
client_keys: Final = ClientKeys("ph")


def every_key(name: str) -> dict[str, bytes]:
    """Every key that is about something called so, and those about nothing in particular."""
    return {
        "record": keys.record(name),
        "body": keys.body(name),
        "outcome": keys.outcome(name),
        "log": keys.log(name),
        "queue": keys.queue(name),
        "started": keys.started(name),
        "complete": keys.complete(name),
        "failed": keys.failed(name),
        "claims": keys.claims(name),
        "handlers": keys.handlers(name),
        "writer": keys.writer(name),
        "timers": keys.timers,
        "types": keys.types,
        "events": keys.events,
        "client": client_keys.client(name),
        "client writer": client_keys.writer(name),
        "alive": client_keys.alive,
        "leaving": client_keys.leaving,
        "at": client_keys.at,
        "brokers": client_keys.brokers,
        "store": client_keys.store,
    }


@given(names, names)
def test_no_two_things_share_a_key(one: str, other: str) -> None:
    ours, theirs = every_key(one), every_key(other)
    assert len(set(ours.values())) == len(ours)
    for what, key in ours.items():
        same = {name for name, found in theirs.items() if found == key}
        about_nothing = what in ("timers", "types", "events", *list(ours)[-5:])
        assert same == ({what} if one == other or about_nothing else set())


@pytest.mark.parametrize("name", HOSTILE)
def test_all_keys_of_a_partition_are_in_its_slot(name: str) -> None:
    """A cluster hashes what is between the first brace and the next."""
    for what, key in every_key(name).items():
        assert key.startswith(b"ph:{")
        tag = key[key.index(b"{") + 1 : key.index(b"}")]
        assert tag in (b"0", b"c")
        assert (tag == b"0") == (what in list(every_key(""))[:14])


@given(names)
def test_partitions_and_prefixes_are_apart(name: str) -> None:
    others = [PartitionKeys("ph", 1), PartitionKeys("ph", 10), PartitionKeys("ph2", 0)]
    for one, other in combinations([keys, *others], 2):
        assert one.record(name) != other.record(name)
        assert not one.record(name).startswith(other.base)


@given(st.integers(0, 2 ** (8 * ORDER_BYTES) - 1), names)
def test_member_of_a_queue_tells_its_job(order: int, job_id: str) -> None:
    assert job_of_member(queue_member(order, job_id)) == job_id


@given(st.lists(st.tuples(st.integers(0, 2**56 - 1), names), unique_by=lambda pair: pair[0]))
def test_members_sort_by_their_order(pairs: list[tuple[int, str]]) -> None:
    members = sorted(queue_member(order, job_id) for order, job_id in pairs)
    assert [job_of_member(member) for member in members] == [job_id for _, job_id in sorted(pairs)]


def test_order_holds_microseconds_for_two_thousand_years() -> None:
    year_4253 = 2_283 * 365 * 24 * 3600 * 1_000_000
    assert len(queue_member(year_4253, "")) == ORDER_BYTES
