"""The schedule of faults follows from the seed, and leaves each target time to come back."""

from collections import defaultdict
from itertools import pairwise

from tests.history.faults import WEIGHTS, Cast, PlannedFault, schedule

CAST = Cast(
    brokers=("broker-0", "broker-1"),
    servers=("store",),
    producers=("producer-0",),
    runners=("runner-0", "runner-1"),
    handlers=("member-0",),
)


def test_a_seed_repeats_its_schedule() -> None:
    assert schedule("a", 60, CAST) == schedule("a", 60, CAST)
    assert schedule("a", 60, CAST) != schedule("b", 60, CAST)


def test_every_kind_comes_up() -> None:
    assert {fault.kind for fault in schedule("a", 2_000, CAST)} == set(WEIGHTS)


def test_all_is_healed_at_the_end() -> None:
    for seed in map(str, range(20)):
        assert all(0 < fault.at_s <= fault.until_s <= 30.001 for fault in schedule(seed, 30, CAST))


def test_a_target_is_hit_by_one_at_a_time() -> None:
    by_target: dict[str, list[PlannedFault]] = defaultdict(list)
    for fault in schedule("a", 500, CAST):
        by_target[fault.target].append(fault)
    for faults in by_target.values():
        assert all(one.until_s < following.at_s for one, following in pairwise(faults))


def test_a_fault_hits_those_that_it_names() -> None:
    for fault in schedule("a", 500, CAST):
        if fault.kind.endswith("runner"):
            assert fault.target in CAST.runners
        if fault.kind.startswith("exec"):
            assert fault.target in CAST.brokers
