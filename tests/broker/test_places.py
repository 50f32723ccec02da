"""The sums of free places: what adding up would give, with only changed runners looked at."""

from random import Random

import pytest

from packhorse_broker.sessions import Session
from tests.broker.test_feeder import Outlet, Scene, scene

__all__ = ["scene"]

TYPES = ("a", "b", "c", "d")


def added_up(scene: Scene) -> dict[str, tuple[int, int]]:
    sessions = list(scene.sessions)
    takers = {
        job_type: [session for session in sessions if session.takes.get(job_type)]
        for job_type in TYPES
    }
    return {
        job_type: (len(found), sum(session.room_for(job_type) for session in found))
        for job_type, found in takers.items()
        if found
    }


def step(scene: Scene, random: Random, session: Session, number: int) -> None:
    """Anything that may befall a runner's places."""
    job_type = random.choice(TYPES)
    outlet = session.outlet
    assert isinstance(outlet, Outlet)
    match random.randrange(7):
        case 0:
            types = {job_type: random.randrange(4) for job_type in random.sample(TYPES, 3)}
            scene.feeder.take(session, types, random.randrange(6))
        case 1:
            scene.feeder.leave(session)
        case 2:
            outlet.reads = not outlet.reads
        case 3:
            session.reserve(job_type)
        case 4 if session.reserved(job_type):
            session.reserve(job_type, -1)
        case 5:
            session.hold(f"j{number}", job_type, number.to_bytes(16, "big"))
        case 6 if session.holds:
            job, token = random.choice(list(session.holds.items()))
            session.let_go(job, token)


@pytest.mark.parametrize("seed", range(20))
async def test_the_sums_are_those_of_all_runners(scene: Scene, seed: int) -> None:
    random = Random(seed)
    scene.feeder.paused = True
    sessions = [scene.runner(f"r{number}") for number in range(5)]
    for number in range(300):
        step(scene, random, random.choice(sessions), number)
        if random.randrange(3) == 0:
            assert scene.feeder.taken() == added_up(scene)
    for session in sessions:
        scene.feeder.leave(session)
    assert scene.feeder.taken() == {}
    assert not scene.feeder._free._sums
    assert not scene.feeder._free._shares


async def test_only_runners_that_changed_are_looked_at(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    rooms = Session.rooms

    def noted(session: Session) -> dict[str, int]:
        looked_at.append(session.client)
        return rooms(session)

    monkeypatch.setattr(Session, "rooms", noted)
    scene.feeder.paused = True
    sessions = [scene.runner(f"r{number}") for number in range(100)]
    for session in sessions:
        scene.feeder.take(session, {"a": 3, "b": 1}, 3)
    assert scene.feeder.taken() == {"a": (100, 300), "b": (100, 100)}
    assert len(looked_at) == 100
    sessions[7].hold("j", "a", b"token")
    assert scene.feeder.taken() == {"a": (100, 299), "b": (100, 100)}
    assert looked_at[100:] == ["r7"]
