"""One run from start to verdict: work under faults, healing, draining, looking, judging."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.history import dump
from tests.history.checker import Evidence, Verdict, judge
from tests.history.faults import Cast, PlannedFault, schedule
from tests.history.history import read
from tests.history.injection import Injection
from tests.history.scene import FLUSH_MS, Company, Scene
from tests.history.topology import PREFIX
from tests.support.daemon import packhorse

DRAIN_S: Final = 30.0
"""In which all jobs must have ended and all outcomes been handled after the last fault: a client's
timeout, the longest delay, timeout and backoff, and as much again."""

LOOK_S: Final = 0.1
"""Between two looks at what is still under way."""


class Settings(Struct, frozen=True, kw_only=True):
    """`plan` draws the faults; the schedule of the seed unless another is given."""

    seed: str
    seconds: float
    topology: str = "embedded"
    company: Company = Company()
    drain_s: float = DRAIN_S
    plan: Callable[[Cast], Sequence[PlannedFault]] | None = None


class Finished(Struct, frozen=True, kw_only=True):
    settings: Settings
    evidence: Evidence
    verdict: Verdict
    drained_s: float
    """How long it took until all was over; as long as was waited, if it was not."""


async def run(settings: Settings, folder: Path) -> Finished:
    """Leaves histories and logs in `folder`."""
    scene = Scene(folder, settings.seed, settings.topology, settings.company)
    try:
        await scene.start()
        plan = settings.plan or (lambda cast: schedule(settings.seed, settings.seconds, cast))
        began_s = time.monotonic()
        await Injection(scene, plan(scene.cast)).run()
        await asyncio.sleep(max(0.0, began_s + settings.seconds - time.monotonic()))
        await scene.topology.settled()
        return await _judged(settings, scene, folder)
    finally:
        await scene.stop()


async def _judged(settings: Settings, scene: Scene, folder: Path) -> Finished:
    began_s = time.monotonic()
    scene.recorder.write("note", "healed")
    async with dump.opened(scene.topology.url_of, PREFIX) as store:
        drained = await _drained(settings, scene, store)
    drained_s = time.monotonic() - began_s
    scene.recorder.write("note", "drained" if drained else "not drained")
    # Waiting may have been given up in the middle of an answer: those connections are of no use.
    async with dump.opened(scene.topology.url_of, PREFIX) as store:
        found = await store.read()
    checked = await packhorse("fsck", "--store", scene.topology.direct_url, "--prefix", PREFIX)
    evidence = Evidence(
        history=read(folder),
        partitions=found.partitions,
        jobs=found.jobs,
        astray=found.astray,
        drained=drained,
        fsck=checked.out[:-1] if checked.status == 0 else [*checked.out, *checked.err],
        flush_ms=FLUSH_MS,
    )
    return Finished(
        settings=settings, evidence=evidence, verdict=judge(evidence), drained_s=drained_s
    )


async def _drained(settings: Settings, scene: Scene, store: dump.Store) -> bool:
    try:
        async with asyncio.timeout(settings.drain_s):
            await scene.wind_down()
            while await store.unsettled():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        return False
    return True
