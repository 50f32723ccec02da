"""Fair turns among the types that one runner takes. The store is played by the test."""

import asyncio
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhorse_broker.dealing import MAX_DEALT
from packhorse_broker.feeder import FIRST_DRAW, MAX_DRAWING
from packhorse_broker.sessions import Session
from packhorse_broker.turns import Turns
from tests.broker.test_feeder import Scene

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


class Flood:
    """Types that always have jobs waiting, and the runners that take them. `claims` of each
    runner are counted; those of which the job ends are its oldest."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.counts: dict[Session, Counter[str]] = {}

    async def runner(self, credit: int, weights: dict[str, int], most: int = 100_000) -> Session:
        session = self.scene.runner(f"r{len(self.counts)}")
        self.counts[session] = Counter()
        await self.scene.take(session, credit, weights, **dict.fromkeys(weights, most))
        return session

    async def answer_all(self) -> None:
        """All draws bring as much as they ask for, until nobody has room."""
        while self.scene.queues.draws:
            draw = self.scene.queues.draws[0]
            before = {session: set(session.holds) for session in self.counts}
            await self.scene.queues.answer(len(draw.claims), more=True)
            for session, known in before.items():
                self.counts[session][draw.type] += len(session.holds.keys() - known)

    async def end(self, session: Session, jobs: int) -> None:
        """So many of the runner's jobs end."""
        for job, token in list(session.holds.items())[:jobs]:
            assert session.let_go(job, token)
        self.scene.feeder.offer(session)
        await asyncio.sleep(0)


def is_fair(counts: Counter[str], weights: dict[str, int]) -> bool:
    """Never more than a place ahead of its share, never a whole turn behind it."""
    total, turn = sum(counts.values()), sum(weights.values())
    for job_type, weight in weights.items():
        share = Fraction(total * weight, turn)
        if counts[job_type] > share + 1:
            return False
        if counts[job_type] < share - max(Fraction(1), Fraction(weight * (len(weights) - 1), turn)):
            return False
    return True


@given(WEIGHTS, st.integers(1, 60), st.data())
def test_flooded_types_get_their_shares(
    weights: list[int], credit: int, data: st.DataObject
) -> None:
    """Whatever the credit is, and however many jobs end at once."""

    async def run() -> None:
        flood = Flood(Scene())
        shares = {f"t{place}": weight for place, weight in enumerate(weights)}
        session = await flood.runner(credit, shares)
        await flood.answer_all()
        assert sum(flood.counts[session].values()) == credit
        for _ in range(30):
            await flood.end(session, data.draw(st.integers(1, credit)))
            await flood.answer_all()
            assert is_fair(flood.counts[session], shares)

    asyncio.run(run())


@pytest.mark.parametrize("credit", [1, 7])
async def test_a_long_run_has_the_exact_shares(credit: int) -> None:
    flood = Flood(Scene())
    session = await flood.runner(credit, {"a": 1, "b": 2, "c": 7})
    await flood.answer_all()
    for _ in range(10_000 - credit):
        await flood.end(session, 1)
        await flood.answer_all()
    assert flood.counts[session] == {"a": 1_000, "b": 2_000, "c": 7_000}


async def test_each_runner_has_its_own_shares() -> None:
    flood = Flood(Scene())
    shares = [{"a": 1, "b": 3}, {"a": 3, "b": 1}, {"a": 1, "b": 1, "c": 2}, {"b": 5}]
    runners = [await flood.runner(4, weights) for weights in shares]
    await flood.answer_all()
    for _ in range(100):
        for session in runners:
            await flood.end(session, 1)
        await flood.answer_all()
    for session, weights in zip(runners, shares, strict=True):
        assert sum(flood.counts[session].values()) == 104
        assert is_fair(flood.counts[session], weights)


async def test_a_place_waits_for_the_type_whose_turn_it_is() -> None:
    """The type is being drawn from when a place comes free: the other one does not get it all."""
    flood = Flood(Scene())
    session = await flood.runner(4, {"heavy": 3, "light": 1})
    await flood.answer_all()
    assert flood.counts[session] == {"heavy": 3, "light": 1}
    await flood.end(session, 1)
    [draw] = flood.scene.queues.draws
    assert draw.type == "heavy"
    # While that is under way three more places come free: two of them are heavy's.
    await flood.end(session, 3)
    assert [(draw.type, len(draw.claims)) for draw in flood.scene.queues.draws[1:]] == [
        ("light", 1)
    ]
    await flood.answer_all()
    assert flood.counts[session] == {"heavy": 6, "light": 2}


