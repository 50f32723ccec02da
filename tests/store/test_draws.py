"""Which partitions the claims of a draw go to."""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhorse_broker.store.candidates import FAIR_EVERY
from packhorse_broker.store.draws import EMPTY_S, Draws, Head
from packhorse_broker.store.type_notes import MAX_UNUSED

MAIL: Final = "mail"

Queues: TypeAlias = dict[int, list[Head]]
"""Of each partition, sorted as the store sorts them."""

sizes: Final = st.integers(1, 40)


@st.composite
def queues(draw: st.DrawFn) -> Queues:
    """No entry is in two of them."""
    scores = draw(st.lists(st.lists(st.sampled_from((-5.0, 0.0, 3.0)), max_size=30), min_size=1))
    members = draw(st.permutations(range(sum(map(len, scores)))))
    left = iter(members)
    return {
        one: sorted((score, b"%05d" % next(left)) for score in of_one)
        for one, of_one in enumerate(scores)
    }


def heads_of(found: Queues, depth: int) -> Queues:
    return {one: entries[:depth] for one, entries in found.items()}


@given(queues(), sizes, st.integers(0, 3 * FAIR_EVERY))
def test_claims_go_to_what_comes_first(found: Queues, claims: int, before: int) -> None:
    """But for the fair share, which is one of FAIR_EVERY."""
    draws = Draws(len(found))
    if before:
        draws.allot(MAIL, draws.ready(MAIL), {}, before, before)
    depth = draws.depth(claims, len(found))
    heads = heads_of(found, depth)
    allotted, more = draws.allot(MAIL, draws.ready(MAIL), heads, claims, depth)

    seen = sum(map(len, heads.values()))
    assert sum(allotted.values()) == min(claims, seen)
    assert all(0 < allotted[one] <= len(heads[one]) for one in allotted)
    fair = (before % FAIR_EVERY + claims) // FAIR_EVERY
    in_order = sorted((entry, one) for one, entries in heads.items() for entry in entries)
    first = Counter(one for _, one in in_order[: claims - fair])
    assert all(allotted.get(one, 0) >= of_one for one, of_one in first.items())
    waiting = sum(map(len, found.values()))
    assert more or waiting == sum(allotted.values())
    if not more:
        assert all(len(entries) < depth for entries in heads.values())


@given(queues(), st.data())
def test_all_jobs_are_drawn_and_nothing_is_asked_for_in_vain(
    found: Queues, data: st.DataObject
) -> None:
    """Draw after draw, each as large as it likes, until it is said that there are no more."""
    draws = Draws(len(found))
    left = {one: list(entries) for one, entries in found.items()}
    more = True
    while more:
        claims = data.draw(sizes)
        ready = draws.ready(MAIL)
        depth = draws.depth(claims, max(1, len(ready)))
        heads = {one: left[one][:depth] for one in ready}
        allotted, more = draws.allot(MAIL, ready, heads, claims, depth)
        assert allotted or not more
        for one, of_one in allotted.items():
            del left[one][:of_one]
    assert not any(left.values())


