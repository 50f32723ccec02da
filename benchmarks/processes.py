"""The processes that are measured, and the CPU time that they have used."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_READY: Final = re.compile(rb"broker (tcp://\S+)")
_RSS: Final = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
SPARE_FILES: Final = 500
"""Beside those of the connections."""
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_us(pid: int) -> float:
    """User and system time of a process so far, as Linux tells it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S * 1e6


def family(pid: int) -> list[int]:
    """A process and all that come from it and are still there."""
    found = [pid]
    for parent in found:
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # A thread or a process that ended meanwhile.
                found.extend(map(int, listed.read_text().split()))
    return found


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process: resident now, and the most since it was last reset."""

    now_bytes: int
    peak_bytes: int


def memory(pid: int) -> Memory:
    """As Linux tells it. Raises ProcessLookupError also for one that has ended and that nobody has
    waited for yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = _RSS.search(status), _PEAK.search(status)
    if now is None or peak is None:
        raise ProcessLookupError(f"process {pid} has ended")
    return Memory(int(now.group(1)) * 1024, int(peak.group(1)) * 1024)


def reset_peak(pid: int) -> None:
    """The peak begins anew with what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def has_files_for(connections: int) -> bool:
    """Raises the bound of open files as far as this process, and those it starts, may."""
    wanted = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most) >= wanted


class Broker:
    """`packhorse serve` with its embedded store, append-only file written out once a second."""

    def __init__(
        self, process: asyncio.subprocess.Process, url: str, store_url: str, store_pid: int
    ) -> None:
        self._process = process
        self.url = url
        self.store_url = store_url
        self.pid = process.pid
        self.store_pid = store_pid

    @classmethod
    async def start(cls, data_dir: Path, *, store_url: str | None = None) -> "Broker":
        """With `store_url` a further one on the store of another, whose folder this is."""
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("packhorse"),
            "serve",
            *("--listen", "tcp://127.0.0.1:0", "--data-dir", data_dir, "--log-level", "warning"),
            *(("--store", store_url) if store_url is not None else ()),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if found := _READY.search(line):
                store = json.loads((data_dir / "store.lock").read_text())
                store_url = store_url or f"unix://{store['socket']}"
                return cls(process, found.group(1).decode(), store_url, store["pid"])
        raise RuntimeError("the broker did not start; its log is above")

    async def stop(self) -> None:
        self._process.terminate()
        await self._process.wait()

    async def kill(self) -> None:
        """Without a chance to say or finish anything."""
        self._process.kill()
        await self._process.wait()


class Runner:
    """The runner process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, url: str) -> "Runner":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.runner", "--url", url),
            cwd=Path(__file__).parents[1],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        runner = cls(process)
        await runner._said(b"ready")
        return runner

    async def expect(self, jobs: int) -> None:
        """It will say `done` after so many more."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % jobs)
        await self._said(b"counting")

    async def done(self) -> None:
        await self._said(b"done")

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _said(self, word: bytes) -> None:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if line.strip() != word:
            raise RuntimeError(f"the runner said {line!r} instead of {word!r}")


class Load:
    """A process of `load.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *arguments: object) -> "Load":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.load", *map(str, arguments)),
            cwd=Path(__file__).parents[1],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def said(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return found

    def stand_still(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> dict[str, Any]:
        """What it saw."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        found = await self.said()
        await self.ended()
        return found

    async def ended(self) -> None:
        """By itself, or since it was stopped."""
        await self._process.wait()
