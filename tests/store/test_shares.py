"""Which jobs at the head of a queue each of several brokers claims."""

import pytest

from packhorse_broker.store import shares
from packhorse_broker.store.candidates import Candidates
from packhorse_broker.store.keys import PartitionKeys, queue_member
from packhorse_broker.store.shares import ALONE, OWNER_MS, SHARED_WINDOW, Rivals, Shares

NAMES = ("b-1", "b-2", "b-3")
START_MS = 1_790_000_000_000
LONG_AGO_MS = START_MS - 60_000


class Group:
    """Brokers with one clock, that the test sets."""

    def __init__(self, *names: str) -> None:
        self.now_ms = START_MS
        self.shares = {name: self._member(names, place) for place, name in enumerate(names)}

    def _member(self, names: tuple[str, ...], place: int) -> Shares:
        return Shares(lambda _: Rivals(names, place), lambda: self.now_ms)

    def own(self, members: list[bytes]) -> dict[str, list[str]]:
        return {name: share.own("t", members)[0] for name, share in self.shares.items()}

    def owners(self, members: list[bytes]) -> dict[str, set[str]]:
        """By job: who would claim it."""
        found: dict[str, set[str]] = {}
        for name, jobs in self.own(members).items():
            for job in jobs:
                found.setdefault(job, set()).add(name)
        return found


def waiting(count: int, queued_ms: int = LONG_AGO_MS) -> list[bytes]:
    return [queue_member(1_000 * queued_ms + n, f"j{n}") for n in range(count)]


@pytest.fixture
def group() -> Group:
    return Group(*NAMES)


def test_one_broker_claims_all_in_their_order() -> None:
    alone = Shares(lambda _: ALONE, lambda: START_MS)
    assert alone.own("t", waiting(3)) == (["j0", "j1", "j2"], False)
    assert alone.window("t", 7) == 7


def test_each_job_is_one_brokers(group: Group) -> None:
    owners = group.owners(waiting(300))
    assert len(owners) == 300
    assert all(len(names) == 1 for names in owners.values())
    assert {name for names in owners.values() for name in names} == set(NAMES)


def test_what_its_owner_leaves_is_the_next_ones_and_then_anybodys(group: Group) -> None:
    [member] = waiting(1)
    claimed = []
    for _ in NAMES:
        claimed.append(len(group.owners([member])["j0"]))
        group.now_ms += OWNER_MS
    assert claimed == [1, 2, 3]


def test_one_that_leaves_some_says_so(group: Group) -> None:
    own, left = group.shares["b-1"].own("t", waiting(50))
    assert left
    assert 0 < len(own) < 50
    group.now_ms += 2 * OWNER_MS
    assert group.shares["b-1"].own("t", waiting(50)) == ([f"j{n}" for n in range(50)], False)


def test_what_a_broker_queues_and_has_places_for_is_its_own(group: Group) -> None:
    members = waiting(20, queued_ms=START_MS)
    group.shares["b-2"].keep([f"j{n}" for n in range(20)])
    assert group.own(members) == {"b-1": [], "b-2": [f"j{n}" for n in range(20)], "b-3": []}


def test_what_a_broker_has_no_places_for_is_the_others(group: Group) -> None:
    members = waiting(100, queued_ms=START_MS)
    for share in group.shares.values():
        share.passed_on([f"j{n}" for n in range(100)], "b-2")
    owners = group.owners(members)
    assert len(owners) == 100
    assert all(len(names) == 1 and "b-2" not in names for names in owners.values())
    group.now_ms += OWNER_MS  # New no more: it is one of three again, and the others' turn comes.
    assert any("b-2" in names for names in group.owners(members).values())


def test_a_job_of_which_nothing_was_heard_is_its_brokers_for_a_moment(group: Group) -> None:
    members = waiting(10, queued_ms=START_MS)
    assert group.owners(members) == {}
    group.now_ms += OWNER_MS
    assert group.owners(members).keys() == {f"j{n}" for n in range(10)}


def test_it_looks_far_enough_to_find_its_own(group: Group) -> None:
    share = group.shares["b-1"]
    assert share.window("t", 1) == 3 * shares.LEAST_SHARE
    assert share.window("t", 200) == 600
    assert share.window("t", 5_000) == 5_000
    assert share.window("t", 500) == SHARED_WINDOW


def test_it_remembers_no_more_than_it_may(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MAX_NOTED", 5)
    share = group.shares["b-1"]
    for start in range(0, 20, 4):
        share.keep([f"j{n}" for n in range(start, start + 4)])
        share.passed_on([f"k{n}" for n in range(start, start + 4)], "b-2")
    assert list(share._kept) == [f"j{n}" for n in range(15, 20)]
    assert list(share._passed_on) == [f"k{n}" for n in range(15, 20)]


def test_a_queue_that_is_not_looked_at_any_more_is_forgotten(group: Group) -> None:
    share = group.shares["b-1"]
    share.own("gone", waiting(50))
    group.now_ms += shares.FORGOTTEN_MS
    share.own("t", waiting(50))
    assert share._seen.keys() == {"gone", "t"}
    group.now_ms += 1
    share.own("t", waiting(50))
    assert share._seen.keys() == share._looked_ms.keys() == {"t"}


def test_who_else_claims_may_change_before_the_answer_comes() -> None:
    """The queue held as many as were asked for, so it may hold more."""
    rivals = ALONE
    keys = PartitionKeys("test", 0)
    candidates = Candidates(keys, Shares(lambda _: rivals, lambda: START_MS), lambda: START_MS)
    asked = candidates.asking({"t": 40})
    rivals = Rivals(NAMES, 0)
    window = candidates.windows({"t": 40}, [waiting(40), *([] for _ in asked[1:])])["t"]
    assert window.full
    assert window.left
