"""The feeder by itself: when it draws, for whom, and how often. The store is played by the test."""

import asyncio
from typing import Any

import pytest

from packhorse_broker.clock import StoreClock
from packhorse_broker.contents import pack_body
from packhorse_broker.feeder import EMPTY_DRAWS, FIRST_DRAW, MAX_DRAWING, Feeder
from packhorse_broker.jobs.commands import TakeBack
from packhorse_broker.jobs.model import Applied, Job, State
from packhorse_broker.outages import Outages
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.work import Draw, Submission, Work
from packhorse_protocol import Code
from packhorse_protocol.messages import ROLES, BrokerMessage


class Outlet:
    """A connection whose client reads or does not, as the test says."""

    def __init__(self) -> None:
        self.reads = True

    def send(self, message: BrokerMessage) -> None: ...
    def flush_soon(self) -> None: ...
    def has_room(self) -> bool:
        return self.reads

    async def room(self) -> None: ...
    def close(self, code: Code, message: str) -> None: ...
    def end_session(self) -> None: ...


class Queues:
    """Takes the feeder's draws; `answer` lets the oldest have so many jobs."""

    def __init__(self) -> None:
        self.draws: list[Draw] = []
        self.drawn: list[tuple[str, int]] = []
        """Of each draw so far, its type and how many claims it asked for."""
        self.taken_back: list[str] = []
        """The jobs that were."""
        self._made = 0

    def submit(self, work: Work) -> None:
        if isinstance(work, Submission):
            self.taken_back += [job for job, command in work.items if isinstance(command, TakeBack)]
            return
        assert isinstance(work, Draw)
        self.draws.append(work)
        self.drawn.append((work.type, len(work.claims)))

    async def answer(self, jobs: int, *, more: bool = False) -> None:
        draw = self.draws.pop(0)
        draw.done([self._claimed(draw.type, claim) for claim in draw.claims[:jobs]], more)
        await asyncio.sleep(0)

    def _claimed(self, job_type: str, claim: Any) -> Applied:
        self._made += 1
        job = Job(
            id=f"j{self._made}",
            type=job_type,
            state=State.STARTED,
            version=2,
            order=1,
            runner=claim.client,
            token=self._made.to_bytes(16, "big"),
            body=pack_body(b"", None),
        )
        return Applied(None, job)


