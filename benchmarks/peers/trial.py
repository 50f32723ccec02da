"""One peer on its own: fresh store and server, a producer and a worker process, and their figures.

Everything is started for one trial, listens on 127.0.0.1, and is stopped by process id.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.peers import store
from benchmarks.peers.marks import Marks, now_ns
from benchmarks.peers.peer import ROOT, Command, Peer, Site
from benchmarks.processes import cpu_us, family, memory

BATCH: Final = 100
IN_FLIGHT: Final = 50
START_S: Final = 20
ACKNOWLEDGED_S: Final = 5
"""How long jobs that were run may take to be acknowledged."""
LOOK_S: Final = 0.005
STOP_S: Final = 5
SHOWN_LOG_CHARS: Final = 1_500

Figures = dict[str, float]


class TrialFailed(Exception):
    """The peer did not do what it was to do; the message has the end of its log."""


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


class Trial:
    """To be used with `with`. `order` makes the producer do something, `worker` starts one."""

    def __init__(self, peer: Peer, store_program: str, concurrency: int | None = None) -> None:
        self.peer = peer
        self.folder = Path(tempfile.mkdtemp(prefix="packhorse-peers-"))
        # In memory where there is such a folder: a disk has no part in what is measured.
        shared = Path("/dev/shm")  # noqa: S108
        self._marks_folder = tempfile.mkdtemp(
            prefix="packhorse-peers-", dir=shared if shared.is_dir() else None
        )
        self.site = Site(
            folder=str(self.folder),
            marks=f"{self._marks_folder}/marks",
            port=free_port(),
            second_port=free_port(),
            store_port=free_port(),
            store_program=store_program,
            concurrency=concurrency or peer.concurrency,
        )
        self.marks = Marks(Path(self.site.marks))
        self.servers: list[subprocess.Popen[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._producer: subprocess.Popen[bytes] | None = None
        self.can: frozenset[str] = frozenset()
        """What the producer has."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for process in reversed(self._processes.copy()):
            self.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._marks_folder, ignore_errors=True)

    def _start(self) -> None:
        if self.peer.on_store:
            self.servers.append(self._spawn(store.server(self.site)))
            self._wait_listening(self.site.store_port)
        command = self.peer.server(self.site)
        if command is not None:
            self.servers.append(self._spawn(command))
            self._wait_listening(self.site.port)
        self._producer = self._child("producer", pipes=True)
        self.can = frozenset(self._answer(START_S)["can"])

    # -- processes

    def _spawn(self, command: Command, *, pipes: bool = False) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr.log").open("ab") as log:
            process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **command.variables},
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _child(self, role: str, *, pipes: bool = False) -> subprocess.Popen[bytes]:
        command = self.peer.process(role)
        site = json.dumps(self.site.fields())
        return self._spawn(Command((*command.arguments, site), command.variables), pipes=pipes)

    def worker(self) -> subprocess.Popen[bytes]:
        return self._child("worker")

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """With all that it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._processes.remove(process)

    def _wait_listening(self, port: int) -> None:
        give_up = time.monotonic() + START_S
        while time.monotonic() < give_up and self.servers[-1].poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(LOOK_S)
            else:
                return
        raise self.failed(f"nothing listens on port {port}")

    def failed(self, what: str) -> TrialFailed:
        log = self.folder / "stderr.log"
        said = log.read_text(errors="replace")[-SHOWN_LOG_CHARS:] if log.exists() else ""
        return TrialFailed(f"{what}\n{said}".strip())

    # -- the producer

    def order(self, *, limit_s: float = 300, **order: object) -> dict[str, Any]:
        """Has it done, and returns when it began and ended."""
        self.begin(**order)
        return self._answer(limit_s)

    def begin(self, **order: object) -> None:
        assert self._producer is not None
        assert self._producer.stdin is not None
        self._producer.stdin.write(json.dumps(order).encode() + b"\n")
        self._producer.stdin.flush()

    def _answer(self, limit_s: float) -> dict[str, Any]:
        assert self._producer is not None
        assert self._producer.stdout is not None
        if not select.select([self._producer.stdout], [], [], limit_s)[0]:
            raise self.failed(f"the producer did not answer in {limit_s} s")
        line = self._producer.stdout.readline()
        if not line:
            raise self.failed("the producer died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    # -- what is measured

    def store_bytes(self) -> int | None:
        """Used by the store, where the peer has one."""
        address = self.peer.store_address(self.site)
        return None if address is None else store.used_bytes(address)

    def resident_bytes(self) -> int:
        """Of the servers, with the store."""
        total = 0
        for pid in self._pids(self.servers):
            with contextlib.suppress(OSError):  # A store's helper comes and goes.
                total += memory(pid).now_bytes
        return total

    def cpu_us(self, *processes: subprocess.Popen[bytes]) -> float:
        """Used by them and what they have started, so far."""
        total = 0.0
        for pid in self._pids(processes):
            with contextlib.suppress(OSError):
                total += cpu_us(pid)
        return total

    def server_cpu_us(self) -> float:
        return self.cpu_us(*self.servers)

    def all_cpu_us(self) -> float:
        return self.cpu_us(*self._processes)

    @staticmethod
    def _pids(processes: Iterable[subprocess.Popen[bytes]]) -> list[int]:
        return [pid for process in processes for pid in family(process.pid)]

    def wait_started(self, jobs: int, limit_s: float) -> bool:
        """Whether so many have started since the last look at the marks."""
        give_up = time.monotonic() + limit_s
        while self.marks.count() < jobs:
            if time.monotonic() > give_up:
                return False
            time.sleep(LOOK_S)
        return True

    def wait_acknowledged(self) -> int:
        """When nothing was queued or unacknowledged any more."""
        give_up = time.monotonic() + ACKNOWLEDGED_S
        while left := self.peer.left(self.site):
            if time.monotonic() > give_up:
                raise self.failed(f"{left} jobs are left, though all have run")
            time.sleep(LOOK_S)
        return now_ns()

    def fill(self, do: str, jobs: int) -> Figures:
        """Enqueues with nobody to take them."""
        producer = self._producer
        assert producer is not None
        stored, resident = self.store_bytes(), self.resident_bytes()
        server_us, client_us = self.server_cpu_us(), self.cpu_us(producer)
        done = self.order(do=do, jobs=jobs, batch=BATCH, in_flight=IN_FLIGHT)
        found = {
            "per_s": jobs * 1e9 / (done["ended_ns"] - done["begun_ns"]),
            "server_us": (self.server_cpu_us() - server_us) / jobs,
            "client_us": (self.cpu_us(producer) - client_us) / jobs,
            "resident_bytes": (self.resident_bytes() - resident) / jobs,
        }
        if stored is not None:
            found["store_bytes"] = ((self.store_bytes() or 0) - stored) / jobs
        return found

    def drain(
        self, jobs: int, limit_s: float, *, partly: bool = False
    ) -> tuple[subprocess.Popen[bytes], Figures]:
        """Starts a worker on what is there; from the first job's start to the last word of one.

        `partly`: of jobs that do not end within the limit, which begins with the first, those
        count that have started.
        """
        server_us = self.server_cpu_us()
        worker = self.worker()
        if not self.wait_started(1, START_S):
            raise self.failed(f"the worker ran no job in {START_S} s")
        whole = self.wait_started(jobs, limit_s)
        if not (whole or partly):
            raise self.failed(f"{self.marks.count()} of {jobs} jobs were run in {limit_s} s")
        ended_ns = self.wait_acknowledged() if whole else now_ns()
        server_us, worker_us = self.server_cpu_us() - server_us, self.cpu_us(worker)
        started = [started_ns for _, started_ns in self.marks.take()]
        done = len(started)
        return worker, {
            "per_s": done * 1e9 / (ended_ns - min(started)),
            "jobs": done,
            "server_us": server_us / done,
            "worker_us": worker_us / done,
        }

    def end_to_end(self, do: str, jobs: int, limit_s: float) -> Figures:
        """Producer and worker at once; from the first put to the last word of a job."""
        server_us, all_us = self.server_cpu_us(), self.all_cpu_us()
        self.begin(do=do, jobs=jobs, batch=BATCH, in_flight=IN_FLIGHT)
        if not self.wait_started(jobs, limit_s):
            raise self.failed(f"{self.marks.count()} of {jobs} jobs were run in {limit_s} s")
        ended_ns = self.wait_acknowledged()
        begun_ns = self._answer(limit_s)["begun_ns"]
        server_us, all_us = self.server_cpu_us() - server_us, self.all_cpu_us() - all_us
        done = len(self.marks.take())
        return {
            "per_s": done * 1e9 / (ended_ns - begun_ns),
            "jobs": done,
            "server_us": server_us / done,
            "all_us": all_us / done,
        }
