"""The client of the demo: one job for each file, one runner lost, one manifest."""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, cast

from examples.checksum.display import Display, display
from examples.checksum.files import manifest_line
from examples.checksum.processes import BrokerProcess, RunnerProcess
from examples.checksum.runner import Checksum
from packhorse import Client, NewJob, NotFound, Outcome, connect

RUNNERS: Final = 3
ATTEMPTS: Final = 3
"""A job may lose its runner twice and still be done."""

MOST_LOOKED_AT: Final = 200
"""Unfinished jobs that are asked for their runner."""

HELD_POLLS: Final = 200
HELD_POLL_S: Final = 0.02
"""How often, and how far apart, it is asked whether the frozen runner has been given jobs."""


@dataclass(slots=True)
class Result:
    """What came of it. `failed`: file name and reason."""

    done: dict[bytes, Checksum] = field(default_factory=dict)
    failed: dict[bytes, str] = field(default_factory=dict)
    attempts: dict[bytes, int] = field(default_factory=dict)
    held_by_victim: list[bytes] = field(default_factory=list)
    left_in_store: int = 0
    seconds: float = 0.0
    victim: str = ""

    @property
    def changed_hands(self) -> list[bytes]:
        return [name for name, attempt in self.attempts.items() if attempt > 1]


class Demo:
    """`await run()` does it all on a broker that has been started."""

    def __init__(self, broker: BrokerProcess, folder: Path, names: list[bytes]) -> None:
        self._broker = broker
        self._folder = folder
        self._names = names
        self._file_of: dict[str, bytes] = {}
        self._result = Result()
        self._halfway = asyncio.Event()

    async def run(self) -> Result:
        """Raises what the client raises, above all BrokerUnavailable."""
        started = time.monotonic()
        runners = [
            await RunnerProcess.start(f"runner-{n}", self._broker.url, self._folder)
            for n in range(1, RUNNERS + 1)
        ]
        try:
            async with connect(self._broker.url) as client:
                with display(len(self._names)) as shown:
                    await self._work(client, runners, shown)
                self._result.left_in_store = await _jobs_left(client)
        finally:
            await asyncio.gather(*(runner.stop() for runner in runners))
        self._result.seconds = time.monotonic() - started
        return self._result

    async def _work(self, client: Client, runners: list[RunnerProcess], shown: Display) -> None:
        """Creates the first half, loses a runner, creates the rest; outcomes come meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._collect(client, shown))
            middle = (len(self._names) + 1) // 2
            await self._create(client, self._names[:middle])
            await self._halfway.wait()
            victim = self._busiest(runners)
            victim.freeze()
            await self._create(client, self._names[middle:])
            await self._lose(client, victim, shown)

    async def _create(self, client: Client, names: list[bytes]) -> None:
        new = []
        for name in names:
            job_id = f"file-{len(self._file_of) + 1}"
            self._file_of[job_id] = name
            new.append(NewJob("checksum", {"name_of_file": name}, job_id=job_id, attempts=ATTEMPTS))
        await client.create_many(new, handle=True)

    async def _collect(self, client: Client, shown: Display) -> None:
        """The handler of every job: notes each outcome, then it is handled."""
        seen: set[str] = set()
        if not self._names:
            self._halfway.set()
            return
        async for outcome in client.outcomes():
            if outcome.job not in seen:
                seen.add(outcome.job)
                shown.done(self._note(outcome))
            if len(seen) >= len(self._names) // 4:
                self._halfway.set()
            if len(seen) == len(self._names):
                await outcome.handled()
                return

    def _note(self, outcome: Outcome) -> int:
        """Keeps the outcome; how many bytes were read."""
        name = self._file_of[outcome.job]
        self._result.attempts[name] = outcome.attempt
        if not outcome.ok:
            said = outcome.error.message if outcome.error is not None else ""
            self._result.failed[name] = f"{outcome.reason}: {said}" if said else str(outcome.reason)
            return 0
        checksum = cast(Checksum, outcome.result())
        self._result.done[name] = checksum
        return checksum["size_bytes"]

    def _busiest(self, runners: list[RunnerProcess]) -> RunnerProcess:
        """One that surely takes jobs: it has done most of them so far."""
        jobs_of = Counter(checksum["runner"] for checksum in self._result.done.values())
        return max(runners, key=lambda runner: jobs_of[runner.name])

    async def _lose(self, client: Client, victim: RunnerProcess, shown: Display) -> None:
        """Kills a runner that holds jobs: it was frozen before it could work on them."""
        for _ in range(HELD_POLLS):
            if await self._held_by(client, victim) or not self._outstanding():
                break
            await asyncio.sleep(HELD_POLL_S)
        await victim.kill()
        held = await self._held_by(client, victim)
        self._result.victim = victim.name
        self._result.held_by_victim = [self._file_of[job] for job in held]
        shown.say(f"killed {victim.name} with SIGKILL while it held {len(held)} jobs")

    async def _held_by(self, client: Client, runner: RunnerProcess) -> list[str]:
        outstanding = self._outstanding()
        runners = await asyncio.gather(*(_runner_of(client, job) for job in outstanding))
        return [job for job, name in zip(outstanding, runners, strict=True) if name == runner.name]

    def _outstanding(self) -> list[str]:
        """The first jobs, by their age, of which no outcome has come; the lost are among them."""
        left = (job for job, name in self._file_of.items() if name not in self._result.attempts)
        return list(islice(left, MOST_LOOKED_AT))


async def _runner_of(client: Client, job: str) -> str | None:
    try:
        view = await client.get(job)
    except NotFound:
        return None
    return view.runner if view.state == "STARTED" else None


async def _jobs_left(client: Client) -> int:
    counts = await client.counts()
    return sum(n for by_state in counts.types.values() for n in by_state.values())


def manifest(result: Result) -> bytes:
    """As `sha256sum` would have written it."""
    return b"".join(
        manifest_line(checksum["digest"], name) for name, checksum in sorted(result.done.items())
    )


def summary(result: Result) -> list[str]:
    """What happened, for people."""
    size = sum(checksum["size_bytes"] for checksum in result.done.values())
    by_whom = Counter(
        result.done[name]["runner"] for name in result.held_by_victim if name in result.done
    )
    held = len(result.held_by_victim)
    takers = ", ".join(f"{runner} {count}" for runner, count in sorted(by_whom.items()))
    return [
        f"jobs           {len(result.attempts)}  ({len(result.failed)} failed)",
        f"bytes          {size}",
        f"seconds        {result.seconds:.2f}",
        f"changed hands  {len(result.changed_hands)}",
        f"lost           {result.victim} holding {held} jobs, done by: {takers or 'nobody'}",
        f"left in store  {result.left_in_store}",
    ]


def shown_name(name: bytes) -> str:
    return os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
