"""The schedule of faults follows from the seed, and leaves each target time to come back."""

from collections import defaultdict
from itertools import pairwise
from typing import Final

import pytest
from msgspec.structs import replace

from tests.history.faults import WEIGHTS, Cast, PlannedFault, schedule, targets

ONE_SERVER: Final = Cast(
    brokers=("broker-0", "broker-1"),
    proxied=("broker-0", "broker-1"),
    servers={"store": ("store",)},
    producers=("producer-0",),
    runners=("runner-0", "runner-1"),
    handlers=("member-0",),
)

SENTINELS: Final = replace(
    ONE_SERVER,
    proxied=(),
    servers={
        "primary": ("primary",),
        "replica": ("replica",),
        "sentinel": ("sentinel-0", "sentinel-1"),
    },
)

CLUSTER: Final = replace(
    SENTINELS,
    servers={
        "primary": ("shard-0", "shard-1"),
        "shard": ("shard-0", "shard-1"),
        "replica": ("replica-0", "replica-1"),
        "slot": ("partition-0", "partition-1"),
    },
)

CASTS: Final = {"one server": ONE_SERVER, "sentinels": SENTINELS, "cluster": CLUSTER}

casts = pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)


@casts
def test_a_seed_repeats_its_schedule(cast: Cast) -> None:
    assert schedule("a", 60, cast) == schedule("a", 60, cast)
    assert schedule("a", 60, cast) != schedule("b", 60, cast)


def test_every_kind_comes_up() -> None:
    kinds = {fault.kind for cast in CASTS.values() for fault in schedule("a", 2_000, cast)}
    assert kinds == set(WEIGHTS)


@casts
def test_all_is_healed_at_the_end(cast: Cast) -> None:
    for seed in map(str, range(20)):
        assert all(0 < fault.at_s <= fault.until_s <= 30.001 for fault in schedule(seed, 30, cast))


@casts
def test_a_target_is_hit_by_one_at_a_time(cast: Cast) -> None:
    by_target: dict[str, list[PlannedFault]] = defaultdict(list)
    for fault in schedule("a", 500, cast):
        by_target[fault.target].append(fault)
    for faults in by_target.values():
        assert all(one.until_s < following.at_s for one, following in pairwise(faults))


@casts
def test_a_fault_hits_those_that_it_names(cast: Cast) -> None:
    for fault in schedule("a", 500, cast):
        assert fault.target in targets(fault.kind, cast)
        if fault.kind.endswith("runner"):
            assert fault.target in cast.runners
        if fault.kind.startswith("exec"):
            assert fault.target in cast.proxied