@given(st.lists(sizes, min_size=1, max_size=5), st.integers(2, 6))
def test_a_partition_with_low_priorities_has_its_turn(
    draw_sizes: list[int], partitions: int
) -> None:
    """At least one of FAIR_EVERY claims for each other that has jobs, however it is drawn."""
    draws = Draws(partitions)
    numbers = count()
    got: Counter[int] = Counter()
    claimed = at_least = 0
    while claimed < 3 * FAIR_EVERY * partitions:
        for claims in draw_sizes:
            depth = draws.depth(claims, partitions)
            heads = {
                one: [(float(one > 0), b"%05d" % next(numbers)) for _ in range(depth)]
                for one in range(partitions)
            }
            allotted, more = draws.allot(MAIL, draws.ready(MAIL), heads, claims, depth)
            assert more
            got.update(allotted)
            claimed += claims
            at_least += min(depth, claims - -(-claims // FAIR_EVERY))
    turns = claimed // (FAIR_EVERY * partitions)
    assert all(got[one] >= turns for one in range(partitions))
    assert got[0] >= at_least


def test_turns_of_one_type_are_not_those_of_another() -> None:
    draws = Draws(2)
    for _ in range(FAIR_EVERY - 1):
        draws.allot("post", draws.ready("post"), {0: [(0.0, b"a")]}, 1, 1)
    heads = {0: [(0.0, b"a")], 1: [(1.0, b"b")]}
    for _ in range(FAIR_EVERY - 1):
        assert draws.allot(MAIL, draws.ready(MAIL), heads, 1, 1)[0] == {0: 1}
    assert draws.allot(MAIL, draws.ready(MAIL), heads, 1, 1)[0] == {0: 1}
    for _ in range(FAIR_EVERY - 1):
        assert draws.allot(MAIL, draws.ready(MAIL), heads, 1, 1)[0] == {0: 1}
    assert draws.allot(MAIL, draws.ready(MAIL), heads, 1, 1)[0] == {1: 1}


@given(st.integers(1, 600), st.integers(1, 32))
def test_heads_that_are_looked_at_are_enough(claims: int, partitions: int) -> None:
    """Evenly spread jobs fill the draw, and no head is looked at that it could not take."""
    depth = Draws.depth(claims, partitions)
    assert depth <= claims
    assert depth * partitions >= claims


# -- partitions that have none


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The monotonic time in its only entry."""
    now = [1_000.0]
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: now[0])
        yield now


def look(draws: Draws, heads: Queues, job_type: str = MAIL) -> None:
    draws.allot(job_type, draws.ready(job_type), heads, 1, 1)


def test_a_partition_without_jobs_is_left_alone_for_a_while(clock: list[float]) -> None:
    draws = Draws(3)
    assert set(draws.ready(MAIL)) == {0, 1, 2}
    look(draws, {0: [(0.0, b"a")], 1: [], 2: []})
    assert set(draws.ready(MAIL)) == {0}
    assert set(draws.ready("post")) == {0, 1, 2}
    clock[0] += EMPTY_S / 2
    assert set(draws.ready(MAIL)) == {0}
    clock[0] += EMPTY_S / 2
    assert set(draws.ready(MAIL)) == {0, 1, 2}


def test_a_partition_that_was_filled_is_looked_at(clock: list[float]) -> None:
    draws = Draws(3)
    look(draws, {0: [], 1: [], 2: []})
    look(draws, {0: [], 1: [], 2: []}, "post")
    assert draws.ready(MAIL) == {}
    assert draws.allot(MAIL, {}, {}, 5, 5) == ({}, False)
    draws.filled(1, [MAIL])
    assert set(draws.ready(MAIL)) == {1}
    assert draws.ready("post") == {}
    draws.filled(2, ["post", "never drawn from"])
    assert set(draws.ready("post")) == {2}


def test_one_that_was_filled_while_it_was_looked_at_is_looked_at_again(clock: list[float]) -> None:
    draws = Draws(2)
    ready = draws.ready(MAIL)
    draws.filled(0, [MAIL])
    draws.allot(MAIL, ready, {0: [], 1: []}, 1, 1)
    assert set(draws.ready(MAIL)) == {0}


def test_one_that_did_not_answer_is_looked_at_again(clock: list[float]) -> None:
    draws = Draws(2)
    look(draws, {0: []})
    assert set(draws.ready(MAIL)) == {1}


def test_another_type_that_is_filled_makes_none_less_empty(clock: list[float]) -> None:
    draws = Draws(2)
    ready = draws.ready(MAIL)
    draws.filled(0, ["post"])
    draws.allot(MAIL, ready, {0: [], 1: []}, 1, 1)
    assert draws.ready(MAIL) == {}


def test_a_type_that_was_forgotten_while_it_was_looked_at_is_looked_at_again(
    clock: list[float],
) -> None:
    """What was said of it in between is not known."""
    draws = Draws(2, in_use=lambda _: False)
    ready = draws.ready(MAIL)
    for number in range(MAX_UNUSED):
        draws.ready(f"type-{number}")
    draws.allot(MAIL, ready, {0: [], 1: []}, 1, 1)
    assert set(draws.ready(MAIL)) == {0, 1}
