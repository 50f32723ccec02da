"""All that takes part in a run: the store, the brokers, the programs, and the links between."""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tests.history.faults import Cast
from tests.history.history import NS_PER_MS, SUPERVISOR, Recorder
from tests.history.network import NetworkLink
from tests.history.processes import Process
from tests.history.programs import READY, WOUND_DOWN, Settings
from tests.history.recording import Pace
from tests.history.topologies import TOPOLOGIES
from tests.history.topology import PREFIX
from tests.support.daemon import PACKHORSE

SWEEP_MS: Final = 200
FLUSH_MS: Final = 200
STORE_TIMEOUT_MS: Final = 1_000
KEEP_MS: Final = 3_600_000
"""Of what nobody handles: to the end of any run, so that all of it is there to be looked at."""

BROKER_FLAGS: Final = (
    *("--sweep-ms", str(SWEEP_MS), "--last-response-flush-ms", str(FLUSH_MS)),
    *("--store-timeout-ms", str(STORE_TIMEOUT_MS)),
    *("--complete-retention-ms", str(KEEP_MS), "--failed-retention-ms", str(KEEP_MS)),
    *("--log-format", "json", "--prefix", PREFIX),
)


class Company(Struct, frozen=True, kw_only=True):
    """How many of each, and how they behave."""

    brokers: int = 2
    producers: int = 2
    runners: int = 3
    members: int = 2
    collectors: int = 1
    pace: Pace = Pace()
    mean_pause_s: float = 0.12
    """Between two things that one task of a producer does."""
    mutation: str = ""
    """A bug that all brokers have; see `mutations.py`."""


class Scene:
    """`start`, then anything, then `wind_down` and `stop`. Records what it does to others."""

    def __init__(self, folder: Path, seed: str, topology: str, company: Company) -> None:
        self.recorder = Recorder(folder, SUPERVISOR)
        self.topology = TOPOLOGIES[topology](self.recorder)
        self._folder = folder
        self._seed = seed
        self._company = company
        self._processes: dict[str, Process] = {}
        self._kinds: dict[str, str] = {}
        self._listen: dict[str, str] = {}
        self._links: dict[str, list[NetworkLink]] = {}
        """Of each client, one to every broker."""
        self._away: dict[str, set[str]] = {"store": set(), "brokers": set()}
        self._away_since: dict[str, int] = {}
        self.brokers = [f"broker-{n}" for n in range(company.brokers)]
        for kind, many in (
            ("producer", company.producers),
            ("runner", company.runners),
            ("member", company.members),
            ("collector", company.collectors),
        ):
            self._kinds |= {f"{kind}-{n}": kind for n in range(many)}

    @property
    def cast(self) -> Cast:
        def of(*kinds: str) -> Sequence[str]:
            return [who for who, kind in self._kinds.items() if kind in kinds]

        return Cast(
            brokers=self.brokers,
            proxied=self.brokers if self.topology.has_proxies else (),
            servers=self.topology.servers(),
            producers=of("producer"),
            runners=of("runner"),
            handlers=of("member", "collector"),
        )

    # -- its life

    async def start(self) -> None:
        await self.topology.start(len(self.brokers))
        for name in (*self.brokers, *self._kinds):
            self._processes[name] = Process(name, self._folder)
        await asyncio.gather(*(self.start_broker(name) for name in self.brokers))
        for who in self._kinds:
            self._links[who] = [NetworkLink(self._listen[broker]) for broker in self.brokers]
            for link in self._links[who]:
                await link.start()
        await asyncio.gather(*(self.start_program(who) for who in self._kinds))

    async def stop(self) -> None:
        await asyncio.gather(*(process.kill() for process in self._processes.values()))
        await asyncio.gather(*(link.stop() for links in self._links.values() for link in links))
        await self.topology.stop()
        self.recorder.close()

    async def wind_down(self) -> None:
        """Returns when nothing new is created any more."""
        for who in self._kinds:
            self._processes[who].send(signal.SIGUSR1)
        await asyncio.gather(*(self._processes[who].says(WOUND_DOWN) for who in self._kinds))

    # -- brokers and programs

    def process(self, name: str) -> Process:
        return self._processes[name]

    def links(self, client: str) -> Sequence[NetworkLink]:
        return self._links[client]

    async def start_broker(self, name: str) -> None:
        """Returns when it listens: where it did before, if it was there before."""
        number = self.brokers.index(name)
        program = [str(PACKHORSE)]
        if self._company.mutation:
            program = [sys.executable, "-m", "tests.history.mutations", self._company.mutation]
        process = self._processes[name]
        listen = self._listen.get(name, "tcp://127.0.0.1:0")
        store = ("--store", self.topology.store_url(number), *self.topology.broker_flags)
        await process.start([*program, "serve", "--listen", listen, *store, *BROKER_FLAGS])
        line = await process.says("broker tcp://")
        self._listen[name] = line.partition("broker ")[2].split()[0]

    async def start_program(self, who: str) -> None:
        process = self._processes[who]
        settings = Settings(
            kind=self._kinds[who],
            who=who,
            life=process.lives + 1,
            seed=self._seed,
            folder=str(self._folder),
            addresses=tuple(link.address for link in self._links[who]),
            pace=self._company.pace,
            mean_pause_s=self._company.mean_pause_s,
        )
        told = msgspec.json.encode(settings).decode()
        await process.start([sys.executable, "-m", "tests.history.programs", told])
        await process.says(READY)

    # -- what is away

    def went(self, what: str, name: str) -> None:
        """One of the store's servers, or of the brokers, no longer answers."""
        alone = self.topology.servers().get("store", ())
        all_of = alone if what == "store" else self.brokers
        self._away[what].add(name)
        # Of servers of which another takes the place the topology itself notes when all are away.
        if len(self._away[what]) == len(all_of):
            self._away_since.setdefault(what, time.monotonic_ns())

    def came_back(self, what: str, name: str) -> None:
        self._away[what].discard(name)
        since = self._away_since.pop(what, None)
        if since is not None:
            away_ms = (time.monotonic_ns() - since) // NS_PER_MS
            self.recorder.write("note", "outage", text=what, number=away_ms)