async def test_a_type_alone_gets_all_and_owes_nothing_for_it() -> None:
    scene = Scene()
    session = scene.runner("r")
    await scene.take(session, 10, {"busy": 1, "late": 1}, busy=10, late=10)
    assert scene.queues.drawn == [("busy", 5), ("late", 5)]
    await scene.queues.answer(5, more=True)
    await scene.queues.answer(0)
    for _ in range(20):
        await scene.queues.answer(len(scene.queues.draws[0].claims), more=True)
        for job, token in list(session.holds.items()):
            session.let_go(job, token)
        scene.feeder.offer(session)
        await asyncio.sleep(0)
    assert scene.queues.drawn[-1] == ("busy", 10)
    await scene.queues.answer(10, more=True)
    # Now the other one comes: it does not make up for what it did not want, nor does busy.
    await scene.told("late")
    for job, token in list(session.holds.items()):
        session.let_go(job, token)
    scene.feeder.offer(session)
    await asyncio.sleep(0)
    assert sorted(scene.queues.drawn[-2:]) == [("busy", 5), ("late", 5)]


async def test_its_own_number_bounds_a_type_whatever_its_weight() -> None:
    flood = Flood(Scene())
    session = flood.scene.runner("r")
    flood.counts[session] = Counter()
    await flood.scene.take(session, 10, {"a": 1_000}, a=2, b=10)
    await flood.answer_all()
    assert flood.counts[session] == {"a": 2, "b": 8}


async def test_a_take_that_is_repeated_starves_nobody() -> None:
    """A runner may say what it takes after every job."""
    flood = Flood(Scene())
    session = await flood.runner(1, {"a": 1, "b": 1})
    await flood.answer_all()
    for _ in range(9):
        await flood.end(session, 1)
        await flood.answer_all()
        await flood.scene.take(session, 1, {"a": 1, "b": 1}, a=1, b=1)
    assert flood.counts[session] == {"a": 5, "b": 5}


async def test_more_types_than_are_drawn_from_at_once_share_all_the_same() -> None:
    flood = Flood(Scene())
    types = 3 * MAX_DRAWING
    session = await flood.runner(10 * types, {f"t{n}": 1 for n in range(types)})
    assert len(flood.scene.queues.draws) == MAX_DRAWING
    await flood.answer_all()
    assert set(flood.counts[session].values()) == {10}


async def test_a_draw_for_one_of_several_types_is_no_larger_than_another() -> None:
    scene = Scene()
    await scene.take(scene.runner("r"), 1_000, {"a": 3}, a=1_000, b=1_000)
    assert scene.queues.drawn == [("a", FIRST_DRAW), ("b", FIRST_DRAW)]
    await scene.queues.answer(FIRST_DRAW, more=True)
    assert scene.queues.drawn[2:] == [("a", 2 * FIRST_DRAW)]


async def test_a_large_credit_is_dealt_in_parts() -> None:
    """A type with little to draw is not what the others wait for."""
    scene = Scene()
    await scene.take(scene.runner("r"), 100_000, {"a": 1_000}, a=100_000, b=100_000)
    asked = dict(scene.queues.drawn)
    assert 0 < sum(asked.values()) <= MAX_DEALT
    await scene.queues.answer(0)
    while scene.queues.draws:
        await scene.queues.answer(0)
    assert {job_type for job_type, _ in scene.queues.drawn} == {"a", "b"}


def test_one_that_wanted_nothing_starts_level() -> None:
    turns = Turns()
    turns.weigh(("a", "b"), {"a": 2})
    for _ in range(10):
        turns.level(("a",))
        turns.served("a")
    turns.level(("a", "b"))
    assert turns.standing("a", 0) == turns.standing("b", 0) == 5
    assert turns.standing("a", 4) == turns.standing("b", 2) == 7


def test_debts_are_kept_by_one_that_comes_back() -> None:
    """A type that is done with its jobs each time gets no more than its share by that."""
    turns = Turns()
    turns.weigh(("a", "b"), {"a": 10})
    turns.level(("a", "b"))
    turns.served("b")
    turns.level(("a",))
    turns.served("a")
    turns.level(("a", "b"))
    assert turns.standing("a", 0) < turns.standing("b", 0)
