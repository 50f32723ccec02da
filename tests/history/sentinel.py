"""A primary, two replicas and three Sentinels, in which every server can be lost."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError, ResponseError

from tests.history.history import NS_PER_MS, Recorder
from tests.history.marks import GAP_S, KEY, LAST_S, Marks
from tests.history.sentinel_servers import SERVICE, DataServer, PortServer, SentinelServer
from tests.history.strays import Strays
from tests.history.topology import REPLICATED, Topology
from tests.support.proxy import Fault
from tests.support.replicas import HOST

REPLICAS: Final = 2
SENTINELS: Final = 3

LOOK_S: Final = 0.05
"""Between two looks at who is the primary."""

STRANDED_S: Final = 0.4
"""For which a primary works without replicas before it is lost: less than what Sentinels notice."""

SETTLED_S: Final = 60.0
"""A former primary that comes back is made a replica after 8 s or more, and a failover that came
to nothing is repeated after two times the failover's timeout."""

AWAY: Final = (RedisError, OSError)


class WatchedBySentinels(Topology):
    """The words of its servers are what they are at the time: `primary`, `replica`; what is killed
    comes back with its data, and is made a replica by the Sentinels if it was the primary."""

    has_proxies = False

    def __init__(self, recorder: Recorder, *, replicated: bool) -> None:
        self._recorder = recorder
        self._marks = Marks(recorder)
        self._strays = Strays(self._marks)
        self._folder = tempfile.TemporaryDirectory(prefix="ph-chaos-")
        folder = Path(self._folder.name)
        settings: tuple[str, ...] = ()
        if replicated:
            self.broker_flags = REPLICATED
            settings = ("min-replicas-to-write 1", "min-replicas-max-lag 2")
        first = DataServer("server-0", folder, *settings)
        self._servers = [first]
        for number in range(1, REPLICAS + 1):
            self._servers.append(DataServer(f"server-{number}", folder, *settings, primary=first))
        self._sentinels = [
            SentinelServer(f"sentinel-{number}", folder, first) for number in range(SENTINELS)
        ]
        self._primary = first
        self._epoch = 0
        self._hit: dict[str, PortServer] = {}
        """Servers that are killed or paused, by the word with which they were."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        """The tasks end by it too: on Python 3.11 redis-py may lose a cancellation."""

    # -- its life

    async def start(self, brokers: int) -> None:
        for server in self._servers:
            await server.start()
        for sentinel in self._sentinels:
            await sentinel.start()
        await self.settled()
        self._tasks = [asyncio.create_task(self._write_marks()), asyncio.create_task(self._look())]

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in (*self._sentinels, *self._servers):
            await server.close()
        self._folder.cleanup()

    async def settled(self) -> None:
        """All Sentinels agree, know each other, and the primary has all its replicas. Raises
        AssertionError with what is missing."""
        missing = "everything"
        try:
            async with asyncio.timeout(SETTLED_S):
                while missing := await self._missing():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"after {SETTLED_S} s: {missing}") from None

    async def _missing(self) -> str:
        """Nothing if all is well. Raises what a task of its own has ended with."""
        for task in self._tasks:
            if task.done():
                await task
        try:
            announced = [await sentinel.announced() for sentinel in self._sentinels]
            known = [await sentinel.knows() for sentinel in self._sentinels]
            about = await self._primary.info()
        except AWAY as error:
            return f"{type(error).__name__}: {error}"
        replicas = [about.get(f"slave{number}") or {} for number in range(REPLICAS)]
        if {port for _, port in announced} != {self._primary.port}:
            roles = {server.port: await server.ask("ROLE") for server in self._servers}
            return f"Sentinels know {announced}, {self._primary.name} of {roles} was the primary"
        if set(known) != {(REPLICAS, SENTINELS - 1)}:
            return f"Sentinels know {known} replicas and other Sentinels"
        if about["role"] != "master" or any(one.get("state") != "online" for one in replicas):
            return f"the {about['role']} has replicas {replicas}"
        return ""

    # -- where it is

    def store_url(self, broker: int) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self._sentinels)
        return f"sentinel://{hosts}/{SERVICE}"

    @property
    def direct_url(self) -> str:
        return self._primary.url

    def servers(self) -> Mapping[str, Sequence[str]]:
        return {
            "primary": ("primary",),
            "replica": ("replica",),
            "sentinel": tuple(sentinel.name for sentinel in self._sentinels),
        }

    # -- what is done to it

    async def may_lose(self, server: str) -> bool:
        """Only while another server follows the primary, and none is still on its way back: that
        one might take its place, without what was written since it went."""
        if server not in ("primary", "replica"):
            return True
        others = [one for one in self._servers if one is not self._primary and self._is_free(one)]
        try:
            about = await self._primary.info()
            roles = [await one.ask("ROLE") for one in others]
        except AWAY:
            return False
        following = [role[0] == b"slave" and role[3] == b"connected" for role in roles]
        return about["role"] == "master" and bool(following) and all(following)

    async def kill(self, server: str) -> None:
        hit = self._meant(server)
        if hit is self._primary:
            await self._mark(LAST_S)
        if hit is not None:
            await hit.process.kill()

    async def strand(self, server: str) -> None:
        """A replica that is paused still reads later what it was sent before: the primary drops
        the connections too."""
        primary = self._meant(server)
        replicas = [one for one in self._servers if one is not primary and self._is_free(one)]
        if primary is None:
            return
        for replica in replicas:
            replica.process.pause()
        with contextlib.suppress(*AWAY):
            await primary.ask("CLIENT", "KILL", "TYPE", "replica")
        await asyncio.sleep(STRANDED_S)
        await self._mark(LAST_S)
        await primary.process.kill()
        for replica in replicas:
            replica.process.resume()

    async def restart(self, server: str) -> None:
        if (hit := self._hit.pop(server, None)) is not None:
            await hit.start()

    def pause(self, server: str) -> None:
        if (hit := self._meant(server)) is not None:
            hit.process.pause()

    def resume(self, server: str) -> None:
        if (hit := self._hit.pop(server, None)) is not None:
            hit.process.resume()

    def fail_exec(self, broker: int, fault: Fault) -> None:
        raise NotImplementedError("there is nothing between broker and store")

    def cut_store(self, broker: int) -> None:
        raise NotImplementedError("there is nothing between broker and store")

    def _meant(self, word: str) -> PortServer | None:
        """None if there is none that is whole: then nothing is done to it."""
        among: list[PortServer] = [s for s in self._sentinels if s.name == word]
        if word == "primary":
            among = [self._primary]
        elif word == "replica":
            among = [server for server in self._servers if server is not self._primary]
        hit = next((server for server in among if self._is_free(server)), None)
        if hit is not None:
            self._hit[word] = hit
        return hit

    def _is_free(self, server: PortServer) -> bool:
        return server not in self._hit.values()

    # -- what became of it

    async def _write_marks(self) -> None:
        """Also notes for how long no primary was there to take one."""
        away_since: int | None = None
        while not self._stopping:
            began = time.monotonic_ns()
            if not await self._mark():
                away_since = away_since or began
            elif away_since is not None:
                away_ms = (began - away_since) // NS_PER_MS
                self._recorder.write("note", "outage", text="store", number=away_ms)
                away_since = None
            await asyncio.sleep(GAP_S)

    async def _mark(self, within_s: float | None = None) -> bool:
        """Whether the primary answered: one that refuses has answered too."""
        mark = time.monotonic_ns()
        try:
            async with asyncio.timeout(within_s):
                await self._primary.ask("SET", KEY, mark)
        except ResponseError:
            return True
        except (*AWAY, TimeoutError):
            return False
        self._marks.acknowledged(mark)
        return True

    async def _look(self) -> None:
        while not self._stopping:
            await self._find_primary()
            for server in self._servers:
                with contextlib.suppress(*AWAY):
                    self._strays.seen(
                        server.name, await server.info(), is_primary=server is self._primary
                    )
            await asyncio.sleep(LOOK_S)

    async def _find_primary(self) -> None:
        """What the newest configuration that any Sentinel has says, if the server agrees."""
        for sentinel in self._sentinels:
            with contextlib.suppress(*AWAY):
                epoch, port = await sentinel.announced()
                if epoch > self._epoch and port != self._primary.port:
                    [server] = [one for one in self._servers if one.port == port]
                    if await server.is_primary():
                        await self._adopt(server)
                        self._epoch = epoch

    async def _adopt(self, server: DataServer) -> None:
        mark = int(await server.ask("GET", KEY) or 0)
        text = f"{self._primary.name} -> {server.name}"
        self._recorder.write("note", "failover", text=text)
        self._marks.found(mark, text)
        self._strays.adopted()
        self._primary = server