class Scene:
    def __init__(self) -> None:
        self.sessions = Sessions()
        self.queues = Queues()
        self.feeder = Feeder(
            self.sessions,
            self.queues.submit,
            StoreClock(),
            Outages(sweep_ms=1_000),
            one_queue=True,
        )

    def runner(self, name: str) -> Session:
        session = Session(
            name, name, Outlet(), roles=frozenset(ROLES), timeout_ms=1_000, heartbeat_ms=300
        )
        session.ready = True
        self.sessions.add(session)
        return session

    async def take(
        self,
        session: Session,
        credit: int,
        weights: dict[str, int] | None = None,
        /,
        **types: int,
    ) -> None:
        self.feeder.take(session, types, credit, weights)
        await asyncio.sleep(0)

    async def told(self, job_type: str) -> None:
        self.feeder.queued(job_type)
        await asyncio.sleep(0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_an_empty_queue_is_drawn_from_once(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 3, t=3)
    assert scene.queues.drawn == [("t", 3)]
    await scene.queues.answer(0)
    assert not scene.queues.draws
    # Until something is said to be in it.
    await scene.told("t")
    assert scene.queues.drawn == [("t", 3), ("t", 3)]


async def test_what_comes_into_an_empty_queue_is_drawn_with_it(scene: Scene) -> None:
    session = scene.runner("r")
    await scene.take(session, 3, t=3)
    await scene.queues.answer(0)
    scene.feeder.coming("t", 2)
    # Another request, before the first transaction is through.
    scene.feeder.coming("t", 2)
    scene.feeder.coming("t", 1)
    scene.feeder.coming("other", 1)
    assert scene.queues.drawn[1:] == [("t", 2), ("t", 1)]
    assert [draw.of_created for draw in scene.queues.draws] == [True, True]
    await scene.queues.answer(2)
    await scene.queues.answer(0)
    assert (len(session.holds), session.free) == (2, 1)
    assert not scene.queues.draws


@pytest.mark.parametrize(("credit", "types"), [(2, {"other": 2}), (0, {"t": 2}), (2, {"t": 0})])
async def test_what_was_drawn_for_a_take_that_was_replaced_goes_back(
    scene: Scene, credit: int, types: dict[str, int]
) -> None:
    fickle, steady = scene.runner("fickle"), scene.runner("steady")
    await scene.take(fickle, 1, t=1)
    await scene.take(steady, 1, t=1)
    await scene.queues.answer(0)
    await scene.told("t")
    await scene.take(fickle, credit, **types)
    drawn = next(draw for draw in scene.queues.draws if draw.type == "t")
    scene.queues.draws.remove(drawn)
    scene.queues.draws.insert(0, drawn)
    await scene.queues.answer(2)
    assert (len(fickle.holds), len(steady.holds)) == (0, 1)
    assert len(scene.queues.taken_back) == 1


async def test_what_comes_behind_others_waits_for_its_turn(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 2, t=2)
    scene.feeder.coming("t", 1)
    await scene.queues.answer(2, more=True)
    scene.feeder.coming("t", 1)
    assert scene.queues.drawn == [("t", 2)]


async def test_what_comes_takes_no_place_for_which_another_type_waits(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 1, a=1, b=1)
    await scene.queues.answer(0)
    assert scene.queues.drawn == [("a", 1), ("b", 1)]
    await scene.queues.answer(1, more=True)
    scene.feeder.coming("a", 1)
    assert not scene.queues.draws


async def test_room_that_one_type_did_not_use_is_anothers(scene: Scene) -> None:
    """Also where both want all of it, and nothing ends or comes meanwhile."""
    await scene.take(scene.runner("r"), 2, a=2, b=2, c=2)
    assert scene.queues.drawn == [("a", 1), ("b", 1)]
    await scene.queues.answer(0)
    assert scene.queues.drawn[2:] == [("c", 1)]
    await scene.queues.answer(1, more=True)
    await scene.queues.answer(0)
    assert scene.queues.drawn[3:] == [("b", 1)]
    await scene.queues.answer(1)
    assert not scene.queues.draws


async def test_the_credit_is_kept_over_draws_of_several_types(scene: Scene) -> None:
    session = scene.runner("r")
    await scene.take(session, 5, a=3, b=3)
    assert scene.queues.drawn == [("a", 3), ("b", 2)]
    await scene.queues.answer(3, more=True)
    await scene.queues.answer(2, more=True)
    assert not scene.queues.draws
    assert len(session.holds) == 5
    [job, *_] = session.holds
    assert session.let_go(job, session.holds[job])
    scene.feeder.offer(session)
    await asyncio.sleep(0)
    assert scene.queues.drawn[2:] == [("b", 1)]


async def test_types_take_turns(scene: Scene) -> None:
    session = scene.runner("r")
    await scene.take(session, 1, a=1, b=1)
    for _ in range(4):
        await scene.queues.answer(1, more=True)
        [(job, token)] = session.holds.items()
        session.let_go(job, token)
        scene.feeder.offer(session)
        await asyncio.sleep(0)
    assert [job_type for job_type, _ in scene.queues.drawn] == ["a", "b", "a", "b", "a"]


async def test_runners_share_a_draw(scene: Scene) -> None:
    sessions = [scene.runner(name) for name in ("one", "two", "three")]
    for session in sessions:
        scene.feeder.take(session, {"t": 4}, 4)
    await asyncio.sleep(0)
    await scene.queues.answer(6)
    assert [len(session.holds) for session in sessions] == [2, 2, 2]


async def test_a_draw_is_large_only_where_there_is_much(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 1_000, t=1_000)
    for _ in range(4):
        asked = scene.queues.drawn[-1][1]
        await scene.queues.answer(asked, more=True)
    sizes = [asked for _, asked in scene.queues.drawn]
    assert sizes[0] == FIRST_DRAW
    assert sizes[:5] == sorted(sizes[:5])
    assert sum(sizes) <= 1_000


async def test_draws_that_others_were_quicker_for_are_not_repeated_for_ever(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 2, t=2)
    answered = 0
    while scene.queues.draws:
        await scene.queues.answer(0, more=True)
        answered += 1
    assert answered == EMPTY_DRAWS + 1
    await scene.told("t")
    assert len(scene.queues.draws) == 1


async def test_what_is_said_during_a_draw_is_not_forgotten(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 2, t=2)
    await scene.told("t")
    assert len(scene.queues.draws) == 1
    await scene.queues.answer(0)
    assert scene.queues.drawn == [("t", 2), ("t", 2)]


async def test_not_all_types_are_drawn_from_at_once_and_all_in_the_end(scene: Scene) -> None:
    types = {f"t{n}": 1 for n in range(3 * MAX_DRAWING)}
    await scene.take(scene.runner("r"), len(types), **types)
    assert len(scene.queues.draws) == MAX_DRAWING
    while scene.queues.draws:
        await scene.queues.answer(0)
    assert {job_type for job_type, _ in scene.queues.drawn} == set(types)


async def test_one_that_does_not_read_waits_until_it_does(scene: Scene) -> None:
    session = scene.runner("r")
    outlet = session.outlet
    assert isinstance(outlet, Outlet)
    outlet.reads = False
    await scene.take(session, 2, t=2)
    await scene.told("t")
    assert not scene.queues.draws
    outlet.reads = True
    scene.feeder.offer(session)
    await asyncio.sleep(0)
    assert scene.queues.drawn == [("t", 2)]


async def test_nothing_is_drawn_while_paused(scene: Scene) -> None:
    scene.feeder.paused = True
    await scene.take(scene.runner("r"), 2, t=2)
    await scene.told("t")
    assert not scene.queues.draws


async def test_a_paused_type_is_drawn_from_again_when_it_gives_out(scene: Scene) -> None:
    """Its draws bring nothing and say that there is no more: its place is another's meanwhile."""
    session = scene.runner("r")
    await scene.take(session, 1, paused=1, other=1)
    assert scene.queues.drawn == [("paused", 1)]
    await scene.queues.answer(0)
    assert scene.queues.drawn[1:] == [("other", 1)]
    await scene.queues.answer(0)
    scene.feeder.offer(session)
    await asyncio.sleep(0)
    assert not scene.queues.draws
    await scene.told("paused")
    assert scene.queues.drawn[2:] == [("paused", 1)]


async def test_a_type_that_nobody_takes_any_more_is_forgotten(scene: Scene) -> None:
    session = scene.runner("r")
    await scene.take(session, 2, t=2)
    await scene.told("t")
    scene.feeder.leave(session)
    await scene.queues.answer(0, more=True)
    assert not scene.queues.draws
    for known in ("_takers", "_several", "_may_wait", "_signalled", "_appetite", "_drawing"):
        assert not getattr(scene.feeder, known)


async def test_types_that_are_not_drawn_from_are_thought_empty(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 1, a=1, b=1)
    assert scene.feeder.thought_empty() == []
    await scene.queues.answer(0)
    assert scene.feeder.thought_empty() == ["a"]
    await scene.queues.answer(1, more=True)
    assert scene.feeder.thought_empty() == ["a"]
    await scene.told("a")
    assert scene.feeder.thought_empty() == []
    assert scene.feeder.takes("a")
    assert not scene.feeder.takes("c")


async def test_nothing_is_looked_for_while_paused(scene: Scene) -> None:
    await scene.take(scene.runner("r"), 1, a=1)
    await scene.queues.answer(0)
    scene.feeder.paused = True
    assert scene.feeder.thought_empty() == []


async def test_a_place_that_came_free_during_a_draw_is_drawn_for_as_it_ends(scene: Scene) -> None:
    """Before anything else is done: so its draw goes with the end that made it free."""
    runner = scene.runner("r")
    await scene.take(runner, 2, t=2)
    draw = scene.queues.draws.pop(0)
    draw.done([scene.queues._claimed("t", draw.claims[0])], True)
    assert [len(draw.claims) for draw in scene.queues.draws] == [1]


async def test_draws_that_are_refused_at_once_cost_no_places(scene: Scene) -> None:
    one, two = scene.runner("one"), scene.runner("two")

    def refuse(work: Work) -> None:
        assert isinstance(work, Draw)
        work.done([], True)

    scene.feeder._submit = refuse
    await scene.take(one, 2, t=2)
    await scene.take(two, 2, u=2)
    for _ in range(4 * EMPTY_DRAWS):
        await asyncio.sleep(0)
    assert (one.room_for("t"), two.room_for("u")) == (2, 2)
